//! Values that checks compare, whatever database they come from: numbers by their value, everything else as it is.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// How two values differ; numbers say which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// What was found is the larger number.
    Greater,
    /// What was found is the smaller number.
    Less,
    /// Something else.
    Other,
}

/// How what was found differs from what is right; none: it does not. A number and a string of the same digits are the
/// same: databases give decimals in either form.
///
/// ```
/// use serde_json::json;
/// use whimbrel_migrate::sql::compare::{Difference, difference};
/// assert_eq!(difference(&json!("12.50"), &json!(12.5)), None);
/// assert_eq!(difference(&json!(3), &json!(4)), Some(Difference::Less));
/// ```
#[must_use]
pub fn difference(found: &Value, right: &Value) -> Option<Difference> {
    if found == right {
        return None;
    }
    match (decimal(found), decimal(right)) {
        (Some(one), Some(other)) => match one.cmp(&other) {
            Ordering::Equal => None,
            Ordering::Greater => Some(Difference::Greater),
            Ordering::Less => Some(Difference::Less),
        },
        _ => Some(Difference::Other),
    }
}

/// The value of an object with one entry, numbers as strings of their digits: `{"max": 1.10}` gives `"1.10"`.
#[must_use]
pub fn only_value(object: &str) -> Option<Value> {
    let entries: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).ok()?;
    let mut values = entries.into_values();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let text = value.get();
    // The parser's numbers are of 64 bits, the database's may be longer.
    if text.starts_with(|sign: char| sign == '-' || sign.is_ascii_digit()) {
        return Some(Value::String(text.to_owned()));
    }
    serde_json::from_str(text).ok()
}

/// A number by its digits: whole part and fraction, so that no digit gets lost.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    whole: String,
    fraction: String,
}

fn decimal(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (negative, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |digits| (true, digits));
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|exponent: &i32| exponent.abs() < 400)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The point moves by the exponent.
    let zeros = "0".repeat(usize::try_from(exponent.unsigned_abs()).ok()?);
    let (whole, fraction) = match exponent {
        0.. => {
            let padded = format!("{fraction}{zeros}");
            let (left, right) = padded.split_at(zeros.len());
            (format!("{whole}{left}"), right.to_owned())
        }
        _ => {
            let padded = format!("{zeros}{whole}");
            let (left, right) = padded.split_at(whole.len());
            (left.to_owned(), format!("{right}{fraction}"))
        }
    };
    let whole = whole.trim_start_matches('0').to_owned();
    let fraction = fraction.trim_end_matches('0').to_owned();
    Some(Decimal { negative: negative && !(whole.is_empty() && fraction.is_empty()), whole, fraction })
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let size = |one: &Self, other: &Self| {
            let whole = one.whole.len().cmp(&other.whole.len()).then_with(|| one.whole.cmp(&other.whole));
            whole.then_with(|| one.fraction.cmp(&other.fraction))
        };
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => size(self, other),
            (true, true) => size(other, self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_by_value_and_everything_else_as_it_is() {
        use Difference::{Greater, Less, Other};
        let cases = [
            (json!(1), json!(1.0), None),
            (json!("1.10"), json!(1.1), None),
            (json!("1e2"), json!(100), None),
            (json!("12e-1"), json!(1.2), None),
            (json!("-0"), json!(0), None),
            (json!("10"), json!(9), Some(Greater)),
            (json!("-10"), json!(-9), Some(Less)),
            (json!("9007199254740993"), json!(9_007_199_254_740_992_u64), Some(Greater)),
            (json!("0.05"), json!(0.5), Some(Less)),
            (json!("a"), json!("b"), Some(Other)),
            (json!(true), json!(1), Some(Other)),
            (json!(null), json!(0), Some(Other)),
            (json!(null), json!(null), None),
            (json!("2026-01-31"), json!("2026-01-31"), None),
        ];
        for (found, right, expected) in cases {
            assert_eq!(difference(&found, &right), expected, "{found} {right}");
        }
    }

    #[test]
    fn the_only_value_keeps_its_digits() {
        for (object, expected) in [
            (r#"{"max":123456789012345678901234567890.10}"#, Some(json!("123456789012345678901234567890.10"))),
            (r#"{"a":"x"}"#, Some(json!("x"))),
            (r#"{"a":null}"#, Some(json!(null))),
            (r#"{"a":1,"b":2}"#, None),
            ("{}", None),
        ] {
            assert_eq!(only_value(object), expected, "{object}");
        }
    }

    proptest! {
        #[test]
        fn whole_numbers_sort_as_they_do(one: i64, other: i64) {
            let expected = match one.cmp(&other) {
                Ordering::Equal => None,
                Ordering::Greater => Some(Difference::Greater),
                Ordering::Less => Some(Difference::Less),
            };
            prop_assert_eq!(difference(&json!(one.to_string()), &json!(other)), expected);
        }

        #[test]
        fn anything_can_be_compared(one in r"-?[0-9.eE-]{0,8}", other in r"\PC{0,5}") {
            let _ = difference(&json!(one), &json!(other));
        }
    }
}
