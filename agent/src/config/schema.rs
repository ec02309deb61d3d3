//! The JSON Schema of the configuration file, for editors and CI (`whimbrel config schema`).

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw;

/// The schema, draft 2020-12. References (`${env:NAME}`) are text, so fields that are no text also take a reference.
#[must_use]
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<raw::Config>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "Whimbrel configuration".into());
        // Before the fields, where a reader looks first.
        root.shift_insert(0, "$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    }
    complete(&mut schema);
    schema
}

/// Adds what the types do not say: defaults that stages give to fields left out, and that a number or boolean may be
/// written as a reference, too.
fn complete(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let description = object.get("description").and_then(Value::as_str).unwrap_or_default();
            if let Some(default) = stated_default(description) {
                object.insert("default".into(), default);
            } else if object.get("default") == Some(&Value::Null) {
                object.shift_remove("default");
            }
            let names: Vec<Value> = match object.get("type") {
                Some(Value::Array(names)) => names.clone(),
                Some(name) => vec![name.clone()],
                None => Vec::new(),
            };
            if names.iter().any(|name| name.as_str().is_some_and(is_scalar)) {
                object.insert("type".into(), names.into_iter().chain([Value::from("string")]).collect());
                object.insert("pattern".into(), r"^\$\{(env|file):.+\}$".into());
            }
            object.values_mut().for_each(complete);
        }
        Value::Array(items) => items.iter_mut().for_each(complete),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The default a description names: "Default 10s.", "Default `earliest`.", "Default true." Words are no default.
fn stated_default(description: &str) -> Option<Value> {
    let (_, after) = description.split_once("Default ")?;
    let text = match after.strip_prefix('`') {
        Some(quoted) => quoted.split('`').next()?,
        None => after.split([' ', ';', ',', '\n']).next()?.trim_end_matches('.'),
    };
    let quoted = after.starts_with('`');
    match text {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        _ if text.contains('{') => None,
        _ if quoted => Some(text.into()),
        _ if !text.starts_with(|c: char| c.is_ascii_digit()) => None,
        _ => Some(match (text.parse::<u64>(), text.parse::<f64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => text.into(),
        }),
    }
}

fn is_scalar(name: &str) -> bool {
    matches!(name, "integer" | "number" | "boolean")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_described_and_unknown_ones_are_refused() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let default = |of: &str, field: &str| schema["$defs"][of]["properties"][field]["default"].clone();
        assert_eq!(default("Http", "listen"), "127.0.0.1:9464");
        assert_eq!(default("Otlp", "interval"), "10s");
        assert_eq!(default("BatchLimits", "max_events"), 1_000);
        assert_eq!(default("Poison", "max_ratio"), 0.5);
        assert_eq!(default("Kafka", "group"), "migration-consumer");
        assert_eq!(default("KafkaTls", "ca_file"), Value::Null);
        let mut structs = 0;
        let mut undescribed = Vec::new();
        let all = schema["$defs"].as_object().unwrap().iter().map(|(name, schema)| (name.as_str(), schema));
        for (name, definition) in all.chain([("root", &schema)]) {
            let Some(fields) = definition["properties"].as_object() else { continue };
            structs += 1;
            assert_eq!(definition["additionalProperties"], false, "{name}");
            for (field, schema) in fields {
                let described = schema.get("description").is_some();
                if !described {
                    undescribed.push(format!("{name}.{field}"));
                }
            }
        }
        assert!(structs > 20, "{structs}");
        assert_eq!(undescribed, Vec::<String>::new());
    }
}
