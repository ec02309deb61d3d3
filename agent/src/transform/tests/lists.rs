//! Plain lists beside packed columns, for guests in languages that want them.

use super::{batch_of, start, text};
use crate::batch::Image;
use crate::event::Op;
use crate::plugin::Limits;
use crate::plugin::fixture::guest;
use crate::transform::View;

#[test]
fn a_plain_list_reads_and_writes_what_packed_columns_do() {
    let batch = batch_of(&[
        (Op::Create, "t", "null", r#"{"id":1,"from":"ada","to":"-"}"#),
        (Op::Update, "t", r#"{"id":2,"from":"old","to":"-"}"#, r#"{"id":2,"from":null,"to":"-"}"#),
        (Op::Delete, "t", r#"{"id":3,"from":"gone","to":"-"}"#, "null"),
        (Op::Create, "t", "null", r#"{"id":4,"from":"ünal","to":null}"#),
        (Op::Create, "t", "null", r#"{"id":5,"to":"-"}"#),
    ]);
    // Hands the list it got on as it is: what was null arrives as null.
    let copy = guest(
        r#"(data (i32.const 2100) "after.from") (data (i32.const 2200) "after.to")"#,
        "(call $text_list (local.get 0) (i32.const 2100) (i32.const 10) (i32.const 3072))
         (call $set_text_list (local.get 0) (i32.const 2200) (i32.const 8)
           (i32.load (i32.const 3072)) (i32.load (i32.const 3076)) (i32.const 1024))",
    );
    let (view, outcome) = start("copy", &copy, Limits::default(), "{}").unwrap().apply(View::new(batch));
    outcome.unwrap();
    let batch = view.into_batch();
    let after: Vec<_> = (0..5).map(|event| text(&batch, event, Image::After, "to")).collect();
    assert_eq!(after, [Some("ada".to_owned()), None, None, Some("ünal".to_owned()), None]);
    assert_eq!(text(&batch, 1, Image::Before, "to").as_deref(), Some("-"), "the other image is left alone");
}
