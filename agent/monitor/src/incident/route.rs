//! Routes: which channels are told of which incidents, together with which others, and how often.

use std::time::Duration;

use super::{Incident, Matcher};

/// A way to people. The first that matches an incident is taken, and no other.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Which incidents go this way.
    pub matcher: Matcher,
    /// The channels that are told, by name; none: nobody.
    pub channels: Vec<String>,
    /// What incidents of one notification have in common.
    pub group_by: Vec<GroupBy>,
    /// How long a first incident waits for others of its group.
    pub group_wait: Duration,
    /// The least time between two notifications of one group, unless it becomes worse.
    pub group_interval: Duration,
    /// After which time a group that still fires is told again.
    pub repeat: Duration,
}

/// A property by which incidents are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// The scope.
    Scope,
    /// The rule.
    Rule,
    /// The kind of trouble.
    Kind,
    /// The severity.
    Severity,
}

impl Route {
    /// What tells the group of this incident from others: one value for each property.
    #[must_use]
    pub fn group(&self, incident: &Incident) -> Vec<String> {
        let value = |by: &GroupBy| match by {
            GroupBy::Scope => incident.scope.clone(),
            GroupBy::Rule => incident.rule.clone(),
            GroupBy::Kind => incident.kind.clone(),
            GroupBy::Severity => incident.severity.as_str().to_owned(),
        };
        self.group_by.iter().map(value).collect()
    }
}
