//! A batch in one transaction (exactly_once), and the statements of its rows, which at_least_once shares.

use std::sync::Arc;
use std::time::Duration;

use mongodb::error::{TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};
use mongodb::{ClientSession, Database};

use super::client::{self, failed};
use super::commands::{Outcome, Statements, Verb, send};
use super::config::Settings;
use super::encode::Bad;
use super::encode::plan::{Plan, Plans};
use super::encode::row::{Id, Notes, Rows, version_bytes};
use super::{Link, state};
use crate::failpoints;
use crate::target::{Applied, ErrorKind, Lossy, RowAction, RowOp, Step, TableWrite, TargetError, WriteBatch};

/// Waits before the commit is sent once more when its outcome is unknown. Together with the driver's own second try they span
/// a step-down; an election takes longer, and then the state document tells.
const COMMIT_WAITS: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// A batch, encoded.
pub(super) struct EncodedBatch {
    pub steps: Vec<Encoded>,
    pub lossy: Vec<Lossy>,
}

/// A step, encoded.
pub(super) enum Encoded {
    /// Statements over distinct keys.
    Rows(Vec<(Arc<str>, Statements)>),
    /// Empty the collection.
    Truncate(Arc<str>),
}

/// Encodes all steps before anything is sent, so that a row that cannot be encoded costs the server nothing.
pub(super) fn encode(
    settings: &Settings,
    plans: &mut Plans,
    write: &WriteBatch<'_>,
    guarded: bool,
) -> Result<EncodedBatch, TargetError> {
    let mut lossy = Vec::new();
    let mut steps = Vec::with_capacity(write.steps.len());
    for step in write.steps {
        match step {
            Step::Rows(tables) => {
                let mut groups = Vec::new();
                for table in tables {
                    let plan = plans.get(&table.layout, settings)?;
                    let rows = Rows { batch: write.batch, plan: &plan, settings };
                    encode_table(&rows, table, guarded, &mut groups, &mut lossy)?;
                }
                steps.push(Encoded::Rows(groups));
            }
            Step::Truncate(layout) => {
                let plan = plans.get(layout, settings)?;
                steps.push(Encoded::Truncate(Arc::clone(&plan.collection)));
            }
        }
    }
    Ok(EncodedBatch { steps, lossy })
}

fn encode_table(
    rows: &Rows<'_>,
    table: &TableWrite,
    guarded: bool,
    groups: &mut Vec<(Arc<str>, Statements)>,
    lossy: &mut Vec<Lossy>,
) -> Result<(), TargetError> {
    let plan = rows.plan;
    let mut notes = Notes::default();
    for op in &table.ops {
        let version = guarded.then(|| version_bytes(&op.version));
        let version = version.as_ref();
        let encoded = match op.action {
            RowAction::Upsert(row) => group(groups, Verb::Update, plan, guarded)
                .add(op.event, |out| rows.upsert(op.key, row, version, out, &mut notes)),
            RowAction::Patch(row) => group(groups, Verb::Update, plan, guarded)
                .add(op.event, |out| rows.patch(op.key, row, version, out, &mut notes)),
            RowAction::Delete => {
                group(groups, Verb::Delete, plan, guarded).add(op.event, |out| rows.delete(op.key, version, out))
            }
            RowAction::Append(row) => {
                let id = origin(rows, op);
                // The statement of an insert is the document itself, without a wrapping.
                group(groups, Verb::Insert, plan, guarded)
                    .add(op.event, |out| rows.document_fields(Id::Text(&id), row, version, out, &mut notes))
            }
        };
        encoded.map_err(|bad| bad_row(table, notes.column, op.event, bad))?;
        for (column, what) in notes.losses.drain(..) {
            count_loss(lossy, &table.layout, column, what, op.event);
        }
    }
    Ok(())
}

fn group<'g>(
    groups: &'g mut Vec<(Arc<str>, Statements)>,
    verb: Verb,
    plan: &Plan,
    concern: bool,
) -> &'g mut Statements {
    let known = groups.iter().rposition(|(name, statements)| {
        (Arc::ptr_eq(name, &plan.collection) || *name == plan.collection) && statements.is(verb)
    });
    let at = known.unwrap_or_else(|| {
        groups.push((Arc::clone(&plan.collection), Statements::new(verb, &plan.collection, concern)));
        groups.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "the position was found, or pushed, just above")]
    let (_, statements) = &mut groups[at];
    statements
}

