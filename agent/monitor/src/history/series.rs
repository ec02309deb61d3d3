//! Series: what is measured, where, and the points of it.

use std::sync::Arc;

/// What a series is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// What it is about: `pipeline/shop`, `migration/42`.
    pub scope: Arc<str>,
    /// What is measured, with its unit: `lag_seconds`.
    pub name: Arc<str>,
    /// What tells it from others of its name, in order.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// As it is now.
    Level(f64),
    /// A total that grows: its growth a second is measured.
    Rate(f64),
    /// Two totals that grow: the share, or the mean, is measured; nothing when the second did not grow.
    Ratio(f64, f64),
}

/// One thing that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The series.
    pub key: Key,
    /// What it said.
    pub value: Value,
    /// Whether each second of it is kept for a while, for people to look at.
    pub fine: bool,
}

/// One value at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Milliseconds since 1970; of a step, when it began.
    pub at_ms: i64,
    /// In the unit of the series.
    pub value: f64,
}

/// One quantity over time, the oldest point first.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is.
    pub key: Key,
    /// The points.
    pub points: Vec<Point>,
}

impl Value {
    /// Whether it is made of numbers.
    pub(super) fn is_finite(self) -> bool {
        match self {
            Self::Level(value) | Self::Rate(value) => value.is_finite(),
            Self::Ratio(part, whole) => part.is_finite() && whole.is_finite(),
        }
    }

    /// What is measured from `before` until now, `milliseconds` later. A total that became smaller began anew, and what
    /// it grew by since is not known.
    pub(super) fn measured(self, before: Option<Self>, milliseconds: i64) -> Option<f64> {
        match (self, before) {
            (Self::Level(value), _) => Some(value),
            (Self::Rate(now), Some(Self::Rate(before))) if now >= before && milliseconds > 0 => {
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of a step are few")]
                let seconds = milliseconds as f64 / 1_000.0;
                Some((now - before) / seconds)
            }
            (Self::Ratio(part, whole), Some(Self::Ratio(part_before, whole_before)))
                if part >= part_before && whole > whole_before =>
            {
                Some((part - part_before) / (whole - whole_before))
            }
            _ => None,
        }
    }
}
