//! The ledger's entries as documents: `_id` is the id, the rest has the names of [`Entry`].

use bson::{Bson, DateTime, Document, doc};

use super::value::{count, signed, to_bson, to_json};
use crate::error::{Error, Kind, Result};
use crate::ledger::{Count, Direction, Entry, Id, Outcome, Progress};

/// The document of an entry, written by who holds the lock with `token`.
pub(super) fn document(entry: &Entry, token: i64) -> Document {
    doc! {
        "_id": entry.id.to_text(),
        "token": token,
        "name": &entry.name,
        "checksum": &entry.checksum,
        "direction": entry.direction.as_str(),
        "outcome": entry.outcome.as_str(),
        "by": &entry.by,
        "started_at": DateTime::from_millis(entry.started_at_ms),
        "finished_at": entry.finished_at_ms.map(DateTime::from_millis),
        "duration_ms": signed(entry.duration_ms),
        "attempts": i64::from(entry.attempts),
        "progress": progress(&entry.progress),
        "error": entry.error.as_deref(),
    }
}

fn progress(progress: &Progress) -> Document {
    let counts: Vec<Document> = progress
        .counts
        .iter()
        .map(|(collection, one)| {
            doc! {"collection": collection, "done": signed(one.done), "expected": one.expected.map(signed)}
        })
        .collect();
    doc! {
        "step": i64::from(progress.step),
        "begun": progress.begun,
        // Wrapped, for null is a key as well.
        "after": progress.after.as_ref().and_then(|key| to_bson(key).ok()).map(|key| doc! {"key": key}),
        "note": progress.note.as_ref().map(ToString::to_string),
        "counts": counts,
    }
}

/// Reads what [`document`] wrote.
pub(super) fn entry(document: &Document) -> Result<Entry> {
    let unreadable = |field: &str| {
        let id = document.get("_id").map(|id| to_json(id).to_string()).unwrap_or_default();
        Error::new(
            Kind::Refused,
            "ledger",
            format!("the ledger's entry {id} cannot be read: `{field}` is not as it should be"),
        )
        .with_remedy("was it written by a newer version, or by hand?")
    };
    let text = |field: &str| document.get_str(field).map_err(|_| unreadable(field));
    let moment = |field: &str| document.get_datetime(field).ok().map(|at| at.timestamp_millis());
    let direction = match text("direction")? {
        "up" => Direction::Up,
        "down" => Direction::Down,
        _ => return Err(unreadable("direction")),
    };
    Ok(Entry {
        id: Id::from_text(text("_id")?).ok_or_else(|| unreadable("_id"))?,
        name: text("name")?.to_owned(),
        checksum: text("checksum")?.to_owned(),
        direction,
        outcome: Outcome::from_word(text("outcome")?).ok_or_else(|| unreadable("outcome"))?,
        by: text("by")?.to_owned(),
        started_at_ms: moment("started_at").ok_or_else(|| unreadable("started_at"))?,
        finished_at_ms: moment("finished_at"),
        duration_ms: count(document.get("duration_ms")),
        attempts: u32::try_from(count(document.get("attempts"))).unwrap_or(u32::MAX),
        progress: document.get_document("progress").map(read_progress).map_err(|_| unreadable("progress"))?,
        error: document.get_str("error").ok().map(str::to_owned),
    })
}

fn read_progress(document: &Document) -> Progress {
    let counts = document.get_array("counts").map_or(&[][..], Vec::as_slice).iter().filter_map(Bson::as_document);
    Progress {
        step: u32::try_from(count(document.get("step"))).unwrap_or(u32::MAX),
        begun: document.get_bool("begun").unwrap_or(false),
        after: document.get_document("after").ok().and_then(|after| after.get("key")).map(to_json),
        note: document.get_str("note").ok().and_then(|text| serde_json::from_str(text).ok()),
        counts: counts
            .filter_map(|one| {
                let expected = one.get("expected").filter(|value| **value != Bson::Null);
                let count = Count { done: count(one.get("done")), expected: expected.map(|value| count(Some(value))) };
                Some((one.get_str("collection").ok()?.to_owned(), count))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn whole() -> Entry {
        Entry {
            id: Id::from_text("1.2").unwrap(),
            name: "totals".into(),
            checksum: "ab".into(),
            direction: Direction::Up,
            outcome: Outcome::Failed,
            by: "u@h 1".into(),
            started_at_ms: 1_000,
            finished_at_ms: Some(2_000),
            duration_ms: 1_000,
            attempts: 3,
            progress: Progress {
                step: 2,
                begun: true,
                after: Some(json!({"$oid": "64b0c0ffee0123456789abcd"})),
                note: Some(json!({"a": 1})),
                counts: [
                    ("a.b".to_owned(), Count { done: 5, expected: None }),
                    ("c".to_owned(), Count { done: 1, expected: Some(9) }),
                ]
                .into(),
            },
            error: Some("why".into()),
        }
    }

    #[test]
    fn an_entry_reads_what_it_wrote() {
        let null = Progress { after: Some(json!(null)), ..Progress::default() };
        for entry in [
            whole(),
            Entry { progress: null, ..whole() },
            Entry { finished_at_ms: None, error: None, progress: Progress::default(), ..whole() },
        ] {
            assert_eq!(super::entry(&document(&entry, 7)).unwrap(), entry);
        }
    }

    #[test]
    fn an_entry_somebody_spoilt_is_refused_with_its_field() {
        for (field, value) in
            [("outcome", Bson::from("great")), ("started_at", Bson::from("now")), ("progress", Bson::from(1))]
        {
            let mut document = document(&whole(), 7);
            document.insert(field, value);
            assert!(super::entry(&document).unwrap_err().message.contains(field));
        }
    }
}
