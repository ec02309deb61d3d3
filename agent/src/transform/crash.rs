//! What a crash leaves behind: a replay case of the one event that a plugin trapped on, with its values, so that
//! `whimbrel plugin test` shows the same trap; or of all that it trapped on together, where it traps on none alone. Only
//! where the configuration names a folder for it. Whatever goes wrong with it is logged and counted, and the pipeline's way
//! does not depend on it.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::case::Case;
use super::sample::Sample;
use super::view::View;
use crate::batch::Batch;
use crate::plugin::repro::ReproDir;
use crate::plugin::store::Entries;
use crate::plugin::{Plugin, Transform, Trap};
use crate::runtime::logging::chain;
use crate::stats::PluginMeter;

/// The largest bundle: events and state are some kilobytes.
const MAX_BYTES: usize = 1 << 20;

/// Where the plugins of one pipeline leave bundles.
#[derive(Debug)]
pub(super) struct Bundles {
    pub(super) directory: ReproDir,
    pub(super) pipeline: String,
}

/// A case with its name.
pub(super) struct Bundle {
    name: String,
    text: String,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub(super) enum BundleError {
    /// An event has no JSON.
    #[error("the events cannot be written down")]
    Json(#[from] serde_json::Error),
    /// It is too large.
    #[error("it would have {0} bytes, and 1 MiB is the most")]
    TooLarge(usize),
    /// The folder cannot be written.
    #[error("the folder of `plugins.repro_dir` cannot be written")]
    Keep(#[from] std::io::Error),
}

impl Bundles {
    /// Writes down the call of this plugin with these events of a batch, made at that time, which trapped.
    pub(super) fn write_down(
        &self,
        plugin: &Plugin<Transform<View>>,
        at_ms: i64,
        batch: &Batch,
        rows: &[u32],
        trap: &Trap,
    ) -> Result<Bundle, BundleError> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        for event in rows.iter().filter_map(|row| batch.events.get(*row as usize)) {
            let sample = Sample::of(batch, event)?;
            bytes += sample.size();
            if bytes > MAX_BYTES {
                return Err(BundleError::TooLarge(bytes));
            }
            events.push(sample);
        }
        let first = rows.first().and_then(|row| batch.events.get(*row as usize));
        let topic = first.map_or("", |event| batch.topic(event));
        let (partition, offset) = first.map_or((-1, -1), |event| (event.origin.partition, event.origin.offset));
        let alone = if rows.len() == 1 { "" } else { " and what follows, and on none of them alone" };
        let setup = plugin.setup();
        let mut case = Case::of(setup, String::new(), events);
        let message = Case::hide(setup, &trap.message);
        case.description = format!(
            "plugin {} of pipeline {} trapped on {topic}/{partition}/{offset}{alone}: {}: {message}",
            plugin.name(),
            self.pipeline,
            trap.cause.as_str()
        );
        case.now_ms = at_ms;
        case.limit(&setup.limits);
        case.trap = Some(json!({
            "cause": trap.cause.as_str(),
            "message": message,
            "pipeline": self.pipeline,
            "plugin": plugin.name(),
            "version": plugin.manifest().version,
            "digest": plugin.digest(),
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "agent": env!("CARGO_PKG_VERSION"),
            "engine": plugin.engine().fingerprint(),
        }));
        let mut text = with_state(&mut case, plugin)?;
        if text.len() > MAX_BYTES && !case.state.is_empty() {
            case.state.clear();
            case.description.push_str("; what it kept is too large to be here");
            text = case.text()?;
        }
        if text.len() > MAX_BYTES {
            return Err(BundleError::TooLarge(text.len()));
        }
        // The same event, when it is read again, takes the place of its first bundle.
        let event = format!("{topic}\0{partition}\0{offset}\0{}\0{}", plugin.digest(), rows.len() == 1);
        let event: String = Sha256::digest(event).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}-{}-{partition}-{offset}-{event}", self.pipeline, short(plugin.name()));
        Ok(Bundle { name, text })
    }

    /// Keeps a bundle, if there is one.
    pub(super) fn keep(&self, plugin: &str, meter: &PluginMeter, bundle: Result<Bundle, BundleError>) {
        match bundle.and_then(|Bundle { name, text }| Ok(self.directory.keep(&name, &text)?)) {
            Ok(path) => {
                let path = path.display();
                tracing::warn!(plugin, %path, "repro bundle written: `whimbrel plugin test --case` replays it");
                meter.bundle("written");
            }
            Err(error) => {
                tracing::warn!(plugin, error = chain(&error), "repro bundle dropped");
                meter.bundle("dropped");
            }
        }
    }
}

/// The case's text with the state that the call began with: a call that traps changes none.
fn with_state(case: &mut Case, plugin: &Plugin<Transform<View>>) -> serde_json::Result<String> {
    let setup = plugin.setup();
    if plugin.keeps_state() {
        let kept = setup.services.store.load(&setup.owner).unwrap_or_else(|_| {
            case.description.push_str("; what it kept cannot be read");
            Entries::new()
        });
        case.keep(setup, &kept);
    }
    case.text()
}

/// A plugin names itself, at any length.
fn short(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| name.split_at(end).0)
}
