//! The PostgreSQL target against a real server: PG_PORT, PG_USER and PG_PASSWORD say where.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use whimbrel::config::raw;
use whimbrel::config::secret::Secret;
use whimbrel::event::{Reason, SourceType};
use whimbrel::target::DeliveryMode::{AtLeastOnce, ExactlyOnce};
use whimbrel::target::postgres::{PostgresTarget, Settings};
use whimbrel::target::{
    Applied, DeadLetterFilter, ErrorKind, KafkaCoordinates, Layout, StoredOffset, Target, TargetError,
};

use super::fixture::V::{Absent, Bool, Escaped, Json, Null, Num, Text, Unavailable};
use super::fixture::{Planned, layout};

const DATABASE: &str = "whimbrel_targets";

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: the tests need a PostgreSQL server"))
}

fn uri(database: &str) -> String {
    format!("postgresql://{}:{}@127.0.0.1:{}/{database}", env("PG_USER"), env("PG_PASSWORD"), env("PG_PORT"))
}

async fn client(database: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&uri(database), NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// A schema for rows and one for state, of this test alone.
struct Db {
    name: String,
    admin: Client,
    target: PostgresTarget,
}

impl Db {
    async fn new(test: &str) -> Self {
        // Tests run side by side: whoever is first makes the database.
        let exists = client("postgres").await.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await;
        if let Err(e) = exists {
            let code = e.code().map(|c| c.code().to_owned()).unwrap_or_default();
            assert!(["42P04", "23505"].contains(&code.as_str()), "{e:?}");
        }
        let name = format!("{test}_{}", std::process::id());
        let admin = loop {
            // A database that is just being made refuses sessions for a moment.
            if let Ok((client, connection)) = tokio_postgres::connect(&uri(DATABASE), NoTls).await {
                tokio::spawn(connection);
                break client;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        admin.batch_execute(&format!("CREATE SCHEMA {name}; SET search_path = {name}")).await.unwrap();
        let mut target = PostgresTarget::new(Self::settings(&name));
        target.open().await.unwrap();
        Self { name, admin, target }
    }

    fn settings(name: &str) -> Settings {
        let raw = raw::PostgresTarget {
            uri: Secret::new(uri(DATABASE)),
            schema: Some(name.to_owned()),
            state_schema: Some(format!("{name}_state")),
            ca_file: None,
            ledger: true,
            timeout: None,
        };
        Settings::from_raw(&raw, Duration::from_secs(3600)).unwrap()
    }

    async fn second(&self) -> PostgresTarget {
        let mut target = PostgresTarget::new(Self::settings(&self.name));
        target.open().await.unwrap();
        target
    }

    async fn run(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    async fn apply(&mut self, planned: &Planned) -> Result<Applied, TargetError> {
        self.target.apply(&planned.write()).await
    }

    async fn kind(&mut self, planned: &Planned) -> ErrorKind {
        self.apply(planned).await.unwrap_err().kind
    }

    /// Rows of a query as the server's own text, columns joined by `|`; `{state}` stands for the state schema.
    async fn rows(&self, sql: &str) -> Vec<String> {
        let sql = sql.replace("{state}", &format!("{}_state", self.name));
        let messages = self.admin.simple_query(&sql).await.unwrap();
        let rows = messages.iter().filter_map(|m| if let SimpleQueryMessage::Row(row) = m { Some(row) } else { None });
        rows.map(|r| (0..r.len()).map(|i| r.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|")).collect()
    }

    async fn close(self) {
        let name = &self.name;
        self.run(&format!("DROP SCHEMA {name} CASCADE; DROP SCHEMA {name}_state CASCADE")).await;
    }
}

fn orders() -> Arc<Layout> {
    layout("orders", 1, &[("id", SourceType::Int64), ("name", SourceType::Text), ("paid", SourceType::Boolean)], true)
}

fn batch() -> Planned {
    Planned::new(ExactlyOnce)
}

#[tokio::test]
async fn a_batch_is_written_with_its_offset_and_effects() {
    let mut db = Db::new("batch").await;
    let orders = orders();
    let planned = batch()
        .upsert(&orders, 1, &[Num("1"), Text("it's"), Bool(true)])
        .upsert(&orders, 2, &[Num("2"), Escaped(r"\u00fc\n"), Null])
        .advance(None, 2);
    let applied = db.apply(&planned).await.unwrap();
    assert_eq!((applied.rows, applied.skipped_older), (2, 0));
    assert_eq!(db.rows("SELECT * FROM orders ORDER BY id").await, ["1|it's|t", "2|ü\n|NULL"]);
    let asked = [("none".to_owned(), 3), ("topic".to_owned(), 0)];
    let stored = db.target.offsets("shop", &asked).await.unwrap();
    let offset = |topic: &str, partition, next| StoredOffset { topic: topic.into(), partition, next };
    assert_eq!(stored, [offset("none", 3, None), offset("topic", 0, Some(2))]);
    assert_eq!(
        db.rows(r#"SELECT pipeline, topic, partition, "offset" FROM {state}.ledger ORDER BY 4"#).await,
        ["shop|topic|0|0", "shop|topic|0|1"]
    );
    let planned = batch()
        .upsert(&orders, 3, &[Num("1"), Null, Bool(false)])
        .delete(&orders, 3, &[Num("2")])
        .delete(&orders, 3, &[Num("77")])
        .advance(Some(2), 5);
    assert_eq!(db.apply(&planned).await.unwrap().rows, 2);
    assert_eq!(db.rows("SELECT * FROM orders").await, ["1|NULL|f"]);
    db.target.ping().await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn a_missed_compare_and_set_leaves_nothing_behind() {
    let mut db = Db::new("fenced").await;
    let orders = orders();
    db.apply(&batch().upsert(&orders, 1, &[Num("0"), Null, Null]).advance(None, 10)).await.unwrap();
    for (expected, next) in [(None, 5), (Some(9), 12), (Some(11), 12)] {
        let zombie = batch()
            .upsert(&orders, 1, &[Num("1"), Text("zombie"), Null])
            .dead_letter(Some("k"), "v", Reason::Malformed)
            .advance(expected, next);
        assert_eq!(db.kind(&zombie).await, ErrorKind::Fenced);
    }
    assert_eq!(db.rows("SELECT id FROM orders").await, ["0"]);
    assert_eq!(db.rows("SELECT next, epoch FROM {state}.offsets").await, ["10|1"]);
    assert_eq!(db.target.dead_letter_count("shop").await.unwrap(), 0);
    assert_eq!(db.rows("SELECT count(*) FROM {state}.ledger").await, ["1"]);
    db.apply(&batch().upsert(&orders, 1, &[Num("1"), Null, Null]).advance(Some(10), 11)).await.unwrap();
    assert_eq!(db.rows("SELECT next, epoch FROM {state}.offsets").await, ["11|2"]);
    db.close().await;
}

#[tokio::test]
async fn two_agents_with_the_same_batch_write_it_once() {
    let mut db = Db::new("race").await;
    let orders = orders();
    db.apply(&batch().upsert(&orders, 1, &[Num("0"), Null, Null]).advance(None, 0)).await.unwrap();
    let mut other = db.second().await;
    for round in 0..20_i64 {
        let planned = batch().at(round).upsert(&orders, 2, &[Num("1"), Null, Null]).advance(Some(round), round + 1);
        let write = planned.write();
        let (a, b) = tokio::join!(db.target.apply(&write), other.apply(&write));
        let fenced: Vec<ErrorKind> = [a, b].into_iter().filter_map(Result::err).map(|e| e.kind).collect();
        assert_eq!(fenced, [ErrorKind::Fenced], "round {round}");
    }
    let doubled = db.rows(r#"SELECT "offset" FROM {state}.ledger WHERE "offset" > 0 GROUP BY 1 HAVING count(*) <> 1"#);
    assert_eq!(doubled.await, [""; 0]);
    assert_eq!(db.rows("SELECT next, epoch FROM {state}.offsets").await, ["20|21"]);
    db.close().await;
}

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

#[tokio::test]
async fn a_patch_leaves_the_other_columns_alone_and_creates_a_missing_row() {
    let mut db = Db::new("patch").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, b text, c text DEFAULT 'c')").await;
    let t = layout("t", 1, &[("id", SourceType::Int32), ("a", SourceType::Text), ("b", SourceType::Text)], false);
    db.apply(&batch().upsert(&t, 1, &[Num("1"), Text("toast"), Text("b")])).await.unwrap();
    let planned = batch()
        .patch(&t, 2, &[Num("1"), Unavailable, Text("new")])
        .patch(&t, 2, &[Num("2"), Text("made"), Absent])
        .patch(&t, 2, &[Num("3"), Text("made too"), Null]);
    assert_eq!(db.apply(&planned).await.unwrap().rows, 3);
    // An upsert with a value that was not sent is a patch; one with an absent column empties it.
    let planned = batch()
        .upsert(&t, 3, &[Num("2"), Unavailable, Text("x")])
        .upsert(&t, 3, &[Num("1"), Text("toast"), Absent])
        .patch(&t, 3, &[Num("3"), Absent, Absent]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM t ORDER BY id").await, ["1|toast|NULL|c", "2|made|x|c", "3|made too|NULL|c"]);
    db.close().await;
}

#[tokio::test]
async fn names_with_quotes_and_composite_keys_work() {
    let mut db = Db::new("names").await;
    let t = layout(
        r#"we"ird T"#,
        2,
        &[(r#"K"1"#, SourceType::Text), ("select", SourceType::Int32), (r#"v'"--;"#, SourceType::Json)],
        true,
    );
    let planned = batch()
        .upsert(&t, 1, &[Text("a"), Num("1"), Text(r#"{"x":1}"#)])
        .upsert(&t, 1, &[Text("a"), Num("2"), Json(r#"{"x":2}"#)])
        .upsert(&t, 1, &[Text("b"), Num("1"), Null])
        .patch(&t, 1, &[Text("c"), Num("1"), Json("1")]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.apply(&batch().delete(&t, 2, &[Text("a"), Num("1")])).await.unwrap().rows, 1);
    assert_eq!(db.rows(r#"SELECT * FROM "we""ird T" ORDER BY 1, 2"#).await, [r#"a|2|{"x": 2}"#, "b|1|NULL", "c|1|1"]);
    // A mapped name may bring its own schema, which is made when tables may be.
    let other = format!("{}_Other", db.name);
    let there = layout(&format!("{other}.T"), 1, &[("id", SourceType::Int32)], true);
    let planned = batch().upsert(&there, 1, &[Num("1")]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.apply(&planned).await.unwrap().rows, 0);
    assert_eq!(db.rows(&format!(r#"SELECT * FROM "{other}"."T""#)).await, ["1"]);
    db.run(&format!(r#"DROP SCHEMA "{other}" CASCADE"#)).await;
    db.close().await;
}

#[tokio::test]
async fn tables_grow_with_the_source_and_what_is_missing_is_named_with_its_remedy() {
    let mut db = Db::new("grow").await;
    let narrow = layout("t", 1, &[("id", SourceType::Int64), ("old", SourceType::Text)], true);
    db.apply(&batch().upsert(&narrow, 1, &[Num("1"), Text("x")])).await.unwrap();
    let columns = [("id", SourceType::Int64), ("price", SourceType::Decimal { scale: 2 }), ("none", SourceType::Text)];
    db.apply(&batch().upsert(&layout("t", 1, &columns, true), 2, &[Num("1"), Text("AQ=="), Absent])).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM t").await, ["1|x|0.01"]);

    let t = layout("u", 1, &[("id", SourceType::Int64), ("a", SourceType::Uuid)], false);
    let planned = batch().upsert(&t, 1, &[Num("1"), Null]);
    let name = db.name.clone();
    for (setup, remedy) in [
        ("SELECT 1", format!(r#"CREATE TABLE "{name}"."u" ("id" bigint, "a" uuid, PRIMARY KEY ("id"))"#)),
        ("CREATE TABLE u (id bigint PRIMARY KEY)", format!(r#"ALTER TABLE "{name}"."u" ADD COLUMN "a" uuid"#)),
    ] {
        db.run(setup).await;
        let error = db.apply(&planned).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::SchemaMismatch);
        assert!(error.message.contains(&remedy), "{error}");
    }
    db.run("ALTER TABLE u ADD a uuid").await;
    db.apply(&planned).await.unwrap();
    // A column whose type changed under us is noticed within the same batch, also where the statement reads the same.
    db.run("ALTER TABLE u DROP a; ALTER TABLE u ADD a int").await;
    let columns = [("id", SourceType::Int64), ("a", SourceType::Text)];
    let planned = |id| batch().upsert(&layout("u", 1, &columns, false), 1, &[Num(id), Text("7")]);
    db.apply(&planned("2")).await.unwrap();
    db.run("ALTER TABLE u ALTER a TYPE bigint").await;
    db.apply(&planned("3")).await.unwrap();
    db.run("ALTER TABLE u ALTER a TYPE boolean USING true").await;
    assert_eq!(db.kind(&planned("4")).await, ErrorKind::BadValue);
    db.run("ALTER TABLE u ALTER a TYPE uuid USING NULL").await;
    assert_eq!(db.kind(&planned("4")).await, ErrorKind::BadValue);
    db.run("ALTER TABLE u ALTER a TYPE text").await;
    db.apply(&planned("5")).await.unwrap();
    assert_eq!(db.rows("SELECT * FROM u ORDER BY id").await, ["1|NULL", "2|NULL", "3|NULL", "5|7"]);
    let planned = planned("6");
    // No unique index over the key.
    db.run("ALTER TABLE u DROP CONSTRAINT u_pkey").await;
    let error = db.apply(&planned).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::SchemaMismatch, "{error}");
    db.close().await;
}

#[tokio::test]
async fn two_agents_that_meet_a_new_table_make_it_once() {
    let mut db = Db::new("ddl").await;
    let mut other = db.second().await;
    for i in 0..10 {
        let table = layout(&format!("t{i}"), 1, &[("id", SourceType::Int64)], true);
        let (mine, theirs) = (batch().upsert(&table, 1, &[Num("1")]), batch().upsert(&table, 1, &[Num("2")]));
        let (mine, theirs) = (mine.write(), theirs.write());
        let (a, b) = tokio::join!(db.target.apply(&mine), other.apply(&theirs));
        a.unwrap();
        b.unwrap();
        assert_eq!(db.rows(&format!("SELECT id FROM t{i} ORDER BY 1")).await, ["1", "2"]);
    }
    db.close().await;
}

#[tokio::test]
async fn a_refused_row_undoes_the_batch() {
    let mut db = Db::new("refused").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL CHECK (a > 0), b int UNIQUE)").await;
    let t = layout("t", 1, &[("id", SourceType::Int32), ("a", SourceType::Int32), ("b", SourceType::Int32)], false);
    for (a, b) in [(Num("-1"), Num("2")), (Null, Num("2")), (Num("1"), Num("1"))] {
        let planned =
            batch().upsert(&t, 1, &[Num("1"), Num("1"), Num("1")]).upsert(&t, 1, &[Num("2"), a, b]).advance(None, 2);
        assert_eq!(db.kind(&planned).await, ErrorKind::Constraint);
    }
    assert_eq!(db.rows("SELECT * FROM t").await, [""; 0]);
    assert_eq!(db.rows("SELECT * FROM {state}.offsets").await, [""; 0]);
    db.close().await;
}

#[tokio::test]
async fn rows_without_key_are_appended_and_truncates_happen_in_order() {
    let mut db = Db::new("append").await;
    let log = layout("log", 0, &[("line", SourceType::Text)], true);
    let planned = batch()
        .append(&log, 1, &[Text("a")])
        .append(&log, 1, &[Text("a")])
        .truncate(&log)
        .append(&log, 2, &[Text("b")])
        .append(&log, 2, &[Text("b")]);
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT line FROM log").await, ["b", "b"]);
    db.apply(&batch().truncate(&orders())).await.unwrap();
    db.close().await;
}

#[tokio::test]
async fn replays_in_any_order_converge_at_least_once() {
    let mut db = Db::new("replay").await;
    let mut other = db.second().await;
    for seed in 0..30_u64 {
        let orders = layout(
            &format!("orders{seed}"),
            2,
            &[("id", SourceType::Int64), ("shop", SourceType::Text), ("name", SourceType::Text)],
            true,
        );
        let log = layout(&format!("log{seed}"), 0, &[("line", SourceType::Text)], true);
        let event = |i: i64| {
            let planned = Planned::new(AtLeastOnce).at(i);
            let lsn = i.unsigned_abs() + 100;
            match i {
                0 => planned.upsert(&orders, lsn, &[Num("1"), Text("x"), Text("a")]).upsert(
                    &orders,
                    lsn,
                    &[Num("3"), Text("x"), Text("a")],
                ),
                2 => planned.upsert(&orders, lsn, &[Num("2"), Text("x"), Text("b")]),
                3 => planned.delete(&orders, lsn, &[Num("1"), Text("x")]),
                4 => planned.upsert(&orders, lsn, &[Num("1"), Text("x"), Text("reborn")]),
                5 => planned.delete(&orders, lsn, &[Num("2"), Text("x")]).append(&log, lsn, &[Text("l")]),
                7 => planned.append(&log, lsn, &[Text("l")]),
                _ => planned.upsert(&orders, lsn, &[Num("3"), Text("x"), Text("last")]),
            }
            .advance(None, i + 1)
        };
        let mut random = StdRng::seed_from_u64(seed);
        let events = [0, 2, 3, 4, 5, 7, 8];
        let mut order = events.to_vec();
        order.shuffle(&mut random);
        order.extend((0..8).filter_map(|_| events.choose(&mut random)));
        // Two agents at once, as if one were a zombie; conflicts between them are retried like the pipeline would.
        for pair in order.chunks(2) {
            let (mine, theirs) = (event(pair[0]), event(*pair.last().unwrap()));
            tokio::join!(retried(&mut db.target, &mine), retried(&mut other, &theirs));
        }
        let rows = format!("SELECT id, shop, name FROM orders{seed} ORDER BY id");
        assert_eq!(db.rows(&rows).await, ["1|x|reborn", "3|x|last"], "seed {seed}: {order:?}");
        assert_eq!(db.rows(&format!("SELECT line FROM log{seed}")).await, ["l", "l"], "seed {seed}: {order:?}");
    }
    assert_eq!(db.rows("SELECT next FROM {state}.offsets").await, ["9"]);
    db.close().await;
}

async fn retried(target: &mut PostgresTarget, planned: &Planned) {
    for _ in 0..20 {
        match target.apply(&planned.write()).await {
            Ok(_) => return,
            Err(e) => assert_eq!(e.kind, ErrorKind::Conflict, "{e}"),
        }
    }
    panic!("never came through");
}

/// An outdated agent inserts a row while the new owner deletes it; neither sees the other's uncommitted work.
#[tokio::test]
async fn a_zombie_that_writes_while_a_delete_commits_cannot_raise_the_row() {
    let mut db = Db::new("zombie").await;
    let orders = orders();
    let seed = Planned::new(AtLeastOnce).upsert(&orders, 1, &[Num("9"), Null, Null]);
    db.apply(&seed).await.unwrap();
    let mut zombie = db.second().await;
    for i in 0..50_u64 {
        let id = i.to_string();
        let old = Planned::new(AtLeastOnce).upsert(&orders, 5, &[Num(&id), Text("risen"), Null]);
        let delete = Planned::new(AtLeastOnce).delete(&orders, 6, &[Num(&id)]);
        let (old, delete) = (old.write(), delete.write());
        let (a, b) = tokio::join!(zombie.apply(&old), db.target.apply(&delete));
        a.unwrap();
        b.unwrap();
    }
    assert_eq!(db.rows("SELECT id FROM orders WHERE name = 'risen'").await, [""; 0]);
    db.close().await;
}

#[tokio::test]
async fn versions_of_deleted_rows_are_kept_for_the_grace_and_no_longer() {
    let mut db = Db::new("grace").await;
    let orders = orders();
    let old = Planned::new(AtLeastOnce).upsert(&orders, 4, &[Num("1"), Text("old"), Null]);
    db.apply(&Planned::new(AtLeastOnce).delete(&orders, 5, &[Num("1")])).await.unwrap();
    db.apply(&old).await.unwrap();
    assert_eq!(db.rows("SELECT count(*) FROM orders").await, ["0"]);
    let mut later = Planned::new(AtLeastOnce).upsert(&orders, 6, &[Num("2"), Null, Null]);
    later.now_ms += 3_700_000;
    db.apply(&later).await.unwrap();
    assert_eq!(db.rows("SELECT count(*) FROM {state}.tombstones").await, ["0"]);
    let skipped = Planned::new(AtLeastOnce).upsert(&orders, 5, &[Num("2"), Text("old"), Null]);
    assert_eq!(db.apply(&skipped).await.unwrap().skipped_older, 1);
    let skipped = Planned::new(AtLeastOnce).patch(&orders, 5, &[Num("2"), Text("old"), Unavailable]);
    assert_eq!(db.apply(&skipped).await.unwrap().skipped_older, 1);
    assert_eq!(db.rows("SELECT name FROM orders").await, ["NULL"]);
    db.close().await;
}

#[tokio::test]
async fn an_existing_table_without_version_column_is_refused_with_the_line_to_run() {
    let mut db = Db::new("version").await;
    db.run("CREATE TABLE t (id int PRIMARY KEY, a text); INSERT INTO t VALUES (1, 'kept')").await;
    let t = layout("t", 1, &[("id", SourceType::Int32), ("a", SourceType::Text)], false);
    let planned = Planned::new(AtLeastOnce).upsert(&t, 1, &[Num("1"), Text("new")]);
    let error = db.apply(&planned).await.unwrap_err();
    let remedy = format!(r#"ALTER TABLE "{}"."t" ADD COLUMN "_whimbrel_version" bytea"#, db.name);
    assert!(error.kind == ErrorKind::SchemaMismatch && error.message.contains(&remedy), "{error}");
    db.run(&remedy).await;
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT a FROM t").await, ["new"]);
    db.close().await;
}

#[tokio::test]
async fn dead_letters_come_back_as_they_went_in() {
    let mut db = Db::new("letters").await;
    let mut planned = batch()
        .at(7)
        .dead_letter(Some("k\u{0}1"), "broken\u{0}", Reason::Malformed)
        .dead_letter(None, "", Reason::NoKey)
        .dead_letter(Some("k2"), "in kafka", Reason::Rejected)
        .advance(None, 10);
    let elsewhere = KafkaCoordinates { topic: "dlq".into(), partition: 3, offset: 9 };
    planned.dead_letters[2].kafka = Some(elsewhere.clone());
    planned.dead_letters[0].message = "a NUL \0 in it".into();
    db.apply(&planned).await.unwrap();
    assert_eq!(db.target.dead_letter_count("shop").await.unwrap(), 3);
    assert_eq!(db.target.dead_letter_count("other").await.unwrap(), 0);
    let all = db.target.dead_letters("shop", &DeadLetterFilter { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(all.iter().map(|l| l.offset).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(all[0].key.as_deref(), Some(&b"k\x001"[..]));
    assert_eq!(all[0].value.as_deref(), Some(&b"broken\0"[..]));
    assert_eq!(all[0].headers, b"\x01\x00\x00\x00h\x01\x00\x00\x001");
    assert_eq!((all[0].table.as_str(), all[0].reason.as_str()), ("public.orders", "malformed"));
    assert_eq!(all[0].message, "a NUL \u{fffd} in it");
    assert_eq!((all[0].stored_at_ms, all[0].record_ts_ms), (1_700_000_000_000, 1_600_000_000_000));
    assert_eq!((all[1].key.as_deref(), all[1].value.as_deref()), (None, Some(&b""[..])));
    assert_eq!((all[2].value.as_deref(), all[2].kafka.as_ref()), (None, Some(&elsewhere)));
    for (filter, expected) in [
        (DeadLetterFilter { reason: Some("no_key".into()), limit: 9, ..Default::default() }, vec![8]),
        (DeadLetterFilter { key: Some(b"k2".to_vec()), limit: 9, ..Default::default() }, vec![9]),
        (DeadLetterFilter { offset: Some(7), partition: Some(0), limit: 9, ..Default::default() }, vec![7]),
        (DeadLetterFilter { topic: Some("none".into()), limit: 9, ..Default::default() }, vec![]),
        (DeadLetterFilter { limit: 2, ..Default::default() }, vec![7, 8]),
    ] {
        let found = db.target.dead_letters("shop", &filter).await.unwrap();
        assert_eq!(found.iter().map(|l| l.offset).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let mut keys = db.target.parked_keys("shop", &["topic".into(), "none".into()]).await.unwrap();
    keys.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(keys.iter().map(|k| &*k.key).collect::<Vec<_>>(), [&b"k\x001"[..], b"k2"]);
    db.close().await;
}

#[tokio::test]
async fn an_event_parks_only_behind_a_dead_letter_that_is_still_there() {
    let mut db = Db::new("parking").await;
    for mode in [ExactlyOnce, AtLeastOnce] {
        let batch = || Planned::new(mode);
        let parked = |offset| batch().at(offset).dead_letter(Some("k"), "later", Reason::ParkedBehind);
        assert_eq!(db.kind(&parked(5)).await, ErrorKind::Unparked);
        db.apply(&batch().at(1).dead_letter(Some("k"), "first", Reason::Rejected)).await.unwrap();
        db.apply(&parked(5)).await.unwrap();
        let stranger = batch().at(6).dead_letter(Some("K"), "x", Reason::ParkedBehind);
        assert_eq!(db.kind(&stranger).await, ErrorKind::Unparked);
        let orders = orders();
        let redrive = || batch().settle(1).upsert(&orders, 1, &[Num("1"), Null, Null]);
        db.apply(&redrive()).await.unwrap();
        assert_eq!(db.kind(&redrive()).await, ErrorKind::Fenced);
        db.apply(&batch().settle(5)).await.unwrap();
        assert_eq!(db.kind(&parked(8)).await, ErrorKind::Unparked);
        let mut both = parked(11).at(10).dead_letter(Some("k"), "head", Reason::Rejected);
        both.offset = 12;
        db.apply(&both).await.unwrap();
        assert_eq!(db.target.dead_letter_count("shop").await.unwrap(), 2);
        db.apply(&batch().settle(10).settle(11)).await.unwrap();
        db.run("DROP TABLE orders").await;
    }
    db.close().await;
}

/// Whoever settles the last dead letter of a key while another event of it parks: one of the two has to give way.
#[tokio::test]
async fn parking_and_settling_the_same_key_exclude_each_other() {
    let mut db = Db::new("parkrace").await;
    let mut other = db.second().await;
    for round in 0..30_i64 {
        let first = round * 10;
        db.apply(&batch().at(first).dead_letter(Some("k"), "first", Reason::Rejected)).await.unwrap();
        let park = batch().at(first + 1).dead_letter(Some("k"), "later", Reason::ParkedBehind);
        let settle = batch().settle(first);
        let (park, settle) = (park.write(), settle.write());
        let (parked, settled) = tokio::join!(db.target.apply(&park), other.apply(&settle));
        settled.unwrap();
        let left = db.target.dead_letter_count("shop").await.unwrap();
        match parked {
            // It parked first: the letter stays, to be re-driven next.
            Ok(_) => assert_eq!(left, 1),
            Err(e) => assert_eq!((e.kind, left), (ErrorKind::Unparked, 0)),
        }
        if left == 1 {
            db.apply(&batch().settle(first + 1)).await.unwrap();
        }
    }
    db.close().await;
}

#[tokio::test]
async fn a_backend_killed_during_the_commit_leaves_the_outcome_unknown_and_before_it_a_network_error() {
    let db = Db::new("killed").await;
    // A deferred trigger sleeps inside COMMIT; an ordinary one inside the insert.
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY);
         CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.id = TG_ARGV[0]::int THEN PERFORM pg_sleep(30); END IF; RETURN NEW; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION nap('1');
         CREATE TRIGGER early BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nap('2')",
    )
    .await;
    let t = layout("t", 1, &[("id", SourceType::Int32)], false);
    for (id, doing, expected) in
        [("1", "COMMIT", ErrorKind::CommitUnknown), ("2", "%INSERT INTO%", ErrorKind::NotPrimary)]
    {
        let planned = batch().upsert(&t, 1, &[Num(id)]).advance(None, 1);
        let write = planned.write();
        let kill = async {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'whimbrel' AND wait_event = 'PgSleep' AND query LIKE '{doing}'
                   AND pid IN (SELECT pid FROM pg_locks WHERE relation = 't'::regclass)"
            );
            for _ in 0..200 {
                if db.rows(&sql).await == ["t"] {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("no backend to kill");
        };
        let mut target = db.second().await;
        let (applied, ()) = tokio::join!(target.apply(&write), kill);
        let error = applied.unwrap_err();
        assert_eq!(error.kind, expected, "{error}");
        // Not usable before it is opened again; then the state says what happened.
        assert_eq!(target.ping().await.unwrap_err().kind, ErrorKind::Network);
        target.open().await.unwrap();
        assert_eq!(target.offsets("shop", &[("topic".into(), 0)]).await.unwrap()[0].next, None);
    }
    assert_eq!(db.rows("SELECT * FROM t").await, [""; 0]);
    db.close().await;
}

#[tokio::test]
async fn a_batch_given_up_in_the_middle_frees_its_locks_and_its_session() {
    let mut db = Db::new("dropped").await;
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY);
         CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
         CREATE TRIGGER early BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION nap()",
    )
    .await;
    let t = layout("t", 1, &[("id", SourceType::Int32)], false);
    let planned = batch().upsert(&t, 1, &[Num("1")]).advance(None, 1);
    let given_up = tokio::time::timeout(Duration::from_millis(300), db.target.apply(&planned.write())).await;
    assert!(given_up.is_err());
    assert_eq!(db.target.ping().await.unwrap_err().kind, ErrorKind::Network);
    db.target.open().await.unwrap();
    db.apply(&planned).await.unwrap();
    assert_eq!(db.rows("SELECT id FROM t").await, ["1"]);
    db.close().await;
}

#[tokio::test]
async fn a_server_that_refuses_says_why() {
    let db = Db::new("refuses").await;
    let good = Db::settings(&db.name);
    let open = async |uri: String| {
        let mut target = PostgresTarget::new(Settings { uri: Secret::new(uri), ..good.clone() });
        target.open().await.unwrap_err()
    };
    let wrong = uri(DATABASE).replace(&format!(":{}@", env("PG_PASSWORD")), ":wr0ng@");
    let role = format!("{}_reader", db.name);
    db.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pw'")).await;
    let reader = format!("postgresql://{role}:pw@127.0.0.1:{}/{DATABASE}", env("PG_PORT"));
    for (uri, kind) in [
        (wrong, ErrorKind::Authentication),
        (uri("no_such_database"), ErrorKind::SchemaMismatch),
        ("postgresql://me@127.0.0.1:1/x".to_owned(), ErrorKind::Network),
        (format!("{}?sslmode=require", uri(DATABASE)), ErrorKind::Unsupported),
    ] {
        let error = open(uri).await;
        assert_eq!(error.kind, kind, "{error} {error:?}");
        assert!(!format!("{error:?}").contains("wr0ng"));
    }
    let settings = Settings { uri: Secret::new(reader), ..good.clone() };
    let mut target = PostgresTarget::new(settings.clone());
    let error = target.open().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Authorization, "{error}");
    // State tables that are there ask for no right to create anything.
    let state = format!("{}_state", db.name);
    db.run(&format!("GRANT USAGE ON SCHEMA {state} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {state} TO {role}"))
        .await;
    target.open().await.unwrap();
    target.offsets("shop", &[("t".into(), 0)]).await.unwrap();
    let error = target.apply(&batch().advance(None, 1).write()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Authorization, "{error}");
    let state_schema = format!("{}_none", db.name);
    let error = PostgresTarget::new(Settings { state_schema, ..settings }).open().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Authorization, "{error}");
    db.run(&format!("DROP OWNED BY {role}")).await;
    db.run(&format!("DROP ROLE {role}")).await;
    db.close().await;
}
