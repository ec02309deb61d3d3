//! Which incidents are meant: patterns over rule, kind and scope, and a set of severities.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatchPattern;

use super::{Incident, Severity};

/// A pattern: `*` stands for any text, everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern of this text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether a text is meant. `?` is an ordinary character here.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        WildMatchPattern::<'*', '\u{0}'>::new(&self.0).matches(text)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Incidents by what they are; a list that is empty means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    /// Where: `pipeline/shop`, `migration/*`.
    pub scope: Vec<Pattern>,
    /// Names of rules.
    pub rule: Vec<Pattern>,
    /// Kinds of trouble.
    pub kind: Vec<Pattern>,
    /// Severities.
    pub severity: Vec<Severity>,
}

impl Matcher {
    /// Whether this incident is meant.
    #[must_use]
    pub fn matches(&self, incident: &Incident) -> bool {
        any(&self.scope, &incident.scope)
            && any(&self.rule, &incident.rule)
            && any(&self.kind, &incident.kind)
            && (self.severity.is_empty() || self.severity.contains(&incident.severity))
    }

    /// Whether every incident is meant.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("pipeline/*", "pipeline/shop", true),
            ("pipeline/*", "migration/7", false),
            ("*/shop", "pipeline/shop", true),
            ("a?c", "abc", false),
            ("a?c", "a?c", true),
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expect, "{pattern} {text}");
        }
    }
}
