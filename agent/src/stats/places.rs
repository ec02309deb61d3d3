//! What is told of a plugin in its place: which version works there, how its last reload went, how the version in its
//! shadow compares. Counts and facts only: no row values.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::family::Label;
use super::instruments::{Count, Instruments};

/// As many differences are kept as a person reads.
const MAX_EXAMPLES: usize = 20;
/// Names of what differed come from data.
const MAX_PARTS: usize = 100;

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadOutcome {
    /// The new version works.
    Swapped,
    /// The file holds what was loaded before.
    Unchanged,
    /// There is no file to read.
    Unreadable,
    /// The file is no plugin that may stand here.
    Refused,
    /// It does not compile, link, start, or take its configuration.
    Failed,
    /// It was tried on a batch, and found wanting.
    Canary,
}

impl ReloadOutcome {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Swapped, Self::Unchanged, Self::Unreadable, Self::Refused, Self::Failed, Self::Canary];

    /// The metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Swapped => "swapped",
            Self::Unchanged => "unchanged",
            Self::Unreadable => "unreadable",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Canary => "canary",
        }
    }

    /// Whether the place now has what it should have.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Swapped | Self::Unchanged)
    }
}

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Edition {
    /// A bundled name, or the path of the file.
    pub source: String,
    /// Its version, as it says itself.
    pub version: String,
    /// SHA-256 of its file, in hex.
    pub digest: String,
}

/// The last reload that was more than a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastReload {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// How it ended.
    pub outcome: ReloadOutcome,
    /// Why, when it did not end well.
    pub why: Option<String>,
}

/// What a shadow's answer to an event was, beside that of the version at work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The same.
    pub same: u64,
    /// Another verdict, table or value.
    pub differs: u64,
    /// None: it trapped, or is in quarantine.
    pub error: u64,
    /// None: it was busy with earlier events.
    pub skipped: u64,
}

/// What a comparison must show before a shadow may be promoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// At least so many events were compared.
    pub min_events: u64,
    /// At most so many differed or ended in an error. None: any number may differ, and none may end in an error.
    pub max_differs: Option<u64>,
}

/// One event on which they differed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where it stands.
    pub topic: String,
    /// Where it stands.
    pub partition: i32,
    /// Where it stands.
    pub offset: i64,
    /// What differed: `verdict`, `table`, or a column such as `after.email`.
    pub parts: Vec<String>,
}

/// A version that runs beside the one at work.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ShadowStatus {
    /// Which.
    #[serde(flatten)]
    pub edition: Edition,
    /// Which share of the batches it sees.
    pub sample: f64,
    /// Events by how they compare.
    pub events: Compared,
    /// How often what differed.
    pub parts: BTreeMap<String, u64>,
    /// The newest differences.
    pub examples: VecDeque<Difference>,
    /// Why what stands in the file does not run.
    pub why: Option<String>,
    #[serde(skip)]
    number: u64,
}

/// What status shows of a plugin in its place.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PluginStatus {
    /// Pipeline.
    pub pipeline: Arc<str>,
    /// Name.
    pub plugin: Arc<str>,
    /// What works there.
    #[serde(flatten)]
    pub edition: Edition,
    /// Whether it came out of the shadow: the configuration file then still names the version before it.
    pub promoted: bool,
    /// How often one version followed another.
    pub swaps: u64,
    /// The last reload.
    pub last_reload: Option<LastReload>,
    /// What runs beside it.
    pub shadow: Option<ShadowStatus>,
}

/// What is known of one place. Read by status, readiness and metrics as long as it lives.
pub struct PluginPlace {
    label: Arc<str>,
    instruments: Instruments,
    status: Mutex<PluginStatus>,
}

impl fmt::Debug for PluginPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginPlace").field("plugin", &self.label).finish_non_exhaustive()
    }
}

