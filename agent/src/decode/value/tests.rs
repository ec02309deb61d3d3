use super::*;
use crate::event::Span;

fn typed(kind: CellKind, text: &str, ty: &SourceType) -> Result<(String, Option<Loss>), ValueError> {
    let mut batch = Batch::default();
    batch.push_bytes(b"before");
    let span = batch.push_bytes(text.as_bytes());
    read(&batch, Cell { span, kind }, ty).map(|typed| (format!("{:?}", typed.value), typed.loss))
}

fn shown(kind: CellKind, text: &str, ty: &SourceType) -> String {
    match typed(kind, text, ty) {
        Ok((value, None)) => value,
        Ok((value, Some(loss))) => format!("{value} without {}", loss.as_str()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn cells_read_as_their_type_says() {
    use CellKind::{Escaped, False, Json, Null, Number, Text, True, Unavailable};
    let array = |inner| SourceType::Array(Box::new(inner));
    let decimal = |scale| SourceType::Decimal { scale };
    let bits = |length| SourceType::Bits { length };
    for (kind, text, ty, expect) in [
        (Null, "", SourceType::Int64, "Null"),
        (Unavailable, "", SourceType::Bytes, "Unset"),
        (True, "true", SourceType::Boolean, "Bool(true)"),
        (False, "false", SourceType::Unknown, "Bool(false)"),
        (Number, "1", SourceType::Boolean, "is not a boolean"),
        (Number, "9223372036854775807", SourceType::Int64, "Int(9223372036854775807)"),
        (Number, "-9223372036854775808", SourceType::Unknown, "Int(-9223372036854775808)"),
        (Number, "9223372036854775808", SourceType::Int64, "does not fit a 64 bit number"),
        (Number, "18446744073709551615", SourceType::Unknown, "Decimal(\"18446744073709551615\")"),
        (Number, "2147483648", SourceType::Int32, "does not fit a 32 bit number"),
        (Number, "1.5", SourceType::Int32, "is not a whole number"),
        (Text, "1", SourceType::Int32, "is not a whole number"),
        (Number, "0.1", SourceType::Float64, "Float(0.1)"),
        (Number, "0.1", SourceType::Float32, "Float(0.10000000149011612)"),
        (Number, "1e999999", SourceType::Float64, "does not fit a float"),
        (Number, "1e999999", SourceType::Unknown, "does not fit a float"),
        (Number, "1e39", SourceType::Float32, "does not fit a float"),
        (
            Number,
            "0.12345678901234567890",
            SourceType::Unknown,
            "Float(0.12345678901234568) without more digits than a double holds; set decimal.handling.mode=string",
        ),
        (Text, "NaN", SourceType::Float64, "Float(NaN)"),
        (Text, "Infinity", SourceType::Float32, "Float(inf)"),
        (Text, "-Infinity", SourceType::Float64, "Float(-inf)"),
        (Text, "infinite", SourceType::Float64, "is not a number, NaN or an infinity"),
        (Text, "ch   ", SourceType::Text, "Text(\"ch   \")"),
        (Escaped, "a\\n\\ud83e\\udd80", SourceType::Text, "Text(\"a\\n🦀\")"),
        (Number, "1", SourceType::Text, "is not text"),
        (Text, "3q2+7wA=", SourceType::Bytes, "Bytes([222, 173, 190, 239, 0])"),
        (Escaped, "\\/zg=", decimal(2), "Decimal(\"-2.00\")"),
        (Text, "", SourceType::Bytes, "Bytes([])"),
        (Text, "?", SourceType::Bytes, "is not base64"),
        (Text, "CUmw9vACMxPESZBOzGdFFQ==", decimal(10), "Decimal(\"1234567890123456789012345678.0123456789\")"),
        (Text, "AA==", decimal(10), "Decimal(\"0.0000000000\")"),
        (Text, "BNI=", decimal(2), "Decimal(\"12.34\")"),
        (Text, "", decimal(2), "is not a decimal"),
        (Text, "12.34", decimal(2), "is not base64"),
        (Number, "12.34", decimal(2), "Decimal(\"12.34\")"),
        (
            Json,
            "{\"scale\":20,\"value\":\"EQfV61tbpNfG\"}",
            SourceType::VariableDecimal,
            "Decimal(\"3.14159265358979323846\")",
        ),
        (Json, "{\"scale\":20}", SourceType::VariableDecimal, "is not a decimal with scale and value"),
        (Json, "{\"scale\":99999999999,\"value\":\"AA==\"}", SourceType::VariableDecimal, "does not fit a decimal"),
        (Json, "{\"scale\":2147483647,\"value\":\"AQ==\"}", SourceType::VariableDecimal, "does not fit a decimal"),
        (Number, "19782", SourceType::DateDays, "Date { days: 19782 }"),
        (Number, "-735160", SourceType::DateDays, "Date { days: -735160 }"),
        (Number, "2146033979", SourceType::DateDays, "Infinity { negative: false }"),
        (Number, "86399999999", SourceType::TimeMicros, "Time { micros: 86399999999, offset: None }"),
        (Number, "86399999", SourceType::TimeMillis, "Time { micros: 86399999000, offset: None }"),
        (Number, "-3020399000000", SourceType::TimeMicros, "Time { micros: -3020399000000, offset: None }"),
        (
            Number,
            "1500",
            SourceType::TimeNanos,
            "Time { micros: 1, offset: None } without digits after the microsecond",
        ),
        (
            Number,
            "-1",
            SourceType::TimestampNanos,
            "Timestamp { micros: -1, zoned: false } without digits after the microsecond",
        ),
        (Text, "10:00:00Z", SourceType::ZonedTime, "Time { micros: 36000000000, offset: Some(0) }"),
        (Text, "10:00:00+05:30", SourceType::ZonedTime, "Time { micros: 36000000000, offset: Some(19800) }"),
        (Text, "23:59:59.999999Z", SourceType::IsoTime, "Time { micros: 86399999999, offset: None }"),
        (Number, "1709251199999", SourceType::TimestampMillis, "Timestamp { micros: 1709251199999000, zoned: false }"),
        (
            Number,
            "1709251199999999",
            SourceType::TimestampMicros,
            "Timestamp { micros: 1709251199999999, zoned: false }",
        ),
        (
            Number,
            "253402300799000000",
            SourceType::TimestampMicros,
            "Timestamp { micros: 253402300799000000, zoned: false }",
        ),
        (Number, "9223372036854775807", SourceType::TimestampMicros, "Infinity { negative: false }"),
        (Number, "9223372036825200000", SourceType::TimestampMillis, "Infinity { negative: false }"),
        (Text, "-infinity", SourceType::ZonedTimestamp, "Infinity { negative: true }"),
        (
            Text,
            "2024-02-29T23:59:59.999Z",
            SourceType::IsoTimestamp,
            "Timestamp { micros: 1709251199999000, zoned: false }",
        ),
        (Text, "2024-02-29Z", SourceType::IsoDate, "Date { days: 19782 }"),
        (Text, "yesterday", SourceType::IsoDate, "is not a date"),
        (
            Number,
            "37091106789000",
            SourceType::IntervalMicros,
            "Interval { months: 0, days: 0, micros: 37091106789000 } without months and days of an interval; set \
             interval.handling.mode=string",
        ),
        (Text, "P1Y2M3DT4H5M6.789S", SourceType::IntervalIso, "Interval { months: 14, days: 3, micros: 14706789000 }"),
        (Escaped, "{\\\"n\\\": 1}", SourceType::Json, "Json(\"{\\\"n\\\": 1}\")"),
        (Text, "true", SourceType::Json, "Json(\"true\")"),
        (Escaped, "{\\\"_id\\\": 1}", SourceType::MongoDocument, "Json(\"{\\\"_id\\\": 1}\")"),
        (Json, "{\"a\":\"b\"}", SourceType::Map, "Json(\"{\\\"a\\\":\\\"b\\\"}\")"),
        (
            Text,
            "123e4567-e89b-12d3-a456-426614174000",
            SourceType::Uuid,
            "Uuid([18, 62, 69, 103, 232, 155, 18, 211, 164, 86, 66, 102, 20, 23, 64, 0])",
        ),
        (Text, "123e4567", SourceType::Uuid, "is not a UUID"),
        (Text, "BQ==", bits(3), "Bits(\"101\")"),
        (Text, "Aw==", bits(8), "Bits(\"00000011\")"),
        (Text, "AQI=", bits(0), "Bits(\"1000000001\")"),
        (Text, "", bits(3), "Bits(\"000\")"),
        (Text, "", bits(0), "Bits(\"0\")"),
        (Text, "CA==", bits(3), "does not fit the declared number of bits"),
        (True, "true", bits(1), "Bits(\"1\")"),
        (
            Json,
            "{\"x\":1.5,\"y\":-2.0,\"wkb\":\"AQE=\",\"srid\":null}",
            SourceType::Geometry,
            "Geometry { wkb: Some([1, 1]), srid: None, point: Some((1.5, -2.0)) }",
        ),
        (Json, "[1,null,3]", array(SourceType::Int32), "Array([Int(1), Null, Int(3)])"),
        (Json, "[]", array(SourceType::Int32), "Array([])"),
        (Json, " [ 1 , 2 ] ", array(SourceType::Int32), "is not an array"),
        (Json, "[[1],[null]]", array(array(SourceType::Int32)), "Array([Array([Int(1)]), Array([Null])])"),
        (Json, "[\"bg==\",\"/zg=\"]", array(decimal(2)), "Array([Decimal(\"1.10\"), Decimal(\"-2.00\")])"),
        (
            Json,
            "[\"a\",\"\\\"q\\\"\",null]",
            array(SourceType::Text),
            "Array([Text(\"a\"), Text(\"\\\"q\\\"\"), Null])",
        ),
        (Json, "[1,]", array(SourceType::Int32), "is not JSON"),
        (Json, "[1]x", array(SourceType::Int32), "is not JSON"),
        (Json, "{}", array(SourceType::Int32), "is not an array"),
        (
            Json,
            "{\"b\":\"x\",\"a\":1}",
            SourceType::Struct(vec![("a".into(), SourceType::Int32), ("b".into(), SourceType::Text)]),
            "Struct([(\"a\", Int(1)), (\"b\", Text(\"x\"))])",
        ),
        (Json, "{\"c\":1}", SourceType::Struct(vec![]), "has a field that its schema lacks"),
    ] {
        assert_eq!(shown(kind, text, &ty), expect, "{kind:?} {text} as {ty:?}");
    }
}

#[test]
fn plain_values_borrow_from_the_batch() {
    let mut batch = Batch::default();
    let span = batch.push_bytes(b"text");
    let cell = Cell { span, kind: CellKind::Text };
    let typed = read(&batch, cell, &SourceType::Text).unwrap();
    assert!(matches!(typed.value, Value::Text(Cow::Borrowed("text"))));
}

#[test]
fn bytes_a_plugin_wrote_may_be_anything() {
    let mut batch = Batch::default();
    let span = batch.push_bytes(b"\xff\xfe");
    for kind in [CellKind::Text, CellKind::Escaped, CellKind::Number, CellKind::Json] {
        assert!(read(&batch, Cell { span, kind }, &SourceType::Unknown).is_err(), "{kind:?}");
    }
    let stray = Cell { span: Span { start: u32::MAX, len: u32::MAX }, kind: CellKind::Number };
    assert!(read(&batch, stray, &SourceType::Int64).is_err());
}

#[test]
fn deep_arrays_do_not_overflow_the_stack() {
    let mut ty = SourceType::Int32;
    for _ in 0..128 {
        ty = SourceType::Array(Box::new(ty));
    }
    let text = "[".repeat(127) + &"]".repeat(127);
    assert!(typed(CellKind::Json, &text, &ty).is_ok());
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_under_any_type(bytes: Vec<u8>, kind in 0usize..4, ty in 0usize..20, scale: i32) {
        let kind = [CellKind::Text, CellKind::Escaped, CellKind::Number, CellKind::Json][kind];
        let ty = [
            SourceType::Unknown, SourceType::Int32, SourceType::Float32, SourceType::Float64, SourceType::Text,
            SourceType::Bytes, SourceType::Decimal { scale }, SourceType::VariableDecimal, SourceType::DateDays,
            SourceType::TimeMillis, SourceType::ZonedTime, SourceType::TimestampMillis, SourceType::ZonedTimestamp,
            SourceType::IsoDate, SourceType::IntervalIso, SourceType::Uuid, SourceType::Bits { length: 12 },
            SourceType::Geometry, SourceType::Array(Box::new(SourceType::Unknown)), SourceType::Map,
        ][ty].clone();
        let mut batch = Batch::default();
        let span = batch.push_bytes(&bytes);
        let _ = read(&batch, Cell { span, kind }, &ty);
    }
}
