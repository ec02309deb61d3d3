//! The JSON Schema in a manifest: whether it is one the agent can use, and the options it describes. Knows the words that
//! `#[derive(Config)]` writes and the simple ones beside them; pure.

use serde_json::{Map, Value};

/// One option of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opt {
    /// Where it stands: `rules[].columns`.
    pub path: String,
    /// What it takes.
    pub takes: String,
    /// What stands in for it; none: it must be written, or has a default the schema does not show.
    pub default: Option<String>,
    /// Whether it must be written.
    pub required: bool,
    /// What it is for.
    pub meaning: String,
}

const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];

/// What keeps this from being a schema, the first thing found, with its place.
///
/// # Errors
/// With the sentence that says what to write instead.
pub fn check(schema: &Value) -> Result<(), String> {
    let Some(root) = schema.as_object() else {
        return Err("the config schema is no JSON object; derive `Config` for the plugin's type".to_owned());
    };
    if root.get("type").is_some_and(|kind| kind != "object") {
        return Err("config: the root must have `\"type\": \"object\"`, since a configuration is a mapping".to_owned());
    }
    node(schema, "config")
}

fn node(schema: &Value, at: &str) -> Result<(), String> {
    let schema = match schema {
        Value::Object(schema) => schema,
        Value::Bool(_) => return Ok(()),
        _ => return Err(format!("{at}: a schema is an object or a boolean")),
    };
    for (word, value) in schema {
        let fault = |wants: &str| Err(format!("{at}: `{word}` must be {wants}"));
        match word.as_str() {
            "type" => {
                let one = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
                if !(one(value) || value.as_array().is_some_and(|kinds| !kinds.is_empty() && kinds.iter().all(one))) {
                    return fault(&format!("one of {}", TYPES.join(", ")));
                }
            }
            "properties" => match value.as_object() {
                Some(members) => {
                    members.iter().try_for_each(|(name, inner)| node(inner, &format!("{at}.{name}")))?;
                }
                None => return fault("a mapping of schemas"),
            },
            "items" | "not" => node(value, &format!("{at}[]"))?,
            "additionalProperties" => node(value, &format!("{at}.*"))?,
            "anyOf" | "oneOf" | "allOf" => match value.as_array() {
                Some(list) if !list.is_empty() => list.iter().try_for_each(|inner| node(inner, at))?,
                _ => return fault("a list of schemas"),
            },
            "required" => match value.as_array() {
                Some(names) => {
                    for name in names {
                        let Some(name) = name.as_str() else { return fault("a list of names") };
                        if schema.get("properties").is_some_and(|members| members.get(name).is_none()) {
                            return Err(format!("{at}: `required` names `{name}`, which is not among the properties"));
                        }
                    }
                }
                None => return fault("a list of names"),
            },
            "enum" if value.as_array().is_none_or(Vec::is_empty) => return fault("a list of values"),
            "minimum" | "maximum" if !value.is_number() => return fault("a number"),
            "description" | "title" | "format" if !value.is_string() => return fault("a text"),
            "$ref" => return Err(format!("{at}: `$ref` is not followed; write the schema out")),
            _ => {}
        }
    }
    match schema.get("default") {
        Some(default) if !fits(&Value::Object(schema.clone()), default) => {
            Err(format!("{at}: the default {default} does not fit the option's own schema"))
        }
        _ => Ok(()),
    }
}