impl PluginPlace {
    /// The place of this plugin in this pipeline, with what works there at the start.
    #[must_use]
    pub fn new(pipeline: &str, plugin: &str, edition: Edition, instruments: &Instruments) -> Arc<Self> {
        let label: Arc<str> = plugin.into();
        let status =
            PluginStatus { pipeline: pipeline.into(), plugin: Arc::clone(&label), edition, ..PluginStatus::default() };
        let place = Arc::new(Self { label, instruments: instruments.clone(), status: Mutex::new(status) });
        instruments.watch_place(&place);
        for outcome in ReloadOutcome::ALL {
            place.count(Count::PluginReloads, outcome.as_str(), 0);
        }
        place
    }

    fn lock(&self) -> MutexGuard<'_, PluginStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, count: Count, outcome: &'static str, by: u64) {
        self.instruments.add(count, vec![Label::from(&self.label), Label::Word(outcome)], by);
    }

    /// What there is to know.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        self.lock().clone()
    }

    /// A new version works here.
    pub fn swapped(&self, edition: Edition, promoted: bool) {
        let mut status = self.lock();
        (status.edition, status.promoted) = (edition, promoted);
        status.swaps += 1;
        drop(status);
        self.reloaded(ReloadOutcome::Swapped, None);
    }

    /// A reload ended; the version at work is as before, unless [`PluginPlace::swapped`] said otherwise.
    pub fn reloaded(&self, outcome: ReloadOutcome, why: Option<String>) {
        self.count(Count::PluginReloads, outcome.as_str(), 1);
        let at_ms = self.instruments.now_ms();
        let mut status = self.lock();
        // A look that found nothing new hides no earlier failure, unless what is there now is what works.
        if outcome != ReloadOutcome::Unchanged || status.last_reload.as_ref().is_some_and(|last| last.why.is_some()) {
            status.last_reload = Some(LastReload { at_ms, outcome, why });
        }
    }

    /// Another version runs beside the one at work from now on, and is compared anew; the number names it in
    /// [`PluginPlace::compared`].
    pub fn shadowed(&self, edition: Edition, sample: f64, number: u64) {
        for outcome in ["same", "differs", "error", "skipped"] {
            self.count(Count::PluginShadow, outcome, 0);
        }
        self.lock().shadow = Some(ShadowStatus { edition, sample, number, ..ShadowStatus::default() });
    }

    /// None was started, and why, unless it was for want of anything new; an earlier one goes on.
    pub fn not_shadowed(&self, source: &str, why: Option<String>) {
        let mut status = self.lock();
        let shadow = status.shadow.get_or_insert_with(|| ShadowStatus {
            edition: Edition { source: source.to_owned(), ..Edition::default() },
            ..ShadowStatus::default()
        });
        shadow.why = why;
    }

    /// None runs beside it any more.
    pub fn unshadowed(&self) {
        self.lock().shadow = None;
    }

    /// Events were compared, or skipped, by the shadow of this number.
    pub fn compared(&self, number: u64, events: &Compared, differences: Vec<Difference>) {
        for (outcome, by) in
            [("same", events.same), ("differs", events.differs), ("error", events.error), ("skipped", events.skipped)]
        {
            if by > 0 {
                self.count(Count::PluginShadow, outcome, by);
            }
        }
        let mut status = self.lock();
        let Some(shadow) = status.shadow.as_mut().filter(|shadow| shadow.number == number) else { return };
        shadow.events.same += events.same;
        shadow.events.differs += events.differs;
        shadow.events.error += events.error;
        shadow.events.skipped += events.skipped;
        for difference in differences {
            for part in &difference.parts {
                if let Some(count) = shadow.parts.get_mut(part) {
                    *count += 1;
                } else if shadow.parts.len() < MAX_PARTS {
                    shadow.parts.insert(part.clone(), 1);
                }
            }
            shadow.examples.push_back(difference);
            if shadow.examples.len() > MAX_EXAMPLES {
                shadow.examples.pop_front();
            }
        }
    }
}
