//! One window, with the series of each partition put together. Whatever was not known stays unknown.

use whimbrel_plugin::{Series, Window};

use crate::partition::Partition;

/// A window as these rules see it.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) window: &'a Window,
    /// By topic and partition.
    pub(crate) partitions: Vec<((&'a str, &'a str), Partition<'a>)>,
    /// All other series.
    others: Vec<&'a Series>,
    pub(crate) step_ms: i64,
}

impl<'a> Scene<'a> {
    pub(crate) fn of(window: &'a Window) -> Self {
        let mut others = Vec::new();
        // One entry for each series of a partition first, then those of one partition put together.
        let mut partitions: Vec<((&str, &str), Partition<'a>)> = Vec::new();
        for series in &window.series {
            let Some(quantity) = series.name.strip_prefix("partition_") else {
                others.push(series);
                continue;
            };
            let Some(key) = series.label("topic").zip(series.label("partition")) else { continue };
            partitions.push((key, Partition::of(quantity, series)));
        }
        partitions.sort_unstable_by_key(|(key, _)| *key);
        partitions.dedup_by(|(key, series), (before, known)| {
            let same = key == before;
            if same {
                known.join(series);
            }
            same
        });
        // The agent tells all of them together, so one step is everybody's.
        let steps = others.iter().copied().chain(partitions.iter().filter_map(|(_, partition)| partition.end));
        let step_ms = steps.filter_map(Series::step_ms).next();
        let step_ms = step_ms.unwrap_or(window.end_ms.saturating_sub(window.start_ms)).clamp(1, 86_400_000);
        Scene { window, partitions, others, step_ms }
    }

    /// The series of this name that are of no partition.
    pub(crate) fn named(&self, name: &'a str) -> impl Iterator<Item = &'a Series> + '_ {
        self.others.iter().copied().filter(move |series| series.name == name)
    }

    /// The newest value of a series, if it is of the last step.
    pub(crate) fn now(&self, series: &Series) -> Option<f64> {
        let point = self.window.newest(series).next()?;
        (point.at_ms >= self.window.start_ms).then_some(point.value)
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.named("running").find_map(|series| self.now(series)) == Some(0.0)
    }

    /// How many messages wait at the broker; `None` while nobody knows.
    pub(crate) fn waiting(&self) -> Option<f64> {
        if let Some(lag) = self.named("lag_messages").find_map(|series| self.now(series)) {
            return Some(lag);
        }
        let lags: Vec<f64> =
            self.partitions.iter().filter_map(|(_, partition)| partition.lag_now(self.window.end_ms)).collect();
        (!lags.is_empty()).then(|| lags.iter().sum())
    }

    /// Where what is late is late: of the hops behind the broker the slowest, when something waits there; before it, when
    /// nothing does.
    pub(crate) fn hop(&self) -> &'a str {
        if self.waiting() == Some(0.0) {
            return "capture";
        }
        let hops = self.named("hop_seconds").filter_map(|series| {
            let hop = series.label("hop").filter(|hop| ["broker", "transform", "apply"].contains(hop))?;
            Some((hop, self.now(series)?))
        });
        hops.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or("apply", |(hop, _)| hop)
    }
}
