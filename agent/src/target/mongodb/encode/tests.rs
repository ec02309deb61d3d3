//! Whatever text comes in: valid BSON that says the same, or an error. Never a panic, never a broken document.

use bson::{Bson, Document, RawDocument};
use proptest::prelude::*;
use serde_json::Value;

use super::Bad;
use super::json::{Json, MAX_DEPTH};
use super::row::version_bytes;
use super::writer::{Tag, Writer};
use crate::config::raw::OddFieldNames;
use crate::event::SourcePosition;
use crate::target::RowVersion;

/// The document `{v: <text>}`.
fn encode(text: &str, odd: OddFieldNames, extended: bool) -> Result<Vec<u8>, Bad> {
    let mut out = Writer::default();
    let open = out.open();
    let slot = out.element(b"v");
    let json = Json::new(text, odd);
    let json = if extended { json.extended() } else { json };
    let (tag, _) = json.whole(MAX_DEPTH, &mut out)?;
    out.set(slot, tag);
    out.close(open);
    Ok(out.into_bytes())
}

/// Every element of every level can be read.
fn sound(document: &RawDocument) -> bool {
    document.iter().all(|element| match element {
        Ok((_, bson::RawBsonRef::Document(inner))) => sound(inner),
        Ok((_, bson::RawBsonRef::Array(inner))) => inner.into_iter().all(|item| match item {
            Ok(bson::RawBsonRef::Document(inner)) => sound(inner),
            other => other.is_ok(),
        }),
        other => other.is_ok(),
    })
}

fn same(bson: &Bson, json: &Value) -> bool {
    match (bson, json) {
        (Bson::Null, Value::Null) => true,
        (Bson::Boolean(a), Value::Bool(b)) => a == b,
        (Bson::String(a), Value::String(b)) => a == b,
        (Bson::Int32(a), Value::Number(b)) => b.as_i64() == Some(i64::from(*a)),
        (Bson::Int64(a), Value::Number(b)) => b.as_i64() == Some(*a),
        (Bson::Double(a), Value::Number(b)) => b.as_f64() == Some(*a),
        (Bson::Decimal128(a), Value::Number(b)) => a.to_string() == b.to_string(),
        (Bson::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Bson::Document(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        _ => false,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("[^\0]{0,6}", inner), 0..20)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_becomes_the_same_bson(value in any_json()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let bytes = encode(&text, OddFieldNames::Keep, false).unwrap();
            let back = Document::try_from(RawDocument::from_bytes(&bytes).unwrap()).unwrap();
            prop_assert!(same(back.get("v").unwrap(), &value), "{} became {}", text, back);
        }
    }

    #[test]
    fn any_text_is_sound_bson_or_an_error(text in "[\\[\\]{}\":,\\\\ntru0-9.eE\\-$a-c_\0ü ]{0,40}") {
        for extended in [false, true] {
            if let Ok(bytes) = encode(&text, OddFieldNames::Keep, extended) {
                prop_assert!(sound(RawDocument::from_bytes(&bytes).unwrap()), "{}", text);
            }
        }
    }

    #[test]
    fn fragments_of_extended_json_are_sound_bson(value in any_json(), name in "\\$[a-zA-Z]{1,8}", other in "\\$?[a-z]{1,3}") {
        let names = ["$oid", "$date", "$numberLong", "$numberDecimal", "$binary", "$type", "$regex", "$options", "$timestamp",
            "$regularExpression", "$uuid", "$code", &name, &other];
        for first in names {
            let text = format!("{{\"{first}\":{value},\"{other}\":{value}}}");
            if let Ok(bytes) = encode(&text, OddFieldNames::Keep, true) {
                prop_assert!(sound(RawDocument::from_bytes(&bytes).unwrap()), "{}", text);
            }
            let text = format!("{{\"{first}\":{value}}}");
            if let Ok(bytes) = encode(&text, OddFieldNames::Keep, true) {
                prop_assert!(sound(RawDocument::from_bytes(&bytes).unwrap()), "{}", text);
            }
        }
    }

    #[test]
    fn versions_sort_as_bytes(a in any::<(u64, u64, i32, i64)>(), b in any::<(u64, u64, i32, i64)>()) {
        let version = |(major, minor, partition, offset)| RowVersion {
            position: SourcePosition { major, minor },
            partition,
            offset,
        };
        let (a, b) = (version(a), version(b));
        prop_assert_eq!(a.cmp(&b), version_bytes(&a).cmp(&version_bytes(&b)));
    }
}

#[test]
fn broken_json_is_an_error() {
    let cases = [
        "",
        " ",
        "{",
        "[",
        "\"",
        "\"\\",
        "\"\\u12",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[1,]",
        "[1 2]",
        "1 2",
        "tru",
        "nul",
        "-",
        "1-2",
        "e5",
        ".",
        "{1:2}",
        "{\"a\":1 \"b\":2}",
        "{} {}",
        "\u{feff}1",
    ];
    for text in cases {
        assert_eq!(encode(text, OddFieldNames::Keep, false), Err(Bad::Json), "{text:?}");
        assert_eq!(encode(text, OddFieldNames::Keep, true), Err(Bad::Json), "{text:?}");
    }
}

#[test]
fn names_that_come_twice_do_not_blow_up() {
    // Twice on every level: each level must be read a bounded number of times.
    let mut text = "1".to_owned();
    for _ in 0..90 {
        text = format!("{{\"b\":{text},\"a\":1,\"a\":2}}");
    }
    let begun = std::time::Instant::now();
    let bytes = encode(&text, OddFieldNames::Keep, false).unwrap();
    assert!(sound(RawDocument::from_bytes(&bytes).unwrap()));
    // Many names in one object.
    let many: Vec<String> = (0..50_000).map(|i| format!("\"k{i}\":{i}")).collect();
    let text = format!("{{{},\"k7\":-1}}", many.join(","));
    let bytes = encode(&text, OddFieldNames::Keep, false).unwrap();
    let object = RawDocument::from_bytes(&bytes).unwrap().get_document("v").unwrap();
    assert_eq!(object.get_i32("k7").unwrap(), -1);
    assert_eq!(object.iter().count(), 50_000);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[test]
fn policies_for_odd_names() {
    let cases = [
        (OddFieldNames::Keep, "{\"a.b\":{\"$c\":1}}", Ok("a.b")),
        (OddFieldNames::Replace, "{\"a.b\":{\"$c\":1}}", Ok("a．b")),
        (OddFieldNames::Replace, "{\"\\u0061.b\":1}", Ok("a．b")),
        (OddFieldNames::Reject, "{\"a.b\":1}", Err(Bad::OddName)),
        (OddFieldNames::Reject, "{\"x\":[{\"$c\":1}]}", Err(Bad::OddName)),
        // Money in the middle is no operator.
        (OddFieldNames::Reject, "{\"us$\":1}", Ok("us$")),
        (OddFieldNames::Keep, "{\"a\\u0000b\":1}", Err(Bad::NulInName)),
        (OddFieldNames::Replace, "{\"a\":{\"\\u0000\":1}}", Err(Bad::NulInName)),
    ];
    for (odd, text, expected) in cases {
        let first = encode(text, odd, false).map(|bytes| {
            let document = RawDocument::from_bytes(&bytes).unwrap().get_document("v").unwrap();
            document.iter().next().unwrap().unwrap().0.as_str().to_owned()
        });
        assert_eq!(first, expected.map(str::to_owned), "{text}");
    }
    assert_eq!(Tag::MinKey as u8, 0xFF);
}
