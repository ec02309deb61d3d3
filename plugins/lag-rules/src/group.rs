//! Many partitions, few findings: what is alike is told once, with counts and the worst of them by name.

use whimbrel_plugin::prelude::*;
use whimbrel_plugin::words::number;

/// How many are named.
const NAMED: usize = 5;

/// Partitions, slots or oplogs in one kind of trouble: how many, and the worst of them.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// What one of them is called: "partition".
    what: &'static str,
    count: usize,
    topics: usize,
    last_topic: &'a str,
    total: f64,
    /// Worst first.
    worst: Vec<Member<'a>>,
    since_ms: i64,
}

/// Topic (or name), partition (or nothing), and how bad it is.
#[derive(Clone, Copy, Debug)]
struct Member<'a> {
    topic: &'a str,
    partition: &'a str,
    badness: f64,
}

impl<'a> Group<'a> {
    pub(crate) fn new(what: &'static str) -> Self {
        Group { what, count: 0, topics: 0, last_topic: "", total: 0.0, worst: Vec::new(), since_ms: i64::MAX }
    }

    /// Adds one, those of a topic one after the other; the larger `badness`, the worse.
    pub(crate) fn add(&mut self, topic: &'a str, partition: &'a str, badness: f64, since_ms: i64) {
        self.topics += usize::from(self.count == 0 || topic != self.last_topic);
        self.last_topic = topic;
        self.count += 1;
        self.total += badness;
        self.since_ms = self.since_ms.min(since_ms);
        let place = self.worst.iter().take_while(|known| known.badness >= badness).count();
        if place < NAMED {
            self.worst.truncate(NAMED - 1);
            self.worst.insert(place.min(self.worst.len()), Member { topic, partition, badness });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When the first of them got into it.
    pub(crate) fn since_ms(&self) -> i64 {
        self.since_ms
    }

    pub(crate) fn total(&self) -> f64 {
        self.total
    }

    /// "3 partitions of 2 topics"
    pub(crate) fn count(&self) -> String {
        let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        match (self.count, self.worst.first()) {
            (1, Some(Member { topic, partition: "", .. })) => format!("{} {topic}", self.what),
            (1, Some(Member { topic, partition, .. })) => format!("{} {partition} of {topic}", self.what),
            _ if self.what == "partition" => {
                format!("{} of {}", plural(self.count, "partition"), plural(self.topics, "topic"))
            }
            _ => plural(self.count, self.what),
        }
    }

    /// A verb as many of them need it: "stands" or "stand".
    pub(crate) fn verb(&self, one: &'static str, many: &'static str) -> &'static str {
        if self.count == 1 { one } else { many }
    }

    /// "worst: orders/0 (1,204), orders/1 (17) and 40 more"
    pub(crate) fn worst(&self, figure: impl Fn(f64) -> String) -> String {
        let mut text = String::from("worst: ");
        for (index, Member { topic, partition, badness }) in self.worst.iter().enumerate() {
            text += if index == 0 { "" } else { ", " };
            text += topic;
            text += if partition.is_empty() { "" } else { "/" };
            text += partition;
            text += " (";
            text += &figure(*badness);
            text += ")";
        }
        match self.count.saturating_sub(NAMED) {
            0 => text,
            more => text + " and " + &number(more as f64) + " more",
        }
    }

    /// The finding with what is the same for every group.
    pub(crate) fn finish(&self, finding: Finding, hop: &str) -> Finding {
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        let finding = finding
            .attribute("hop", Value::Text(hop.to_owned()))
            .attribute(format!("{}s", self.what), Value::Integer(count));
        Finding { since_ms: (self.since_ms != i64::MAX).then_some(self.since_ms), ..finding }
    }
}
