//! What the server says of the statement it is at: how far it is, whom it waits for, who waits for it. Looked at from the
//! second connection while the first is at work. A server that does not let this user look is not asked again.

use std::future::Future;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::second::Second;
use crate::watch::{BlockedSession, Event, Watch};

/// Statements that are over sooner are not worth a look.
const FIRST_LOOK: Duration = Duration::from_millis(400);
const LOOK: Duration = Duration::from_secs(1);

/// MariaDB's answer to how far a statement is.
const PROGRESS_MARIADB: &str =
    "SELECT info, coalesce(state, ''), stage, max_stage, progress FROM information_schema.processlist
    WHERE (id = ? OR ? = 0) AND max_stage > 0";
/// MySQL's.
const PROGRESS_MYSQL: &str = "SELECT t.processlist_info, s.event_name, s.work_completed, s.work_estimated
    FROM performance_schema.events_stages_current s JOIN performance_schema.threads t ON t.thread_id = s.thread_id
    WHERE (t.processlist_id = ? OR ? = 0) AND s.work_estimated > 0";
/// Who waits for a row's lock, and for whom.
const ROWS_MARIADB: &str = "SELECT w.trx_mysql_thread_id, b.trx_mysql_thread_id,
        coalesce(timestampdiff(MICROSECOND, w.trx_wait_started, now()) DIV 1000, 0), coalesce(l.lock_table, ''),
        coalesce(p.user, '')
    FROM information_schema.innodb_lock_waits i
    JOIN information_schema.innodb_trx w ON w.trx_id = i.requesting_trx_id
    JOIN information_schema.innodb_trx b ON b.trx_id = i.blocking_trx_id
    LEFT JOIN information_schema.innodb_locks l ON l.lock_id = i.requested_lock_id
    LEFT JOIN information_schema.processlist p
        ON p.id = IF(w.trx_mysql_thread_id = ?, b.trx_mysql_thread_id, w.trx_mysql_thread_id)";
const ROWS_MYSQL: &str = "SELECT w.processlist_id, b.processlist_id,
        coalesce(timestampdiff(MICROSECOND, t.trx_wait_started, now()) DIV 1000, 0), concat(l.object_schema, '.', l.object_name),
        IF(w.processlist_id = ?, coalesce(b.processlist_user, ''), coalesce(w.processlist_user, ''))
    FROM performance_schema.data_lock_waits i
    JOIN performance_schema.threads w ON w.thread_id = i.requesting_thread_id
    JOIN performance_schema.threads b ON b.thread_id = i.blocking_thread_id
    LEFT JOIN performance_schema.data_locks l ON l.engine_lock_id = i.requesting_engine_lock_id
    LEFT JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = w.processlist_id";
/// Who waits for a table's definition in this database. Who has it, MariaDB tells nobody without a plugin.
const TABLES_MARIADB: &str = "SELECT id, time_ms DIV 1, user FROM information_schema.processlist
    WHERE (state LIKE 'Waiting for table % lock' OR state = 'Waiting for table flush') AND db = DATABASE()";
const TABLES_MYSQL: &str = "SELECT w.processlist_id, b.processlist_id, coalesce(w.processlist_time, 0) * 1000,
        concat(p.object_schema, '.', p.object_name),
        IF(w.processlist_id = ?, coalesce(b.processlist_user, ''), coalesce(w.processlist_user, ''))
    FROM performance_schema.metadata_locks p
    JOIN performance_schema.metadata_locks g ON g.object_type = p.object_type AND g.object_schema = p.object_schema
        AND g.object_name = p.object_name AND g.lock_status = 'GRANTED' AND g.owner_thread_id <> p.owner_thread_id
    JOIN performance_schema.threads w ON w.thread_id = p.owner_thread_id
    JOIN performance_schema.threads b ON b.thread_id = g.owner_thread_id
    WHERE p.lock_status = 'PENDING' AND p.object_type = 'TABLE'";
/// Connections in a transaction, the oldest first: one of them has what a statement waits for.
const OPEN_MARIADB: &str = "SELECT t.trx_mysql_thread_id, coalesce(p.user, '') FROM information_schema.innodb_trx t
    LEFT JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
    WHERE t.trx_mysql_thread_id NOT IN (0, ?) ORDER BY t.trx_started LIMIT 1";

