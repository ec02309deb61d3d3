//! The agent's own collections: offsets, dead letters, ledger, tombstones. Builds their commands and reads them; when they
//! are sent, and in which transaction, is decided in `write.rs`.
//!
//! | collection | `_id` | holds |
//! |---|---|---|
//! | `whimbrel_offsets` | `{pipeline, topic, partition}` | `next`, `epoch` (counts moves), `updated_at` |
//! | `whimbrel_dead_letters` | `{pipeline, topic, partition, offset}` | reason, message, the record as received |
//! | `whimbrel_ledger` | its own | one per effect: deliberately not unique, so that a doubled effect shows |
//! | `whimbrel_tombstones` | `{c: collection, k: key}` | version of a delete (at_least_once), `expires` |

use std::collections::HashSet;
use std::time::Duration;

use bson::{Binary, Bson, DateTime, Document, RawDocumentBuf, doc, spec::BinarySubtype};
use futures_util::TryStreamExt as _;
use mongodb::Database;
use mongodb::options::ReadConcern;

use super::client::{self, bounded, failed};
use super::commands::{Statements, Verb};
use crate::event::Reason;
use crate::target::{
    Advance, DeadLetter, DeadLetterFilter, ErrorKind, KafkaCoordinates, ParkedKey, StoredDeadLetter, StoredOffset,
    TargetError, WriteBatch,
};

pub(super) const OFFSETS: &str = "whimbrel_offsets";
pub(super) const DEAD_LETTERS: &str = "whimbrel_dead_letters";
pub(super) const LEDGER: &str = "whimbrel_ledger";
pub(super) const TOMBSTONES: &str = "whimbrel_tombstones";

/// Largest payload kept in a dead letter: the server's 16 MiB, less room for the rest of the document.
const MAX_PAYLOAD: usize = 16 * 1024 * 1024 - 64 * 1024;

/// `NamespaceExists`.
const EXISTS: i32 = 48;

/// Creates a collection unless it is there: creating it inside a transaction would conflict with every other writer.
pub(super) async fn create(database: &Database, name: &str) -> Result<(), TargetError> {
    let Some(created) = client::within(async { database.create_collection(name).await }).await else {
        return Err(client::silent());
    };
    match created {
        Ok(()) => Ok(()),
        Err(error) => match &*error.kind {
            mongodb::error::ErrorKind::Command(command) if command.code == EXISTS => Ok(()),
            _ => Err(failed(&error)),
        },
    }
}

/// Creates the state collections and their indexes.
pub(super) async fn prepare(state: &Database, ledger: bool, tombstones: bool) -> Result<(), TargetError> {
    create(state, OFFSETS).await?;
    create(state, DEAD_LETTERS).await?;
    index(state, DEAD_LETTERS, doc! {"_id.pipeline": 1, "_id.topic": 1, "key": 1}, "parked", None).await?;
    if ledger {
        create(state, LEDGER).await?;
    }
    if tombstones {
        create(state, TOMBSTONES).await?;
        index(state, TOMBSTONES, doc! {"expires": 1}, "expiry", Some(Duration::ZERO)).await?;
    }
    Ok(())
}

async fn index(
    state: &Database,
    collection: &str,
    keys: Document,
    name: &str,
    expire: Option<Duration>,
) -> Result<(), TargetError> {
    let mut index = doc! {"key": keys, "name": name};
    if let Some(after) = expire {
        index.insert("expireAfterSeconds", i64::try_from(after.as_secs()).unwrap_or(i64::MAX));
    }
    let command = doc! {"createIndexes": collection, "indexes": [index]};
    bounded(async { state.run_command(command).await }).await.map(drop)
}

/// The moves of the frontiers as one command. In a transaction every statement must count one, or another agent owns the
/// partition: `expected` is part of the filter, and where nothing is expected the filter asks for a document that cannot be
/// there, so that an existing one collides on `_id`.
pub(super) fn claims(write: &WriteBatch<'_>) -> Statements {
    let mut statements = Statements::new(Verb::Update, OFFSETS, false);
    for advance in write.advances {
        let mut filter = doc! {"_id": offset_id(write.pipeline, &advance.topic, advance.partition)};
        match advance.expected {
            Some(expected) => filter.insert("next", expected),
            None => filter.insert("next", doc! {"$exists": false}),
        };
        let update = doc! {
            "$set": {"next": advance.next, "updated_at": DateTime::from_millis(write.now_ms)},
            "$inc": {"epoch": 1_i64},
        };
        add(&mut statements, &doc! {"q": filter, "u": update, "upsert": advance.expected.is_none()});
    }
    statements
}

