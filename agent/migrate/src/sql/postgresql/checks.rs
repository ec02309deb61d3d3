//! Looks whether what a check says is so. Whatever a check's query would write is undone; what is told names no values.

use serde_json::Value;
use tokio_postgres::Client;

use crate::database::Job;
use crate::error::{Error, Kind, Result};
use crate::migration::Check;
use crate::sql::compare::{Difference, difference};
use crate::sql::{self, Dialect, backfill};
use crate::watch::Event;

use super::client::error;
use super::session::PostgresqlSession;

/// All checks of a job, in the transaction there is.
///
/// # Errors
/// [`Kind::CheckFailed`] with all that is not so.
pub(super) async fn all(session: &PostgresqlSession, job: &Job<'_>) -> Result<()> {
    let id = job.migration.id.to_text();
    let mut faults = Vec::new();
    for check in job.checks {
        let told = check.to_string();
        session.execute("cannot make the checks", "SAVEPOINT checking; SET LOCAL transaction_read_only = on").await?;
        let fault = one(&session.client, check).await.map_err(|failed| failed.at(format!("check: {told}")))?;
        session.execute("cannot make the checks", "ROLLBACK TO checking; RELEASE checking").await?;
        job.watch.tell(&Event::Checked { id: &id, check: &told, fault: fault.as_deref() });
        faults.extend(fault.map(|fault| format!("{told}: {fault}")));
    }
    match faults.is_empty() {
        true => Ok(()),
        false => {
            Err(Error::new(Kind::CheckFailed, "check_failed", format!("not as it should be: {}", faults.join("; "))))
        }
    }
}

/// One check: a sentence if it is not so.
pub(super) async fn one(client: &Client, check: &Check) -> Result<Option<String>> {
    match check {
        Check::Sql(sql::Check::Count { table, filter, is }) => {
            let filter = filter.as_ref().map(|filter| format!(" WHERE (\n{filter}\n)")).unwrap_or_default();
            let table = backfill::quote_path(table, Dialect::Postgresql);
            let row = client.query_typed_one(&format!("SELECT count(*) FROM {table}{filter}"), &[]).await;
            let count: i64 = row.and_then(|row| row.try_get(0)).map_err(|cause| error("", &cause))?;
            let count = count.unsigned_abs();
            Ok((!is.holds(count)).then(|| format!("there are {count}")))
        }
        Check::Sql(sql::Check::Query { sql, equals }) => {
            let found = value(client, sql).await?;
            Ok(difference(&found, equals).map(|found| match found {
                Difference::Greater => "it gives more".to_owned(),
                Difference::Less => "it gives less".to_owned(),
                Difference::Other => "it gives something else".to_owned(),
            }))
        }
        Check::Sql(sql::Check::Equal { left, right }) => {
            let (left, right) = (value(client, left).await?, value(client, right).await?);
            Ok(difference(&left, &right).map(|found| match found {
                Difference::Greater => "the first gives more".to_owned(),
                Difference::Less => "the first gives less".to_owned(),
                Difference::Other => "they give different values".to_owned(),
            }))
        }
        Check::Copy(_) | Check::Mongodb(_) => {
            Err(Error::refused(format!("PostgreSQL cannot make this check: {check}"), "take it out of the migration"))
        }
    }
}

/// The one value that a query gives.
async fn value(client: &Client, sql: &str) -> Result<Value> {
    // As JSON a value of any type can be read, and numbers keep their digits.
    let text = format!("SELECT to_json(found)::text FROM (\n{}\n) found LIMIT 2", sql.trim().trim_end_matches(';'));
    let rows = client.query_typed(&text, &[]).await.map_err(|cause| error("", &cause))?;
    let [row] = rows.as_slice() else {
        let remedy = "write the query so that it gives one row with one column";
        return Err(Error::refused(
            format!("`{sql}` gives {} rows", if rows.is_empty() { "no" } else { "several" }),
            remedy,
        ));
    };
    let text: String = row.try_get(0).map_err(|cause| error("", &cause))?;
    match crate::sql::compare::only_value(&text) {
        Some(value) => Ok(value),
        None => Err(Error::refused(
            format!("`{sql}` gives more than one column"),
            "write the query so that it gives one row with one column",
        )),
    }
}
