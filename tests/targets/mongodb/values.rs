//! Values: what each source type becomes.

use super::*;

#[tokio::test]
async fn plain_json_keeps_its_values_and_deep_nesting_is_refused() {
    let bench = Bench::new("json").await;
    let mut target = bench.target(ONCE).await;
    let any = layout("j", &[("id", SourceType::Unknown), ("v", SourceType::Unknown)], &["id"]);
    let cases: Vec<(&str, Bson)> = vec![
        ("1", Bson::Int32(1)),
        ("-2147483649", Bson::Int64(-2_147_483_649)),
        ("9223372036854775807", Bson::Int64(i64::MAX)),
        ("9223372036854775808", Bson::Decimal128("9223372036854775808".parse().unwrap())),
        ("1.5", Bson::Double(1.5)),
        ("-0.0", Bson::Double(-0.0)),
        ("1e3", Bson::Double(1000.0)),
        ("1e400", Bson::Decimal128("1E+400".parse().unwrap())),
        ("true", Bson::Boolean(true)),
        ("[]", Bson::Array(vec![])),
        ("{}", Bson::Document(doc! {})),
        (r#" [ 1 , { "a" : [ null , "x\u00e9\n" ] } ] "#, bson::bson!([1, {"a": [null, "xé\n"]}])),
        (r#"{"a":1,"b":2,"a":{"c":1,"c":2}}"#, bson::bson!({"a": {"c": 2}, "b": 2})),
    ];
    let mut planned = Planned::new(ONCE);
    for (id, (text, _)) in cases.iter().enumerate() {
        let id = i64::try_from(id).unwrap();
        planned.upsert(&any, id, &json!({"id": id, "v": null}));
        // As it came, not as serde_json would print it.
        let span = planned.batch.push_bytes(text.as_bytes());
        let kind = match text.trim().as_bytes()[0] {
            b'{' | b'[' => whimbrel::event::CellKind::Json,
            b't' => whimbrel::event::CellKind::True,
            _ => whimbrel::event::CellKind::Number,
        };
        planned.batch.cells.last_mut().map(|cell| *cell = whimbrel::event::Cell { span, kind }).unwrap();
    }
    target.apply(&planned.write()).await.unwrap();
    for (document, (text, expected)) in bench.all("j").await.iter().zip(&cases) {
        assert_eq!(document.get("v"), Some(expected), "{text}");
    }
    assert_eq!(bench.count("j").await, u64::try_from(cases.len()).unwrap());

    for (depth, fits) in [(98, true), (99, true), (100, false), (5_000, false)] {
        let mut planned = Planned::new(ONCE);
        planned.upsert(&any, 50, &json!({"id": 50, "v": null}));
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let span = planned.batch.push_bytes(text.as_bytes());
        planned.batch.cells.last_mut().map(|cell| cell.span = span).unwrap();
        planned.batch.cells.last_mut().map(|cell| cell.kind = whimbrel::event::CellKind::Json).unwrap();
        let outcome = target.apply(&planned.write()).await;
        assert_eq!(outcome.is_ok(), fits, "{depth}");
        if let Err(error) = outcome {
            assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(0)));
        }
    }
    bench.db.drop().await.unwrap();
}

fn binary(subtype: bson::spec::BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(bson::Binary { subtype, bytes: bytes.to_vec() })
}

fn date(millis: i64) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(millis))
}

fn number(digits: &str) -> Bson {
    Bson::Decimal128(digits.parse().unwrap())
}

