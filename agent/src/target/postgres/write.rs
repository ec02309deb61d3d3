//! Sends a batch's statements and commits.
//!
//! Statements are sent one behind the other without waiting (the server runs them in that order), and the COMMIT only
//! once all of them are known to have done what they should: two round trips a batch.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::poll;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Statement};

use crate::failpoints;
use crate::target::Applied;
use crate::target::error::TargetError;
use crate::target::plan::{DeliveryMode, WriteBatch};

use super::ahead;
use super::bookkeeping;
use super::client::{commit_error, error};
use super::config::Settings;
use super::plan::{Counts, Execution, Plan, Planner};
use super::state::Names;
use super::tables::Tables;

/// Prepared statements kept per session. Past it all are dropped and prepared again: a handful per table is normal.
const STATEMENTS: usize = 1_000;
/// Versions of deleted rows are cleared away at most so often.
const SWEEP_MS: i64 = 60_000;

/// A connection and what is known through it.
pub(super) struct Session {
    pub client: Client,
    tables: Tables,
    statements: HashMap<String, Statement>,
    swept_at_ms: i64,
    /// A transaction was begun and its end not seen: the caller went away in the middle.
    unfinished: bool,
}

impl Session {
    pub(super) fn new(client: Client, tables: Tables) -> Self {
        Self { client, tables, statements: HashMap::new(), swept_at_ms: 0, unfinished: false }
    }

    /// Whether it can still be used.
    pub(super) fn is_usable(&self) -> bool {
        !self.unfinished && !self.client.is_closed()
    }

    /// Forgets what it knows of tables, and the statements whose parameters follow from that; answers whether it knew any.
    pub(super) fn forget(&mut self) -> bool {
        self.statements.clear();
        self.tables.clear()
    }

    /// Writes a batch, whose rows may be planned already.
    pub(super) async fn apply(
        &mut self,
        settings: &Settings,
        names: &Names,
        write: &WriteBatch<'_>,
        planned: Option<Plan>,
    ) -> Result<Applied, TargetError> {
        let Plan { rows, losses, burials } = match planned {
            Some(plan) => plan,
            None => {
                let planner = Planner { schema: &settings.schema, names, write };
                // A table may be made or grown while planning, in a transaction of its own.
                self.unfinished = true;
                let planned = ahead::plan(&self.client, &mut self.tables, planner).await;
                self.unfinished = false;
                planned?
            }
        };
        let closing = bookkeeping::letters_and_effects(names, write, settings.ledger);
        let mut applied = Applied { lossy: losses.into_inner(), ..Applied::default() };
        match write.mode {
            DeliveryMode::ExactlyOnce => {
                let mut all = bookkeeping::compare_and_set(names, write);
                all.extend(rows);
                all.extend(closing);
                self.transaction("BEGIN", &all, &mut applied).await?;
            }
            DeliveryMode::AtLeastOnce => {
                let mut last = burials;
                last.extend(closing);
                last.extend(bookkeeping::raise(names, write));
                last.extend(self.sweep(settings, names, write.now_ms));
                // A row an outdated agent is just writing is not visible to our deletes, nor our tombstone to its check, as
                // long as both are uncommitted. So each commits its rows and tombstones first and looks for the other's
                // afterwards. The second commit makes the first durable too, which therefore need not wait for the disk.
                let begin =
                    if write.advances.is_empty() { "BEGIN" } else { "BEGIN; SET LOCAL synchronous_commit = off" };
                if !rows.is_empty() {
                    self.transaction(begin, &rows, &mut applied).await?;
                }
                if !last.is_empty() {
                    self.transaction("BEGIN", &last, &mut applied).await?;
                }
            }
        }
        Ok(applied)
    }

