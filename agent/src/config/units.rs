//! Durations and sizes as people write them: `250ms`, `10s`, `5m`, `24h`; `512KiB`, `8MiB`, `1GB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error};

/// A duration with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "a duration with a unit: ms, s, m, h or d")]
pub struct Millis(pub Duration);

/// A number of bytes with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "a size with a unit: B, kB, KiB, MB, MiB, GB or GiB")]
pub struct ByteSize(pub u64);

/// Why a duration or size could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnitError {
    /// No digits in front.
    #[error("`{0}` does not begin with a whole number")]
    NoNumber(String),
    /// Unit missing.
    #[error("`{text}` has no unit; write one of {known} behind it")]
    Bare {
        /// The whole text.
        text: String,
        /// Units that would do.
        known: &'static str,
    },
    /// Unit not known.
    #[error("`{unit}` in `{text}` is not a unit; write one of {known}")]
    NoUnit {
        /// What stands after the digits.
        unit: String,
        /// The whole text.
        text: String,
        /// Units that would do.
        known: &'static str,
    },
    /// Too large.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

fn split<'a>(text: &'a str, units: &[(&str, u64)], known: &'static str) -> Result<u64, UnitError> {
    let text: &'a str = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(UnitError::NoNumber(text.into()));
    }
    let unit = unit.trim();
    if unit.is_empty() {
        return Err(UnitError::Bare { text: text.into(), known });
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(UnitError::NoUnit { unit: unit.into(), text: text.into(), known });
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)).ok_or_else(|| UnitError::TooLarge(text.into()))
}

impl FromStr for Millis {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        split(text, &UNITS, "ms, s, m, h, d").map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        const UNITS: [(&str, u64); 7] = [
            ("B", 1),
            ("kB", 1_000),
            ("KiB", 1 << 10),
            ("MB", 1_000_000),
            ("MiB", 1 << 20),
            ("GB", 1_000_000_000),
            ("GiB", 1 << 30),
        ];
        split(text, &UNITS, "B, kB, KiB, MB, MiB, GB, GiB").map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}B", self.0)
    }
}

macro_rules! deserialize_from_str {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}
deserialize_from_str!(Millis);
deserialize_from_str!(ByteSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit_and_say_so() {
        assert_eq!("250ms".parse(), Ok(Millis(Duration::from_millis(250))));
        assert_eq!("24 h".parse(), Ok(Millis(Duration::from_secs(86_400))));
        assert_eq!("8MiB".parse(), Ok(ByteSize(8 << 20)));
        assert!("10".parse::<Millis>().unwrap_err().to_string().contains("has no unit; write one of ms, s"));
        assert!("s".parse::<Millis>().is_err());
        assert!("99999999999999d".parse::<Millis>().is_err());
        assert!("1XB".parse::<ByteSize>().is_err());
    }
}
