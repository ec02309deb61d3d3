//! Versions: numbers, timestamps or dotted numbers, compared as numbers and never as text.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// A version such as `7`, `0007`, `1.2.1` or `20260131120000`. Leading zeros and trailing zero parts do not count: `1`,
/// `01` and `1.0` are one version.
///
/// ```
/// use whimbrel_migrate::version::Version;
/// let version = |text: &str| text.parse::<Version>().unwrap();
/// assert!(version("10") > version("9"));
/// assert_eq!(version("1_0"), version("001"));
/// assert_eq!(version("0002.10").to_string(), "2.10");
/// ```
#[derive(Debug, Clone)]
pub struct Version(Vec<u64>);

/// Why a text is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVersion {
    /// A part is empty or no number.
    #[error("a version is numbers, with dots or underscores between them")]
    NoNumber,
    /// A part does not fit 64 bits.
    #[error("a part of the version is larger than 18446744073709551615")]
    TooLarge,
}

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let part = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            true => part.parse().map_err(|_| NoVersion::TooLarge),
            false => Err(NoVersion::NoNumber),
        };
        text.split(['.', '_']).map(part).collect::<Result<_, _>>().map(Self)
    }
}

impl Version {
    fn significant(&self) -> &[u64] {
        let zeros = self.0.iter().rev().take_while(|part| **part == 0).count();
        self.0.get(..(self.0.len() - zeros).max(1)).unwrap_or(&self.0)
    }

    /// The version after this one, for a new file: of a timestamp, none.
    #[must_use]
    pub fn next(&self) -> Option<Self> {
        match self.significant() {
            // From the year 1000 on, with the day at least, it is a date.
            [first, ..] if *first < 10_000_000 => first.checked_add(1).map(|next| Self(vec![next])),
            _ => None,
        }
    }

    /// Whether the versions are counted one by one, so that a missing one is a gap.
    #[must_use]
    pub fn counted(&self) -> Option<u64> {
        match self.significant() {
            [only] if *only < 10_000_000 => Some(*only),
            _ => None,
        }
    }
}

impl From<u64> for Version {
    fn from(number: u64) -> Self {
        Self(vec![number])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.significant().iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}
impl Eq for Version {}
impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_sort_as_numbers() {
        let ascending = ["0", "1", "1.0.1", "1.2", "1_10", "2", "9", "10", "100", "20260131", "20260131120000"];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for (one, other) in [("1", "0001"), ("1.0", "1"), ("0", "0.0"), ("1_2", "1.2")] {
            assert_eq!(version(one), version(other));
            assert_eq!(version(one).to_string(), version(other).to_string());
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", ".", "1.", "1..2", "a", "1a", "-1", "+1", " 1", "１"] {
            assert_eq!(text.parse::<Version>(), Err(NoVersion::NoNumber), "{text}");
        }
        assert_eq!("99999999999999999999".parse::<Version>(), Err(NoVersion::TooLarge));
    }

    #[test]
    fn the_next_version_of_a_count_is_one_more_and_dates_have_none() {
        assert_eq!(version("9").next(), Some(version("10")));
        assert_eq!(version("1.2").next(), Some(version("2")));
        assert_eq!(version("20260131120000").next(), None);
        assert_eq!((version("7").counted(), version("1.2").counted()), (Some(7), None));
        assert_eq!(version("20260131").counted(), None);
    }

    proptest! {
        #[test]
        fn a_version_reads_what_it_prints(parts in prop::collection::vec(any::<u64>(), 1..5)) {
            let one = Version(parts);
            prop_assert_eq!(&version(&one.to_string()), &one);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = text.parse::<Version>();
        }
    }
}