/// The moves of the frontiers in at_least_once mode, where whoever stores one has applied everything below it: so the
/// furthest one stands, whoever comes late.
pub(super) fn furthest(write: &WriteBatch<'_>) -> Statements {
    let mut statements = Statements::new(Verb::Update, OFFSETS, true);
    for advance in write.advances {
        let filter = doc! {"_id": offset_id(write.pipeline, &advance.topic, advance.partition)};
        let update = doc! {
            "$max": {"next": advance.next},
            "$set": {"updated_at": DateTime::from_millis(write.now_ms)},
            "$inc": {"epoch": 1_i64},
        };
        add(&mut statements, &doc! {"q": filter, "u": update, "upsert": true});
    }
    statements
}

/// The error of a frontier that somebody else has moved.
pub(super) fn fenced(advances: &[Advance]) -> TargetError {
    let which = match advances {
        [one] => format!("{} partition {}", one.topic, one.partition),
        many => format!("one of {} partitions", many.len()),
    };
    TargetError::new(
        ErrorKind::Fenced,
        format!("the stored offset of {which} is not the one expected: another agent moved on"),
    )
}

fn offset_id(pipeline: &str, topic: &str, partition: i32) -> Document {
    doc! {"pipeline": pipeline, "topic": topic, "partition": partition}
}

fn letter_id(pipeline: &str, topic: &str, partition: i32, offset: i64) -> Document {
    doc! {"pipeline": pipeline, "topic": topic, "partition": partition, "offset": offset}
}

fn bytes(value: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: value.to_vec() })
}

fn add(statements: &mut Statements, statement: &Document) {
    add_for(statements, u32::MAX, statement);
}

fn add_for(statements: &mut Statements, event: u32, statement: &Document) {
    if let Ok(raw) = RawDocumentBuf::try_from(statement) {
        statements.add_document(event, &raw);
    }
}

/// The deletions of settled dead letters.
pub(super) fn settlements(write: &WriteBatch<'_>, concern: bool) -> Statements {
    let mut statements = Statements::new(Verb::Delete, DEAD_LETTERS, concern);
    for settled in write.settled {
        let id = letter_id(write.pipeline, &settled.topic, settled.partition, settled.offset);
        add(&mut statements, &doc! {"q": {"_id": id}, "limit": 1});
    }
    statements
}

/// One touch for each key whose events this batch parks behind a dead letter that must still be stored. Writing to it makes
/// a concurrent re-drive that settles it collide with this transaction, so one of both begins again and sees the other.
/// Keys whose dead letter this very batch stores need none.
pub(super) fn touches(write: &WriteBatch<'_>, concern: bool) -> Vec<Statements> {
    let mut held: HashSet<(&str, &[u8])> = HashSet::new();
    let mut touches = Vec::new();
    for letter in write.dead_letters {
        let Some(event) = write.batch.events.get(letter.event as usize) else { continue };
        let Some(key) = event.raw_key else { continue };
        let (topic, key) = (write.batch.topic(event), write.batch.bytes(key));
        if held.insert((topic, key)) && letter.reason == Reason::ParkedBehind {
            let filter = doc! {"_id.pipeline": write.pipeline, "_id.topic": topic, "key": bytes(key)};
            let mut statements = Statements::new(Verb::Update, DEAD_LETTERS, concern);
            add_for(
                &mut statements,
                letter.event,
                &doc! {"q": filter, "u": {"$inc": {"followed": 1_i64}}, "multi": true},
            );
            touches.push(statements);
        }
    }
    touches
}

/// The error of a touch that found nothing.
pub(super) fn unparked(event: u32) -> TargetError {
    TargetError::new(ErrorKind::Unparked, "the dead letter this event was to be parked behind is gone").at_event(event)
}

/// The dead letters. Written over an older one of the same record: a re-driven record may fail for a new reason.
pub(super) fn letters(write: &WriteBatch<'_>, concern: bool) -> Statements {
    let mut statements = Statements::new(Verb::Update, DEAD_LETTERS, concern);
    for letter in write.dead_letters {
        if let Some((id, document)) = letter_document(write, letter) {
            add_for(&mut statements, letter.event, &doc! {"q": {"_id": id}, "u": document, "upsert": true});
        }
    }
    statements
}

