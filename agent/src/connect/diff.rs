//! What would have to change so that Kafka Connect has the connectors that shall exist.
//!
//! Pure. A [`Plan`] holds only what may be shown: secrets have become `***` when it is made.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    desired::{ConnectorConfig, Desired, NAME_PREFIX, Override},
    redact,
};

/// What `apply` would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// One entry per configured connector, in the order of the configuration.
    pub connectors: Vec<Entry>,
    /// Connectors with our prefix that the configuration does not name. They are left alone.
    pub unmanaged: Vec<String>,
}

/// One connector in a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Name in Kafka Connect.
    pub name: String,
    /// Its class.
    pub class: String,
    /// What is to be done.
    pub action: Action,
    /// Properties that change, by name.
    pub changes: Vec<Change>,
    /// Managed properties that the user's `properties` override.
    pub overrides: Vec<Override>,
}

/// What is to be done with a connector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It does not exist.
    Create,
    /// It exists with another configuration.
    Update,
    /// It is as it shall be.
    Unchanged,
}

/// One property that changes; `None` where it is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The property.
    pub key: String,
    /// In Kafka Connect now.
    pub old: Option<String>,
    /// After `apply`.
    pub new: Option<String>,
}

impl Plan {
    /// Whether `apply` would change anything.
    pub fn has_changes(&self) -> bool {
        self.count(Action::Unchanged) < self.connectors.len()
    }

    /// Connectors with that action.
    pub fn count(&self, action: Action) -> usize {
        self.connectors.iter().filter(|entry| entry.action == action).count()
    }
}

/// Compares what shall be with what is.
pub fn plan(desired: &[Desired], live: &BTreeMap<String, ConnectorConfig>) -> Plan {
    let connectors = desired.iter().map(|one| entry(one, live.get(&one.name))).collect();
    let unmanaged = live
        .keys()
        .filter(|name| name.starts_with(NAME_PREFIX) && !desired.iter().any(|one| one.name == **name))
        .map(|name| redact::printable(name))
        .collect();
    Plan { connectors, unmanaged }
}

fn entry(desired: &Desired, live: Option<&ConnectorConfig>) -> Entry {
    let changes = changes(&desired.config, live);
    let action = match live {
        None => Action::Create,
        Some(_) if changes.is_empty() => Action::Unchanged,
        Some(_) => Action::Update,
    };
    Entry {
        name: desired.name.clone(),
        class: desired.class().to_owned(),
        action,
        changes,
        overrides: desired.overrides.clone(),
    }
}

fn changes(desired: &ConnectorConfig, live: Option<&ConnectorConfig>) -> Vec<Change> {
    let mut pairs: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
    for (key, value) in live.into_iter().flat_map(|live| live.expose()) {
        // Connect adds the connector's name to its configuration.
        if key != "name" {
            pairs.entry(key).or_default().0 = Some(value);
        }
    }
    for (key, value) in desired.expose() {
        pairs.entry(key).or_default().1 = Some(value);
    }
    pairs
        .into_iter()
        .filter(|(key, (old, new))| old != new && !masked_by_the_server(key, *old, *new))
        .map(|(key, (old, new))| Change {
            key: redact::printable(key),
            old: old.map(|value| redact::shown(key, value)),
            new: new.map(|value| redact::shown(key, value)),
        })
        .collect()
}

/// Some managed Connect services answer with asterisks for a password. That is no value to compare with, and calling
/// it drift would make every plan a change.
fn masked_by_the_server(key: &str, old: Option<&str>, new: Option<&str>) -> bool {
    redact::hides(key) && new.is_some() && old.is_some_and(|old| !old.is_empty() && old.bytes().all(|b| b == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> ConnectorConfig {
        ConnectorConfig::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    fn desired(pairs: &[(&str, &str)]) -> Desired {
        Desired { name: "migration-connector-a".to_owned(), config: config(pairs), overrides: Vec::new() }
    }

    fn against(desired_pairs: &[(&str, &str)], live: Option<&[(&str, &str)]>) -> (Action, Vec<String>) {
        let live = live.map(|pairs| ("migration-connector-a".to_owned(), config(pairs))).into_iter().collect();
        let plan = plan(&[desired(desired_pairs)], &live);
        let entry = &plan.connectors[0];
        assert_eq!(plan.has_changes(), entry.action != Action::Unchanged);
        let show = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        (
            entry.action,
            entry.changes.iter().map(|c| format!("{}: {} -> {}", c.key, show(&c.old), show(&c.new))).collect(),
        )
    }

    #[test]
    fn drift_is_shown_per_key_and_never_with_a_secret() {
        let want: &[(&str, &str)] = &[("a", "1"), ("database.password", "canary-new")];
        assert_eq!(
            against(want, None),
            (Action::Create, vec!["a: - -> 1".to_owned(), "database.password: - -> ***".to_owned()])
        );
        assert_eq!(
            against(want, Some(&[("name", "migration-connector-a"), ("a", "1"), ("database.password", "canary-new")])),
            (Action::Unchanged, vec![])
        );
        assert_eq!(
            against(want, Some(&[("a", "2"), ("b", "3"), ("database.password", "canary-old")])),
            (
                Action::Update,
                vec!["a: 2 -> 1".to_owned(), "b: 3 -> -".to_owned(), "database.password: *** -> ***".to_owned()]
            )
        );
    }

    #[test]
    fn a_password_the_server_hides_is_not_drift() {
        let want: &[(&str, &str)] = &[("a", "1"), ("database.password", "canary")];
        assert_eq!(against(want, Some(&[("a", "1"), ("database.password", "****************")])).0, Action::Unchanged);
        assert_eq!(against(want, Some(&[("a", "*"), ("database.password", "canary")])).0, Action::Update);
    }

    #[test]
    fn connectors_with_our_prefix_that_nobody_configured_are_named() {
        let live = ["migration-connector-a", "migration-connector-old", "someone-elses"]
            .into_iter()
            .map(|name| (name.to_owned(), config(&[("a", "1")])))
            .collect();
        let plan = plan(&[desired(&[("a", "1")])], &live);
        assert_eq!(plan.unmanaged, ["migration-connector-old"]);
        assert!(!plan.has_changes(), "what is left alone is no change");
    }
}