/// Whether a value fits, as far as types, choices, bounds and members go.
#[must_use]
pub fn fits(schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema != &Value::Bool(false) };
    let is = |kind: &Value| match kind.as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => true,
    };
    let list = |word: &str| schema.get(word).and_then(Value::as_array);
    let typed = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is),
        Some(kind) => is(kind),
        None => true,
    };
    let number = |word: &str| schema.get(word).and_then(Value::as_f64);
    let bounded = value.as_f64().is_none_or(|n| {
        number("minimum").is_none_or(|least| n >= least) && number("maximum").is_none_or(|most| n <= most)
    });
    let members = |value: &Map<String, Value>| {
        let known = schema.get("properties").and_then(Value::as_object);
        value.iter().all(|(name, value)| match known.and_then(|known| known.get(name)) {
            Some(inner) => fits(inner, value),
            None => schema.get("additionalProperties").is_none_or(|inner| fits(inner, value)),
        }) && list("required")
            .is_none_or(|names| names.iter().filter_map(Value::as_str).all(|name| value.contains_key(name)))
    };
    typed
        && bounded
        && schema.get("const").is_none_or(|one| one == value)
        && list("enum").is_none_or(|values| values.contains(value))
        && list("anyOf").is_none_or(|any| any.iter().any(|inner| fits(inner, value)))
        && list("oneOf").is_none_or(|one| one.iter().filter(|inner| fits(inner, value)).count() == 1)
        && list("allOf").is_none_or(|all| all.iter().all(|inner| fits(inner, value)))
        && value.as_object().is_none_or(members)
        && value
            .as_array()
            .is_none_or(|values| schema.get("items").is_none_or(|items| values.iter().all(|value| fits(items, value))))
}

/// The options that must be written because nothing stands in for them.
#[must_use]
pub fn required(schema: &Value) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// All options, nested ones behind the one they belong to.
#[must_use]
pub fn options(schema: &Value) -> Vec<Opt> {
    let mut found = Vec::new();
    members(schema, "", &mut found);
    found
}

fn members(schema: &Value, prefix: &str, found: &mut Vec<Opt>) {
    let required = required(schema);
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let dot = if prefix.is_empty() { "" } else { "." };
        let path = format!("{prefix}{dot}{name}");
        found.push(Opt {
            takes: takes(inner),
            default: inner.get("default").map(Value::to_string),
            required: required.contains(&name.as_str()),
            meaning: meaning(inner),
            path: path.clone(),
        });
        nested(inner, &path, found);
    }
}

/// Options inside an option's value: members of an object, of a list's items, of a choice's mapping.
fn nested(schema: &Value, path: &str, found: &mut Vec<Opt>) {
    let alternatives = |word: &str| schema.get(word).and_then(Value::as_array).into_iter().flatten();
    if let Some(items) = schema.get("items") {
        nested(items, &format!("{path}[]"), found);
    } else if schema.get("additionalProperties").is_some_and(Value::is_object) {
        nested(&schema["additionalProperties"], &format!("{path}.*"), found);
    } else if let Some(inner) = alternatives("anyOf").find(|inner| inner["type"] != "null") {
        nested(inner, path, found);
    } else {
        members(schema, path, found);
        alternatives("oneOf").for_each(|variant| members(variant, path, found));
    }
}

/// What an option takes, in words.
fn takes(schema: &Value) -> String {
    let alternatives = |word: &str| schema.get(word).and_then(Value::as_array);
    if let Some(any) = alternatives("anyOf") {
        let words: Vec<String> = any.iter().map(takes).collect();
        return words.join(" or ");
    }
    if let Some(one) = alternatives("oneOf") {
        let words: Vec<String> = one.iter().map(variant).collect();
        return words.join(", ");
    }
    if let Some(values) = alternatives("enum") {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    match (schema.get("type").and_then(Value::as_str), schema.get("format").and_then(Value::as_str)) {
        (Some("array"), _) => format!("list of {}", schema.get("items").map_or("anything".to_owned(), takes)),
        (Some("object"), _) => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("mapping to {}", takes(values)),
            _ => "mapping".to_owned(),
        },
        (Some("string"), Some(format)) => format!("text ({format})"),
        (Some("string"), None) => "text".to_owned(),
        (Some("integer"), _) => bounded("whole number", schema),
        (Some("number"), _) => "number".to_owned(),
        (Some("boolean"), _) => "true or false".to_owned(),
        (Some("null"), _) => "null".to_owned(),
        _ => "anything".to_owned(),
    }
}

