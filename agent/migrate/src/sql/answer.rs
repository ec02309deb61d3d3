//! What checks ask, and whether the answers are as they should be. Who asks is each database's business; answers are never
//! told, since they may be row values.

use serde_json::Value;

use super::backfill::quote_path;
use super::{Check, Dialect};

/// What a query gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// NULL.
    Null,
    /// A number that is exact.
    Integer(i128),
    /// A number that is not.
    Real(f64),
    /// Text, or what the database writes as text (decimals, dates).
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// No row.
    Nothing,
    /// More than one row, or one of several columns.
    Many,
}

/// The queries of a check, each to give one value.
pub(crate) fn questions(check: &Check, dialect: Dialect) -> Vec<String> {
    match check {
        Check::Count { table, filter, .. } => {
            let filter = filter.as_ref().map(|filter| format!(" WHERE (\n{filter}\n)")).unwrap_or_default();
            vec![format!("SELECT count(*) FROM {}{filter}", quote_path(table, dialect))]
        }
        Check::Query { sql, .. } => vec![sql.clone()],
        Check::Equal { left, right } => vec![left.clone(), right.clone()],
    }
}

/// What is not as it should be, as a sentence.
pub(crate) fn fault(check: &Check, answers: &[Answer]) -> Option<String> {
    if let Some(answer) = answers.iter().find(|answer| matches!(answer, Answer::Nothing | Answer::Many)) {
        let what = if *answer == Answer::Nothing { "no row" } else { "more than one value" };
        return Some(format!("a query of the check gives {what}, where one row of one column is asked for"));
    }
    match (check, answers) {
        (Check::Count { table, is, .. }, [Answer::Integer(count)]) => {
            let count = u64::try_from(*count).unwrap_or(0);
            (!is.holds(count)).then(|| format!("{table} has {count} such rows, and should have {is}"))
        }
        (Check::Query { equals, .. }, [answer]) => {
            (!is_value(answer, equals)).then(|| "the query gives another value than it should".to_owned())
        }
        (Check::Equal { .. }, [left, right]) => {
            (!same(left, right)).then(|| "the two queries give different values".to_owned())
        }
        _ => Some("the check could not be understood".to_owned()),
    }
}

fn is_value(answer: &Answer, value: &Value) -> bool {
    match value {
        Value::Null => *answer == Answer::Null,
        Value::Bool(flag) => *answer == Answer::Integer(i128::from(*flag)),
        // As written, so that nothing is rounded.
        Value::Number(number) => same(answer, &Answer::Text(number.to_string())) && number_of(answer).is_some(),
        Value::String(text) => same(answer, &Answer::Text(text.clone())),
        Value::Array(_) | Value::Object(_) => match answer {
            Answer::Text(text) => serde_json::from_str::<Value>(text).is_ok_and(|read| read == *value),
            _ => false,
        },
    }
}

fn same(one: &Answer, other: &Answer) -> bool {
    use Answer::{Bytes, Text};
    match (one, other) {
        (Text(one), Text(other)) if one == other => true,
        (Bytes(bytes), Text(text)) | (Text(text), Bytes(bytes)) => bytes == text.as_bytes(),
        _ => match (number_of(one), number_of(other)) {
            (Some(one), Some(other)) => one == other,
            _ => one == other,
        },
    }
}

/// A number in one form, whatever type it came in: sign, digits without zeros at either end, and where the point stands.
fn number_of(answer: &Answer) -> Option<(bool, String, i64)> {
    let text = match answer {
        Answer::Integer(number) => number.to_string(),
        Answer::Real(number) if number.is_finite() => number.to_string(),
        Answer::Text(text) => text.clone(),
        _ => return None,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (digits, exponent) = match digits.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
        None => (digits, 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let leading = all.bytes().take_while(|byte| *byte == b'0').count();
    let significant = all.get(leading..)?.trim_end_matches('0').to_owned();
    if significant.is_empty() {
        return Some((false, significant, 0));
    }
    Some((negative, significant, point.checked_sub(i64::try_from(leading).ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Bound;
    use serde_json::json;

    fn query(equals: Value) -> Check {
        Check::Query { sql: "SELECT secret FROM t".to_owned(), equals }
    }

    #[test]
    fn values_are_the_same_whatever_type_they_come_in() {
        use Answer::{Bytes, Integer, Null, Real};
        let text = |text: &str| Answer::Text(text.to_owned());
        let same = [
            (Integer(7), json!(7)),
            (Integer(-7), json!(-7.0)),
            (Real(2.5), json!(2.5)),
            (text("2.50"), json!(2.5)),
            (text("0.00"), json!(0)),
            (text("-0"), json!(0)),
            (Integer(1200), json!(1.2e3)),
            (Integer(i128::from(u64::MAX)), json!(u64::MAX)),
            (text("a"), json!("a")),
            (text("7.0"), json!("7")),
            (Bytes(b"a".to_vec()), json!("a")),
            (Null, json!(null)),
            (Integer(1), json!(true)),
            (text("{\"b\": 1}"), json!({"b": 1})),
        ];
        for (answer, value) in same {
            assert_eq!(fault(&query(value.clone()), std::slice::from_ref(&answer)), None, "{answer:?} {value}");
        }
        let different = [
            (Integer(7), json!(8)),
            (Integer(7), json!(null)),
            (Null, json!(0)),
            (Null, json!("")),
            (Integer(0), json!(true)),
            (text("7"), json!("7x")),
            (text("a"), json!(7)),
            (text("9007199254740993"), json!(9_007_199_254_740_992_u64)),
            (text("{\"b\": 1}"), json!({"b": 2})),
        ];
        for (answer, value) in different {
            let fault = fault(&query(value.clone()), std::slice::from_ref(&answer));
            assert!(fault.is_some_and(|fault| !fault.contains("secret")), "{answer:?} {value}");
        }
        for wrong in [Answer::Nothing, Answer::Many] {
            assert!(fault(&query(json!(null)), &[wrong]).is_some());
        }
    }

    #[test]
    fn counts_are_told_and_hold_within_their_bounds() {
        let is = Bound { at_least: 0, at_most: Some(0) };
        let check = Check::Count { table: "shop.orders".to_owned(), filter: Some("total IS NULL -- x".to_owned()), is };
        assert_eq!(
            questions(&check, Dialect::Mysql),
            ["SELECT count(*) FROM `shop`.`orders` WHERE (\ntotal IS NULL -- x\n)"]
        );
        assert_eq!(fault(&check, &[Answer::Integer(0)]), None);
        assert!(fault(&check, &[Answer::Integer(3)]).unwrap().contains("3 such rows"));
    }

    #[test]
    fn two_queries_are_compared() {
        let check = Check::Equal { left: "a".to_owned(), right: "b".to_owned() };
        let text = |text: &str| Answer::Text(text.to_owned());
        assert_eq!(fault(&check, &[text("1.50"), Answer::Real(1.5)]), None);
        assert!(fault(&check, &[text("1.50"), Answer::Null]).is_some());
        assert_eq!(questions(&check, Dialect::Sqlite), ["a", "b"]);
    }
}
