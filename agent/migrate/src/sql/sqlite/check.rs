//! Checks: their queries are asked, their answers compared.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::error::error;
use crate::error::{Error, Result};
use crate::migration::Check;
use crate::sql::Dialect;
use crate::sql::answer::{Answer, fault, questions};

/// What is not as the check says, as a sentence.
pub(super) fn check(connection: &Connection, check: &Check) -> Result<Option<String>> {
    match check {
        Check::Sql(check) => {
            let answers =
                questions(check, Dialect::Sqlite).iter().map(|sql| ask(connection, sql)).collect::<Result<Vec<_>>>()?;
            Ok(fault(check, &answers))
        }
        Check::Copy(_) => Err(Error::refused("a copy is compared outside of the migration", "use `migrate verify`")),
        Check::Mongodb(_) => Err(Error::refused("the check is MongoDB's", "write one of SQL's: count, query, equal")),
    }
}

fn ask(connection: &Connection, sql: &str) -> Result<Answer> {
    let answer = || {
        let mut statement = connection.prepare(sql)?;
        if !statement.readonly() {
            return Ok(None);
        }
        let columns = statement.column_count();
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(Some(Answer::Nothing)) };
        if columns != 1 {
            return Ok(Some(Answer::Many));
        }
        let answer = match row.get_ref(0)? {
            ValueRef::Null => Answer::Null,
            ValueRef::Integer(number) => Answer::Integer(number.into()),
            ValueRef::Real(number) => Answer::Real(number),
            ValueRef::Text(text) => Answer::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(bytes) => Answer::Bytes(bytes.to_vec()),
        };
        Ok(Some(if rows.next()?.is_some() { Answer::Many } else { answer }))
    };
    let answer = answer().map_err(|cause| error("the query of a check failed", &cause))?;
    answer.ok_or_else(|| Error::refused("the query of a check writes", "a check only reads"))
}
