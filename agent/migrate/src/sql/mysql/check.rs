//! Checks: their queries are asked, their answers compared.

use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};

use super::client::error;
use crate::error::{Error, Result};
use crate::sql::answer::{Answer, fault, questions};
use crate::sql::{Check, Dialect};

/// What is not as the check says, as a sentence.
pub(super) async fn check(conn: &mut Conn, check: &Check) -> Result<Option<String>> {
    let mut answers = Vec::new();
    for question in questions(check, Dialect::Mysql) {
        answers.push(ask(conn, &question).await?);
    }
    Ok(fault(check, &answers))
}

/// The same where nothing else is done: nothing is written, whatever the query is.
pub(super) async fn check_apart(conn: &mut Conn, one: &Check) -> Result<Option<String>> {
    let doing = |cause: mysql_async::Error| error("cannot look", &cause);
    conn.query_drop("START TRANSACTION READ ONLY").await.map_err(doing)?;
    let found = check(conn, one).await;
    conn.query_drop("ROLLBACK").await.map_err(doing)?;
    found
}

/// Reads are all that checks do: in a migration's transaction nothing else would hinder them.
fn reads(sql: &str) -> bool {
    let what = crate::sql::words::what(sql);
    ["select", "with", "values", "show", "table", "("].iter().any(|verb| what.starts_with(verb))
        || sql.trim_start().starts_with('(')
}

async fn ask(conn: &mut Conn, sql: &str) -> Result<Answer> {
    if !reads(sql) {
        return Err(Error::refused("the query of a check is no SELECT", "a check only reads"));
    }
    let mut rows: Vec<Row> = conn.query(sql).await.map_err(|cause| error("the query of a check failed", &cause))?;
    let Some(row) = rows.pop() else { return Ok(Answer::Nothing) };
    if !rows.is_empty() || row.len() != 1 {
        return Ok(Answer::Many);
    }
    let kind = row.columns_ref().first().map(mysql_async::Column::column_type);
    Ok(match row.unwrap().pop() {
        None | Some(Value::NULL) => Answer::Null,
        Some(Value::Bytes(bytes)) => match String::from_utf8(bytes) {
            Ok(text) => match (kind, text.parse()) {
                (Some(kind), Ok(number)) if is_integer(kind) => Answer::Integer(number),
                _ => Answer::Text(text),
            },
            Err(bytes) => Answer::Bytes(bytes.into_bytes()),
        },
        Some(Value::Int(number)) => Answer::Integer(number.into()),
        Some(Value::UInt(number)) => Answer::Integer(number.into()),
        Some(Value::Float(number)) => Answer::Real(number.into()),
        Some(Value::Double(number)) => Answer::Real(number),
        Some(other) => Answer::Text(other.as_sql(true).trim_matches('\'').to_owned()),
    })
}

const fn is_integer(kind: ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
            | ColumnType::MYSQL_TYPE_YEAR
    )
}
