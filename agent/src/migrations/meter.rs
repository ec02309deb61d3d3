//! Counts what migrations do, and keeps the board. Counters of documents and rows move when the work is committed, and only
//! then; their attempted twins move with every attempt.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::KeyValue;
use whimbrel_migrate::database::System;
use whimbrel_migrate::watch::{Event, Watch};

use crate::stats::family::Label;
use crate::stats::instruments::Count;
use crate::stats::migrations::id_of;
use crate::stats::{Instruments, MigrationBoard};

/// What the engine calls it when somebody asked to stop: that is no error.
const STOPPED: &str = "stopped";

/// Counts for one set of migrations.
pub struct Meter {
    set: String,
    instruments: Instruments,
    board: Arc<MigrationBoard>,
}

impl Meter {
    /// For the migrations of this set; empty: a command that has only one.
    #[must_use]
    pub fn new(set: &str, instruments: &Instruments, board: &Arc<MigrationBoard>) -> Self {
        Self { set: set.to_owned(), instruments: instruments.clone(), board: Arc::clone(board) }
    }

    /// Whether the names for MongoDB are this migration's.
    fn is_document(&self, id: &str) -> bool {
        self.board.system(&self.set, id) == Some(System::Mongodb)
    }

    fn add(&self, id: &str, (documents, rows): (Count, Count), second: &str, count: u64) {
        let which = if self.is_document(id) { documents } else { rows };
        self.instruments.add(which, vec![Label::Name(id.into()), Label::Name(second.into())], count);
    }

    fn ended(&self, id: &str, started: SystemTime, is_success: bool) {
        let began_ms = started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now_ms = u128::try_from(self.instruments.now_ms()).unwrap_or(0);
        let took = u64::try_from(now_ms.saturating_sub(began_ms)).unwrap_or(u64::MAX);
        let seconds = Duration::from_millis(took).as_secs_f64();
        let inner = &self.instruments.inner;
        if self.is_document(id) {
            let status = if is_success { "success" } else { "failed" };
            inner.document_migration.record(id, seconds, Some(KeyValue::new("status", status)));
        } else {
            inner.migration.record(id, seconds, None);
        }
    }
}

impl Watch for Meter {
    fn tell(&self, event: &Event<'_>) {
        const COMMITTED: (Count, Count) = (Count::Documents, Count::MigratedRows);
        const ATTEMPTED: (Count, Count) = (Count::DocumentsAttempted, Count::MigratedRowsAttempted);
        const ERRORS: (Count, Count) = (Count::DocumentErrors, Count::MigrationErrors);
        self.board.tell(&self.set, event);
        let Some(id) = id_of(event) else { return };
        match event {
            Event::StepStarted { place: Some(place), .. } => {
                // A series is there before its first count, so that the first is an increase too.
                self.add(id, COMMITTED, place, 0);
                self.add(id, ATTEMPTED, place, 0);
            }
            Event::Attempted { place, count, .. } => self.add(id, ATTEMPTED, place, *count),
            Event::Committed { place, count, .. } => self.add(id, COMMITTED, place, *count),
            Event::Retried { code, .. } => self.add(id, ERRORS, code, 1),
            Event::Ended { error: Some((code, _)), .. } if *code == STOPPED => {}
            Event::Ended { started, error, .. } => {
                if let Some((code, _)) = error {
                    self.add(id, ERRORS, code, 1);
                }
                self.ended(id, *started, error.is_none());
            }
            _ => {}
        }
    }
}
