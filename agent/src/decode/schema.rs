//! Kafka Connect's embedded schemas: what each field of a record holds.
//!
//! Read once per schema (see `frame`), so clarity goes before speed. Names are those of Debezium's semantic types
//! (`io.debezium.time.*`, `io.debezium.data.*`) and of Kafka Connect (`org.apache.kafka.connect.data.*`).

use std::collections::HashMap;

use serde::Deserialize;

use crate::event::SourceType;

/// A schema as `JsonConverter` writes it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ConnectSchema {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    optional: bool,
    name: Option<String>,
    #[serde(default)]
    parameters: Option<HashMap<String, String>>,
    #[serde(default)]
    fields: Vec<ConnectSchema>,
    items: Option<Box<ConnectSchema>>,
    field: Option<String>,
}

impl ConnectSchema {
    /// The semantic name, empty when there is none.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// May be null.
    pub(super) const fn optional(&self) -> bool {
        self.optional
    }

    /// True for a struct.
    pub(super) fn is_struct(&self) -> bool {
        self.kind == "struct"
    }

    /// The field called `name` of a struct.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.fields.iter().find(|field| field.field.as_deref() == Some(name))
    }

    fn parameter<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.parameters.as_ref()?.get(name)?.parse().ok()
    }

    /// What the values are. A semantic type this agent does not know is taken as its plain type, as Connect demands.
    pub(super) fn source_type(&self) -> SourceType {
        match self.name() {
            "org.apache.kafka.connect.data.Decimal" => {
                // Connect requires the parameter; a schema without it is taken as a whole number.
                SourceType::Decimal { scale: self.parameter("scale").unwrap_or(0) }
            }
            "io.debezium.data.VariableScaleDecimal" => SourceType::VariableDecimal,
            "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => SourceType::DateDays,
            "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => SourceType::TimeMillis,
            "io.debezium.time.MicroTime" => SourceType::TimeMicros,
            "io.debezium.time.NanoTime" => SourceType::TimeNanos,
            "io.debezium.time.ZonedTime" => SourceType::ZonedTime,
            "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => SourceType::TimestampMillis,
            "io.debezium.time.MicroTimestamp" => SourceType::TimestampMicros,
            "io.debezium.time.NanoTimestamp" => SourceType::TimestampNanos,
            "io.debezium.time.ZonedTimestamp" => SourceType::ZonedTimestamp,
            "io.debezium.time.IsoDate" => SourceType::IsoDate,
            "io.debezium.time.IsoTime" => SourceType::IsoTime,
            "io.debezium.time.IsoTimestamp" => SourceType::IsoTimestamp,
            "io.debezium.time.MicroDuration" => SourceType::IntervalMicros,
            "io.debezium.time.Interval" => SourceType::IntervalIso,
            "io.debezium.time.Year" => SourceType::Year,
            "io.debezium.data.Json" => SourceType::Json,
            "io.debezium.data.Xml" => SourceType::Xml,
            "io.debezium.data.Uuid" => SourceType::Uuid,
            "io.debezium.data.Enum" => SourceType::Enum,
            "io.debezium.data.EnumSet" => SourceType::EnumSet,
            "io.debezium.data.Bits" => SourceType::Bits { length: self.bits() },
            "io.debezium.data.geometry.Point"
            | "io.debezium.data.geometry.Geometry"
            | "io.debezium.data.geometry.Geography" => SourceType::Geometry,
            _ => self.plain_type(),
        }
    }

    /// PostgreSQL's `bit varying` without a length comes as `2147483647`.
    fn bits(&self) -> u32 {
        self.parameter("length").filter(|length| *length < i32::MAX.cast_unsigned()).unwrap_or(0)
    }

    fn plain_type(&self) -> SourceType {
        match self.kind.as_str() {
            "boolean" => SourceType::Boolean,
            "int8" | "int16" | "int32" => SourceType::Int32,
            "int64" => SourceType::Int64,
            "float" | "float32" => SourceType::Float32,
            "double" | "float64" => SourceType::Float64,
            "string" => SourceType::Text,
            "bytes" => SourceType::Bytes,
            "map" => SourceType::Map,
            "array" => SourceType::Array(Box::new(
                self.items.as_ref().map_or(SourceType::Unknown, |items| items.source_type()),
            )),
            "struct" => SourceType::Struct(
                self.fields
                    .iter()
                    .map(|field| (field.field.clone().unwrap_or_default(), field.source_type()))
                    .collect(),
            ),
            _ => SourceType::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ty(json: &str) -> SourceType {
        serde_json::from_str::<ConnectSchema>(json).unwrap().source_type()
    }

    #[test]
    fn semantic_types_are_mapped() {
        let named = |kind: &str, name: &str| ty(&format!(r#"{{"type":"{kind}","optional":true,"name":"{name}"}}"#));
        for (kind, name, expect) in [
            ("int32", "io.debezium.time.Date", SourceType::DateDays),
            ("int32", "org.apache.kafka.connect.data.Date", SourceType::DateDays),
            ("int32", "io.debezium.time.Time", SourceType::TimeMillis),
            ("int32", "org.apache.kafka.connect.data.Time", SourceType::TimeMillis),
            ("int64", "io.debezium.time.MicroTime", SourceType::TimeMicros),
            ("int64", "io.debezium.time.NanoTime", SourceType::TimeNanos),
            ("string", "io.debezium.time.ZonedTime", SourceType::ZonedTime),
            ("int64", "io.debezium.time.Timestamp", SourceType::TimestampMillis),
            ("int64", "org.apache.kafka.connect.data.Timestamp", SourceType::TimestampMillis),
            ("int64", "io.debezium.time.MicroTimestamp", SourceType::TimestampMicros),
            ("int64", "io.debezium.time.NanoTimestamp", SourceType::TimestampNanos),
            ("string", "io.debezium.time.ZonedTimestamp", SourceType::ZonedTimestamp),
            ("string", "io.debezium.time.IsoDate", SourceType::IsoDate),
            ("string", "io.debezium.time.IsoTime", SourceType::IsoTime),
            ("string", "io.debezium.time.IsoTimestamp", SourceType::IsoTimestamp),
            ("int64", "io.debezium.time.MicroDuration", SourceType::IntervalMicros),
            ("string", "io.debezium.time.Interval", SourceType::IntervalIso),
            ("int32", "io.debezium.time.Year", SourceType::Year),
            ("string", "io.debezium.data.Json", SourceType::Json),
            ("string", "io.debezium.data.Xml", SourceType::Xml),
            ("string", "io.debezium.data.Uuid", SourceType::Uuid),
            ("string", "io.debezium.data.Enum", SourceType::Enum),
            ("string", "io.debezium.data.EnumSet", SourceType::EnumSet),
            ("bytes", "io.debezium.data.Bits", SourceType::Bits { length: 0 }),
            ("struct", "io.debezium.data.VariableScaleDecimal", SourceType::VariableDecimal),
            ("struct", "io.debezium.data.geometry.Point", SourceType::Geometry),
            ("struct", "io.debezium.data.geometry.Geometry", SourceType::Geometry),
            ("struct", "io.debezium.data.geometry.Geography", SourceType::Geometry),
            ("string", "io.debezium.data.Tsvector", SourceType::Text),
            ("string", "io.debezium.data.Ltree", SourceType::Text),
            ("int16", "", SourceType::Int32),
            ("int64", "", SourceType::Int64),
            ("float", "", SourceType::Float32),
            ("double", "", SourceType::Float64),
            ("boolean", "", SourceType::Boolean),
            ("bytes", "", SourceType::Bytes),
            ("map", "", SourceType::Map),
        ] {
            assert_eq!(named(kind, name), expect, "{kind} {name}");
        }
    }

    #[test]
    fn parameters_give_scale_and_length() {
        assert_eq!(
            ty(
                r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"10","connect.decimal.precision":"38"}}"#
            ),
            SourceType::Decimal { scale: 10 }
        );
        assert_eq!(
            ty(r#"{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"3"}}"#),
            SourceType::Bits { length: 3 }
        );
        assert_eq!(
            ty(r#"{"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"2147483647"}}"#),
            SourceType::Bits { length: 0 }
        );
        assert_eq!(
            ty(r#"{"type":"array","items":{"type":"array","items":{"type":"int32"}}}"#),
            SourceType::Array(Box::new(SourceType::Array(Box::new(SourceType::Int32))))
        );
    }
}
