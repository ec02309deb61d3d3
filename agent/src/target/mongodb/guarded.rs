//! A batch in at_least_once mode: no transaction; every document carries the version of the event that wrote it
//! (`_whimbrel.v`) and is written only by a newer one. So a batch may be applied twice, or in part and then whole, or by two
//! agents at a time, and the documents come out the same.
//!
//! A delete leaves nothing to compare with, so its version is kept in a tombstone until `delete_grace` is over. The order
//! closes the race with an agent that was paused and still believes it owns the partition:
//!
//! - a delete stores its tombstone **first**, then deletes what is older;
//! - a write writes **first**, then looks for tombstones of its keys and deletes what is older than they are.
//!
//! Whichever of a stale write and a delete comes second sees the other: when the write lands before the delete, the delete
//! removes it; when it lands after, the tombstone was there before, and the look-up (causally after the write) finds it. What
//! remains: a stale agent that dies between its write and its look-up, during another agent's delete of the same key, leaves
//! the old row until the key changes again. exactly_once has no such window.
//!
//! Patches keep columns they do not write, so they converge only when a key's events are replayed in order, which a partition
//! guarantees; whole rows and deletes converge in any order. A truncate has no version: it is replayed together with
//! everything that came after it.

use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::options::ReadConcern;

use super::client;
use super::commands::{Statements, Verb, send};
use super::config::Settings;
use super::encode::plan::Plans;
use super::encode::row::{Rows, version_bytes};
use super::encode::writer::{Tag, Writer};
use super::write::{self, Encoded, EncodedBatch, all_well};
use super::{Link, state};
use crate::failpoints;
use crate::target::{Applied, ErrorKind, RowAction, Step, TargetError, WriteBatch};

/// So many keys are asked for at once without looking first whether there are tombstones at all.
const FEW_KEYS: usize = 50;

/// Most keys asked for at a time: keeps the filter far below the size of a command.
const KEYS_PER_LOOKUP: usize = 2_000;

/// Applies a batch: what is parked behind must be there; rows, dead letters and effects; then offsets.
pub(super) async fn apply(
    settings: &Settings,
    plans: &mut Plans,
    link: &mut Link,
    write: &WriteBatch<'_>,
) -> Result<Applied, TargetError> {
    let EncodedBatch { steps, lossy } = write::encode(settings, plans, write, true)?;
    let mut applied = Applied { lossy, ..Applied::default() };
    let mut keys = Vec::with_capacity(steps.len());
    for step in write.steps {
        keys.push(step_keys(settings, plans, write, step)?);
    }
    link.create_collections(&write::collections(&steps)).await?;
    // One session for all: reads in it see what was written in it, and all that came before that.
    let mut session = link.take_session().await?;
    failpoints::hit("before_write");
    for touch in state::touches(write, true) {
        write::touch_one(&link.state, Some(&mut session), touch).await?;
    }
    for (step, keys) in steps.into_iter().zip(keys) {
        match step {
            Encoded::Rows(groups) => rows(link, &mut session, groups, keys, &mut applied).await?,
            Encoded::Truncate(name) => {
                applied.rows += write::truncate(&link.data, Some(&mut session), &name, true).await?;
            }
        }
    }
    write::store(&link.state, Some(&mut session), settings.ledger, write, true).await?;
    write::settle(&link.state, Some(&mut session), write, true).await?;
    failpoints::hit("after_write");
    for command in state::furthest(write).commands()? {
        all_well(state::OFFSETS, send(&link.state, command, Some(&mut session)).await?)?;
    }
    failpoints::hit("after_commit");
    link.session = Some(session);
    Ok(applied)
}

/// What a step needs beside its statements.
struct Keys {
    /// Tombstones of its deletes.
    tombstones: Statements,
    /// `{c, k}` of every document it writes.
    written: Vec<Bson>,
}

