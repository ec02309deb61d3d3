//! The `_id` of a document that was captured from MongoDB.
//!
//! The record key tells which document it is, but not all of its type: Debezium writes keys as relaxed Extended JSON, in
//! which a small long is a number like any int. The document itself says which, so the `_id` is taken from there wherever it
//! is the value of the key.

use bson::{RawBsonRef, RawDocument};

use super::json::Json;
use super::value::FIELD_DEPTH;
use super::writer::Writer;
use crate::config::raw::OddFieldNames;

/// Puts the `_id` of `document` in the place of the element that was written at `start`, if both are the same value.
pub(super) fn restore(document: &str, odd: OddFieldNames, start: usize, out: &mut Writer) {
    let mut own = Writer::default();
    let open = own.open();
    // A document that cannot be read is refused when its fields are written.
    if !matches!(Json::new(document, odd).extended().leading_id(FIELD_DEPTH, &mut own), Ok(true)) {
        return;
    }
    own.close(open);
    let mut key = Writer::default();
    let open = key.open();
    key.raw(out.since(start));
    key.close(open);
    let (own, key) = (own.into_bytes(), key.into_bytes());
    if own != key && same_document(&own, &key) {
        out.truncate(start);
        // Without the length in front and the NUL behind.
        out.raw(own.get(4..own.len() - 1).unwrap_or_default());
    }
}

fn same_document(a: &[u8], b: &[u8]) -> bool {
    match (RawDocument::from_bytes(a), RawDocument::from_bytes(b)) {
        (Ok(a), Ok(b)) => same_fields(a, b),
        _ => false,
    }
}

fn same_fields(a: &RawDocument, b: &RawDocument) -> bool {
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(Ok((name, a))), Some(Ok((other, b)))) if name == other && same(a, b) => {}
            _ => return false,
        }
    }
}

/// Equal but for the width of whole numbers.
fn same(a: RawBsonRef<'_>, b: RawBsonRef<'_>) -> bool {
    match (a, b) {
        (RawBsonRef::Int64(long), RawBsonRef::Int32(int)) => long == i64::from(int),
        (RawBsonRef::Document(a), RawBsonRef::Document(b)) => same_fields(a, b),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, bson};

    use super::*;
    use crate::target::mongodb::encode::writer::Tag;

    /// What becomes of a key of 7.
    fn id(document: &str) -> Bson {
        let mut out = Writer::default();
        let open = out.open();
        let start = out.len();
        out.tagged(Tag::Int32, b"_id");
        out.int32(7);
        restore(document, OddFieldNames::Keep, start, &mut out);
        out.close(open);
        Document::from_reader(&out.into_bytes()[..]).unwrap().remove("_id").unwrap()
    }

    #[test]
    fn a_long_stays_a_long_and_another_value_is_not_taken() {
        for (document, expected) in [
            (r#"{"_id": {"$numberLong": "7"},"v": 1}"#, bson!(7_i64)),
            (r#"{"_id": 7,"v": 1}"#, bson!(7)),
            (r#"{"_id": {"$numberLong": "8"}}"#, bson!(7)),
            (r#"{"_id": "7"}"#, bson!(7)),
            (r#"{"v": 1,"_id": {"$numberLong": "7"}}"#, bson!(7)),
            (r#"{"_id""#, bson!(7)),
            ("{}", bson!(7)),
            ("", bson!(7)),
        ] {
            assert_eq!(id(document), expected, "{document}");
        }
    }
}
