//! Which incidents there are: opened by the first evaluation that finds them, resolved by the first that does not.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};

use super::{Finding, Incident};

/// Incidents that fire at once. More are counted, and not kept: whoever has ten thousand needs no further one.
const MOST_FIRING: usize = 20_000;
/// How many resolved ones are remembered, to be shown.
const MOST_RESOLVED: usize = 1_000;
/// How long they are.
const RESOLVED_FOR_MS: i64 = 24 * 3_600_000;

/// The name of an incident before it has an id: rule, scope, key.
type Name = (String, String, String);

/// All incidents.
#[derive(Debug, Clone, Default)]
pub struct Book {
    firing: HashMap<Name, Incident>,
    /// In the order in which they ended.
    resolved: Vec<Incident>,
    overflow: u64,
    changed: Vec<String>,
    forgotten: Vec<String>,
}

/// Why incidents end that no evaluation looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Nobody watches this scope any more.
    ScopeGone,
    /// The rule is not configured any more.
    RuleGone,
}

impl Book {
    /// The incidents that were kept, as they were when the agent stopped.
    #[must_use]
    pub fn restored(incidents: impl IntoIterator<Item = Incident>) -> Self {
        let mut book = Self::default();
        for incident in incidents {
            if incident.is_firing() {
                book.firing.insert(name(&incident), incident);
            } else {
                book.resolved.push(incident);
            }
        }
        book.resolved.sort_by_key(|incident| incident.until_ms);
        book
    }

    /// A rule looked at a scope and found this, and nothing else. An evaluation that failed is not told here: nothing
    /// fires or ends by it.
    pub fn evaluated(&mut self, rule: &str, scope: &str, findings: Vec<Finding>, now_ms: i64) {
        let mut found: HashMap<String, Finding> = HashMap::with_capacity(findings.len());
        for finding in findings {
            // Two of one key are one incident: the worse counts.
            match found.get(&finding.key) {
                Some(other) if other.severity >= finding.severity => {}
                _ => drop(found.insert(finding.key.clone(), finding)),
            }
        }
        let gone = |(of, at, key): &Name| of == rule && at == scope && !found.contains_key(key);
        let ended: Vec<Name> = self.firing.keys().filter(|name| gone(name)).cloned().collect();
        for name in ended {
            self.end(&name, now_ms);
        }
        // In the order of their keys, so that which ones do not fit is not left to chance.
        let mut found: Vec<Finding> = found.into_values().collect();
        found.sort_by(|one, other| one.key.cmp(&other.key));
        for finding in found {
            self.take(rule, scope, finding, now_ms);
        }
        self.forget(now_ms);
    }

    fn take(&mut self, rule: &str, scope: &str, finding: Finding, now_ms: i64) {
        let name = (rule.to_owned(), scope.to_owned(), finding.key.clone());
        let known = self.firing.get(&name);
        if known.is_none() && self.firing.len() >= MOST_FIRING {
            self.overflow += 1;
            return;
        }
        let opened_ms = known.map_or(now_ms, |known| known.opened_ms);
        let said_ms = finding.since_ms.filter(|since_ms| *since_ms <= now_ms);
        let incident = Incident {
            id: known.map_or_else(|| id(&name, opened_ms), |known| known.id.clone()),
            rule: name.0.clone(),
            scope: name.1.clone(),
            kind: finding.kind,
            severity: finding.severity,
            title: finding.title,
            detail: finding.detail,
            action: finding.action,
            since_ms: said_ms.or(known.map(|known| known.since_ms)).unwrap_or(opened_ms),
            opened_ms,
            until_ms: None,
            count: known.map_or(1, |known| known.count.saturating_add(1)),
            score: finding.score,
            attributes: finding.attributes,
            key: finding.key,
        };
        // Thousands may go on from step to step: how often each was found, and its figures of now, are worth no write.
        let as_stored = |known: &Incident| {
            (known.severity, &known.kind, &known.title) == (incident.severity, &incident.kind, &incident.title)
        };
        if !known.is_some_and(as_stored) {
            self.changed.push(incident.id.clone());
        }
        self.firing.insert(name, incident);
    }

    fn end(&mut self, name: &Name, now_ms: i64) {
        if let Some(mut incident) = self.firing.remove(name) {
            incident.until_ms = Some(now_ms);
            self.changed.push(incident.id.clone());
            self.resolved.push(incident);
        }
    }

    /// Ends what nobody will look at again: of scopes, or rules, that are not among these.
    pub fn retain(&mut self, why: Resolution, still_there: impl Fn(&str) -> bool, now_ms: i64) {
        let part = |(rule, scope, _): &Name| match why {
            Resolution::ScopeGone => still_there(scope),
            Resolution::RuleGone => still_there(rule),
        };
        let ended: Vec<Name> = self.firing.keys().filter(|name| !part(name)).cloned().collect();
        for name in ended {
            self.end(&name, now_ms);
        }
    }

    fn forget(&mut self, now_ms: i64) {
        let old = |incident: &Incident| incident.until_ms.is_none_or(|until_ms| now_ms - until_ms > RESOLVED_FOR_MS);
        let aged = self.resolved.iter().take_while(|incident| old(incident)).count();
        let surplus = self.resolved.len().saturating_sub(MOST_RESOLVED);
        self.forgotten.extend(self.resolved.drain(..aged.max(surplus)).map(|incident| incident.id));
    }

    /// Those that fire, in no order.
    pub fn firing(&self) -> impl Iterator<Item = &Incident> {
        self.firing.values()
    }

    /// Those that ended in the last day, the oldest first.
    #[must_use]
    pub fn resolved(&self) -> &[Incident] {
        &self.resolved
    }

    /// How many findings were not kept because there were too many.
    #[must_use]
    pub const fn overflow(&self) -> u64 {
        self.overflow
    }

    /// What is to be stored (what began, ended or became another thing), and the ids of what is to be forgotten, since this was asked last.
    pub fn changes(&mut self) -> (Vec<Incident>, Vec<String>) {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let is_changed = |incident: &&Incident| changed.binary_search(&incident.id).is_ok();
        let all = self.firing.values().chain(&self.resolved);
        (all.filter(is_changed).cloned().collect(), std::mem::take(&mut self.forgotten))
    }
}

fn name(incident: &Incident) -> Name {
    (incident.rule.clone(), incident.scope.clone(), incident.key.clone())
}

/// Sixteen hexadecimal digits: who it is and when it began. The same trouble a second time is another incident.
fn id((rule, scope, key): &Name, opened_ms: i64) -> String {
    let mut hash = Sha256::new();
    for part in [rule.as_bytes(), scope.as_bytes(), key.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(opened_ms.to_be_bytes());
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
