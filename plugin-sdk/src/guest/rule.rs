//! Calls to a rule.

use super::bindings::rule::exports::whimbrel::plugin::rule;
use super::bindings::rule::whimbrel::plugin::stats;
use super::bindings::whimbrel::plugin::types;
use super::{Slot, context};
use crate::rule::{Finding, Rule};
use crate::stats::{Point, Series, Severity, Window};

impl<T: Rule> Slot<T> {
    /// The agent's first call.
    pub fn configure_rule(&self, json: &str) -> Result<(), types::Failure> {
        self.fill(json, |plugin| plugin.start(&context()))
    }

    /// One window.
    pub fn evaluate(&self, window: rule::Window) -> Result<Vec<rule::Finding>, types::Failure> {
        let findings = self.with(|plugin| plugin.evaluate(&window.into(), &context()))?;
        Ok(findings.into_iter().map(rule::Finding::from).collect())
    }
}

impl From<stats::Window> for Window {
    fn from(window: stats::Window) -> Self {
        let series = window.series.into_iter().map(Series::from).collect();
        Window { scope: window.scope, start_ms: window.start_ms, end_ms: window.end_ms, series }
    }
}

impl From<stats::Series> for Series {
    fn from(series: stats::Series) -> Self {
        Series {
            name: series.name,
            labels: series.labels.into_iter().map(|label| (label.name, label.value)).collect(),
            points: series.points.into_iter().map(|point| Point { at_ms: point.at_ms, value: point.value }).collect(),
        }
    }
}

impl From<Severity> for types::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => types::Severity::Info,
            Severity::Warning => types::Severity::Warning,
            Severity::Critical => types::Severity::Critical,
        }
    }
}

impl From<Finding> for rule::Finding {
    fn from(finding: Finding) -> Self {
        rule::Finding {
            key: finding.key,
            kind: finding.kind,
            severity: finding.severity.into(),
            title: finding.title,
            detail: finding.detail,
            action: finding.action,
            since_ms: finding.since_ms,
            score: finding.score,
            attributes: finding.attributes.into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }
}

/// Exports the world.
#[doc(hidden)]
#[macro_export]
macro_rules! export_rule {
    ($exports:ident, $slot:ident) => {
        impl $crate::guest::bindings::exports::whimbrel::plugin::lifecycle::Guest for $exports {
            fn configure(
                config_json: String,
            ) -> Result<(), $crate::guest::bindings::whimbrel::plugin::types::Failure> {
                $slot.configure_rule(&config_json)
            }
        }

        impl $crate::guest::bindings::rule::exports::whimbrel::plugin::rule::Guest for $exports {
            fn evaluate(
                window: $crate::guest::bindings::rule::exports::whimbrel::plugin::rule::Window,
            ) -> Result<
                Vec<$crate::guest::bindings::rule::exports::whimbrel::plugin::rule::Finding>,
                $crate::guest::bindings::whimbrel::plugin::types::Failure,
            > {
                $slot.evaluate(window)
            }
        }

        $crate::guest::bindings::export_lifecycle!($exports with_types_in $crate::guest::bindings);
        $crate::guest::bindings::rule::export_own!($exports with_types_in $crate::guest::bindings::rule);
    };
}
pub use export_rule as export;