    fn sweep(&mut self, settings: &Settings, names: &Names, now_ms: i64) -> Option<Execution> {
        if now_ms - self.swept_at_ms <= SWEEP_MS {
            return None;
        }
        self.swept_at_ms = now_ms;
        let grace = i64::try_from(settings.delete_grace.as_millis()).unwrap_or(i64::MAX);
        Some(Execution {
            sql: format!("DELETE FROM {} WHERE stored_at_ms < $1", names.tombstones),
            types: vec![Type::INT8],
            params: vec![Box::new(now_ms.saturating_sub(grace))],
            counts: Counts::No,
            doing: "cannot clear away the versions of deleted rows".into(),
        })
    }

    async fn transaction(
        &mut self,
        begin: &str,
        executions: &[Execution],
        applied: &mut Applied,
    ) -> Result<(), TargetError> {
        if self.statements.len() + executions.len() > STATEMENTS {
            self.statements.clear();
        }
        for execution in executions {
            self.prepare(execution).await?;
        }
        failpoints::hit("before_write");
        self.unfinished = true;
        let done = self.send(begin, executions, applied).await;
        if let Err(cause) = done {
            // When even this fails the connection is gone, and the server rolls back by itself.
            if self.client.batch_execute("ROLLBACK").await.is_ok() {
                self.unfinished = false;
            }
            return Err(cause);
        }
        failpoints::hit("after_write");
        self.commit().await.map_err(commit_error)?;
        self.unfinished = false;
        failpoints::hit("after_commit");
        Ok(())
    }

    async fn prepare(&mut self, execution: &Execution) -> Result<(), TargetError> {
        if self.statements.contains_key(&execution.sql) {
            return Ok(());
        }
        let prepared = self.client.prepare_typed(&execution.sql, &execution.types).await;
        let statement = prepared.map_err(|e| error(&execution.doing, e))?;
        self.statements.insert(execution.sql.clone(), statement);
        Ok(())
    }

    /// Sends all and waits for all; the first failure in the order of sending is the cause, those after it its echo.
    async fn send(&self, begin: &str, executions: &[Execution], applied: &mut Applied) -> Result<(), TargetError> {
        let mut begun = pin!(self.client.batch_execute(begin));
        // A future is sent when it is first polled.
        let begun_early = poll!(&mut begun);
        let mut waiting = Vec::with_capacity(executions.len());
        for execution in executions {
            let mut running = Box::pin(self.run(execution));
            let early = poll!(&mut running);
            waiting.push((execution, running, early));
        }
        match begun_early {
            std::task::Poll::Ready(done) => done,
            std::task::Poll::Pending => begun.await,
        }
        .map_err(|e| error("cannot begin a transaction", e))?;
        let mut part = 0;
        for (execution, running, early) in waiting {
            let touched = match early {
                std::task::Poll::Ready(done) => done,
                std::task::Poll::Pending => running.await,
            }
            .map_err(|e| error(&execution.doing, e))?;
            match &execution.counts {
                Counts::No => {}
                Counts::Rows => applied.rows += touched,
                Counts::Part => {
                    applied.rows += touched;
                    part = touched;
                }
                Counts::RowsOf(all) => {
                    applied.rows += touched;
                    applied.skipped_older += all.saturating_sub(touched + part);
                    part = 0;
                }
                Counts::Must(expected, kind, message) => {
                    if touched != *expected {
                        return Err(TargetError::new(*kind, message.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    async fn run(&self, execution: &Execution) -> Result<u64, Error> {
        let params: Vec<&(dyn ToSql + Sync)> =
            execution.params.iter().map(|p| p.as_ref() as &(dyn ToSql + Sync)).collect();
        match self.statements.get(&execution.sql) {
            Some(statement) => self.client.execute(statement, &params).await,
            None => self.client.execute(&execution.sql, &params).await,
        }
    }

    async fn commit(&self) -> Result<(), Error> {
        let mut commit = pin!(self.client.batch_execute("COMMIT"));
        if cfg!(feature = "failpoints") {
            // Give the connection's task time to put the statement on the wire, and die without reading the answer.
            if let std::task::Poll::Ready(done) = poll!(&mut commit) {
                return done;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            failpoints::hit("commit_sent");
        }
        commit.await
    }
}