fn bad_row(table: &TableWrite, column: Option<usize>, event: u32, bad: Bad) -> TargetError {
    let kind = if bad == Bad::TooLarge { ErrorKind::RowTooLarge } else { ErrorKind::BadValue };
    let layout = &table.layout;
    let message = match column.and_then(|at| layout.columns.get(at)) {
        Some(column) => format!("column `{}` for collection `{}`: {bad}", column.name.escape_debug(), layout.table),
        None => format!("collection `{}`: {bad}", layout.table),
    };
    TargetError::new(kind, message).at_event(event)
}

/// The identity of a row without key: where its event came from.
fn origin(rows: &Rows<'_>, op: &RowOp) -> String {
    match rows.batch.events.get(op.event as usize) {
        Some(event) => format!("{}:{}:{}", rows.batch.topic(event), event.origin.partition, event.origin.offset),
        None => String::new(),
    }
}

fn count_loss(all: &mut Vec<Lossy>, layout: &crate::target::Layout, column: usize, what: &'static str, event: u32) {
    let name = layout.columns.get(column).map_or("", |column| &*column.name);
    let known =
        all.iter_mut().find(|known| known.what == what && known.column == name && *known.table == *layout.table);
    match known {
        Some(known) => known.count += 1,
        None => all.push(Lossy { table: layout.table.to_string(), column: name.to_owned(), count: 1, what, event }),
    }
}

