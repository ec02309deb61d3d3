//! What a statement is at while it runs, looked at on the second connection: how far the server says it is, who waits for
//! it, and for whom it waits.

use std::future::Future;
use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use crate::error::Result;
use crate::watch::{BlockedSession, Event, Watch};

use super::client::error;
use super::second::Second;

/// A statement that is done before this costs nothing more.
const EVERY: Duration = Duration::from_millis(500);

/// Has `work` done, and tells meanwhile how it gets on.
pub(super) async fn watched<T>(
    second: &Second,
    pid: i32,
    id: &str,
    watch: &dyn Watch,
    work: impl Future<Output = T>,
) -> T {
    let mut told = Told::default();
    let done = tokio::select! {
        biased;
        done = work => done,
        never = looks(second, pid, id, watch, &mut told) => match never {},
    };
    if !told.blocked.is_empty() {
        watch.tell(&Event::Blocked { id, sessions: &[] });
    }
    done
}

/// What was told last.
#[derive(Default)]
struct Told {
    blocked: Vec<BlockedSession>,
    measured: Option<Measure>,
}

/// How far a statement is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    /// In the server's words.
    pub(super) phase: String,
    /// What it works on, if the server says.
    pub(super) relation: Option<String>,
    pub(super) done: u64,
    pub(super) total: Option<u64>,
}

async fn looks(second: &Second, pid: i32, id: &str, watch: &dyn Watch, told: &mut Told) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(failed) = look(second, pid, id, watch, told).await {
            tracing::debug!(code = &*failed.code, "the running statement could not be looked at");
        }
    }
}

async fn look(second: &Second, pid: i32, id: &str, watch: &dyn Watch, told: &mut Told) -> Result<()> {
    let client = second.client().await?;
    let measured = progress(&client, Some(pid)).await?.into_iter().next();
    if let Some(measure) = measured.filter(|measure| told.measured.as_ref() != Some(measure)) {
        watch.tell(&Event::Measured { id, phase: &measure.phase, done: measure.done, total: measure.total });
        told.measured = Some(measure);
    }
    let sessions = blocked(&client, Some(pid)).await?;
    let who = |all: &[BlockedSession]| -> Vec<(i64, i64, String)> {
        all.iter().map(|one| (one.waiting, one.blocked_by, one.what.clone())).collect()
    };
    if who(&sessions) != who(&told.blocked) {
        watch.tell(&Event::Blocked { id, sessions: &sessions });
        told.blocked = sessions;
    }
    Ok(())
}

/// What the server says of commands at work: of one session, or of all in this database.
pub(super) async fn progress(client: &Client, pid: Option<i32>) -> Result<Vec<Measure>> {
    // Views and columns that a version does not have are left out: rows are looked at as JSON, by views that are there.
    let row = client
        .query_typed(
            "SELECT relname::text FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
                AND relname IN ('pg_stat_progress_create_index', 'pg_stat_progress_cluster', 'pg_stat_progress_vacuum',
                    'pg_stat_progress_analyze', 'pg_stat_progress_copy')",
            &[],
        )
        .await
        .map_err(|cause| error("cannot look at the progress", &cause))?;
    let views: Vec<String> = row.iter().filter_map(|row| row.try_get(0).ok()).collect();
    if views.is_empty() {
        return Ok(Vec::new());
    }
    let one = |view: &String| {
        format!(
            "SELECT '{view}' AS view, to_jsonb(p) AS p FROM {view} p
            WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND ($1::int IS NULL OR pid = $1)"
        )
    };
    let text = format!(
        "SELECT view, p->>'command', p->>'phase', nullif(p->>'relid', '0')::oid::regclass::text,
            array(SELECT (p->>name)::bigint FROM unnest(ARRAY['tuples_total', 'tuples_done', 'blocks_total', 'blocks_done',
                'lockers_total', 'lockers_done', 'heap_blks_total', 'heap_blks_scanned', 'sample_blks_total',
                'sample_blks_scanned', 'bytes_total', 'bytes_processed']) name)
        FROM ({}) AS all_views",
        views.iter().map(one).collect::<Vec<_>>().join(" UNION ALL ")
    );
    let rows = client.query_typed(&text, &[(&pid, Type::INT4)]).await;
    let rows = rows.map_err(|cause| error("cannot look at the progress", &cause))?;
    rows.iter().map(measure).collect::<Result<_, _>>().map_err(|cause| error("cannot look at the progress", &cause))
}

fn measure(row: &Row) -> Result<Measure, tokio_postgres::Error> {
    let (view, command, phase): (String, Option<String>, Option<String>) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let numbers: Vec<Option<i64>> = row.try_get(4)?;
    // Of what is counted in several units, the first of which there is a total.
    let known = numbers.chunks(2).find_map(|pair| match pair {
        [Some(total), Some(done)] if *total > 0 => Some((done.unsigned_abs(), Some(total.unsigned_abs()))),
        _ => None,
    });
    let without_total = || numbers.chunks(2).find_map(|pair| pair.get(1).copied().flatten()).map(i64::unsigned_abs);
    let (done, total) = known.unwrap_or_else(|| (without_total().unwrap_or(0), None));
    let command = command.unwrap_or_else(|| view.trim_start_matches("pg_stat_progress_").replace('_', " "));
    let phase = phase.map_or(command.clone(), |phase| format!("{}: {phase}", command.to_lowercase()));
    Ok(Measure { phase, relation: row.try_get(3)?, done, total })
}

/// Who waits for whom: a session and those it waits for or who wait for it, or all in this database.
pub(super) async fn blocked(client: &Client, pid: Option<i32>) -> Result<Vec<BlockedSession>> {
    let text = "SELECT w.pid, b.pid, coalesce(b.pid = $1, false),
            greatest(0, extract(epoch FROM clock_timestamp()
                - coalesce((to_jsonb(w)->>'waitstart')::timestamptz, o.query_start, o.state_change)) * 1000)::bigint,
            w.mode || CASE WHEN w.relation IS NULL THEN ' on a ' || w.locktype ELSE ' on ' || w.relation::regclass END,
            coalesce(x.usename::text, ''), coalesce(x.application_name, '')
        FROM pg_locks w
            CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) b
            LEFT JOIN pg_stat_activity o ON o.pid = w.pid
            LEFT JOIN pg_stat_activity x ON x.pid = CASE WHEN w.pid = $1 THEN b.pid ELSE w.pid END
        WHERE NOT w.granted AND (o.datname = current_database()) AND ($1::int IS NULL OR w.pid = $1 OR b.pid = $1)
        ORDER BY 1, 2";
    let doing = |cause: tokio_postgres::Error| error("cannot look at the locks", &cause);
    let rows = client.query_typed(text, &[(&pid, Type::INT4)]).await.map_err(doing)?;
    let session = |row: &Row| -> Result<BlockedSession, tokio_postgres::Error> {
        let (waiting, blocked_by): (i32, i32) = (row.try_get(0)?, row.try_get(1)?);
        Ok(BlockedSession {
            waiting: waiting.into(),
            blocked_by: blocked_by.into(),
            by_us: row.try_get(2)?,
            waiting_ms: row.try_get::<_, Option<i64>>(3)?.unwrap_or(0).unsigned_abs(),
            what: row.try_get(4)?,
            user: row.try_get(5)?,
            application: row.try_get(6)?,
        })
    };
    rows.iter().map(session).collect::<Result<_, _>>().map_err(doing)
}
