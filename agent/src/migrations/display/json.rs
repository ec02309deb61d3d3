//! One JSON object a line for each event, for programs. Fields are added, never renamed or removed.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use whimbrel_migrate::database::System;
use whimbrel_migrate::ledger::{Progress, now_ms};
use whimbrel_migrate::watch::{Event, Watch};

use crate::runtime::logging::harmless_json;
use crate::stats::MigrationBoard;
use crate::stats::migrations::id_of;

/// Writes objects. One that cannot be written is lost; the migration goes on.
pub struct Json {
    board: Arc<MigrationBoard>,
    set: String,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Json {
    /// Into `out`.
    #[must_use]
    pub fn new(board: &Arc<MigrationBoard>, set: &str, out: Box<dyn Write + Send>) -> Self {
        Self { board: Arc::clone(board), set: set.to_owned(), out: Mutex::new(out) }
    }
}

impl Watch for Json {
    fn tell(&self, event: &Event<'_>) {
        let mut object = object(event);
        if let (Event::Committed { .. } | Event::Measured { .. }, Some(id)) = (event, id_of(event)) {
            let far = self.board.reached(&self.set, id);
            object.insert("progress_ratio".into(), json!(far.ratio));
            object.insert("per_second".into(), json!(far.per_second));
            object.insert("eta_seconds".into(), json!(far.eta_seconds));
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = line(&mut **out, &Value::Object(object));
    }
}

/// Writes one object as a line.
///
/// # Errors
/// When it cannot be written.
pub fn line(out: &mut dyn Write, object: &Value) -> std::io::Result<()> {
    writeln!(out, "{}", harmless_json(&object.to_string()))?;
    out.flush()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn took(started: SystemTime) -> u64 {
    ms(started.elapsed().unwrap_or_default())
}

fn reached(progress: &Progress) -> Value {
    let total = progress.total();
    json!({ "step": progress.step, "done": total.done, "expected": total.expected, "places": progress.counts })
}

fn object(event: &Event<'_>) -> Map<String, Value> {
    let (word, fields) = match event {
        Event::WaitingForLock { holder, since } => {
            ("waiting_for_lock", json!({ "holder": holder, "waited_ms": ms(*since) }))
        }
        Event::Started { name, system, direction, steps, progress, .. } => (
            "started",
            json!({
                "name": name, "system": system.map(System::as_str), "direction": direction.as_str(), "steps": steps,
                "progress": reached(progress),
            }),
        ),
        Event::StepStarted { index, what, place, expected, .. } => {
            ("step_started", json!({ "step": index, "what": what, "place": place, "expected": expected }))
        }
        Event::Attempted { place, count, .. } => ("attempted", json!({ "place": place, "count": count })),
        Event::Committed { place, count, started, progress, .. } => (
            "committed",
            json!({ "place": place, "count": count, "took_ms": took(*started), "progress": reached(progress) }),
        ),
        Event::Measured { phase, done, total, .. } => {
            ("measured", json!({ "phase": phase, "done": done, "total": total }))
        }
        Event::Blocked { sessions, .. } => ("blocked", json!({ "sessions": sessions })),
        Event::Throttled { lag, waited, .. } => ("throttled", json!({ "lag_ms": ms(*lag), "waited_ms": ms(*waited) })),
        Event::Retried { code, attempt, wait, .. } => {
            ("retried", json!({ "code": code, "attempt": attempt, "wait_ms": ms(*wait) }))
        }
        Event::StepEnded { index, what, started, error, .. } => {
            ("step_ended", json!({ "step": index, "what": what, "took_ms": took(*started), "code": error }))
        }
        Event::Checked { check, fault, .. } => ("checked", json!({ "check": check, "fault": fault })),
        Event::Ended { direction, started, error, progress, .. } => (
            "ended",
            json!({
                "direction": direction.as_str(), "took_ms": took(*started), "code": error.map(|(code, _)| code),
                "error": error.map(|(_, message)| message), "progress": reached(progress),
            }),
        ),
    };
    let mut object = Map::new();
    object.insert("event".into(), word.into());
    object.insert("at_ms".into(), now_ms().into());
    if let Some(id) = id_of(event) {
        object.insert("migration_id".into(), id.into());
    }
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    object
}
