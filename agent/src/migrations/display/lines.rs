//! Plain lines, for CI and whatever else is no terminal.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use whimbrel_migrate::watch::{Event, Watch};

use super::words::{reached, sentences};
use crate::runtime::logging::escaped;
use crate::stats::MigrationBoard;
use crate::stats::migrations::id_of;

/// How often a line says how far a migration is.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Writes lines. One that cannot be written is lost; the migration goes on.
pub struct Lines {
    board: Arc<MigrationBoard>,
    set: String,
    every: Duration,
    out: Mutex<(Box<dyn Write + Send>, Instant)>,
}

impl Lines {
    /// Into `out`, with progress at most once in `every`.
    #[must_use]
    pub fn new(board: &Arc<MigrationBoard>, set: &str, out: Box<dyn Write + Send>, every: Duration) -> Self {
        Self { board: Arc::clone(board), set: set.to_owned(), every, out: Mutex::new((out, Instant::now())) }
    }
}

impl Watch for Lines {
    fn tell(&self, event: &Event<'_>) {
        let mut guard = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, told) = &mut *guard;
        for line in sentences(event) {
            let _ = writeln!(out, "{line}");
        }
        if matches!(event, Event::Started { .. } | Event::StepStarted { .. }) {
            *told = Instant::now();
        }
        if let (Event::Committed { .. } | Event::Measured { .. }, Some(id)) = (event, id_of(event))
            && told.elapsed() >= self.every
        {
            *told = Instant::now();
            let place = match event {
                Event::Committed { place, .. } => *place,
                Event::Measured { phase, .. } => *phase,
                _ => "",
            };
            let far = reached(&self.board.reached(&self.set, id));
            let _ = writeln!(out, "{}   {}: {far}", escaped(id), escaped(place));
        }
        let _ = out.flush();
    }
}
