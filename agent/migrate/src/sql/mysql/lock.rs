//! Who may migrate: a row that says so for a while, and a lock of the server's (`GET_LOCK`) that the connection at work
//! holds all the while.
//!
//! The row tells for whom and for how long; the server's lock is the fence. Whoever takes over first ends the connection that
//! still holds it, and has it before anything else happens: nothing of the old holder's can come after that. Both are only
//! ever taken under the row's own lock. Servers of a cluster know nothing of each other's locks: of another server's holder
//! only the lease counts, and the token that is looked at before each commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, params};
use sha2::{Digest, Sha256};

use super::client::error;
use super::ledger::{Tables, odd};
use super::second::Second;
use crate::database::Keeper;
use crate::error::Result;
use crate::failpoints::hit;
use crate::sql::record::lost;

/// How long a connection that was ended may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(20);

/// What came of it.
pub(super) enum Taken {
    /// It is ours, by this token.
    Ours(i64),
    /// Another's.
    Held {
        /// Who.
        by: String,
        /// When it can be taken at the latest.
        outlived_in: Duration,
    },
}

/// The name of the server's lock: it knows no databases, and at most 64 signs.
pub(super) fn name(tables: &Tables) -> String {
    let digest = Sha256::digest(tables.ledger.as_bytes());
    digest.iter().take(16).fold("whimbrel_migrate_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Takes the lock if it is free, outlived, or its holder's connection is gone.
pub(super) async fn take(conn: &mut Conn, tables: &Tables, who: &str, lease: Duration) -> Result<Taken> {
    let doing = |cause: mysql_async::Error| error("cannot take the lock", &cause);
    conn.query_drop("SET SESSION innodb_lock_wait_timeout = 10").await.map_err(doing)?;
    conn.query_drop("START TRANSACTION").await.map_err(doing)?;
    let taken = within(conn, tables, who, lease).await;
    let end = if matches!(taken, Ok(Taken::Ours(_))) { "COMMIT" } else { "ROLLBACK" };
    hit("migrate_lease_taken");
    let ended = conn.query_drop(end).await.map_err(doing);
    match (&taken, ended) {
        (Ok(_), Err(unended)) => Err(unended),
        _ => taken,
    }
}

async fn within(conn: &mut Conn, tables: &Tables, who: &str, lease: Duration) -> Result<Taken> {
    let doing = |cause: mysql_async::Error| error("cannot take the lock", &cause);
    let text = format!(
        "SELECT holder, token, coalesce(server = concat(@@hostname, ':', @@port), 1),
            greatest(0, timestampdiff(MICROSECOND, UTC_TIMESTAMP(6), expires_at))
        FROM {} WHERE id = 1 FOR UPDATE",
        tables.lock
    );
    type Looked = (Option<String>, i64, bool, i64);
    let row: Option<Looked> = conn.exec_first(text, ()).await.map_err(doing)?;
    let Some((holder, token, here, left)) = row else { return Err(odd("cannot look at the lock")) };
    let left = Duration::from_micros(left.unsigned_abs());
    let held = |note: &str, outlived_in| Taken::Held {
        by: format!("{}{note}", holder.as_deref().unwrap_or("somebody")),
        outlived_in,
    };
    let is_held = holder.is_some() && !left.is_zero();
    if !here && is_held {
        return Ok(held("", left));
    }
    let name = name(tables);
    // Had at once: the old holder gave it back, or its connection is over, by which alone it could write.
    if !get(conn, &name, 0).await.map_err(doing)? {
        if is_held {
            return Ok(held("", left));
        }
        if let Some(note) = end_connection(conn, &name).await? {
            return Ok(held(&note, Duration::from_secs(1)));
        }
    }
    let text = format!(
        "UPDATE {} SET holder = :who, token = token + 1, server = concat(@@hostname, ':', @@port),
            expires_at = UTC_TIMESTAMP(6) + INTERVAL :lease MICROSECOND WHERE id = 1",
        tables.lock
    );
    conn.exec_drop(text, params! {"who" => who, "lease" => microseconds(lease)}).await.map_err(doing)?;
    Ok(Taken::Ours(token + 1))
}

async fn get(conn: &mut Conn, name: &str, seconds: u32) -> Result<bool, mysql_async::Error> {
    let got: Option<Option<i64>> = conn.exec_first("SELECT GET_LOCK(?, ?)", (name, seconds)).await?;
    Ok(got.flatten() == Some(1))
}

/// Ends the connection that has the server's lock, and takes it. A note where that cannot be done.
async fn end_connection(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    let doing = |cause: mysql_async::Error| error("cannot end the connection of the lock's old holder", &cause);
    let since = Instant::now();
    loop {
        // Looked up each time: whoever has the lock now is who is to be ended.
        let used: Option<Option<u64>> = conn.exec_first("SELECT IS_USED_LOCK(?)", (name,)).await.map_err(doing)?;
        if let Some(Some(id)) = used {
            match conn.query_drop(format!("KILL CONNECTION {id}")).await {
                Ok(()) => tracing::info!(connection = id, "ended the connection of a runner whose lease is over"),
                Err(mysql_async::Error::Server(refused)) if refused.code == 1094 => {}
                Err(mysql_async::Error::Server(refused)) if refused.code == 1095 || refused.code == 1227 => {
                    return Ok(Some(format!(
                        ", whose lease is over and whose connection {id} this user may not end (grant CONNECTION ADMIN, or end it)"
                    )));
                }
                Err(cause) => return Err(doing(cause)),
            }
        }
        if get(conn, name, 0).await.map_err(doing)? {
            return Ok(None);
        }
        if since.elapsed() > GONE_WITHIN {
            return Ok(Some(", whose connection is being ended".to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Gives the lock back.
pub(super) async fn release(conn: &mut Conn, tables: &Tables, token: i64) -> Result<()> {
    let doing = |cause: mysql_async::Error| error("cannot give the lock back", &cause);
    let text =
        format!("UPDATE {} SET holder = NULL, expires_at = UTC_TIMESTAMP(6) WHERE id = 1 AND token = ?", tables.lock);
    conn.exec_drop(text, (token,)).await.map_err(doing)?;
    conn.exec_drop("DO RELEASE_LOCK(?)", (name(tables),)).await.map_err(doing)
}

/// Who holds the lock, by the row and as far as the lease goes.
pub(super) async fn holder(conn: &mut Conn, tables: &Tables) -> Result<Option<String>> {
    let text = format!("SELECT holder FROM {} WHERE id = 1 AND expires_at > UTC_TIMESTAMP(6)", tables.lock);
    let row: Option<Option<String>> =
        conn.query_first(text).await.map_err(|cause| error("cannot look at the lock", &cause))?;
    Ok(row.flatten())
}

/// Renews the lease on the second connection.
pub(super) struct LeaseKeeper {
    pub(super) second: Arc<Second>,
    pub(super) tables: Tables,
    pub(super) token: i64,
    pub(super) lease: Duration,
}

#[async_trait]
impl Keeper for LeaseKeeper {
    async fn renew(&self) -> Result<()> {
        let text = format!(
            "UPDATE {} SET expires_at = UTC_TIMESTAMP(6) + INTERVAL :lease MICROSECOND WHERE id = 1 AND token = :token AND holder IS NOT NULL",
            self.tables.lock
        );
        let values = params! {"lease" => microseconds(self.lease), "token" => self.token};
        let mut conn = self.second.conn().await?;
        let renewed = conn.exec_drop(text, values).await.map_err(|cause| error("cannot renew the lease", &cause));
        let rows = conn.affected_rows();
        self.second.keep(conn, renewed.is_ok()).await;
        renewed?;
        // The driver counts rows found, not rows changed.
        if rows == 0 { Err(lost()) } else { Ok(()) }
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
