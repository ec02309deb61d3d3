//! Values: what each source type becomes, and how it is encoded for the column it meets.

use super::*;

/// What a value of each source type becomes in a table the agent made: type and text as the server sees them.
#[tokio::test]
async fn every_source_type_makes_its_native_column_and_comes_back() {
    use SourceType as S;
    let array = |inner| S::Array(Box::new(inner));
    let cases = [
        ("bool", S::Boolean, Bool(true), "boolean", "true"),
        ("int", S::Int32, Num("-2147483648"), "integer", "-2147483648"),
        ("big", S::Int64, Num("9223372036854775807"), "bigint", "9223372036854775807"),
        ("real", S::Float32, Num("0.1"), "real", "0.1"),
        ("double", S::Float64, Text("-Infinity"), "double precision", "-Infinity"),
        ("text", S::Text, Escaped(r"\ud83e\udd80 \\ \t"), "text", "🦀 \\ \t"),
        ("bytes", S::Bytes, Text("AP8="), "bytea", r"\x00ff"),
        ("price", S::Decimal { scale: 2 }, Text("BNI="), "numeric", "12.34"),
        (
            "any",
            S::VariableDecimal,
            Json(r#"{"scale":30,"value":"/w=="}"#),
            "numeric",
            "-0.000000000000000000000000000001",
        ),
        ("day", S::DateDays, Num("19782"), "date", "2024-02-29"),
        ("bc", S::DateDays, Num("-735160"), "date", "0044-03-15 BC"),
        ("never", S::DateDays, Num("2147483647"), "date", "infinity"),
        ("isoday", S::IsoDate, Text("1969-12-31Z"), "date", "1969-12-31"),
        ("clock", S::TimeMicros, Num("86399999999"), "time without time zone", "23:59:59.999999"),
        ("millis", S::TimeMillis, Num("1"), "time without time zone", "00:00:00.001"),
        ("zclock", S::ZonedTime, Text("10:00:00+02:00"), "time with time zone", "10:00:00+02"),
        ("at", S::TimestampMicros, Num("-1"), "timestamp without time zone", "1969-12-31 23:59:59.999999"),
        ("atms", S::TimestampMillis, Num("1709243999999"), "timestamp without time zone", "2024-02-29 21:59:59.999"),
        (
            "zoned",
            S::ZonedTimestamp,
            Text("2024-02-29T23:59:59.5+02:00"),
            "timestamp with time zone",
            "2024-02-29 21:59:59.5+00",
        ),
        ("forever", S::ZonedTimestamp, Text("-infinity"), "timestamp with time zone", "-infinity"),
        ("span", S::IntervalIso, Text("P1Y2M-3DT4H5M6.789S"), "interval", "1 year 2 mons -3 days +04:05:06.789"),
        ("json", S::Json, Text(r#"{"b": [1], "a": 1.10}"#), "jsonb", r#"{"a": 1.10, "b": [1]}"#),
        ("uuid", S::Uuid, Text("ABABABAB-0000-0000-0000-000000000001"), "uuid", "abababab-0000-0000-0000-000000000001"),
        ("word", S::Enum, Text("new"), "text", "new"),
        ("bits", S::Bits { length: 10 }, Text("BQE="), "bit varying", "0100000101"),
        ("year", S::Year, Num("2024"), "integer", "2024"),
        ("texts", array(S::Text), Json(r#"["a\"b\\","",null,"NULL"]"#), "text[]", r#"{"a\"b\\","",NULL,"NULL"}"#),
        ("days", array(S::DateDays), Json("[0,1]"), "date[]", "{1970-01-01,1970-01-02}"),
        ("grid", array(array(S::Int32)), Json("[[1,2],[3,4]]"), "integer[]", "{{1,2},{3,4}}"),
        ("jsons", array(S::Json), Json(r#"["{\"a\":1}"]"#), "jsonb[]", r#"{"{\"a\": 1}"}"#),
        ("fields", S::Struct(vec![("x".into(), S::DateDays)]), Json(r#"{"x":0}"#), "jsonb", r#"{"x": "1970-01-01"}"#),
        ("free", S::Unknown, Num("1.50"), "text", "1.5"),
    ];
    let mut db = Db::new("types").await;
    let mut columns = vec![("id", S::Int64)];
    columns.extend(cases.iter().map(|(name, ty, ..)| (*name, ty.clone())));
    let table = layout("types", 1, &columns, true);
    let row = |id| [Num(id)].into_iter().chain(cases.iter().map(|(_, _, value, ..)| *value)).collect::<Vec<_>>();
    let nulls = [Num("2")].into_iter().chain(cases.iter().map(|_| Null)).collect::<Vec<_>>();
    let planned = batch().upsert(&table, 1, &row("1")).upsert(&table, 1, &nulls).advance(None, 2);
    let applied = db.apply(&planned).await.unwrap();
    assert_eq!(applied.lossy, []);
    db.run("SET TIME ZONE 'UTC'").await;
    for (name, _, _, declared, text) in &cases {
        let sql = format!(
            r#"SELECT format_type(a.atttypid, a.atttypmod), t."{name}"::text, u."{name}" IS NULL
               FROM pg_attribute a, types t, types u
               WHERE a.attrelid = 'types'::regclass AND a.attname = '{name}' AND t.id = 1 AND u.id = 2"#
        );
        assert_eq!(db.rows(&sql).await, [format!("{declared}|{text}|t")], "{name}");
    }
    // The same once more as an update of what is there.
    db.apply(&batch().upsert(&table, 2, &row("2")).advance(Some(2), 3)).await.unwrap();
    let same = "SELECT to_jsonb(t) - 'id' = to_jsonb(u) - 'id' FROM types t, types u WHERE t.id = 1 AND u.id = 2";
    assert_eq!(db.rows(same).await, ["t"]);
    db.close().await;
}

#[tokio::test]
async fn values_are_encoded_for_the_column_they_meet() {
    use SourceType as S;
    let mut db = Db::new("meet").await;
    db.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE DOMAIN positive AS int CHECK (VALUE > 0);
         CREATE TABLE t (id numeric(20,0) PRIMARY KEY, mood mood, code varchar(3), fixed char(4), small smallint,
            amount numeric(10,2), approx real, flag bit(3), local timestamp, pos positive, addr inet, words text,
            doc json, point point, twice int GENERATED ALWAYS AS (small * 2) STORED, serial int GENERATED BY DEFAULT AS IDENTITY,
            moods mood[])",
    )
    .await;
    let columns = [
        ("id", S::Int64),
        ("mood", S::Enum),
        ("code", S::Text),
        ("fixed", S::Text),
        ("small", S::Int64),
        ("amount", S::Text),
        ("approx", S::Decimal { scale: 1 }),
        ("flag", S::Bits { length: 3 }),
        ("local", S::ZonedTimestamp),
        ("pos", S::Unknown),
        ("addr", S::Text),
        ("words", S::DateDays),
        ("doc", S::Unknown),
        ("point", S::Geometry),
        ("twice", S::Int32),
        ("moods", S::Array(Box::new(S::Enum))),
    ];
    let t = layout("t", 1, &columns, false);
    let good = [
        Num("1"),
        Text("ok"),
        Text("abc"),
        Text("ab"),
        Num("7"),
        Text("12.345"),
        Text("AQ=="),
        Text("BQ=="),
        Text("2024-01-01T01:00:00+01:00"),
        Num("5"),
        Text("10.0.0.1/8"),
        Num("0"),
        Json("[1, 2]"),
        Json(r#"{"x":1.5,"y":-2,"wkb":"AQI=","srid":null}"#),
        Num("14"),
        Json(r#"["sad",null]"#),
    ];
    db.apply(&batch().upsert(&t, 1, &good).advance(None, 1)).await.unwrap();
    assert_eq!(
        db.rows("SELECT * FROM t").await,
        ["1|ok|abc|ab  |7|12.35|0.1|101|2024-01-01 00:00:00|5|10.0.0.1/8|1970-01-01|[1, 2]|(1.5,-2)|14|1|{sad,NULL}"]
    );
    let with = |at: usize, value| {
        let mut row = good;
        row[at] = value;
        batch().upsert(&t, 2, &row).advance(Some(1), 2)
    };
    // (column, value, kind, found before sending)
    let cases = [
        (1, Text("angry"), ErrorKind::BadValue, false),
        (2, Text("abcd"), ErrorKind::BadValue, false),
        (2, Escaped(r"a\u0000"), ErrorKind::BadValue, true),
        (4, Num("40000"), ErrorKind::BadValue, true),
        (5, Text("123456789.00"), ErrorKind::BadValue, false),
        (8, Text("soon"), ErrorKind::BadValue, true),
        (9, Num("-5"), ErrorKind::Constraint, false),
        (12, Text("{broken"), ErrorKind::BadValue, false),
    ];
    for (at, value, kind, early) in cases {
        let error = db.apply(&with(at, value)).await.unwrap_err();
        assert_eq!((error.kind, error.event), (kind, early.then_some(0)), "{value:?}: {error}");
        for secret in ["angry", "abcd", "40000", "123456789", "soon", "broken"] {
            let chain = format!("{error} {error:?}");
            assert!(!chain.contains(secret), "{chain}");
        }
    }
    assert_eq!(db.rows("SELECT next FROM {state}.offsets").await, ["1"]);
    db.close().await;
}

#[tokio::test]
async fn a_conversion_that_loses_digits_is_counted() {
    let mut db = Db::new("lossy").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a float8, b timestamp)").await;
    let columns = [("id", SourceType::Int32), ("a", SourceType::Int64), ("b", SourceType::TimestampNanos)];
    let t = layout("t", 1, &columns, false);
    let planned = batch()
        .upsert(&t, 1, &[Num("1"), Num("1"), Num("1000")])
        .upsert(&t, 1, &[Num("2"), Num("9007199254740993"), Num("1001")])
        .upsert(&t, 1, &[Num("3"), Num("9007199254740993"), Null]);
    let lossy = db.apply(&planned).await.unwrap().lossy;
    let seen: Vec<_> = lossy.iter().map(|l| (l.table.as_str(), l.column.as_str(), l.count, l.event)).collect();
    assert_eq!(seen, [("t", "a", 2, 1), ("t", "b", 1, 1)]);
    db.close().await;
}
