//! One window, with the series these rules read lined up by step. Whatever was not known stays unknown.

use whimbrel_plugin::{Series, Window};

/// `lag_state` while the target has all there is.
const CAUGHT_UP: f64 = 0.0;

/// A window as these rules see it.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) window: &'a Window,
    /// The series that are of the whole scope: those of partitions are many, and none of them is read here.
    whole: Vec<&'a Series>,
    /// `events_per_second` of a pipeline, `rows_per_second` of a migration.
    pub(crate) rate: Option<&'a Series>,
    /// What the rate counts: "events" or "rows".
    pub(crate) unit: &'static str,
    /// The distance of its steps, in milliseconds.
    pub(crate) step_ms: i64,
}

impl<'a> Scene<'a> {
    pub(crate) fn of(window: &'a Window) -> Self {
        let whole: Vec<&Series> =
            window.series.iter().filter(|series| !series.name.starts_with("partition_")).collect();
        let named = |name| whole.iter().find(|series| series.name == name).copied();
        let (rate, unit) = match named("events_per_second") {
            Some(events) => (Some(events), "events"),
            None => (named("rows_per_second"), "rows"),
        };
        let steps = rate.or_else(|| named("error_ratio")).or_else(|| named("running"));
        let step_ms = steps.and_then(Series::step_ms).unwrap_or(window.end_ms.saturating_sub(window.start_ms));
        Scene { window, whole, rate, unit, step_ms: step_ms.clamp(1, 86_400_000) }
    }

    /// The series of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&'a Series> {
        self.whole.iter().find(|series| series.name == name).copied()
    }

    /// The value of a series at a step.
    pub(crate) fn at(&self, name: &str, at_ms: i64) -> Option<f64> {
        let value = self.named(name)?.at(at_ms, self.step_ms / 2)?;
        value.is_finite().then_some(value)
    }

    pub(crate) fn is_running(&self, at_ms: i64) -> bool {
        self.at("running", at_ms) == Some(1.0) && self.at("progress_ratio", at_ms).is_none_or(|done| done < 1.0)
    }

    pub(crate) fn is_caught_up(&self, at_ms: i64) -> bool {
        self.at("lag_state", at_ms) == Some(CAUGHT_UP)
    }

    /// Whether nothing waits at the broker, also where it is not proven that the source has nothing more.
    pub(crate) fn has_all(&self, at_ms: i64) -> bool {
        self.is_caught_up(at_ms) || self.at("lag_messages", at_ms) == Some(0.0)
    }

    /// The hop that takes longest just now, of those between the broker and the target.
    pub(crate) fn slowest_hop(&self, at_ms: i64) -> Option<(&'a str, f64)> {
        let hops = self.whole.iter().filter(|series| series.name == "hop_seconds").filter_map(|series| {
            let hop = series.label("hop").filter(|hop| ["broker", "transform", "apply"].contains(hop))?;
            Some((hop, series.at(at_ms, self.step_ms / 2).filter(|seconds| seconds.is_finite())?))
        });
        hops.max_by(|(_, a), (_, b)| a.total_cmp(b))
    }
}
