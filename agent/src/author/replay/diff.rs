//! Where two JSON documents differ, by place: what a person needs to see why a replay failed. Pure.

use serde_json::Value;

/// The most differences told; more say nothing more.
const MOST: usize = 20;

/// What came out otherwise than expected, a line for each place.
#[must_use]
pub fn differences(expect: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("expect", expect, got, &mut found);
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

fn walk(at: &str, expect: &Value, got: &Value, found: &mut Vec<String>) {
    match (expect, got) {
        (Value::Object(expected), Value::Object(present)) => {
            for (name, expect) in expected {
                let at = format!("{at}.{name}");
                match present.get(name) {
                    Some(got) => walk(&at, expect, got, found),
                    None => found.push(format!("{at}: expected {expect}, but it is not there")),
                }
            }
            for (name, got) in present.iter().filter(|(name, _)| !expected.contains_key(*name)) {
                found.push(format!("{at}.{name}: not expected, got {got}"));
            }
        }
        (Value::Array(expected), Value::Array(present)) => {
            for (index, (expect, got)) in expected.iter().zip(present).enumerate() {
                walk(&format!("{at}[{index}]"), expect, got, found);
            }
            for (index, expect) in expected.iter().enumerate().skip(present.len()) {
                found.push(format!("{at}[{index}]: expected {expect}, but it is not there"));
            }
            for (index, got) in present.iter().enumerate().skip(expected.len()) {
                found.push(format!("{at}[{index}]: not expected, got {got}"));
            }
        }
        (expect, got) if expect != got => found.push(format!("{at}: expected {expect}, got {got}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_difference_is_named_by_its_place_and_order_of_members_is_none() {
        let expect = json!({"a": [{"b": 1}, 2], "c": "x", "gone": true});
        let got = json!({"c": "y", "a": [{"b": 2, "new": null}], "more": 1});
        assert_eq!(
            differences(&expect, &got),
            [
                "expect.a[0].b: expected 1, got 2",
                "expect.a[0].new: not expected, got null",
                "expect.a[1]: expected 2, but it is not there",
                "expect.c: expected \"x\", got \"y\"",
                "expect.gone: expected true, but it is not there",
                "expect.more: not expected, got 1",
            ]
        );
        assert!(differences(&json!({"a": 1, "b": 2}), &json!({"b": 2, "a": 1})).is_empty());
        let long: Vec<i32> = (0..50).collect();
        assert_eq!(differences(&json!([]), &json!(long)).len(), MOST + 1);
    }
}
