//! The digest: one alert in place of more than a person can read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Alert, Incident, Severity, Status};

/// How many kinds and scopes a digest names.
const NAMED: usize = 5;

/// What one channel is told of in one alert. It stands for its members until the last of them ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Digest {
    pub(super) id: String,
    pub(super) since_ms: i64,
    pub(super) members: BTreeSet<String>,
    /// When it was told last, and of how many.
    pub(super) told: Option<(i64, usize)>,
    /// How many times it was told.
    pub(super) count: u32,
}

impl Digest {
    pub(super) fn new(channel: &str, now_ms: i64) -> Self {
        Self {
            id: format!("digest-{channel}-{now_ms}"),
            since_ms: now_ms,
            members: BTreeSet::new(),
            told: None,
            count: 0,
        }
    }

    /// The alert of it, over those members that fire.
    pub(super) fn alert<'a>(
        &self,
        members: impl Iterator<Item = &'a Incident>,
        now_ms: i64,
        url: Option<&str>,
    ) -> Alert {
        let (mut kinds, mut scopes, mut severities) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut count = 0_usize;
        for incident in members {
            count += 1;
            *kinds.entry(incident.kind.as_str()).or_insert(0_usize) += 1;
            *scopes.entry(incident.scope.as_str()).or_insert(0_usize) += 1;
            *severities.entry(incident.severity).or_insert(0_usize) += 1;
        }
        let worst = severities.keys().next_back().copied();
        let by_severity: Vec<String> =
            severities.iter().rev().map(|(severity, count)| format!("{count} {}", severity.as_str())).collect();
        let (status, title) = match worst {
            Some(_) => {
                (Status::Firing, format!("{count} incidents in {} places: {}", scopes.len(), by_severity.join(", ")))
            }
            None => (Status::Resolved, "the incidents of this digest have ended".to_owned()),
        };
        Alert {
            id: self.id.clone(),
            status,
            severity: worst.unwrap_or(Severity::Info),
            rule: "whimbrel".to_owned(),
            kind: "digest".to_owned(),
            title,
            detail: match worst {
                Some(_) => format!("kinds: {}; places: {}", most(&kinds), most(&scopes)),
                None => String::new(),
            },
            action: match worst {
                Some(_) => {
                    "look at the status page or GET /api/v1/incidents; so many at once mostly have one cause, such \
                            as a broker, a database or the network"
                        .to_owned()
                }
                None => String::new(),
            },
            scope: "agent".to_owned(),
            since_ms: self.since_ms,
            until_ms: worst.is_none().then_some(now_ms),
            count: self.count.saturating_add(1),
            url: url.map(str::to_owned),
            attributes: vec![("incidents".to_owned(), count.into())],
        }
    }
}

/// The most frequent, with their counts.
fn most(counts: &BTreeMap<&str, usize>) -> String {
    let mut sorted: Vec<(&&str, &usize)> = counts.iter().collect();
    sorted.sort_by(|one, other| other.1.cmp(one.1).then(one.0.cmp(other.0)));
    let named: Vec<String> = sorted.iter().take(NAMED).map(|(name, count)| format!("{name} ({count})")).collect();
    let rest = sorted.len().saturating_sub(NAMED);
    match rest {
        0 => named.join(", "),
        _ => format!("{} and {rest} more", named.join(", ")),
    }
}
