//! Ranges of `_id`: which documents make a chunk, in the order of the index, whatever types the ids have.

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::Collection;

use super::client::failed;
use super::value::same_key;
use crate::error::Result;

/// Most bytes of documents in a chunk: half of the 16 MB that are recommended for a transaction.
const BYTES: u64 = 8 << 20;
/// How much longer than asked for a range may become where the filter passes few of its documents.
const LONGEST: u64 = 64;

/// The documents after `after`, up to and with `upto`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    /// `None`: from the first.
    pub after: Option<Bson>,
    /// The last of the chunk.
    pub upto: Bson,
}

impl Range {
    /// The documents of the range that also pass `filter`.
    pub(super) fn filter(&self, filter: &Document) -> Document {
        let range = match &self.after {
            Some(after) if bracket(after) == bracket(&self.upto) => doc! {"_id": {"$gt": after, "$lte": &self.upto}},
            // Comparisons of a query stay within one type; those of an expression follow the order of the index.
            Some(after) => doc! {"$expr": {"$and": [
                {"$gt": ["$_id", {"$literal": after}]}, {"$lte": ["$_id", {"$literal": &self.upto}]},
            ]}},
            None => doc! {"$expr": {"$lte": ["$_id", {"$literal": &self.upto}]}},
        };
        if filter.is_empty() {
            range
        } else {
            doc! {"$and": [range, filter.clone()]}
        }
    }
}

/// The end of the range that begins after `after` and is `length` documents long; `None`: there are no more.
pub(super) async fn range(
    collection: &Collection<Document>,
    after: Option<&Bson>,
    length: u64,
) -> Result<Option<Range>> {
    if after == Some(&Bson::MaxKey) {
        return Ok(None);
    }
    // `min` is where the scan of the index begins, that document included.
    let (skip, min) = match after {
        Some(after) => (length, Some(doc! {"_id": after})),
        None => (length.saturating_sub(1), None),
    };
    let found = |upto| Some(Range { after: after.cloned(), upto });
    if let Some(key) = key(collection, min.clone(), 1, skip).await? {
        return Ok(found(key));
    }
    // Fewer are left: up to the last there is.
    let last = key(collection, min, -1, 0).await?;
    if let Some(last) = last.filter(|last| after.is_none_or(|after| !same_key(after, last))) {
        return Ok(found(last));
    }
    // `min` without `max` ends before MaxKey, which is an id like any other.
    let greatest = collection.find_one(doc! {"_id": Bson::MaxKey}).projection(doc! {"_id": 1}).await;
    Ok(greatest.map_err(|error| failed(&error))?.and_then(|_| found(Bson::MaxKey)))
}

async fn key(collection: &Collection<Document>, min: Option<Document>, order: i32, skip: u64) -> Result<Option<Bson>> {
    let mut find = collection.find(doc! {}).projection(doc! {"_id": 1}).sort(doc! {"_id": order}).limit(1).skip(skip);
    find = find.hint(mongodb::options::Hint::Keys(doc! {"_id": 1}));
    if let Some(min) = min {
        find = find.min(min);
    }
    let mut cursor = find.await.map_err(|error| failed(&error))?;
    let first = cursor.try_next().await.map_err(|error| failed(&error))?;
    Ok(first.and_then(|mut document| document.remove("_id")))
}

/// Where a value stands among the types (manual, "Comparison/Sort Order").
fn bracket(value: &Bson) -> u8 {
    match value {
        Bson::MinKey => 0,
        Bson::Null | Bson::Undefined => 1,
        // To a query it is neither above nor below any number.
        Bson::Double(number) if number.is_nan() => 13,
        Bson::Decimal128(number) if number.to_string() == "NaN" => 13,
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) => 2,
        Bson::String(_) | Bson::Symbol(_) => 3,
        Bson::Document(_) => 4,
        Bson::Array(_) => 5,
        Bson::Binary(_) => 6,
        Bson::ObjectId(_) => 7,
        Bson::Boolean(_) => 8,
        Bson::DateTime(_) => 9,
        Bson::Timestamp(_) => 10,
        Bson::RegularExpression(_) => 11,
        _ => 12,
    }
}

/// How long the ranges are: as asked for where every document is changed, longer where the filter passes few, shorter where
/// the server says that it was too much.
#[derive(Debug)]
pub(super) struct Pace {
    asked: u64,
    length: u64,
}

impl Pace {
    /// `asked` documents to be changed in a chunk, of `size` bytes on average.
    pub(super) fn new(asked: u64, size: u64) -> Self {
        let asked = asked.min(BYTES / size.max(1)).max(1);
        Self { asked, length: asked }
    }

    /// Documents of the next range.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// So many of the range were changed.
    pub(super) fn changed(&mut self, count: u64) {
        if count.saturating_mul(4) <= self.asked {
            self.length = self.length.saturating_mul(2).min(self.asked.saturating_mul(LONGEST));
        } else if count > self.asked {
            self.length = (self.length / 2).max(self.asked);
        }
    }

    /// The server could not do as much in one transaction. False: it cannot become less.
    pub(super) fn too_much(&mut self) -> bool {
        let less = self.length > 1;
        self.length = (self.length / 2).max(1);
        self.asked = self.asked.min(self.length);
        less
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_stay_below_the_bytes_of_a_transaction() {
        assert_eq!(Pace::new(2_000, 1_000).length(), 2_000);
        assert_eq!(Pace::new(2_000, 1 << 20).length(), 8);
        assert_eq!(Pace::new(2_000, 16 << 20).length(), 1);
        assert_eq!(Pace::new(2_000, 0).length(), 2_000);
    }

    #[test]
    fn ranges_grow_where_little_passes_and_shrink_again() {
        let mut pace = Pace::new(100, 10);
        for _ in 0..20 {
            pace.changed(0);
        }
        assert_eq!(pace.length(), 6_400);
        pace.changed(3_000);
        assert_eq!(pace.length(), 3_200);
        for _ in 0..20 {
            pace.changed(101);
        }
        assert_eq!(pace.length(), 100);
        pace.changed(60);
        assert_eq!(pace.length(), 100);
    }

    #[test]
    fn what_is_too_much_becomes_less_until_it_cannot() {
        let mut pace = Pace::new(4, 1);
        assert!(pace.too_much() && pace.too_much());
        assert_eq!(pace.length(), 1);
        assert!(!pace.too_much());
    }

    #[test]
    fn a_range_over_two_types_is_compared_in_the_order_of_the_index() {
        let over = Range { after: Some(Bson::Int32(5)), upto: Bson::String("a".into()) };
        assert!(over.filter(&doc! {}).contains_key("$expr"));
        let within = Range { after: Some(Bson::Int32(5)), upto: Bson::Int64(9) };
        assert_eq!(within.filter(&doc! {}), doc! {"_id": {"$gt": 5, "$lte": 9_i64}});
        assert!(within.filter(&doc! {"x": 1}).contains_key("$and"));
    }
}
