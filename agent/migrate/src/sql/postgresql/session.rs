//! The connection that has the lock: how statements and transactions are run on it. What is run is `run.rs`'s business.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{TryStreamExt, pin_mut};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::database::Job;
use crate::error::Result;
use crate::failpoints::hit;
use crate::ledger::{Direction, Entry};
use crate::sql::words;

use super::activity;
use super::client::{Connector, commit_error, error};
use super::ledger::Place;
use super::second::Second;

/// The lock and its connection.
pub(super) struct PostgresqlSession {
    pub(super) connector: Connector,
    pub(super) client: Arc<Client>,
    pub(super) pid: i32,
    pub(super) place: Place,
    pub(super) token: i64,
    pub(super) lease: Duration,
    pub(super) second: Arc<Second>,
}

impl PostgresqlSession {
    /// The session as a migration finds it, whatever the one before has set. A server of 14 or newer then also notices
    /// within seconds that whoever runs a long statement is gone, and ends it.
    pub(super) async fn reset(&self, job: &Job<'_>) -> Result<()> {
        let text = format!(
            "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SET statement_timeout = 0; SET lock_timeout = {}; \
             SET idle_in_transaction_session_timeout = 0; SET client_min_messages = warning; \
             SET standard_conforming_strings = on; \
             SELECT set_config(name, '5s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'",
            job.options.lock_timeout.as_millis().clamp(1, 1 << 31)
        );
        self.client.batch_execute(&text).await.map_err(|cause| error("cannot set up the session", &cause))
    }

    /// Runs something of our own.
    pub(super) async fn execute(&self, doing: &str, text: &str) -> Result<()> {
        self.connector
            .guarded(&self.client, self.client.batch_execute(text))
            .await
            .map_err(|cause| error(doing, &cause))
    }

    /// Runs a statement of the migration's: rows that it changed. Meanwhile it is looked at and told how it gets on.
    pub(super) async fn statement(&self, job: &Job<'_>, text: &str) -> Result<u64> {
        let work = self.connector.guarded(&self.client, affected(&self.client, text));
        let id = job.migration.id.to_text();
        activity::watched(&self.second, self.pid, &id, job.watch, work).await.map_err(|cause| {
            let line = position(&cause, text).map(|line| format!("in its line {line}")).unwrap_or_default();
            error(&line, &cause)
        })
    }

    /// Rolls back whatever there is.
    pub(super) async fn rollback(&self) {
        // A connection that is broken has rolled back by itself.
        let _ = self.client.batch_execute("ROLLBACK").await;
    }

    /// Commits, the statement of the ledger being in it.
    pub(super) async fn commit(&self) -> Result<()> {
        hit("migrate_before_commit");
        let committed = self.connector.guarded(&self.client, self.client.batch_execute("COMMIT")).await;
        hit("migrate_after_commit");
        committed.map_err(|cause| commit_error(&cause))
    }

    /// Has the ledger say, in the transaction there is, that the migration is over.
    pub(super) async fn conclude(&self, direction: Direction, ended: &Entry) -> Result<()> {
        self.execute("cannot go on as who we are", "RESET SESSION AUTHORIZATION; RESET ROLE").await?;
        match direction {
            Direction::Up => self.place.write(&self.client, self.token, ended).await,
            Direction::Down => self.place.erase(&self.client, self.token, &ended.id).await,
        }
    }
}

/// Runs one statement, its rows passing by unread.
async fn affected(client: &Client, text: &str) -> Result<u64, tokio_postgres::Error> {
    let stream = client.simple_query_raw(text).await?;
    pin_mut!(stream);
    let mut rows = 0;
    while let Some(message) = stream.try_next().await? {
        if let SimpleQueryMessage::CommandComplete(count) = message {
            rows += count;
        }
    }
    Ok(if matches!(&*words::verb(text), "select" | "values" | "table" | "show" | "fetch" | "explain") {
        0
    } else {
        rows
    })
}

/// The line of the statement that the server points to.
fn position(cause: &tokio_postgres::Error, text: &str) -> Option<usize> {
    let tokio_postgres::error::ErrorPosition::Original(at) = cause.as_db_error()?.position()? else { return None };
    let before = usize::try_from(*at).ok()?.saturating_sub(1);
    Some(1 + text.chars().take(before).filter(|sign| *sign == '\n').count())
}