fn letter_document(write: &WriteBatch<'_>, letter: &DeadLetter) -> Option<(Document, Document)> {
    let event = write.batch.events.get(letter.event as usize)?;
    let topic = write.batch.topic(event);
    let id = letter_id(write.pipeline, topic, event.origin.partition, event.origin.offset);
    let mut document = doc! {
        "_id": id.clone(),
        "table": write.batch.destination(event),
        "reason": letter.reason.as_str(),
        "message": &letter.message,
        "stored_at": DateTime::from_millis(write.now_ms),
        "record_ts": DateTime::from_millis(event.broker_ts_ms),
    };
    if let Some(key) = event.raw_key {
        document.insert("key", bytes(write.batch.bytes(key)));
    }
    let value = event.raw_value.map(|span| write.batch.bytes(span));
    let headers = write.batch.bytes(event.raw_headers);
    let size = value.map_or(0, <[u8]>::len) + headers.len() + event.raw_key.map_or(0, |span| span.len as usize);
    let origin =
        KafkaCoordinates { topic: topic.to_owned(), partition: event.origin.partition, offset: event.origin.offset };
    let elsewhere = match &letter.kafka {
        Some(kafka) => Some(kafka),
        // Too large for a document: the record stays where it was read, as long as the topic keeps it.
        None if size > MAX_PAYLOAD => Some(&origin),
        None => None,
    };
    if let Some(kafka) = elsewhere {
        document.insert("kafka", doc! {"topic": &kafka.topic, "partition": kafka.partition, "offset": kafka.offset});
    } else {
        if let Some(value) = value {
            document.insert("value", bytes(value));
        }
        document.insert("headers", bytes(headers));
    }
    Some((id, document))
}

/// The effects.
pub(super) fn effects(write: &WriteBatch<'_>, concern: bool) -> Statements {
    let mut statements = Statements::new(Verb::Insert, LEDGER, concern);
    for index in write.effects {
        let Some(event) = write.batch.events.get(*index as usize) else { continue };
        let effect = doc! {
            "pipeline": write.pipeline,
            "topic": write.batch.topic(event),
            "partition": event.origin.partition,
            "offset": event.origin.offset,
            "at": DateTime::from_millis(write.now_ms),
        };
        add_for(&mut statements, *index, &effect);
    }
    statements
}

/// The stored frontiers, in the order asked for.
pub(super) async fn offsets(
    state: &Database,
    pipeline: &str,
    partitions: &[(String, i32)],
) -> Result<Vec<StoredOffset>, TargetError> {
    let ids: Vec<Document> =
        partitions.iter().map(|(topic, partition)| offset_id(pipeline, topic, *partition)).collect();
    let found: Vec<Document> = find(state, OFFSETS, doc! {"_id": {"$in": ids}}, 0).await?;
    partitions
        .iter()
        .map(|(topic, partition)| {
            let wanted = offset_id(pipeline, topic, *partition);
            let stored = found.iter().find(|document| document.get_document("_id").is_ok_and(|id| *id == wanted));
            let next = match stored.map(|document| document.get("next")) {
                None => None,
                Some(Some(Bson::Int64(next))) => Some(*next),
                Some(Some(Bson::Int32(next))) => Some(i64::from(*next)),
                // Somebody's hand was here: beginning anew, or at a guess, would be worse than stopping.
                Some(_) => {
                    return Err(TargetError::new(
                        ErrorKind::SchemaMismatch,
                        format!(
                            "`{OFFSETS}` holds no integer `next` for {topic} partition {partition}: mend or delete it"
                        ),
                    ));
                }
            };
            Ok(StoredOffset { topic: topic.clone(), partition: *partition, next })
        })
        .collect()
}

async fn find(state: &Database, collection: &str, filter: Document, limit: i64) -> Result<Vec<Document>, TargetError> {
    let collection = state.collection::<Document>(collection);
    bounded(async {
        let found = collection.find(filter).sort(doc! {"_id": 1}).limit(limit).read_concern(ReadConcern::majority());
        found.await?.try_collect().await
    })
    .await
}