/// Bounds are worth saying where they are not just those of a machine word.
fn bounded(word: &str, schema: &Value) -> String {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64).filter(|n| n.unsigned_abs() < 1 << 31);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!("{word}, {least} to {most}"),
        (Some(least), None) => format!("{word}, at least {least}"),
        _ => word.to_owned(),
    }
}

/// One alternative of a choice: a word, or a mapping with one member.
fn variant(schema: &Value) -> String {
    match (schema.get("const"), schema.get("properties").and_then(Value::as_object)) {
        (Some(Value::String(word)), _) => format!("`{word}`"),
        (Some(other), _) => format!("`{other}`"),
        (None, Some(members)) => {
            let members: Vec<String> =
                members.iter().map(|(name, inner)| format!("`{name}`: {}", takes(inner))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        (None, None) => takes(schema),
    }
}

/// What an option is for, with what its alternatives mean.
fn meaning(schema: &Value) -> String {
    let said = |schema: &Value| schema.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut text = said(schema);
    for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let meaning = said(choice);
        if !meaning.is_empty() {
            text = format!("{text} {}: {meaning}", variant(choice));
        }
    }
    text.trim().replace('\n', " ")
}

/// The options as a Markdown table.
#[must_use]
pub fn table(schema: &Value) -> String {
    let options = options(schema);
    if options.is_empty() {
        return "It has no options.\n".to_owned();
    }
    let cell = |text: &str| text.replace('|', "\\|");
    let mut table = String::from("| option | takes | default | meaning |\n|---|---|---|---|\n");
    for option in options {
        let default = match (&option.default, option.required) {
            (Some(default), _) => format!("`{}`", cell(default)),
            (None, true) => "required".to_owned(),
            (None, false) => "–".to_owned(),
        };
        let (takes, meaning) = (cell(&option.takes), cell(&option.meaning));
        table.push_str(&format!("| `{}` | {takes} | {default} | {meaning} |\n", option.path));
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_that_cannot_be_used_is_named_with_its_place() {
        for (schema, says) in [
            (json!(null), "no JSON object"),
            (json!({"type": "array"}), "root must have"),
            (json!({"properties": {"a": {"type": "text"}}}), "config.a: `type` must be one of"),
            (json!({"properties": {"a": {"items": 3}}}), "config.a[]: a schema is"),
            (json!({"properties": {}, "required": ["a"]}), "names `a`, which is not among"),
            (json!({"properties": {"a": {"type": "integer", "maximum": 5, "default": 6}}}), "config.a: the default 6"),
            (json!({"properties": {"a": {"oneOf": []}}}), "`oneOf` must be a list"),
            (json!({"properties": {"a": {"$ref": "#/x"}}}), "`$ref` is not followed"),
        ] {
            let why = check(&schema).unwrap_err();
            assert!(why.contains(says), "{why}");
        }
    }

    #[test]
    fn what_bundled_plugins_say_is_a_schema_and_becomes_a_table() {
        for plugin in crate::plugin::bundled::BUNDLED {
            let (manifest, _) = crate::plugin::Manifest::any(plugin.bytes).unwrap();
            check(&manifest.config).unwrap();
            assert!(!fits(&manifest.config, &json!({"nonsense": 1})));
        }
        let (manifest, _) = crate::plugin::Manifest::any(crate::plugin::bundled::find("mask-fields").unwrap()).unwrap();
        assert!(fits(&manifest.config, &json!({"rules": [{"columns": ["a"], "with": {"keep_last": 4}}]})));
        assert!(!fits(&manifest.config, &json!({"rules": [{"columns": "a"}]})));
        let table = table(&manifest.config);
        for row in [
            "| `rules` | list of mapping | required |",
            "| `rules[].columns` | list of text | required |",
            "| `rules[].keys` | true or false | `false` |",
            "| `salt` | text |",
        ] {
            assert!(table.contains(row), "{table}");
        }
        assert!(table.contains("`email`") && table.contains("keep_last"), "{table}");
    }
}