#[tokio::test]
async fn every_source_type_becomes_its_bson_type() {
    use SourceType as T;
    use bson::spec::BinarySubtype::{Generic, Uuid};
    let text = |s: &str| Bson::String(s.into());
    let uuid = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00];
    let wide = "1".repeat(35);
    let point = doc! {"wkb": binary(Generic, &[1, 2]), "srid": 4326_i64, "x": 1.5, "y": 2.0};
    // Type, JSON, BSON, whether something was lost.
    let cases: Vec<(T, serde_json::Value, Bson, bool)> = vec![
        (T::Boolean, json!(true), Bson::Boolean(true), false),
        (T::Int32, json!(7), Bson::Int32(7), false),
        (T::Int64, json!(7), Bson::Int64(7), false),
        (T::Year, json!(2024), Bson::Int32(2024), false),
        (T::Float32, json!(0.5), Bson::Double(0.5), false),
        (T::Float64, json!("Infinity"), Bson::Double(f64::INFINITY), false),
        (T::Text, json!("ü\n\"\u{0}"), text("ü\n\"\u{0}"), false),
        (T::Enum, json!("new"), text("new"), false),
        (T::EnumSet, json!("a,b"), text("a,b"), false),
        (T::Xml, json!("<a/>"), text("<a/>"), false),
        (T::Bytes, json!("AQID"), binary(Generic, &[1, 2, 3]), false),
        (T::Decimal { scale: 2 }, json!("ANI="), number("2.10"), false),
        (T::Decimal { scale: 0 }, json!("/w=="), number("-1"), false),
        (T::VariableDecimal, json!({"scale": 3, "value": "Bw=="}), number("0.007"), false),
        (T::DateDays, json!(-1), date(-86_400_000), false),
        (T::TimeMillis, json!(1500), text("00:00:01.500000"), false),
        (T::TimeMicros, json!(3_600_000_000_i64), text("01:00:00"), false),
        (T::TimeNanos, json!(1_000), text("00:00:00.000001"), false),
        (T::ZonedTime, json!("10:15:30Z"), text("10:15:30Z"), false),
        (T::TimestampMillis, json!(1_700_000_000_123_i64), date(1_700_000_000_123), false),
        (T::TimestampMicros, json!(1_700_000_000_123_000_i64), date(1_700_000_000_123), false),
        (T::TimestampMicros, json!(-1), date(-1), true),
        (T::TimestampNanos, json!(1_000_000_i64), date(1), false),
        (T::TimestampNanos, json!(1_000_001_i64), date(1), true),
        (T::ZonedTimestamp, json!("1970-01-01T01:00:00.001+01:00"), date(1), false),
        (T::ZonedTimestamp, json!("1970-01-01T00:00:00.000001Z"), date(0), true),
        (T::IsoDate, json!("1970-01-02Z"), date(86_400_000), false),
        (T::IsoTimestamp, json!("1970-01-01T00:00:01Z"), date(1000), false),
        (T::IntervalIso, json!("P1Y2M3DT4H5M6.5S"), text("P14M3DT14706.500000S"), false),
        (T::Json, json!("{\"a\":[1,{\"b\":null}]}"), bson::bson!({"a": [1, {"b": null}]}), false),
        (T::Json, json!("\"s\""), text("s"), false),
        (T::Json, json!("not json"), text("not json"), true),
        (T::Uuid, json!("123e4567-e89b-12d3-a456-426614174000"), binary(Uuid, &uuid), false),
        (T::Bits { length: 3 }, json!("BQ=="), text("101"), false),
        (T::Geometry, json!({"x": 1.5, "y": 2.0, "wkb": "AQI=", "srid": 4326}), Bson::Document(point), false),
        (T::Array(Box::new(T::Int64)), json!([1, null]), bson::bson!([1_i64, null]), false),
        (T::Array(Box::new(T::Decimal { scale: 1 })), json!(["Bw=="]), Bson::Array(vec![number("0.7")]), false),
        (
            T::Struct(vec![("d".into(), T::DateDays), ("t".into(), T::Text)]),
            json!({"d": 1, "t": "x"}),
            Bson::Document(doc! {"d": date(86_400_000), "t": "x"}),
            false,
        ),
        (T::Map, json!({"k": {"$v": 1}}), bson::bson!({"k": {"$v": 1}}), false),
        (T::Unknown, json!("plain"), text("plain"), false),
        (T::Int64, json!(null), Bson::Null, false),
    ];
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("types").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        for (id, (ty, value, ..)) in cases.iter().enumerate() {
            let table = layout("types", &[("id", SourceType::Int32), ("v", ty.clone())], &["id"]);
            planned.upsert(&table, i64::try_from(id).unwrap(), &json!({"id": id, "v": value}));
        }
        let wide_table = layout("wide", &[("id", SourceType::Int32), ("v", SourceType::Unknown)], &["id"]);
        planned.upsert(&wide_table, 900, &json!({"id": 1, "v": null}));
        let span = planned.batch.push_bytes(wide.as_bytes());
        *planned.batch.cells.last_mut().unwrap() =
            whimbrel::event::Cell { span, kind: whimbrel::event::CellKind::Number };
        let applied = target.apply(&planned.write()).await.unwrap();
        for (document, (ty, value, expected, _)) in bench.all("types").await.iter().zip(&cases) {
            assert_eq!(document.get("v"), Some(expected), "{ty:?} {value}");
        }
        assert_eq!(bench.count("types").await, u64::try_from(cases.len()).unwrap());
        assert_eq!(bench.all("wide").await[0].get_str("v").unwrap(), wide);
        let lost: Vec<u32> = cases.iter().zip(0_u32..).filter(|(case, _)| case.3).map(|(_, event)| event).collect();
        let wide_event = u32::try_from(cases.len()).unwrap();
        let mut reported: Vec<u32> = applied.lossy.iter().filter(|l| l.table == "types").map(|l| l.event).collect();
        reported.sort_unstable();
        let counted: u64 = applied.lossy.iter().filter(|l| l.table == "types").map(|l| l.count).sum();
        assert_eq!(counted, u64::try_from(lost.len()).unwrap(), "{:?}", applied.lossy);
        assert!(reported.iter().all(|event| lost.contains(event)), "{:?}", applied.lossy);
        assert!(
            applied.lossy.iter().any(|l| (l.table.as_str(), l.column.as_str(), l.event) == ("wide", "v", wide_event))
        );
        bench.db.drop().await.unwrap();
    }
}

