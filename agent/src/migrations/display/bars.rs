//! A bar with rate and time left on a terminal, and what is worth a line above it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use whimbrel_migrate::watch::{Event, Watch};

use super::words::{reached, sentences};
use crate::runtime::logging::escaped;
use crate::stats::MigrationBoard;
use crate::stats::migrations::id_of;

/// The bar's own count: shares in ten thousandths.
const WHOLE: u64 = 10_000;
/// How often what nobody tells of, the time that passes, is drawn.
const TICK: Duration = Duration::from_millis(200);

/// Draws one bar, for the migration that runs.
pub struct Bars {
    board: Arc<MigrationBoard>,
    set: String,
    bar: ProgressBar,
    /// What the step that runs does.
    what: Mutex<String>,
}

impl Bars {
    /// A bar that is drawn on standard error, which has to be a terminal, once something begins.
    #[must_use]
    pub fn target() -> ProgressBar {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
    }

    /// Shows the migrations of this set on `bar`.
    #[must_use]
    pub fn new(board: &Arc<MigrationBoard>, set: &str, bar: ProgressBar) -> Self {
        Self { board: Arc::clone(board), set: set.to_owned(), bar, what: Mutex::default() }
    }

    fn style(&self, known: bool) {
        // Where nobody can tell how far it is, a bar would only pretend.
        let template = if known { "{prefix} {bar:28} {msg}" } else { "{prefix} {spinner} {elapsed} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
    }

    fn show(&self, id: &str) {
        let far = self.board.reached(&self.set, id);
        let what = self.what.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = far.ratio.is_some();
        if known != self.bar.length().is_some() {
            match known {
                true => self.bar.set_length(WHOLE),
                false => self.bar.unset_length(),
            }
            self.style(known);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a bar"
        )]
        self.bar.set_position((far.ratio.unwrap_or(0.0) * WHOLE as f64) as u64);
        let said = reached(&far);
        self.bar.set_message(if said.is_empty() { what } else { format!("{said}  {what}") });
    }
}

impl Watch for Bars {
    fn tell(&self, event: &Event<'_>) {
        for line in sentences(event) {
            self.bar.suspend(|| {
                use std::io::Write as _;
                let _ = writeln!(std::io::stderr(), "{line}");
            });
        }
        let Some(id) = id_of(event) else { return };
        match event {
            Event::Started { .. } => {
                // The style first: whatever comes after draws.
                self.style(false);
                self.bar.set_prefix(escaped(id));
                self.bar.set_message("");
                self.bar.unset_length();
                self.bar.reset();
                self.bar.enable_steady_tick(TICK);
            }
            Event::StepStarted { what, .. } => {
                *self.what.lock().unwrap_or_else(PoisonError::into_inner) = escaped(what);
                self.show(id);
            }
            Event::Measured { phase, .. } => {
                *self.what.lock().unwrap_or_else(PoisonError::into_inner) = escaped(phase);
                self.show(id);
            }
            Event::Committed { .. } | Event::StepEnded { .. } => self.show(id),
            Event::Ended { .. } => {
                self.bar.disable_steady_tick();
                self.bar.finish_and_clear();
            }
            _ => {}
        }
    }
}
