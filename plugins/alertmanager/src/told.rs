//! As how bad each alert was told last. The severity is one of an alert's labels, so the alert with the former one has to be
//! ended by name. The agent keeps this: an instance is thrown away every hour and after every trap. What a call writes stands
//! only when it succeeds, which is when the Alertmanager has taken the alerts.

use whimbrel_plugin::notice::line;
use whimbrel_plugin::prelude::*;

/// Under which key it is kept.
const KEY: &str = "told";
/// Most bytes that are kept, within the grant that the documentation names: more than 2,000 alerts that go on. Of one that is
/// forgotten, the one with a former severity ends when it expires.
const ROOM: usize = 60_000;

/// Ids as they are in labels, and severities; the one that was told the longest ago comes first. Kept as lines: "warning 8f2c".
pub(crate) struct Told(Vec<(String, Severity)>);

impl Told {
    /// What is kept. A line that says nothing is left out.
    pub(crate) fn kept(cx: &ChannelContext) -> Self {
        let kept = cx.state().get(KEY).unwrap_or_default();
        let entry = |line: &str| {
            let (word, id) = line.split_once(' ')?;
            Some((id.to_owned(), severity(word)?))
        };
        Told(String::from_utf8_lossy(&kept).lines().filter_map(entry).collect())
    }

    /// The severity it had the last time, when it has another now.
    pub(crate) fn former(&self, alert: &Alert) -> Option<Severity> {
        let id = line(&alert.id);
        let told = self.0.iter().find(|(known, _)| *known == id).map(|(_, severity)| *severity);
        told.filter(|told| *told != alert.severity)
    }

    /// It was told now; what is over needs no memory.
    pub(crate) fn tell(&mut self, alert: &Alert) {
        let id = line(&alert.id);
        self.0.retain(|(known, _)| *known != id);
        if alert.status != Status::Resolved {
            self.0.push((id, alert.severity));
        }
    }

    /// Has it kept, as much as there is room for: the alerts were told in any case.
    pub(crate) fn keep(mut self, cx: &ChannelContext) {
        let size = |(id, severity): &(String, Severity)| severity.as_str().len() + id.len() + 2;
        let mut bytes: usize = self.0.iter().map(size).sum();
        let mut beyond = 0;
        for entry in &self.0 {
            if bytes <= ROOM {
                break;
            }
            bytes -= size(entry);
            beyond += 1;
        }
        self.0.drain(..beyond);
        while let Err(failure) = cx.state().set(KEY, self.text().as_bytes()) {
            // Less was granted: the older half goes.
            let half = self.0.len().div_ceil(2);
            self.0.drain(..half);
            if half == 0 {
                let lost = "severities are not kept; an alert with a former one ends only when it expires";
                return cx.log(Level::Warn, lost, &[("why", &failure.to_string())]);
            }
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|(id, severity)| format!("{} {id}\n", severity.as_str())).collect()
    }
}

fn severity(word: &str) -> Option<Severity> {
    [Severity::Info, Severity::Warning, Severity::Critical].into_iter().find(|severity| severity.as_str() == word)
}