/// Keys with dead letters.
pub(super) async fn parked_keys(
    state: &Database,
    pipeline: &str,
    topics: &[String],
) -> Result<Vec<ParkedKey>, TargetError> {
    let stages = [
        doc! {"$match": {"_id.pipeline": pipeline, "_id.topic": {"$in": topics}, "key": {"$exists": true}}},
        doc! {"$group": {"_id": {"topic": "$_id.topic", "key": "$key"}}},
    ];
    let letters = state.collection::<Document>(DEAD_LETTERS);
    let groups: Vec<Document> = bounded(async {
        let groups = letters.aggregate(stages).allow_disk_use(true).read_concern(ReadConcern::majority());
        groups.await?.try_collect().await
    })
    .await?;
    groups
        .iter()
        .map(|group| {
            let id = group.get_document("_id").map_err(|_| unreadable("_id"))?;
            let topic = id.get_str("topic").map_err(|_| unreadable("topic"))?.to_owned();
            let key = binary(id, "key")?.ok_or_else(|| unreadable("key"))?;
            Ok(ParkedKey { topic, key })
        })
        .collect()
}

fn unreadable(field: &str) -> TargetError {
    TargetError::new(ErrorKind::SchemaMismatch, format!("a document in `{DEAD_LETTERS}` has no readable `{field}`"))
}

fn binary(document: &Document, field: &str) -> Result<Option<Vec<u8>>, TargetError> {
    match document.get(field) {
        None => Ok(None),
        Some(Bson::Binary(binary)) => Ok(Some(binary.bytes.clone())),
        Some(_) => Err(unreadable(field)),
    }
}

/// Stored dead letters, ordered by topic, partition and offset, which is how their `_id`s sort.
pub(super) async fn dead_letters(
    state: &Database,
    pipeline: &str,
    filter: &DeadLetterFilter,
) -> Result<Vec<StoredDeadLetter>, TargetError> {
    let mut query = doc! {"_id.pipeline": pipeline};
    if let Some(topic) = &filter.topic {
        query.insert("_id.topic", topic);
    }
    if let Some(partition) = filter.partition {
        query.insert("_id.partition", partition);
    }
    if let Some(offset) = filter.offset {
        query.insert("_id.offset", offset);
    }
    if let Some(reason) = &filter.reason {
        query.insert("reason", reason);
    }
    if let Some(key) = &filter.key {
        query.insert("key", bytes(key));
    }
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    find(state, DEAD_LETTERS, query, limit).await?.iter().map(stored).collect()
}

fn stored(document: &Document) -> Result<StoredDeadLetter, TargetError> {
    let id = document.get_document("_id").map_err(|_| unreadable("_id"))?;
    let text = |field: &'static str| document.get_str(field).map(str::to_owned).map_err(|_| unreadable(field));
    let time = |field: &'static str| {
        document.get_datetime(field).map(|time| time.timestamp_millis()).map_err(|_| unreadable(field))
    };
    Ok(StoredDeadLetter {
        topic: id.get_str("topic").map_err(|_| unreadable("topic"))?.to_owned(),
        partition: id.get_i32("partition").map_err(|_| unreadable("partition"))?,
        offset: id.get_i64("offset").map_err(|_| unreadable("offset"))?,
        table: text("table")?,
        reason: text("reason")?,
        message: text("message")?,
        stored_at_ms: time("stored_at")?,
        record_ts_ms: time("record_ts")?,
        key: binary(document, "key")?,
        value: binary(document, "value")?,
        headers: binary(document, "headers")?.unwrap_or_default(),
        kafka: match document.get_document("kafka") {
            Ok(kafka) => Some(KafkaCoordinates {
                topic: kafka.get_str("topic").map_err(|_| unreadable("kafka.topic"))?.to_owned(),
                partition: kafka.get_i32("partition").map_err(|_| unreadable("kafka.partition"))?,
                offset: kafka.get_i64("offset").map_err(|_| unreadable("kafka.offset"))?,
            }),
            Err(_) => None,
        },
    })
}

/// How many dead letters are stored.
pub(super) async fn dead_letter_count(state: &Database, pipeline: &str) -> Result<u64, TargetError> {
    let letters = state.collection::<Document>(DEAD_LETTERS);
    let filter = doc! {"_id.pipeline": pipeline};
    bounded(async { letters.count_documents(filter).read_concern(ReadConcern::majority()).await }).await
}
