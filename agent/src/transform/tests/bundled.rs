//! The bundled plugins in the sandbox do what they do natively.

use whimbrel_plugin::testing::{Event, Verdict as NativeVerdict, context};
use whimbrel_plugin::{Batch as NativeBatch, Transform};

use super::{batch_of, chain, start, text};
use crate::batch::{Batch, Image};
use crate::event::{Op, Verdict};
use crate::plugin::{Limits, LoadError, bundled};
use crate::transform::{TrapPolicy, stored};

const EVENTS: [(Op, &str, &str, &str); 8] = [
    (Op::Create, "public.customers", "null", r#"{"id":1,"email":"ada@example.org","phone":"+49 170 1"}"#),
    (
        Op::Update,
        "public.customers",
        r#"{"id":2,"email":"old@example.org"}"#,
        r#"{"id":2,"email":"n\u00fcw@example.org","phone":null}"#,
    ),
    (Op::Delete, "public.customers", r#"{"id":3,"email":"\"q\"@example.org","phone":"5"}"#, "null"),
    (Op::Read, "public.orders", "null", r#"{"id":4,"total":12.50,"status":"test"}"#),
    (Op::Create, "public.orders", "null", r#"{"id":18446744073709551616,"total":1e3,"status":"li\tve"}"#),
    (Op::Update, "public.orders", r#"{"id":6}"#, r#"{"id":6,"status":null,"lines":[{"a":1}]}"#),
    (Op::Delete, "audit.log", r#"{"id":7,"email":""}"#, "null"),
    (Op::Create, "public.customers", "null", r#"{"id":8,"email":"漢字 without an at"}"#),
];

fn sandboxed(name: &str, config: &str) -> Batch {
    let mut batch = batch_of(&EVENTS);
    chain(name, bundled::find(name).unwrap(), Limits::default(), config, TrapPolicy::Halt).apply(&mut batch).unwrap();
    batch
}

fn native<T: Transform>(config: &str) -> NativeBatch {
    let mut plugin: T = whimbrel_plugin::config::parse(config).unwrap();
    plugin.start(&context()).unwrap();
    let mut batch =
        NativeBatch::of(EVENTS.map(|(op, table, before, after)| Event::new(op.as_str(), table, "null", before, after)));
    plugin.apply(&mut batch, &context()).unwrap();
    batch
}

/// Every event of both, compared as a JSON value: the sandbox keeps escapes as they came.
fn assert_same(sandboxed: &Batch, native: &NativeBatch) {
    for row in 0..EVENTS.len() {
        let event = &sandboxed.events[row];
        let ours: serde_json::Value = serde_json::from_slice(&stored::event_json(sandboxed, event)).unwrap();
        let (after, before) = (native.event(row).after(), native.event(row).before());
        assert_eq!(ours["after"], serde_json::from_str::<serde_json::Value>(&after).unwrap(), "row {row}");
        assert_eq!(ours["before"], serde_json::from_str::<serde_json::Value>(&before).unwrap(), "row {row}");
        assert_eq!(ours["table"], native.event(row).table(), "row {row}");
        assert_eq!(event.verdict == Verdict::Drop, *native.event(row).verdict() == NativeVerdict::Drop, "row {row}");
    }
}

#[test]
fn mask_fields_masks_a_column_in_both_images() {
    let batch = sandboxed("mask-fields", r#"{"rules":[{"columns":["email"]}]}"#);
    for (event, image, expect) in [
        (0, Image::After, Some("a***@example.org")),
        (1, Image::Before, Some("o***@example.org")),
        (1, Image::After, Some("n***@example.org")),
        (2, Image::Before, Some("\"***@example.org")),
        (2, Image::After, None),
        (6, Image::Before, Some("***")),
        (7, Image::After, Some("***")),
    ] {
        assert_eq!(text(&batch, event, image, "email").as_deref(), expect, "event {event}");
    }
    // What was not masked is what came in, byte for byte.
    assert_eq!(text(&batch, 4, Image::After, "id").as_deref(), Some("18446744073709551616"));
}

#[test]
fn mask_fields_in_the_sandbox_equals_mask_fields_in_a_test() {
    for config in [
        r#"{"rules":[{"columns":["email","phone"]}]}"#,
        r#"{"rules":[{"columns":["email"],"tables":["*.customers"],"with":"hash"}],"salt":"pepper"}"#,
        r#"{"rules":[{"columns":["phone"],"with":{"keep_last":2}},{"columns":["status"],"tables":["public.orders"],"with":"redact"}]}"#,
        r#"{"rules":[{"columns":["id","lines","total"],"with":{"keep_last":1}}]}"#,
    ] {
        assert_same(&sandboxed("mask-fields", config), &native::<mask_fields::MaskFields>(config));
    }
}

#[test]
fn route_in_the_sandbox_equals_route_in_a_test() {
    for config in [
        r#"{"rules":[{"tables":["audit.*"],"then":"drop"},{"tables":["public.*"],"then":{"rename":"shop.{table}"}}]}"#,
        r#"{"rules":[{"operations":["delete"],"then":"drop"},{"when":{"column":"status","equals":"test"},"then":"drop"}]}"#,
        r#"{"rules":[{"when":{"column":"email","matches":"*@example.org"},"then":{"rename":"{full}_internal"}},{"then":"keep"}]}"#,
    ] {
        let batch = sandboxed("route", config);
        assert_same(&batch, &native::<route::Route>(config));
        assert!(batch.events.iter().any(|event| event.verdict == Verdict::Drop) || config.contains("rename"));
    }
}

#[test]
fn a_later_plugin_does_not_see_what_an_earlier_one_dropped() {
    let mut batch = batch_of(&EVENTS);
    let drop = start(
        "route",
        bundled::find("route").unwrap(),
        Limits::default(),
        r#"{"rules":[{"tables":["*.customers"],"then":"drop"}]}"#,
    );
    let mask = start(
        "mask-fields",
        bundled::find("mask-fields").unwrap(),
        Limits::default(),
        r#"{"rules":[{"columns":["email"]}]}"#,
    );
    let instruments = super::instruments();
    let links = [drop, mask].map(|instance| super::Link::new(instance.unwrap(), TrapPolicy::Halt, &instruments));
    let mut chain = super::Chain::new(links.into());
    chain.apply(&mut batch).unwrap();
    assert_eq!(text(&batch, 0, Image::After, "email").as_deref(), Some("ada@example.org"));
    assert_eq!(text(&batch, 6, Image::Before, "email").as_deref(), Some("***"));
    let stats: Vec<_> = chain.stats().map(|stats| (stats.kept, stats.dropped, stats.failed)).collect();
    assert_eq!(stats, [(4, 4, 0), (4, 0, 0)]);
}

#[test]
fn a_configuration_the_plugin_refuses_stops_the_start_with_its_words() {
    let error = start("mask", bundled::find("mask-fields").unwrap(), Limits::default(), r#"{"rules":[{"colums":[]}]}"#)
        .unwrap_err();
    assert!(matches!(error, LoadError::Config { .. }));
    assert_eq!(
        error.to_string(),
        "plugin mask refuses its configuration: rules[0]: unknown option `colums`, expected one of `columns`, `tables`, `with`, `keys`"
    );
}
