//! The last batch of a running plugin as a replay case, for its author. Values are redacted here, before anything leaves
//! the agent: only what the configuration lets be shown, and somebody asked for, is in the answer.

use super::case::Case;
use super::load::BuildError;
use super::redact::redacted;
use super::reload::{Reloads, UnknownPlace};
use super::sample::Sample;
use super::view::View;
use crate::config::raw::Record;
use crate::plugin::Setup;

/// As many events are in a case, the newest of the batch: a person is to read what becomes of them.
const MAX_EVENTS: usize = 100;
/// And as many bytes of them, unless one has more.
const MAX_BYTES: usize = 1 << 20;

/// Which values a case is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Show {
    /// None.
    #[default]
    Nothing,
    /// Those of columns with these names, in any table.
    Columns(Vec<String>),
    /// All.
    Everything,
}

impl Show {
    fn shows(&self, column: &str) -> bool {
        match self {
            Show::Nothing => false,
            Show::Columns(columns) => columns.iter().any(|one| one == column),
            Show::Everything => true,
        }
    }

    fn words(&self) -> String {
        match self {
            Show::Nothing => "values redacted".to_owned(),
            Show::Columns(columns) => format!("values redacted but for {}", columns.join(", ")),
            Show::Everything => "values as they were".to_owned(),
        }
    }
}

/// Why there is no case.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no such place.
    #[error(transparent)]
    Unknown(#[from] UnknownPlace),
    /// It may not be.
    #[error("this agent lets nothing be recorded; `plugins.record: redacted` in its configuration would")]
    Off,
    /// Values may not be shown.
    #[error("this agent shows no values; ask for none, or write `plugins.record: values` into its configuration")]
    NoValues,
    /// No batch was kept.
    #[error(
        "the plugin has seen no batch since the agent started, or none of at most 16 MiB; ask again when events have come"
    )]
    Nothing,
    /// The plugin's grants make no sense, or an event has no JSON.
    #[error("the batch cannot be written down")]
    Build(#[from] BuildError),
    /// An event cannot be written down.
    #[error("the batch cannot be written down")]
    Json(#[from] serde_json::Error),
}

impl Reloads {
    /// The last batch that a plugin saw and that was kept, as the text of a replay case.
    ///
    /// # Errors
    /// When there is none, or it may not be shown.
    pub fn recorded(&self, pipeline: &str, plugin: &str, show: &Show) -> Result<String, RecordError> {
        match (self.record, show) {
            (Record::Off, _) => return Err(RecordError::Off),
            (Record::Redacted, Show::Columns(_) | Show::Everything) => return Err(RecordError::NoValues),
            (Record::Redacted, Show::Nothing) | (Record::Values, _) => {}
        }
        let recipe = self.recipe(pipeline, plugin)?;
        let batch = recipe.slot.recorded().ok_or(RecordError::Nothing)?.batch;
        let status = recipe.slot.place.status();
        let mut setup = recipe.setup(&self.sandbox, None)?;
        // What came out of the shadow has the shadow's options.
        let shadow = recipe.transform.shadow.as_ref().filter(|shadow| status.promoted && shadow.config.is_some());
        if let Some(shadow) = shadow {
            setup = Setup { written: shadow.written.clone(), ..setup };
        }
        let view = View::new(batch.as_ref().clone());
        let seen = view.shown().len();
        let (mut events, mut bytes) = (Vec::new(), 0);
        for row in view.shown().iter().rev().take(MAX_EVENTS) {
            let Some(event) = batch.events.get(*row as usize) else { continue };
            let mut event = Sample::of(&batch, event)?;
            bytes += event.size();
            if bytes > MAX_BYTES && !events.is_empty() {
                break;
            }
            redact(&mut event, show);
            events.push(event);
        }
        events.reverse();
        let description = format!(
            "{} of {seen} events as plugin {plugin} of pipeline {pipeline} saw them, {}; version {}, sha256:{}",
            events.len(),
            show.words(),
            status.edition.version,
            status.edition.digest
        );
        Ok(Case::of(&setup, description, events).text()?)
    }
}

fn redact(sample: &mut Sample, show: &Show) {
    for image in [&mut sample.key, &mut sample.before, &mut sample.after].into_iter().flatten() {
        for (_, raw) in image.iter_mut().filter(|(name, _)| !show.shows(name)) {
            *raw = redacted(raw);
        }
    }
}