/// Has `work` done on connection `id`, and tells meanwhile what it is at.
pub(super) async fn watched<T>(
    second: &Second,
    id: u32,
    mariadb: bool,
    migration: &str,
    watch: &dyn Watch,
    work: impl Future<Output = T>,
) -> T {
    let look = async {
        let mut told = Vec::new();
        tokio::time::sleep(FIRST_LOOK).await;
        while let Ok(mut conn) = second.conn().await {
            let mut good = true;
            match progress(&mut conn, id, mariadb).await {
                Ok(all) => {
                    for (phase, done, total) in all {
                        watch.tell(&Event::Measured { id: migration, phase: &phase, done, total });
                    }
                }
                Err(cause) => good = unasked(&cause),
            }
            match blocked(&mut conn, Some(id), mariadb).await {
                Ok(sessions) => {
                    let pairs =
                        |all: &[BlockedSession]| all.iter().map(|s| (s.waiting, s.blocked_by)).collect::<Vec<_>>();
                    if pairs(&sessions) != pairs(&told) {
                        watch.tell(&Event::Blocked { id: migration, sessions: &sessions });
                        told = sessions;
                    }
                }
                Err(cause) => good &= unasked(&cause),
            }
            second.keep(conn, good).await;
            tokio::time::sleep(LOOK).await;
        }
        // The work goes on unwatched.
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        biased;
        done = work => done,
        never = look => match never {},
    }
}

/// Whether the connection is good after all: a server may refuse what it is asked.
fn unasked(cause: &mysql_async::Error) -> bool {
    tracing::debug!(error = %cause, "the server does not say what it is at");
    !cause.is_fatal()
}

/// How far statements are: of one connection, or of all.
pub(super) async fn progress(
    conn: &mut Conn,
    id: u32,
    mariadb: bool,
) -> Result<Vec<(String, u64, Option<u64>)>, mysql_async::Error> {
    if mariadb {
        type Looked = (Option<String>, String, u64, u64, f64);
        let rows: Vec<Looked> = conn.exec(PROGRESS_MARIADB, (id, id)).await?;
        let one = |(info, state, stage, stages, percent): Looked| {
            // In thousandths of the stage it is at.
            let phase = format!("{}: {state}, stage {stage} of {stages}", statement(info.as_deref()));
            (phase, (percent.clamp(0.0, 100.0) * 10.0).round() as u64, Some(1_000))
        };
        return Ok(rows.into_iter().map(one).collect());
    }
    let rows: Vec<(Option<String>, String, u64, u64)> = conn.exec(PROGRESS_MYSQL, (id, id)).await?;
    let one = |(info, stage, done, total): (Option<String>, String, u64, u64)| {
        let stage = stage.rsplit('/').next().unwrap_or_default();
        (format!("{}: {stage}", statement(info.as_deref())), done, Some(total))
    };
    Ok(rows.into_iter().map(one).collect())
}

fn statement(info: Option<&str>) -> String {
    info.map_or_else(|| "statement".to_owned(), crate::sql::words::what)
}

/// Who waits for whom: around connection `ours`, or everywhere.
pub(super) async fn blocked(
    conn: &mut Conn,
    ours: Option<u32>,
    mariadb: bool,
) -> Result<Vec<BlockedSession>, mysql_async::Error> {
    let us = i64::from(ours.unwrap_or(0));
    let session = |(waiting, blocked_by, waiting_ms, place, user): (i64, i64, i64, String, String)| BlockedSession {
        waiting,
        blocked_by,
        by_us: ours.is_some() && blocked_by == us,
        waiting_ms: waiting_ms.unsigned_abs(),
        what: format!("a lock of {}", place.replace('`', "")),
        user,
        application: String::new(),
    };
    type Row = (i64, i64, i64, String, String);
    let rows: Vec<Row> = conn.exec(if mariadb { ROWS_MARIADB } else { ROWS_MYSQL }, (us,)).await?;
    let mut sessions: Vec<_> = rows.into_iter().map(session).collect();
    if mariadb {
        sessions.extend(tables_of_mariadb(conn, us).await?);
    } else {
        let rows: Vec<Row> = conn.exec(TABLES_MYSQL, (us,)).await?;
        sessions.extend(rows.into_iter().map(session));
    }
    if ours.is_some() {
        sessions.retain(|session| session.waiting == us || session.blocked_by == us);
    }
    sessions.sort_by_key(|session| (session.waiting, session.blocked_by));
    sessions.dedup_by_key(|session| (session.waiting, session.blocked_by));
    Ok(sessions)
}

async fn tables_of_mariadb(conn: &mut Conn, us: i64) -> Result<Vec<BlockedSession>, mysql_async::Error> {
    let waiting: Vec<(i64, i64, String)> = conn.query(TABLES_MARIADB).await?;
    let mut sessions = Vec::new();
    for (id, waiting_ms, user) in waiting {
        // Whoever comes after our statement waits for it, whether it has the table or waits for it itself.
        let (blocked_by, user) = if id != us && us != 0 {
            (us, user)
        } else {
            let open: Option<(i64, String)> = conn.exec_first(OPEN_MARIADB, (id,)).await?;
            open.unwrap_or((0, user))
        };
        sessions.push(BlockedSession {
            waiting: id,
            blocked_by,
            by_us: us != 0 && blocked_by == us,
            waiting_ms: waiting_ms.unsigned_abs(),
            what: "the table's definition".to_owned(),
            user,
            application: String::new(),
        });
    }
    Ok(sessions)
}
