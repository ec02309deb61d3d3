//! Who may migrate: a row that says so for a while, and a session lock that the connection at work holds all the while.
//!
//! The row tells for whom and for how long; the session lock is the fence. Whoever takes over first ends the session that
//! still holds the session lock, and has it before anything else happens: nothing of the old holder's can come after that.
//! Both are only ever taken under the row's own lock, so that whoever has the session lock while we look at the row is who
//! the row speaks of.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::database::Keeper;
use crate::error::{Error, Result};
use crate::failpoints::hit;
use crate::sql::record::lost;

use super::client::error;
use super::ledger::Place;
use super::second::Second;

/// How long a session that was ended may take to be gone.
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

/// Takes the lock if it is free, outlived, or its holder's session is gone.
pub(super) async fn take(client: &Client, place: &Place, who: &str, lease: Duration) -> Result<Taken> {
    let begin = "BEGIN; SET LOCAL lock_timeout = '10s'";
    client.batch_execute(begin).await.map_err(|cause| error("cannot look at the lock", &cause))?;
    let taken = within(client, place, who, lease).await;
    let end = if matches!(taken, Ok(Taken::Ours(_))) { "COMMIT" } else { "ROLLBACK" };
    hit("migrate_lease_taken");
    let ended = client.batch_execute(end).await.map_err(|cause| error("cannot take the lock", &cause));
    match (&taken, ended) {
        (Ok(_), Err(unended)) => Err(unended),
        _ => taken,
    }
}

async fn within(client: &Client, place: &Place, who: &str, lease: Duration) -> Result<Taken> {
    let doing = |cause: tokio_postgres::Error| error("cannot take the lock", &cause);
    let text = format!(
        "SELECT holder, token, greatest(0, round(extract(epoch FROM expires_at - clock_timestamp()) * 1000))::bigint
        FROM {} WHERE id = 1 FOR UPDATE",
        place.lock
    );
    let row = client.query_typed_opt(&text, &[]).await.map_err(doing)?.ok_or_else(|| {
        let remedy = format!("drop the table {}: it is made anew", place.lock);
        Error::refused("the lock's table has no row, which this agent never takes out", remedy)
    })?;
    let holder: Option<String> = row.try_get(0).map_err(doing)?;
    let token: i64 = row.try_get(1).map_err(doing)?;
    let left: i64 = row.try_get(2).map_err(doing)?;
    let left = Duration::from_millis(left.unsigned_abs());
    let held = |note: String, outlived_in| Taken::Held {
        by: format!("{}{note}", holder.as_deref().unwrap_or("somebody")),
        outlived_in,
    };
    // Had at once: the old holder gave it back, or its session is over, in which it alone could write.
    if !try_session_lock(client, place).await.map_err(doing)? {
        if holder.is_some() && !left.is_zero() {
            return Ok(held(String::new(), left));
        }
        if let Some(note) = end_session(client, place).await? {
            return Ok(held(note, Duration::from_secs(1)));
        }
    }
    let text = format!(
        "UPDATE {} SET holder = $1, token = token + 1, acquired_at = clock_timestamp(),
            expires_at = clock_timestamp() + $2 * interval '1 millisecond' WHERE id = 1 AND token = $3",
        place.lock
    );
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&who, Type::TEXT), (&milliseconds(lease), Type::FLOAT8), (&token, Type::INT8)];
    client.execute_typed(&text, &values).await.map_err(doing)?;
    Ok(Taken::Ours(token + 1))
}

async fn try_session_lock(client: &Client, place: &Place) -> Result<bool, tokio_postgres::Error> {
    let text = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
    client.query_typed_one(text, &[(&place.key, Type::TEXT)]).await?.try_get(0)
}

/// Ends the session that has the session lock, and takes it. A note where that cannot be done.
async fn end_session(client: &Client, place: &Place) -> Result<Option<String>> {
    let doing = |cause: tokio_postgres::Error| error("cannot end the session of the lock's old holder", &cause);
    let text = "SELECT pid FROM pg_locks, hashtextextended($1, 0) AS number
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid::bigint = (number >> 32) & 4294967295 AND objid::bigint = number & 4294967295";
    let pids = client.query_typed(text, &[(&place.key, Type::TEXT)]).await.map_err(doing)?;
    for row in &pids {
        let pid: i32 = row.try_get(0).map_err(doing)?;
        // In a savepoint: a refusal must not end our transaction, which has the row.
        client.batch_execute("SAVEPOINT ending").await.map_err(doing)?;
        let ended = client.query_typed("SELECT pg_terminate_backend($1)", &[(&pid, Type::INT4)]).await;
        if let Err(cause) = ended {
            client.batch_execute("ROLLBACK TO ending").await.map_err(doing)?;
            let refused = error("", &cause);
            if refused.code == "insufficient_privilege" {
                return Ok(Some(format!(
                    ", whose lease is over and whose session {pid} this user may not end (grant pg_signal_backend, or end it)"
                )));
            }
            return Err(doing(cause));
        }
        tracing::info!(pid, "ended the session of a runner whose lease is over");
    }
    let since = Instant::now();
    while !try_session_lock(client, place).await.map_err(doing)? {
        if since.elapsed() > GONE_WITHIN {
            return Ok(Some(", whose session is being ended".to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

/// Gives the lock back.
pub(super) async fn release(client: &Client, place: &Place, token: i64) -> Result<()> {
    let doing = |cause: tokio_postgres::Error| error("cannot give the lock back", &cause);
    // In one statement: whoever finds the row free finds the session lock free.
    let text = format!(
        "WITH given_back AS (UPDATE {} SET holder = NULL, expires_at = clock_timestamp() WHERE id = 1 AND token = $1)
        SELECT pg_advisory_unlock(hashtextextended($2, 0))",
        place.lock
    );
    client.query_typed(&text, &[(&token, Type::INT8), (&place.key, Type::TEXT)]).await.map_err(doing)?;
    Ok(())
}

/// Who holds the lock, by the row and as far as the lease goes.
pub(super) async fn holder(client: &Client, place: &Place) -> Result<Option<String>> {
    let doing = |cause: tokio_postgres::Error| error("cannot look at the lock", &cause);
    let text = format!("SELECT holder FROM {} WHERE id = 1 AND expires_at > clock_timestamp()", place.lock);
    let row = client.query_typed_opt(&text, &[]).await.map_err(doing)?;
    row.map_or(Ok(None), |row| row.try_get(0)).map_err(doing)
}

/// Renews the lease on the second connection.
pub(super) struct LeaseKeeper {
    pub(super) second: Arc<Second>,
    pub(super) place: Place,
    pub(super) token: i64,
    pub(super) lease: Duration,
}

#[async_trait]
impl Keeper for LeaseKeeper {
    async fn renew(&self) -> Result<()> {
        let client = self.second.client().await?;
        let text = format!(
            "UPDATE {} SET expires_at = clock_timestamp() + $1 * interval '1 millisecond' WHERE id = 1 AND token = $2",
            self.place.lock
        );
        let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
            [(&milliseconds(self.lease), Type::FLOAT8), (&self.token, Type::INT8)];
        match client.execute_typed(&text, &values).await.map_err(|cause| error("cannot renew the lease", &cause)) {
            Ok(0) => Err(lost()),
            Ok(_) => Ok(()),
            Err(unknown) => Err(unknown),
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
