//! Looks whether what a check says is so. Whatever a check's query would write is undone; what is told names no values.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio_postgres::Client;

use crate::database::{Job, failed_checks};
use crate::error::{Error, Result};
use crate::migration::Check;
use crate::sql::Dialect;
use crate::sql::answer::{Answer, fault, questions};

use super::client::error;
use super::session::PostgresqlSession;

/// What is said before the faults that checks found.
pub(super) const FOUND: &str = "not as it should be: ";

/// The checks of a job that are made in its transaction, which there is.
///
/// # Errors
/// [`crate::error::Kind::CheckFailed`] with all that is not so.
pub(super) async fn all(session: &PostgresqlSession, job: &Job<'_>) -> Result<()> {
    let mut faults = Vec::new();
    for check in job.checks.iter().filter(|check| !matches!(check, Check::Copy(_))) {
        session.execute("cannot make the checks", "SAVEPOINT checking; SET LOCAL transaction_read_only = on").await?;
        let fault = one(&session.client, check).await.map_err(|failed| failed.at(format!("check: {check}")))?;
        session.execute("cannot make the checks", "ROLLBACK TO checking; RELEASE checking").await?;
        job.checked(check, fault, &mut faults);
    }
    failed_checks(FOUND, &faults)
}

/// One check: a sentence if it is not so.
pub(super) async fn one(client: &Client, check: &Check) -> Result<Option<String>> {
    let Check::Sql(check) = check else {
        return Err(Error::refused(
            format!("PostgreSQL cannot make this check: {check}"),
            "take it out of the migration",
        ));
    };
    let mut answers = Vec::new();
    for question in questions(check, Dialect::Postgresql) {
        answers.push(answer(client, &question).await?);
    }
    Ok(fault(check, &answers))
}

/// What a query gives.
async fn answer(client: &Client, sql: &str) -> Result<Answer> {
    // As JSON a value of any type can be read, and numbers keep their digits.
    let text = format!("SELECT to_json(found)::text FROM (\n{}\n) found LIMIT 2", sql.trim().trim_end_matches(';'));
    let rows = client.query_typed(&text, &[]).await.map_err(|cause| error("", &cause))?;
    match rows.as_slice() {
        [] => Ok(Answer::Nothing),
        [row] => {
            let object: String = row.try_get(0).map_err(|cause| error("", &cause))?;
            Ok(only_value(&object).unwrap_or(Answer::Many))
        }
        _ => Ok(Answer::Many),
    }
}

/// The value of an object with one entry; none: there are others.
fn only_value(object: &str) -> Option<Answer> {
    let entries: BTreeMap<String, Box<RawValue>> = serde_json::from_str(object).ok()?;
    let mut values = entries.into_values();
    let (value, None) = (values.next()?, values.next()) else { return None };
    Some(match serde_json::from_str(value.get()).ok()? {
        Value::Null => Answer::Null,
        Value::Bool(flag) => Answer::Integer(flag.into()),
        Value::String(text) => Answer::Text(text),
        // As written: the server's numbers may be longer than the parser's.
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Answer::Text(value.get().to_owned()), |number| Answer::Integer(number.into())),
        Value::Array(_) | Value::Object(_) => Answer::Text(value.get().to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_value_keeps_its_digits() {
        let text = |text: &str| Some(Answer::Text(text.to_owned()));
        for (object, expected) in [
            (r#"{"max":123456789012345678901234567890.10}"#, text("123456789012345678901234567890.10")),
            (r#"{"count":7}"#, Some(Answer::Integer(7))),
            (r#"{"a":"x"}"#, text("x")),
            (r#"{"a":{"b": 1}}"#, text(r#"{"b": 1}"#)),
            (r#"{"a":true}"#, Some(Answer::Integer(1))),
            (r#"{"a":null}"#, Some(Answer::Null)),
            (r#"{"a":1,"b":2}"#, None),
            ("{}", None),
        ] {
            assert_eq!(only_value(object), expected, "{object}");
        }
    }
}