fn step_keys(settings: &Settings, plans: &mut Plans, write: &WriteBatch<'_>, step: &Step) -> Result<Keys, TargetError> {
    let mut keys = Keys { tombstones: Statements::new(Verb::Update, state::TOMBSTONES, true), written: Vec::new() };
    let Step::Rows(tables) = step else { return Ok(keys) };
    let grace = i64::try_from(settings.delete_grace.as_millis()).unwrap_or(i64::MAX);
    let expires = write.now_ms.saturating_add(grace);
    for table in tables {
        let plan = plans.get(&table.layout, settings)?;
        let rows = Rows { batch: write.batch, plan: &plan, settings };
        let identity = |name: &[u8], key: u32, out: &mut Writer| {
            let start = out.len();
            let id = out.document(name);
            out.tagged(Tag::String, b"c");
            out.string(&plan.collection);
            rows.key(b"k", key, out)?;
            out.close(id);
            Ok::<_, super::encode::Bad>(start..out.len())
        };
        for op in &table.ops {
            let done = match op.action {
                RowAction::Delete => keys.tombstones.add(op.event, |out| {
                    let version = version_bytes(&op.version);
                    let query = out.document(b"q");
                    let id = identity(b"_id", op.key, out)?;
                    let guard = out.document(b"v");
                    let not = out.document(b"$not");
                    out.tagged(Tag::Binary, b"$gte");
                    out.binary(0, &version);
                    out.close(not);
                    out.close(guard);
                    out.close(query);
                    let tombstone = out.document(b"u");
                    out.repeat(id);
                    out.tagged(Tag::Binary, b"v");
                    out.binary(0, &version);
                    out.tagged(Tag::DateTime, b"expires");
                    out.datetime(expires);
                    out.close(tombstone);
                    out.tagged(Tag::Boolean, b"upsert");
                    out.boolean(true);
                    Ok(())
                }),
                RowAction::Upsert(_) | RowAction::Patch(_) => {
                    let mut out = Writer::default();
                    let open = out.open();
                    identity(b"_id", op.key, &mut out).map(|_| {
                        out.close(open);
                        let id = RawDocumentBuf::from_bytes(out.into_bytes()).ok();
                        let id = id.and_then(|raw| Document::try_from(raw).ok()).and_then(|mut id| id.remove("_id"));
                        keys.written.extend(id);
                    })
                }
                // A row without key is never deleted.
                RowAction::Append(_) => Ok(()),
            };
            done.map_err(|bad| {
                let message = format!("collection `{}`: {bad}", plan.collection);
                TargetError::new(ErrorKind::BadValue, message).at_event(op.event)
            })?;
        }
    }
    Ok(keys)
}

async fn rows(
    link: &Link,
    session: &mut ClientSession,
    groups: Vec<(Arc<str>, Statements)>,
    keys: Keys,
    applied: &mut Applied,
) -> Result<(), TargetError> {
    for command in keys.tombstones.commands()? {
        let outcome = send(&link.state, command, Some(session)).await?;
        if let Some(fault) = outcome.faults.into_iter().find(|fault| !fault.duplicate_id) {
            return Err(fault.into_error(state::TOMBSTONES));
        }
    }
    for (collection, statements) in groups {
        for command in statements.commands()? {
            let outcome = send(&link.data, command, Some(session)).await?;
            applied.rows += outcome.n;
            for fault in outcome.faults {
                // The guard did not match, so the upsert tried to insert, and found that the document is there: newer.
                if !fault.duplicate_id {
                    return Err(fault.into_error(&collection));
                }
                applied.skipped_older += 1;
            }
        }
    }
    // While a snapshot is read there are no tombstones at all, and one look says so for all keys.
    if keys.written.len() > FEW_KEYS && !any_tombstone(link, session).await? {
        return Ok(());
    }
    for some in keys.written.chunks(KEYS_PER_LOOKUP) {
        bury(link, session, some, applied).await?;
    }
    Ok(())
}

/// Whether there is a tombstone of any key; like the look-up by key, causally after what was written in the session.
async fn any_tombstone(link: &Link, session: &mut ClientSession) -> Result<bool, TargetError> {
    let tombstones = link.state.collection::<Document>(state::TOMBSTONES);
    client::bounded(async {
        let find = tombstones.find(doc! {}).projection(doc! {"_id": 1}).limit(1).read_concern(ReadConcern::majority());
        let mut cursor = find.session(&mut *session).await?;
        cursor.advance(session).await
    })
    .await
}

/// Deletes the documents of these keys that are older than their tombstones.
async fn bury(
    link: &Link,
    session: &mut ClientSession,
    written: &[Bson],
    applied: &mut Applied,
) -> Result<(), TargetError> {
    let tombstones = link.state.collection::<Document>(state::TOMBSTONES);
    let found: Vec<Document> = client::bounded(async {
        let find = tombstones.find(doc! {"_id": {"$in": written}}).read_concern(ReadConcern::majority());
        let mut cursor = find.session(&mut *session).await?;
        cursor.stream(session).try_collect().await
    })
    .await?;
    let mut stale: Vec<(String, Statements)> = Vec::new();
    for tombstone in &found {
        let parts = tombstone.get_document("_id").ok().and_then(|id| Some((id.get_str("c").ok()?, id.get("k")?)));
        let (Some((collection, key)), Some(version)) = (parts, tombstone.get("v")) else { continue };
        let at = stale.iter().position(|(name, _)| name == collection).unwrap_or_else(|| {
            stale.push((collection.to_owned(), Statements::new(Verb::Delete, collection, true)));
            stale.len() - 1
        });
        let delete = doc! {"q": {"_id": key, "_whimbrel.v": {"$lt": version}}, "limit": 1};
        if let (Some((_, statements)), Ok(raw)) = (stale.get_mut(at), RawDocumentBuf::try_from(&delete)) {
            statements.add_document(u32::MAX, &raw);
        }
    }
    for (collection, statements) in stale {
        for command in statements.commands()? {
            let buried = all_well(&collection, send(&link.data, command, Some(session)).await?)?.n;
            applied.skipped_older += buried;
            applied.rows = applied.rows.saturating_sub(buried);
        }
    }
    Ok(())
}
