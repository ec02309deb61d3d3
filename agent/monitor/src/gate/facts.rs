//! What is known of a migration at one moment, whoever was asked. Sources make [`Facts`]; [`super::judge`] reads them.

use crate::incident::Severity;

/// A figure, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading<T> {
    /// It is so.
    Known(T),
    /// It should be known and is not; this never passes.
    Unknown(String),
    /// There is no such thing here: a migration without a pipeline has no lag. It passes, unless it was asked for.
    Without(String),
}

impl<T> Reading<T> {
    /// The figure, if there is one.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) | Self::Without(_) => None,
        }
    }

    /// The reading of a part beside this one: `join` makes one figure of two; what is unknown outweighs what is known, and
    /// what is known outweighs what there is not.
    #[must_use]
    pub fn and(self, other: Self, join: impl FnOnce(T, T) -> T) -> Self {
        match (self, other) {
            (Self::Known(one), Self::Known(two)) => Self::Known(join(one, two)),
            (Self::Unknown(why), _) | (_, Self::Unknown(why)) => Self::Unknown(why),
            (Self::Known(one), Self::Without(_)) | (Self::Without(_), Self::Known(one)) => Self::Known(one),
            (Self::Without(why), Self::Without(_)) => Self::Without(why),
        }
    }
}

/// What carries the id, and how old the oldest figure about it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// `pipeline shop`, `migration ledger/7`.
    pub subjects: Vec<String>,
    /// Seconds.
    pub age_seconds: f64,
}

/// What is proven of the lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// All of it is visible at the target.
    CaughtUp,
    /// Not all of it is, and the lag has an upper bound.
    Behind,
    /// There is something to do, and nothing gets done.
    Stalled,
}

/// A count, and of what.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// How many.
    pub value: f64,
    /// Which, and since when.
    pub of: String,
}

/// Whether all rows are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// They are.
    pub equal: bool,
    /// The figures.
    pub detail: String,
}

/// A severity by its word; a word that is not known is taken for the worst.
#[must_use]
pub fn severity(word: &str) -> Severity {
    Severity::ALL.into_iter().find(|one| one.as_str() == word).unwrap_or(Severity::Critical)
}

/// Something that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// How bad.
    pub severity: Severity,
    /// What.
    pub title: String,
}

/// Everything that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Who was asked.
    pub source: String,
    /// What there is.
    pub data: Reading<Data>,
    /// What is proven of the lag.
    pub proof: Reading<(Proof, String)>,
    /// Upper bound of the lag, seconds.
    pub lag_seconds: Reading<f64>,
    /// Rows.
    pub rows: Reading<Rows>,
    /// Dead letters that nobody has settled.
    pub dead_letters: Reading<Count>,
    /// Errors.
    pub errors: Reading<Count>,
    /// What fires, information too.
    pub anomalies: Reading<Vec<Anomaly>>,
}

impl Facts {
    /// Nothing is known, for this reason.
    #[must_use]
    pub fn nothing(source: String, why: &str) -> Self {
        fn unknown<T>(why: &str) -> Reading<T> {
            Reading::Unknown(why.to_owned())
        }
        Self {
            source,
            data: unknown(why),
            proof: unknown(why),
            lag_seconds: unknown(why),
            rows: unknown(why),
            dead_letters: unknown(why),
            errors: unknown(why),
            anomalies: unknown(why),
        }
    }
}

/// The worse of two proofs.
pub(super) fn worst_proof(one: Reading<(Proof, String)>, other: Reading<(Proof, String)>) -> Reading<(Proof, String)> {
    match (&one, &other) {
        // Proven wrong outranks unknown.
        (Reading::Known((Proof::Stalled, _)), _) => one,
        (_, Reading::Known((Proof::Stalled, _))) => other,
        _ => one.and(other, |one, other| if one.0 >= other.0 { one } else { other }),
    }
}
