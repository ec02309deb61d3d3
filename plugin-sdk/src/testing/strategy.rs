//! Batches and windows for property tests (feature `proptest`): what an agent may hand to a plugin, odd cases included.
//!
//! ```
//! use proptest::prelude::*;
//! use whimbrel_plugin::testing::{context, strategy};
//! use whimbrel_plugin::prelude::*;
//!
//! /// Puts names in capitals.
//! #[derive(Config)]
//! struct Capitals {}
//!
//! #[transform]
//! impl Transform for Capitals {
//!     fn apply(&mut self, batch: &mut Batch, _cx: &Context) -> Result<(), Failure> {
//!         batch.map_text("after.name", str::to_uppercase)
//!     }
//! }
//!
//! proptest!(|(mut batch in strategy::batches(&["name", "email"]))| {
//!     let before = batch.text_column("after.email");
//!     Capitals {}.apply(&mut batch, &context()).unwrap();
//!     prop_assert_eq!(batch.text_column("after.email"), before);
//! });
//! ```

use proptest::collection::vec;
use proptest::prelude::*;

use super::Event;
use crate::batch::Batch;
use crate::channel::{Alert, Status};
use crate::json::Json;
use crate::stats::{Point, Series, Severity, Window};
use crate::value::Value;

/// Texts people and machines write: empty, long, with quotes, line ends, several scripts, and what looks like other types.
///
/// ```
/// use proptest::prelude::*;
/// use whimbrel_plugin::testing::strategy;
///
/// fn mask(text: &str) -> String {
///     text.chars().map(|c| if c.is_alphanumeric() { '*' } else { c }).collect()
/// }
///
/// proptest!(|(text in strategy::texts())| {
///     prop_assert_eq!(mask(&text).chars().count(), text.chars().count());
/// });
/// ```
pub fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9._%+-]{1,12}@[a-z0-9-]{1,10}\\.(org|com|example)",
        4 => "\\PC{0,24}",
        1 => Just(String::new()),
        1 => Just("null".to_owned()),
        1 => Just("0".to_owned()),
        1 => Just("a\"b\\c\n\t\u{0}".to_owned()),
        1 => Just("e\u{301}🙂\u{200d}🙃 שלום".to_owned()),
        1 => "[ -~]{200,400}",
    ]
}

/// One value of a column, null and nested ones included.
fn values() -> impl Strategy<Value = Json> {
    prop_oneof![
        8 => texts().prop_map(Json::Text),
        2 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::Bool),
        1 => any::<i64>().prop_map(|number| Json::Number(number.to_string())),
        1 => vec(texts().prop_map(Json::Text), 0..3).prop_map(Json::List),
    ]
}

/// A row of these columns; now and then one is missing.
fn rows(columns: &[&str]) -> impl Strategy<Value = Json> + use<> {
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let width = columns.len();
    (vec(values(), width), vec(prop::bool::weighted(0.9), width)).prop_map(move |(values, there)| {
        let members = columns.iter().cloned().zip(values).zip(there);
        Json::Object(members.filter(|(_, there)| *there).map(|(member, _)| member).collect())
    })
}

/// One event over these columns, with the images its operation has.
///
/// ```
/// use proptest::prelude::*;
/// use whimbrel_plugin::Batch;
/// use whimbrel_plugin::testing::strategy;
///
/// proptest!(|(event in strategy::events(&["email"]))| {
///     let operation = Batch::of([event.clone()]).operations().get(0).map(str::to_owned);
///     prop_assert_eq!(operation.as_deref() == Some("delete"), event.after() == "null");
/// });
/// ```
pub fn events(columns: &[&str]) -> impl Strategy<Value = Event> + use<> {
    let operations = prop_oneof![
        Just(("create", false, true)),
        Just(("read", false, true)),
        Just(("update", true, true)),
        Just(("update", false, true)),
        Just(("delete", true, false)),
    ];
    let tables = prop_oneof![4 => Just("public.customers"), 1 => Just("public.orders"), 1 => Just("odd name.täble")];
    (operations, tables, rows(columns), rows(columns), 0_i64..4_000_000_000_000).prop_map(
        |((operation, has_before, has_after), table, before, after, source_time)| {
            let image = |there: bool, row: Json| if there { row } else { Json::Null };
            let mut event = Event::new(operation, table, "null", "null", "null");
            event.source_time = source_time;
            event.before = image(has_before, before);
            event.after = image(has_after, after);
            event
        },
    )
}

/// Batches of up to 50 events over these columns, the empty one included.
///
/// ```
/// use proptest::prelude::*;
/// use whimbrel_plugin::testing::strategy;
///
/// proptest!(|(mut batch in strategy::batches(&["name", "email"]))| {
///     batch.map_text("after.email", |_| "***").unwrap();
///     let masked = batch.text_column("after.email");
///     prop_assert!(masked.iter().flatten().all(|email| email == "***"));
/// });
/// ```
pub fn batches(columns: &[&str]) -> impl Strategy<Value = Batch> + use<> {
    vec(events(columns), 0..50).prop_map(Batch::of)
}