#[tokio::test]
async fn a_value_that_is_not_of_its_type_names_event_and_column_and_not_itself() {
    let bench = Bench::new("badvalue").await;
    let mut target = bench.target(ONCE).await;
    let table = layout("t", &[("id", SourceType::Int32), ("when", SourceType::DateDays)], &["id"]);
    let mut planned = Planned::new(ONCE);
    planned.upsert(&table, 0, &json!({"id": 1, "when": 1})).upsert(&table, 1, &json!({"id": 2, "when": "s3cr3t"}));
    let error = target.apply(&planned.write()).await.unwrap_err();
    assert_eq!((error.kind, error.event), (ErrorKind::BadValue, Some(1)));
    assert!(error.to_string().contains("`when`") && !error.to_string().contains("s3cr3t"), "{error}");
    bench.db.drop().await.unwrap();
}

#[tokio::test]
async fn mongodb_documents_keep_their_types_and_become_the_document() {
    let oid = bson::oid::ObjectId::parse_str("596e275826f08b2730779e1f").unwrap();
    let key = json!("{\"$oid\": \"596e275826f08b2730779e1f\"}").as_str().unwrap().to_owned();
    let extended = r#"{"_id": {"$oid": "596e275826f08b2730779e1f"}, "_whimbrel": {"v": 1},
        "long": {"$numberLong": "5"}, "int": {"$numberInt": "6"}, "double": {"$numberDouble": "-Infinity"}, "plain": 7.25,
        "decimal": {"$numberDecimal": "1.10"}, "iso": {"$date": "1970-01-01T00:00:00.005Z"}, "millis": {"$date": 6},
        "canonical": {"$date": {"$numberLong": "-7"}}, "bin": {"$binary": {"base64": "AQI=", "subType": "80"}},
        "oldbin": {"$binary": "AQI=", "$type": "00"}, "uuid": {"$uuid": "123e4567-e89b-12d3-a456-426614174000"},
        "regex": {"$regularExpression": {"pattern": "^a", "options": "mi"}}, "ts": {"$timestamp": {"t": 8, "i": 9}},
        "min": {"$minKey": 1}, "max": {"$maxKey": 1}, "undef": {"$undefined": true}, "sym": {"$symbol": "s"},
        "code": {"$code": "f()"}, "nested": [{"$numberLong": "1"}, {"deep": {"$oid": "596e275826f08b2730779e1f"}}],
        "ref": {"$ref": "c", "$id": {"$numberLong": "3"}}, "bad": {"$strange": "short"}, "empty": {}}"#;
    use bson::spec::BinarySubtype::{Generic, UserDefined, Uuid};
    let uuid = [0x12, 0x3e, 0x45, 0x67, 0xe8, 0x9b, 0x12, 0xd3, 0xa4, 0x56, 0x42, 0x66, 0x14, 0x17, 0x40, 0x00];
    let regex = bson::Regex {
        pattern: bson::raw::CString::try_from("^a").unwrap(),
        options: bson::raw::CString::try_from("im").unwrap(),
    };
    let expected = doc! {
        "_id": oid, "long": 5_i64, "int": 6, "double": f64::NEG_INFINITY, "plain": 7.25, "decimal": number("1.10"),
        "iso": date(5), "millis": date(6), "canonical": date(-7), "bin": binary(UserDefined(0x80), &[1, 2]),
        "oldbin": binary(Generic, &[1, 2]), "uuid": binary(Uuid, &uuid), "regex": regex,
        "ts": bson::Timestamp { time: 8, increment: 9 }, "min": Bson::MinKey, "max": Bson::MaxKey, "undef": Bson::Null,
        "sym": "s", "code": Bson::JavaScriptCode("f()".into()), "nested": [1_i64, {"deep": oid}],
        "ref": {"$ref": "c", "$id": 3_i64}, "bad": {"$strange": "short"}, "empty": {},
    };
    let table = layout("docs", &[("id", SourceType::MongoDocument), ("document", SourceType::MongoDocument)], &["id"]);
    let mut table = std::sync::Arc::unwrap_or_clone(table);
    // As decode has it: the row is the document alone, the key stands apart.
    table.columns.remove(0);
    let table = std::sync::Arc::new(table);
    for mode in [ONCE, ATLEAST] {
        let bench = Bench::new("mongo").await;
        let mut target = bench.target(mode).await;
        let mut planned = Planned::new(mode);
        planned.upsert(&table, 0, &json!({"id": key, "document": extended}));
        planned.upsert(
            &table,
            1,
            &json!({"id": "7", "document": "{\"_id\": 7, \"$odd\": {\"$numberLong\": \"1\"}, \"a.b\": 2}"}),
        );
        planned.upsert(&table, 2, &json!({"id": "\"text\"", "document": "{\"_id\": \"text\", \"a\": 1, \"a\": 2}"}));
        target.apply(&planned.write()).await.unwrap();
        let all = bench.all("docs").await;
        assert_eq!(all[0], doc! {"_id": 7, "$odd": 1_i64, "a.b": 2});
        assert_eq!(all[1], doc! {"_id": "text", "a": 2});
        assert_eq!(all[2], expected);
        let mut more = Planned::new(mode);
        more.delete(&table, 3, &json!({"id": key}));
        more.patch(&table, 4, &json!({"id": "7", "document": "{\"_id\": 7, \"new\": 1, \"a.b\": 3}"}));
        assert_eq!(target.apply(&more.write()).await.unwrap().rows, 2);
        let all = bench.all("docs").await;
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], doc! {"_id": 7, "$odd": 1_i64, "a.b": 3, "new": 1});
        bench.db.drop().await.unwrap();
    }
}
