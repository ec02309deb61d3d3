//! What the schema looks like, as one hash: whether a statement that was begun was carried out is told by whether it changed
//! anything. Only what statements define counts; what the server counts by itself (rows, the next number) does not.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};
use sha2::{Digest, Sha256};

use super::client::error;
use super::ledger::Tables;
use super::manner::is_of_databases;
use crate::error::Result;

/// What is looked at, by kind. Each takes the database's name.
const QUERIES: [(&str, &str); 10] = [
    (
        "tables",
        "SELECT table_name, table_type, engine, row_format, table_collation, create_options, table_comment
        FROM information_schema.tables WHERE table_schema = ?",
    ),
    (
        "columns",
        "SELECT table_name, ordinal_position, column_name, column_default, is_nullable, column_type, collation_name, extra,
            column_comment, generation_expression
        FROM information_schema.columns WHERE table_schema = ?",
    ),
    (
        "indexes",
        "SELECT table_name, index_name, seq_in_index, column_name, non_unique, sub_part, collation, index_type, index_comment
        FROM information_schema.statistics WHERE table_schema = ?",
    ),
    (
        "constraints",
        "SELECT table_name, constraint_name, constraint_type FROM information_schema.table_constraints WHERE table_schema = ?",
    ),
    (
        "foreign keys",
        "SELECT k.table_name, k.constraint_name, k.ordinal_position, k.column_name, k.referenced_table_name,
            k.referenced_column_name, r.update_rule, r.delete_rule
        FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r
            ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name
        WHERE k.table_schema = ?",
    ),
    (
        "views",
        "SELECT table_name, view_definition, check_option, definer, security_type FROM information_schema.views
        WHERE table_schema = ?",
    ),
    (
        "triggers",
        "SELECT trigger_name, event_object_table, action_timing, event_manipulation, action_order, action_statement, definer, sql_mode
        FROM information_schema.triggers WHERE trigger_schema = ?",
    ),
    (
        "routines",
        "SELECT routine_name, routine_type, dtd_identifier, routine_definition, security_type, definer, sql_mode, last_altered
        FROM information_schema.routines WHERE routine_schema = ?",
    ),
    (
        "events",
        "SELECT event_name, event_definition, status, interval_value, interval_field, execute_at, starts, ends, last_altered
        FROM information_schema.events WHERE event_schema = ?",
    ),
    (
        "partitions",
        "SELECT table_name, partition_name, subpartition_name, partition_method, partition_expression, partition_description
        FROM information_schema.partitions WHERE partition_name IS NOT NULL AND table_schema = ?",
    ),
];

/// The schema as far as this statement can change it: of the database; of statements about databases, which there are.
pub(super) async fn of(conn: &mut Conn, tables: &Tables, statement: &str) -> Result<String> {
    let doing = |cause: mysql_async::Error| error("cannot look at the schema", &cause);
    let mut sum = Sha256::new();
    for (kind, query) in QUERIES {
        let rows: Vec<Row> = conn.exec(query, (&tables.database,)).await.map_err(doing)?;
        add(&mut sum, kind, rows);
    }
    // Others come and go on the same server.
    if is_of_databases(statement) {
        let text =
            "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata";
        let rows: Vec<Row> = conn.exec(text, ()).await.map_err(doing)?;
        add(&mut sum, "databases", rows);
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Rows in an order of their own, each value with its length: no two schemas look the same.
fn add(sum: &mut Sha256, kind: &str, rows: Vec<Row>) {
    let mut rows: Vec<Vec<u8>> = rows.into_iter().map(|row| bytes(row.unwrap())).collect();
    rows.sort();
    sum.update(kind);
    for row in rows {
        sum.update(row.len().to_le_bytes());
        sum.update(row);
    }
}

fn bytes(values: Vec<Value>) -> Vec<u8> {
    let mut all = Vec::new();
    for value in values {
        let (mark, bytes) = match value {
            Value::NULL => (0_u8, Vec::new()),
            Value::Bytes(bytes) => (1, bytes),
            other => (2, format!("{other:?}").into_bytes()),
        };
        all.push(mark);
        all.extend(bytes.len().to_le_bytes());
        all.extend(bytes);
    }
    all
}
