//! What of a dashboard is not as described. What Grafana adds by itself, and fields we say nothing of, are no difference.

use serde_json::Value;

/// Values are shown this long at most.
const SHOWN: usize = 80;

/// Differences, a line each: where, what it is, and what it should be.
#[must_use]
pub fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", ours, theirs, &mut found);
    found
}

fn compare(at: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            // Grafana numbers dashboards and their versions itself.
            for (name, value) in ours.iter().filter(|(name, _)| !(at.is_empty() && *name == "id")) {
                let at = format!("{at}/{name}");
                match theirs.get(name) {
                    Some(other) => compare(&at, value, other, found),
                    None if is_nothing(value) => {}
                    None => found.push(format!("{at}: missing, should be {}", shown(value))),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            let name = |item: &Value, index: usize| match item
                .get("title")
                .or_else(|| item.get("name"))
                .and_then(Value::as_str)
            {
                Some(title) => format!("{at}/{title}"),
                None => format!("{at}/{index}"),
            };
            for (index, (one, other)) in ours.iter().zip(theirs).enumerate() {
                compare(&name(one, index), one, other, found);
            }
            for (index, one) in ours.iter().enumerate().skip(theirs.len()) {
                found.push(format!("{}: missing", name(one, index)));
            }
            for (index, other) in theirs.iter().enumerate().skip(ours.len()) {
                found.push(format!("{}: should not be there", name(other, index)));
            }
        }
        // 300 and 300.0 are the same number.
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.push(format!("{at}: is {}, should be {}", shown(theirs), shown(ours))),
    }
}

/// What is as good as absent, and which Grafana may leave out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Number(_) | Value::Bool(true) => false,
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
