//! Values without what they say: type and shape stay, so that a plugin still does something with them. Text keeps its
//! length and its punctuation, numbers become zero, `true` becomes `false`, null stays. Pure.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

/// A name inside a JSON value that is longer is none.
const MAX_NAME: usize = 40;
/// `address2` is a name; with more digits it is an identifier of somebody.
const MAX_NAME_DIGITS: usize = 2;

/// A JSON value, redacted. What cannot be read becomes null.
pub(super) fn redacted(raw: &RawValue) -> Box<RawValue> {
    let text = raw.get();
    let value = match text.as_bytes().first() {
        // Not parsed: it may be longer than any number type.
        Some(b'-' | b'0'..=b'9') if text.contains(['.', 'e', 'E']) => Value::from(0.0),
        Some(b'-' | b'0'..=b'9') => Value::from(0),
        _ => serde_json::from_str(text).map(value).unwrap_or_default(),
    };
    to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn value(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(false),
        Value::Number(number) if number.is_f64() => Value::from(0.0),
        Value::Number(_) => Value::from(0),
        Value::String(text) => Value::String(document(&text).unwrap_or_else(|| letters(&text))),
        Value::Array(items) => items.into_iter().map(self::value).collect(),
        Value::Object(members) => {
            let mut hidden = Map::with_capacity(members.len());
            for (name, member) in members {
                let mut name = if is_name(&name) { name } else { letters(&name) };
                while hidden.contains_key(&name) {
                    name.push('x');
                }
                hidden.insert(name, self::value(member));
            }
            hidden.into()
        }
    }
}

/// A JSON document inside a text, as columns of the type `json` have it: it stays one.
fn document(text: &str) -> Option<String> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok().map(|parsed| value(parsed).to_string())
}

/// ASCII digits become `0`, ASCII punctuation and space stay, everything else becomes `x`.
fn letters(text: &str) -> String {
    let hide = |c: char| match c {
        c if c.is_ascii_digit() => '0',
        c if c.is_ascii_punctuation() || c.is_ascii_whitespace() => c,
        _ => 'x',
    };
    text.chars().map(hide).collect()
}

/// Whether a member of a JSON object reads like the name of a field, and not like data.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && text.chars().filter(char::is_ascii_digit).count() <= MAX_NAME_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_shape_stay_and_nothing_else() {
        for (given, expect) in [
            ("null", "null"),
            ("true", "false"),
            ("false", "false"),
            ("42", "0"),
            ("-7", "0"),
            ("123456789012345678901234567890", "0"),
            ("1.5", "0.0"),
            ("-1e999", "0.0"),
            (r#""""#, r#""""#),
            (r#""Ada.Lovelace@example.org""#, r#""xxx.xxxxxxxx@xxxxxxx.xxx""#),
            (r#""Übermaß 漢字 🦀""#, r#""xxxxxxx xx x""#),
            (r#""a\"b\\c\u0000\n""#, r#""x\"x\\xx\n""#),
            (r#""+49 (30) 901-820""#, r#""+00 (00) 000-000""#),
            (r#"["x1",[true,null],{}]"#, r#"["x0",[false,null],{}]"#),
            (
                r#"{"address":{"zip":"10115","line2":null},"floor":1.0}"#,
                r#"{"address":{"zip":"00000","line2":null},"floor":0.0}"#,
            ),
            (r#"{"ada@example.org":1,"bob@example.org":2}"#, r#"{"xxx@xxxxxxx.xxx":0,"xxx@xxxxxxx.xxxx":0}"#),
            (r#"{"user12345":{"$oid":"5f2b"}}"#, r#"{"xxxx00000":{"$oid":"0x0x"}}"#),
            (r#""{\"mail\":\"ada@b.c\",\"n\":12}""#, r#""{\"mail\":\"xxx@x.x\",\"n\":0}""#),
            (r#""{no json""#, r#""{xx xxxx""#),
        ] {
            let raw: Box<RawValue> = serde_json::from_str(given).unwrap();
            assert_eq!(redacted(&raw).get(), expect, "{given}");
        }
    }

    #[test]
    fn what_nests_too_deeply_is_null_and_not_shown() {
        let deep = format!("{}\"secret\"{}", "[".repeat(500), "]".repeat(500));
        let raw: Box<RawValue> = RawValue::from_string(deep.clone()).unwrap_or_else(|_| RawValue::NULL.to_owned());
        assert_eq!(redacted(&raw).get(), "null");
        let text: Box<RawValue> = to_raw_value(&deep).unwrap();
        assert!(!redacted(&text).get().contains("secret"));
    }
}
