//! What a plugin writes and what becomes of it, without a guest: the view's own rules.

use std::sync::Arc;

use super::{batch_of, text};
use crate::batch::{Batch, Image as BatchImage};
use crate::event::{Cell, CellKind, Column, Op, Shape, SourceType, Verdict};
use crate::plugin::{ColumnPath, Dictionary, EventBatch, Failure, Image, Value};
use crate::transform::View;

const AFTER_A: ColumnPath<'static> = ColumnPath { image: Image::After, column: "a" };

fn types(batch: &Batch, event: usize) -> Vec<SourceType> {
    let row = batch.events[event].after.unwrap();
    batch.shape(row).unwrap().columns.iter().map(|column| column.ty.clone()).collect()
}

/// One event whose column `a` has this type and cell.
fn one(ty: SourceType, kind: CellKind, bytes: &str) -> Batch {
    let mut batch = batch_of(&[(Op::Update, "t", "null", r#"{"a":1,"b":2}"#)]);
    let span = batch.push_bytes(bytes.as_bytes());
    let row = batch.events[0].after.unwrap();
    batch.set_cell(row, 0, Cell { span, kind });
    let mut columns = batch.shape(row).unwrap().columns.clone();
    columns[0] = Column { ty, ..columns[0].clone() };
    batch.shapes.push(Arc::new(Shape { columns }));
    let shape = (batch.shapes.len() - 1) as u32;
    batch.events[0].after.as_mut().unwrap().shape = shape;
    batch
}

#[test]
fn a_written_text_follows_the_rules_for_what_stood_there() {
    #[expect(clippy::type_complexity, reason = "a table of cases")]
    let cases: [(SourceType, CellKind, &str, Option<&str>, CellKind, SourceType); 11] = [
        (SourceType::Text, CellKind::Text, "x", Some("y"), CellKind::Text, SourceType::Text),
        (SourceType::Text, CellKind::Text, "x", None, CellKind::Null, SourceType::Text),
        (SourceType::Text, CellKind::Null, "", Some("y"), CellKind::Text, SourceType::Text),
        (SourceType::Text, CellKind::Null, "", None, CellKind::Null, SourceType::Text),
        // Not sent because it did not change: a null written back must not erase it at the target.
        (SourceType::Text, CellKind::Unavailable, "", None, CellKind::Unavailable, SourceType::Text),
        (SourceType::Text, CellKind::Unavailable, "", Some("y"), CellKind::Text, SourceType::Text),
        (SourceType::Text, CellKind::Absent, "", Some("y"), CellKind::Absent, SourceType::Text),
        // Written back unchanged: still a number, still escaped.
        (SourceType::Int64, CellKind::Number, "12", Some("12"), CellKind::Number, SourceType::Int64),
        (SourceType::Text, CellKind::Escaped, "a\\n", Some("a\n"), CellKind::Escaped, SourceType::Text),
        // What is left of a number is no number.
        (SourceType::Int64, CellKind::Number, "12", Some("*2"), CellKind::Text, SourceType::Text),
        (SourceType::Unknown, CellKind::Number, "12", Some("*2"), CellKind::Text, SourceType::Unknown),
    ];
    for (ty, kind, bytes, new, expect_kind, expect_type) in cases {
        let case = format!("{ty:?} {kind:?} {bytes:?} <- {new:?}");
        let mut view = View::new(one(ty, kind, bytes));
        view.write_text(AFTER_A, [(0, new)].into_iter());
        view.commit();
        let batch = view.into_batch();
        let row = batch.events[0].after.unwrap();
        assert_eq!(batch.row(row)[0].kind, expect_kind, "{case}");
        assert_eq!(types(&batch, 0)[0], expect_type, "{case}");
        if expect_kind == CellKind::Text {
            assert_eq!(text(&batch, 0, BatchImage::After, "a").as_deref(), new, "{case}");
        }
    }
}

#[test]
fn values_read_and_written_back_change_nothing() {
    let tagged = |tag: &str, text: &str| Value::Tagged((tag.to_owned(), text.to_owned()));
    for (ty, kind, bytes, expect) in [
        (SourceType::Unknown, CellKind::Null, "", Value::Null),
        (SourceType::Boolean, CellKind::True, "", Value::Boolean(true)),
        (SourceType::Int64, CellKind::Number, "-9223372036854775808", Value::Integer(i64::MIN)),
        (SourceType::Unknown, CellKind::Number, "18446744073709551616", tagged("decimal", "18446744073709551616")),
        (SourceType::Float64, CellKind::Number, "0.1", Value::Float(0.1)),
        (SourceType::Unknown, CellKind::Number, "12.50", tagged("decimal", "12.50")),
        (SourceType::Unknown, CellKind::Number, "1e400", tagged("decimal", "1e400")),
        (SourceType::Decimal { scale: 2 }, CellKind::Text, "BNI=", tagged("decimal", "BNI=")),
        (SourceType::Uuid, CellKind::Text, "6f1c", tagged("uuid", "6f1c")),
        (SourceType::Bytes, CellKind::Text, "AQI=", Value::Bytes(vec![1, 2])),
        (SourceType::Bytes, CellKind::Text, "not base64", Value::Text("not base64".to_owned())),
        (SourceType::Json, CellKind::Escaped, r#"{\"x\":1}"#, tagged("json", r#"{"x":1}"#)),
        (SourceType::Map, CellKind::Json, r#"{"x":1}"#, tagged("json", r#"{"x":1}"#)),
        (SourceType::Text, CellKind::Escaped, "tab\\t", Value::Text("tab\t".to_owned())),
    ] {
        let mut view = View::new(one(ty.clone(), kind, bytes));
        let before = format!("{:?}", view.batch);
        let values = view.read_values(AFTER_A);
        assert_eq!(values, [expect], "{ty:?} {bytes}");
        view.write_values(AFTER_A, &values).unwrap();
        assert_eq!(format!("{:?}", view.batch), before, "{ty:?} {bytes}");
    }
}

#[test]
fn a_written_value_gets_the_cell_and_type_it_needs() {
    let tagged = |tag: &str, text: &str| Value::Tagged((tag.to_owned(), text.to_owned()));
    for (ty, new, kind, bytes, expect) in [
        (SourceType::Int64, Value::Integer(5), CellKind::Number, "5", SourceType::Int64),
        (SourceType::TimestampMicros, Value::Integer(5), CellKind::Number, "5", SourceType::TimestampMicros),
        (SourceType::Text, Value::Integer(5), CellKind::Number, "5", SourceType::Int64),
        (SourceType::Int64, Value::Boolean(true), CellKind::True, "", SourceType::Boolean),
        (SourceType::Int64, Value::Float(0.5), CellKind::Number, "0.5", SourceType::Float64),
        (SourceType::Int64, Value::Text("x".to_owned()), CellKind::Text, "x", SourceType::Text),
        (SourceType::Bytes, Value::Bytes(vec![1]), CellKind::Text, "AQ==", SourceType::Bytes),
        (SourceType::Json, tagged("json", "[1]"), CellKind::Text, "[1]", SourceType::Json),
        (SourceType::Map, tagged("json", "[1]"), CellKind::Json, "[1]", SourceType::Map),
        (SourceType::Uuid, tagged("uuid", "x"), CellKind::Text, "x", SourceType::Uuid),
        (SourceType::Uuid, tagged("colour", "x"), CellKind::Text, "x", SourceType::Text),
    ] {
        let case = format!("{ty:?} <- {new:?}");
        let mut view = View::new(one(ty, CellKind::Number, "12"));
        view.write_values(AFTER_A, &[new]).unwrap();
        let batch = view.into_batch();
        let cell = batch.row(batch.events[0].after.unwrap())[0];
        assert_eq!((cell.kind, batch.str(cell.span), types(&batch, 0)[0].clone()), (kind, bytes, expect), "{case}");
    }
    for wrong in [Value::Float(f64::NAN), tagged("json", "{")] {
        let mut view = View::new(one(SourceType::Unknown, CellKind::Number, "12"));
        assert_eq!(view.write_values(AFTER_A, &[wrong]).unwrap_err().code, "value");
        assert_eq!(text(&view.batch, 0, BatchImage::After, "a").as_deref(), Some("12"));
    }
}

#[test]
fn a_rollback_undoes_everything_and_a_commit_keeps_it() {
    let batch = || {
        batch_of(&[
            (Op::Create, "t", "null", r#"{"a":1,"b":"x"}"#),
            (Op::Update, "t", r#"{"a":1}"#, r#"{"a":2,"b":"y"}"#),
            (Op::Delete, "u", r#"{"a":3}"#, "null"),
        ])
    };
    let mischief = |view: &mut View| {
        view.write_text(AFTER_A, [(0, Some("changed")), (1, None)].into_iter());
        view.write_values(
            ColumnPath { image: Image::Before, column: "a" },
            &[Value::Null, Value::Integer(9), Value::Boolean(true)],
        )
        .unwrap();
        view.set_tables(&Dictionary { values: vec!["elsewhere".to_owned()], indices: vec![0; 3] });
        view.set_json(1, r#"{"table":"new","after":{"c":[1],"d":"\u00fc"}}"#).unwrap();
        view.drop_row(0);
        view.fail_row(2, Failure { code: "x".to_owned(), message: "y".to_owned(), retryable: false });
    };
    let mut view = View::new(batch());
    let before = format!("{:?}", view.batch);
    for _ in 0..2 {
        mischief(&mut view);
        assert_ne!(format!("{:?}", view.batch), before);
        view.rollback();
        assert_eq!(format!("{:?}", view.batch), before);
    }
    mischief(&mut view);
    view.commit();
    view.rollback();
    let batch = view.into_batch();
    assert_eq!(batch.events[0].verdict, Verdict::Drop);
    assert_eq!(batch.destination(&batch.events[1]), "new");
    assert_eq!(text(&batch, 1, BatchImage::After, "d").as_deref(), Some("ü"));
    assert_eq!(batch.failure(&batch.events[2]).unwrap().message, "x: y");
}

#[test]
fn an_event_goes_through_json_and_back_unharmed() {
    let json = r#"{"operation":"update","table":"t","source_time":1700000000000,"key":null,"before":{"a":1.50},"after":{"a":18446744073709551616,"b":"q\"\n","c":[{"x":null}],"d":null,"e":true}}"#;
    let parsed: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut view =
        View::new(batch_of(&[(Op::Update, "t", &parsed["before"].to_string().replace("1.5", "1.50"), "{}")]));
    view.set_json(0, json).unwrap();
    assert_eq!(String::from_utf8(view.json(0)).unwrap(), json);
    for wrong in [
        "",
        "[]",
        r#"{"table":""}"#,
        r#"{"after":{}}"#,
        r#"{"table":"t","after":[]}"#,
        r#"{"table":"t","verdict":"keep"}"#,
    ] {
        assert_eq!(view.set_json(0, wrong).unwrap_err().code, "json", "{wrong}");
        assert_eq!(String::from_utf8(view.json(0)).unwrap(), json);
    }
}

#[test]
fn what_json_could_not_show_it_cannot_remove() {
    let mut view = View::new(one(SourceType::Text, CellKind::Unavailable, ""));
    assert!(String::from_utf8(view.json(0)).unwrap().ends_with(r#""after":{"b":2}}"#));
    view.set_json(0, r#"{"table":"t","after":{"b":3,"new":1}}"#).unwrap();
    let batch = view.into_batch();
    let row = batch.events[0].after.unwrap();
    let at = batch.shape(row).unwrap().position("a").unwrap();
    assert_eq!(batch.row(row)[at].kind, CellKind::Unavailable);
    assert_eq!(types(&batch, 0)[at], SourceType::Text);
}
