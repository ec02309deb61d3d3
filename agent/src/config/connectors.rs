//! The `connectors:` section.

use schemars::JsonSchema;
use serde::Deserialize;

/// Debezium connectors as desired state.
#[derive(Debug, Clone, Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Connectors {}
