//! The `metrics:` section, checked.

use super::invalid::Invalid;
use super::raw;

/// A thousand tables with two operations each; beyond it a metrics store begins to hurt.
const DEFAULT_MAX_SERIES: usize = 2_000;

/// Budgets of the metrics export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Most series per metric.
    pub max_series_per_metric: usize,
}

impl TryFrom<&raw::Metrics> for MetricsConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Metrics) -> Result<Self, Invalid> {
        match raw.max_series_per_metric.unwrap_or(DEFAULT_MAX_SERIES) {
            0 => Err(Invalid::new(
                "max_series_per_metric",
                "no series at all",
                format!("write how many series a metric may have, such as {DEFAULT_MAX_SERIES}"),
            )),
            max_series_per_metric => Ok(Self { max_series_per_metric }),
        }
    }
}