/// The collections a batch writes rows into.
pub(super) fn collections(steps: &[Encoded]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for step in steps {
        match step {
            Encoded::Rows(groups) => names.extend(groups.iter().map(|(name, _)| Arc::clone(name))),
            Encoded::Truncate(name) => names.push(Arc::clone(name)),
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Applies a batch in one transaction.
pub(super) async fn transaction(
    settings: &Settings,
    link: &mut Link,
    write: &WriteBatch<'_>,
    rows: EncodedBatch,
) -> Result<Applied, TargetError> {
    let EncodedBatch { steps, lossy } = rows;
    let mut applied = Applied { lossy, ..Applied::default() };
    link.create_collections(&collections(&steps)).await?;
    let mut session = link.take_session().await?;
    failpoints::hit("before_write");
    let confirmed = WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(true)
        .w_timeout(client::WRITE_CONFIRMED_WITHIN)
        .build();
    let begun = session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(confirmed);
    client::bounded(async { begun.await }).await?;
    match body(settings, link, &mut session, steps, write, &mut applied).await {
        Ok(()) => {}
        Err(error) => {
            // Locks are let go before the pipeline hears of it. Where the connection is gone this would only wait; there the
            // driver ends the transaction when the session is dropped, and the server does when it is not heard of.
            if error.kind != ErrorKind::Network
                && client::bounded(async { session.abort_transaction().await }).await.is_ok()
            {
                link.session = Some(session);
            }
            if error.kind == ErrorKind::Conflict {
                link.end_abandoned().await;
            }
            return Err(error);
        }
    }
    failpoints::hit("after_write");
    commit(&mut session).await?;
    failpoints::hit("after_commit");
    link.session = Some(session);
    Ok(applied)
}

async fn body(
    settings: &Settings,
    link: &Link,
    session: &mut ClientSession,
    steps: Vec<Encoded>,
    write: &WriteBatch<'_>,
    applied: &mut Applied,
) -> Result<(), TargetError> {
    claim(&link.state, session, write).await?;
    settle(&link.state, Some(session), write, false).await?;
    for touch in state::touches(write, false) {
        touch_one(&link.state, Some(session), touch).await?;
    }
    for step in steps {
        match step {
            Encoded::Rows(groups) => {
                for (collection, statements) in groups {
                    for command in statements.commands()? {
                        let outcome = all_well(&collection, send(&link.data, command, Some(session)).await?)?;
                        applied.rows += outcome.n;
                    }
                }
            }
            Encoded::Truncate(collection) => {
                applied.rows += truncate(&link.data, Some(session), &collection, false).await?;
            }
        }
    }
    store(&link.state, Some(session), settings.ledger, write, false).await
}

/// The compare-and-set of every advance: the first thing in the transaction, so that an agent that no longer owns the
/// partition writes nothing.
async fn claim(state: &Database, session: &mut ClientSession, write: &WriteBatch<'_>) -> Result<(), TargetError> {
    if write.advances.is_empty() {
        return Ok(());
    }
    let mut counted = 0;
    for command in state::claims(write).commands()? {
        let outcome = send(state, command, Some(session)).await?;
        match outcome.faults.into_iter().next() {
            None => counted += outcome.n,
            Some(fault) if fault.duplicate_id => return Err(state::fenced(write.advances)),
            Some(fault) => return Err(fault.into_error(state::OFFSETS)),
        }
    }
    if usize::try_from(counted) == Ok(write.advances.len()) { Ok(()) } else { Err(state::fenced(write.advances)) }
}

/// Deletes settled dead letters; one that is missing was settled by somebody else.
pub(super) async fn settle(
    state: &Database,
    mut session: Option<&mut ClientSession>,
    write: &WriteBatch<'_>,
    concern: bool,
) -> Result<(), TargetError> {
    let mut gone = 0;
    for command in state::settlements(write, concern).commands()? {
        gone += all_well(state::DEAD_LETTERS, send(state, command, session.as_deref_mut()).await?)?.n;
    }
    if usize::try_from(gone) == Ok(write.settled.len()) {
        Ok(())
    } else {
        Err(TargetError::new(ErrorKind::Fenced, "a dead letter of this batch was settled by somebody else"))
    }
}

/// Makes sure that the dead letter a key is parked behind is still there.
pub(super) async fn touch_one(
    state: &Database,
    mut session: Option<&mut ClientSession>,
    touch: Statements,
) -> Result<(), TargetError> {
    for command in touch.commands()? {
        let event = command.events.first().copied().unwrap_or(0);
        let outcome = all_well(state::DEAD_LETTERS, send(state, command, session.as_deref_mut()).await?)?;
        if outcome.n == 0 {
            return Err(state::unparked(event));
        }
    }
    Ok(())
}

/// Empties a collection.
pub(super) async fn truncate(
    data: &Database,
    mut session: Option<&mut ClientSession>,
    collection: &str,
    concern: bool,
) -> Result<u64, TargetError> {
    let mut statements = Statements::new(Verb::Delete, collection, concern);
    statements.add_document(u32::MAX, &bson::rawdoc! {"q": {}, "limit": 0});
    let mut gone = 0;
    for command in statements.commands()? {
        gone += all_well(collection, send(data, command, session.as_deref_mut()).await?)?.n;
    }
    Ok(gone)
}

/// Dead letters, then effects.
pub(super) async fn store(
    state: &Database,
    mut session: Option<&mut ClientSession>,
    ledger: bool,
    write: &WriteBatch<'_>,
    concern: bool,
) -> Result<(), TargetError> {
    for command in state::letters(write, concern).commands()? {
        all_well(state::DEAD_LETTERS, send(state, command, session.as_deref_mut()).await?)?;
    }
    if ledger {
        for command in state::effects(write, concern).commands()? {
            all_well(state::LEDGER, send(state, command, session.as_deref_mut()).await?)?;
        }
    }
    Ok(())
}

/// The outcome when every statement succeeded.
pub(super) fn all_well(collection: &str, mut outcome: Outcome) -> Result<Outcome, TargetError> {
    if outcome.faults.is_empty() { Ok(outcome) } else { Err(outcome.faults.swap_remove(0).into_error(collection)) }
}

/// Commits. An unknown outcome is asked for by sending the commit again, which the server answers from what it remembers of
/// the transaction; the body is never run again here.
async fn commit(session: &mut ClientSession) -> Result<(), TargetError> {
    let mut waits = COMMIT_WAITS.iter();
    loop {
        let Some(answer) = client::within(send_commit(session)).await else {
            return Err(unknown("the server did not answer the commit"));
        };
        let Err(error) = answer else { return Ok(()) };
        if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
            match waits.next() {
                Some(wait) => tokio::time::sleep(*wait).await,
                None => return Err(unknown(&failed(&error).message)),
            }
        } else if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
            // Nothing of it is there; the compare-and-set would also catch it if it were.
            return Err(TargetError::new(ErrorKind::Conflict, failed(&error).message));
        } else {
            return Err(failed(&error));
        }
    }
}

async fn send_commit(session: &mut ClientSession) -> mongodb::error::Result<()> {
    let mut commit = std::pin::pin!(async { session.commit_transaction().await });
    if cfg!(feature = "failpoints") {
        // Long enough for the command to be on its way, mostly too short for the journal, and so for the answer.
        let answer = tokio::time::timeout(Duration::from_millis(2), commit.as_mut()).await;
        failpoints::hit("commit_sent");
        if let Ok(answer) = answer {
            return answer;
        }
    }
    commit.await
}

fn unknown(what: &str) -> TargetError {
    TargetError::new(ErrorKind::CommitUnknown, format!("whether the batch was committed is unknown: {what}"))
}
