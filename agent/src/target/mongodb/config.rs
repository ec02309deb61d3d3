//! Validated settings of a MongoDB target. Reads the raw section of the configuration and nothing else; connects nowhere.

use std::time::Duration;

use mongodb::options::ConnectionString;

use crate::config::invalid::Invalid;
use crate::config::raw::{CompositeId, MongoTarget as Raw, OddFieldNames};
use crate::config::secret::Secret;
use crate::target::DeliveryMode;

/// Long enough for an election of a replica set with default settings (10 s without heartbeat, then a vote) to be seen as
/// one slow attempt rather than many quick ones.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest database name the server takes, in bytes.
const MAX_DATABASE_NAME: usize = 63;

/// What the target is told.
#[derive(Clone)]
pub struct Settings {
    /// Connection string.
    pub uri: Secret,
    /// Database of the collections.
    pub database: String,
    /// Database of the agent's own collections.
    pub state_database: String,
    /// How a composite key becomes `_id`.
    pub composite_id: CompositeId,
    /// Keep key columns as fields beside `_id`.
    pub key_fields: bool,
    /// Policy for names with `$` in front or a dot inside.
    pub odd_field_names: OddFieldNames,
    /// Write the effects ledger.
    pub ledger: bool,
    /// Connect and server selection time-out.
    pub timeout: Duration,
    /// Guarantee; decides what the server must be able to do.
    pub mode: DeliveryMode,
    /// at_least_once: how long a deleted row's version is remembered.
    pub delete_grace: Duration,
}

impl Settings {
    /// Checks the raw section.
    ///
    /// # Errors
    /// The first setting that cannot work, with a remedy. The connection string itself is never repeated.
    pub fn from_raw(raw: &Raw, mode: DeliveryMode, delete_grace: Duration) -> Result<Self, Invalid> {
        let parsed = ConnectionString::parse(raw.uri.expose()).map_err(|_| {
            // The parser's own message repeats parts of the string, and the password is one.
            Invalid::new(
                "uri",
                "this is not a MongoDB connection string",
                "write mongodb://user:password@host:port/?replicaSet=name, with special characters percent-encoded",
            )
        })?;
        if parsed.write_concern.as_ref().is_some_and(|wc| wc.w == Some(mongodb::options::Acknowledgment::Nodes(0))) {
            return Err(Invalid::new("uri", "w=0 asks for no acknowledgement", "leave w out: the agent sets majority"));
        }
        let database = database_name("database", &raw.database)?;
        let state_database = match &raw.state_database {
            Some(name) => database_name("state_database", name)?,
            None => database.clone(),
        };
        let timeout = raw.timeout.map_or(DEFAULT_TIMEOUT, |t| t.0);
        if timeout.is_zero() {
            return Err(Invalid::new("timeout", "a time-out of zero never connects", "write 10s, or leave it out"));
        }
        if mode == DeliveryMode::AtLeastOnce && delete_grace < Duration::from_secs(1) {
            return Err(Invalid::new(
                "delete_grace",
                "shorter than the second in which MongoDB counts expiry",
                "write 24h, or leave it out",
            ));
        }
        Ok(Self {
            uri: raw.uri.clone(),
            database,
            state_database,
            composite_id: raw.composite_id,
            key_fields: raw.key_fields,
            odd_field_names: raw.odd_field_names,
            ledger: raw.ledger,
            timeout,
            mode,
            delete_grace,
        })
    }
}

fn database_name(field: &str, name: &str) -> Result<String, Invalid> {
    const FORBIDDEN: &[char] = &['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0'];
    let hint = "write a name of 1 to 63 bytes without / \\ . space \" $ * < > : | ?";
    if name.is_empty() || name.len() > MAX_DATABASE_NAME || name.contains(FORBIDDEN) {
        return Err(Invalid::new(field, format!("`{}` is not a database name", name.escape_debug()), hint));
    }
    if matches!(name, "admin" | "local" | "config") {
        return Err(Invalid::new(
            field,
            format!("`{name}` belongs to the server"),
            "name a database of your own: the server refuses transactions on its own databases",
        ));
    }
    Ok(name.to_owned())
}

crate::config::opaque::opaque_debug!(Settings);

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(uri: &str, database: &str) -> Raw {
        Raw {
            uri: Secret::new(uri),
            database: database.into(),
            state_database: None,
            composite_id: CompositeId::Document,
            key_fields: true,
            odd_field_names: OddFieldNames::Keep,
            ledger: false,
            timeout: None,
        }
    }

    fn check(raw: &Raw) -> Result<Settings, Invalid> {
        Settings::from_raw(raw, DeliveryMode::ExactlyOnce, Duration::from_secs(60))
    }

    #[test]
    fn wrong_settings_are_named_with_a_remedy_and_without_the_password() {
        let cases = [
            (raw("mongodb://u:s3cr3t@x@y:1/", "shop"), "uri"),
            (raw("postgres://u:s3cr3t@h/", "shop"), "uri"),
            (raw("mongodb://h:1/?w=0", "shop"), "uri"),
            (raw("mongodb://h:1/", ""), "database"),
            (raw("mongodb://h:1/", "a.b"), "database"),
            (raw("mongodb://h:1/", "admin"), "database"),
            (raw("mongodb://h:1/", &"x".repeat(64)), "database"),
            (Raw { state_database: Some("a b".into()), ..raw("mongodb://h:1/", "shop") }, "state_database"),
        ];
        for (raw, field) in cases {
            let invalid = check(&raw).unwrap_err();
            assert_eq!(invalid.path, field);
            assert!(!invalid.to_string().contains("s3cr3t"), "{invalid}");
        }
        let good = check(&raw("mongodb://u:s3cr3t@h:1/?replicaSet=rs0", "shop")).unwrap();
        assert_eq!((good.state_database.as_str(), good.timeout), ("shop", DEFAULT_TIMEOUT));
        assert!(!format!("{good:?}").contains("s3cr3t"));
    }
}