/// Windows of 30 seconds with up to an hour of look-back: series with gaps, flat ones, empty ones, and extreme values.
///
/// ```
/// use proptest::prelude::*;
/// use whimbrel_plugin::testing::strategy;
///
/// proptest!(|(window in strategy::windows(&["rate", "lag_seconds"]))| {
///     prop_assert_eq!(window.named("rate").count(), 1);
///     let lag = window.named("lag_seconds").next().unwrap();
///     prop_assert!(window.inside(lag).len() <= lag.points.len());
/// });
/// ```
pub fn windows(series: &[&str]) -> impl Strategy<Value = Window> + use<> {
    let names: Vec<String> = series.iter().map(|name| (*name).to_owned()).collect();
    let end = 1_700_000_000_000_i64;
    let numbers = prop_oneof![
        6 => 0.0..1_000.0,
        1 => Just(0.0),
        1 => Just(f64::MAX),
        1 => Just(-1.0),
        1 => Just(f64::MIN_POSITIVE),
    ];
    let flat = (numbers.clone(), 0_usize..200).prop_map(|(value, count)| vec![value; count]);
    let points = prop_oneof![3 => vec(numbers, 0..200), 1 => flat];
    let spaced = (points, 1_000_i64..18_000).prop_map(move |(values, step)| {
        let count = i64::try_from(values.len()).unwrap_or(0);
        let at = (0..count).map(move |index| end - (count - 1 - index) * step);
        at.zip(values).map(|(at_ms, value)| Point { at_ms, value }).collect::<Vec<_>>()
    });
    vec(spaced, names.len()).prop_map(move |all| Window {
        scope: "pipeline/shop".to_owned(),
        start_ms: end - 30_000,
        end_ms: end,
        series: names
            .iter()
            .zip(all)
            .map(|(name, points)| Series { name: name.clone(), labels: Vec::new(), points })
            .collect(),
    })
}

/// What an alert's texts may hold: also what a chat, a mail server or a page would obey, and more than fits anywhere.
fn told() -> impl Strategy<Value = String> {
    prop_oneof![
        16 => texts(),
        4 => "[<>&@!#`*_~|\\[\\]\"'{}$%/ -]{0,30}",
        2 => Just("@here <!channel> <@U024BE7LH> @everyone".to_owned()),
        2 => Just("slow\r\nBcc: b@example.org\r\n\r\nhello".to_owned()),
        2 => Just("</td><script>alert(1)</script>&amp;\" onload='x'".to_owned()),
        2 => Just("\u{202e}txt.exe\u{2028}\u{feff}\u{1b}[2J\u{7f}\u{9f}".to_owned()),
        2 => Just("{{title}} {title} ${title} %s".to_owned()),
        1 => (prop_oneof!["🐦", "<&\""], 1_usize..6_000).prop_map(|(text, times)| text.repeat(times)),
    ]
}

/// One fact beside an alert.
fn facts() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Float),
        told().prop_map(Value::Text),
        vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        told().prop_map(|text| Value::Tagged("json".to_owned(), text)),
    ]
}

/// Alerts of one notification, none to a dozen, each with an id of its own.
///
/// ```
/// use proptest::prelude::*;
/// use whimbrel_plugin::notice::line;
/// use whimbrel_plugin::testing::strategy;
///
/// proptest!(|(alerts in strategy::alerts())| {
///     let subject: Vec<String> = alerts.iter().map(|alert| line(&alert.title)).collect();
///     prop_assert!(!subject.join(", ").contains(char::is_control));
/// });
/// ```
pub fn alerts() -> impl Strategy<Value = Vec<Alert>> {
    let states = prop_oneof![Just(Status::Firing), Just(Status::Acknowledged), Just(Status::Resolved)];
    let severities = prop_oneof![Just(Severity::Info), Just(Severity::Warning), Just(Severity::Critical)];
    let names = || prop_oneof![4 => "[a-z_]{1,20}", 1 => told()];
    let times = || prop_oneof![8 => 1_600_000_000_000_i64..1_900_000_000_000, 1 => any::<i64>()];
    let texts = (names(), names(), told(), told(), told(), prop_oneof![4 => "pipeline/[a-z-]{1,12}", 1 => told()]);
    let beside = (
        prop::option::of(prop_oneof![Just("https://status.example.org/".to_owned()), told()]),
        vec((told(), facts()), 0..6),
    );
    let one = (texts, beside, states, severities, times(), prop::option::of(times()), any::<u32>());
    vec(one, 0..12).prop_map(|all| {
        let alert = |(index, (texts, (url, attributes), status, severity, since_ms, until_ms, count))| {
            let (rule, kind, title, detail, action, scope) = texts;
            let id = format!("{index:016x}");
            Alert {
                id,
                status,
                severity,
                rule,
                kind,
                title,
                detail,
                action,
                scope,
                since_ms,
                until_ms,
                count,
                url,
                attributes,
            }
        };
        all.into_iter().enumerate().map(alert).collect()
    })
}
