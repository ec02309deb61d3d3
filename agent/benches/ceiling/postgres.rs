//! The ceiling of the PostgreSQL target: one UNNEST upsert a batch, from arrays in memory, each a transaction of its own.
//! Nothing is decoded, planned or mapped here, and no offset is kept.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};

/// A prepared upsert.
pub(crate) struct Unnest {
    statement: Statement,
}

impl Unnest {
    /// Upserts into `table` by its first column. The types are those of arrays.
    pub(crate) async fn prepare(
        client: &Client,
        table: &str,
        columns: &[(&str, Type)],
    ) -> Result<Self, tokio_postgres::Error> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let types: Vec<Type> = columns.iter().map(|(_, ty)| ty.clone()).collect();
        let (key, rest) = names.split_first().unwrap_or((&"", &[]));
        let set = rest.iter().map(|c| format!("{c} = EXCLUDED.{c}")).collect::<Vec<_>>().join(", ");
        let numbered = |prefix: &str, from: usize| {
            (from..names.len() + from).map(|n| format!("{prefix}{n}")).collect::<Vec<_>>().join(", ")
        };
        let (selected, params, all) = (numbered("c", 0), numbered("$", 1), names.join(", "));
        let sql = format!(
            "INSERT INTO {table} ({all}) SELECT {selected} FROM UNNEST({params}) AS u({selected})
             ON CONFLICT ({key}) DO UPDATE SET {set}"
        );
        Ok(Self { statement: client.prepare_typed(&sql, &types).await? })
    }

    /// Writes and commits.
    pub(crate) async fn send(
        &self,
        client: &Client,
        arrays: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, tokio_postgres::Error> {
        client.execute(&self.statement, arrays).await
    }
}

/// Microseconds since 1970 as a timestamp: the driver has none without a calendar library.
#[derive(Debug)]
pub(crate) struct Micros(pub(crate) i64);

impl ToSql for Micros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // PostgreSQL counts from 2000.
        out.extend_from_slice(&(self.0 - 946_684_800_000_000).to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMP
    }

    to_sql_checked!();
}
