//! The replication slot that PostgreSQL keeps for a connector: asked with the connector's own login.

use std::time::Duration;

use super::desired::Desired;
use crate::config::raw;
use crate::target::{TargetError, postgres};

/// What the server says of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFacts {
    /// Whether somebody reads it.
    pub active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; empty before PostgreSQL 13.
    pub wal_status: String,
    /// Bytes until the server gives it up, where there is a limit (`max_slot_wal_keep_size`).
    pub room: Option<i64>,
    /// Bytes of WAL that it keeps back.
    pub kept: Option<i64>,
    /// `wal_level` of the server.
    pub wal_level: String,
}

/// The slot of a connector; none: the connector has none.
#[must_use]
pub fn name(desired: &Desired) -> Option<&str> {
    desired.config.get("slot.name")
}

/// The source database of a connector, as a client of our own would reach it; none: it cannot be told.
#[must_use]
pub fn database(desired: &Desired) -> Option<postgres::Settings> {
    let of = |key: &str| desired.config.get(key);
    let mut url = url::Url::parse("postgresql://host").ok()?;
    url.set_host(of("database.hostname")).ok()?;
    url.set_port(of("database.port").and_then(|port| port.parse().ok())).ok()?;
    url.set_username(of("database.user")?).ok()?;
    url.set_password(of("database.password")).ok()?;
    url.set_path(of("database.dbname")?);
    if let Some(mode) = of("database.sslmode") {
        url.query_pairs_mut().append_pair("sslmode", mode);
    }
    let raw: raw::PostgresTarget = serde_json::from_value(serde_json::json!({ "uri": url.as_str() })).ok()?;
    postgres::Settings::from_raw(&raw, Duration::ZERO).ok()
}

/// Asks the server; none: there is no such slot yet.
///
/// # Errors
/// When it cannot be reached, or does not answer this user.
pub async fn ask(database: &postgres::Settings, slot: &str) -> Result<Option<SlotFacts>, TargetError> {
    let client = postgres::connect(database).await?;
    let row = client
        .query_opt(
            "SELECT active, coalesce(wal_status, ''), safe_wal_size,
                    pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, current_setting('wal_level')
             FROM pg_replication_slots WHERE slot_name = $1",
            &[&slot],
        )
        .await
        .map_err(|cause| postgres::failed("cannot look at the replication slots", cause))?;
    Ok(row.map(|row| SlotFacts {
        active: row.get(0),
        wal_status: row.get(1),
        room: row.get(2),
        kept: row.get(3),
        wal_level: row.get(4),
    }))
}
