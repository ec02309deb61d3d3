//! Write commands with many statements, as raw BSON: building them within the server's limits, sending them, reading what
//! became of each statement. Knows commands, not rows: which events the statements stand for is only a list of numbers.
//!
//! The driver's `Client::bulk_write` needs server 8.0; the `update`, `delete` and `insert` commands do the same on any.

use bson::{Document, RawDocumentBuf};
use mongodb::{ClientSession, Database};

use super::client::{self, WriteFault};
use super::encode::writer::{Open, Tag, Writer};
use crate::target::TargetError;

/// The server reads a command of at most 16 MiB and 16 KiB outside of document sequences, which the driver's raw commands do
/// not use. One statement with the largest document fits with its wrapping.
const MAX_COMMAND: usize = 16 * 1024 * 1024 + 15 * 1024;

/// The server's `maxWriteBatchSize`.
const MAX_STATEMENTS: usize = 100_000;

/// Which command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// `update`
    Update,
    /// `delete`
    Delete,
    /// `insert`
    Insert,
}

impl Verb {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Update => ("update", "updates"),
            Self::Delete => ("delete", "deletes"),
            Self::Insert => ("insert", "documents"),
        }
    }
}

/// A command ready to be sent.
#[derive(Debug)]
pub(super) struct Command {
    document: RawDocumentBuf,
    /// What each statement stands for.
    pub events: Vec<u32>,
}

/// Statements of one verb on one collection, cut into commands.
#[derive(Debug)]
pub(super) struct Statements {
    verb: Verb,
    collection: Box<str>,
    concern: bool,
    done: Vec<(Vec<u8>, Vec<u32>)>,
    out: Writer,
    opens: Option<(Open, Open)>,
    events: Vec<u32>,
}

impl Statements {
    /// Outside of a transaction each command carries the write concern itself (`concern`); inside it must not.
    pub(super) fn new(verb: Verb, collection: &str, concern: bool) -> Self {
        Self {
            verb,
            collection: collection.into(),
            concern,
            done: Vec::new(),
            out: Writer::with_capacity(64 * 1024),
            opens: None,
            events: Vec::new(),
        }
    }

    pub(super) fn is(&self, verb: Verb) -> bool {
        self.verb == verb
    }

    fn begin(&mut self) {
        let (verb, statements) = self.verb.names();
        let command = self.out.open();
        self.out.tagged(Tag::String, verb.as_bytes());
        self.out.string(&self.collection);
        self.out.tagged(Tag::Boolean, b"ordered");
        self.out.boolean(false);
        if self.concern {
            let concern = self.out.document(b"writeConcern");
            self.out.tagged(Tag::String, b"w");
            self.out.string("majority");
            self.out.tagged(Tag::Boolean, b"j");
            self.out.boolean(true);
            self.out.tagged(Tag::Int32, b"wtimeout");
            self.out.int32(i32::try_from(client::WRITE_CONFIRMED_WITHIN.as_millis()).unwrap_or(i32::MAX));
            self.out.close(concern);
        }
        let list = self.out.array(statements.as_bytes());
        self.opens = Some((command, list));
    }

    fn finish(&mut self) {
        if let Some((command, list)) = self.opens.take() {
            self.out.close(list);
            self.out.close(command);
            let bytes = std::mem::take(&mut self.out).into_bytes();
            self.done.push((bytes, std::mem::take(&mut self.events)));
        }
    }

    /// Adds a statement: what `write` puts into its document. On an error nothing is added.
    pub(super) fn add<E>(&mut self, event: u32, write: impl FnOnce(&mut Writer) -> Result<(), E>) -> Result<(), E> {
        if self.events.len() >= MAX_STATEMENTS {
            self.finish();
        }
        if self.opens.is_none() {
            self.begin();
        }
        let start = self.out.len();
        let slot = self.out.item(self.events.len());
        self.out.set(slot, Tag::Document);
        let body = self.out.len();
        let open = self.out.open();
        if let Err(error) = write(&mut self.out) {
            self.out.truncate(start);
            return Err(error);
        }
        self.out.close(open);
        if self.out.len() + 2 > MAX_COMMAND && !self.events.is_empty() {
            // Too much for one command: what was just written becomes the first statement of the next.
            let statement = self.out.since(body).to_vec();
            self.out.truncate(start);
            self.finish();
            self.begin();
            let slot = self.out.item(0);
            self.out.set(slot, Tag::Document);
            self.out.raw(&statement);
        }
        self.events.push(event);
        Ok(())
    }

    /// Adds a whole document that is BSON already.
    pub(super) fn add_document(&mut self, event: u32, document: &RawDocumentBuf) {
        let bytes = document.as_bytes();
        // Between the length in front and the closing NUL.
        let fields = bytes.get(4..bytes.len().saturating_sub(1)).unwrap_or_default();
        let added: Result<(), std::convert::Infallible> = self.add(event, |out| {
            out.raw(fields);
            Ok(())
        });
        added.unwrap_or_else(|never| match never {});
    }

    /// The commands, in order.
    pub(super) fn commands(mut self) -> Result<Vec<Command>, TargetError> {
        self.finish();
        self.done
            .into_iter()
            .map(|(bytes, events)| match RawDocumentBuf::from_bytes(bytes) {
                Ok(document) => Ok(Command { document, events }),
                Err(error) => Err(client::unexpected("a command that is not BSON was built").caused_by(error)),
            })
            .collect()
    }
}

/// What the server said of a command.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Documents matched, inserted or deleted.
    pub n: u64,
    /// Statements that failed, in order of their index.
    pub faults: Vec<WriteFault>,
}

/// Sends a command, in the session's transaction when there is one.
///
/// # Errors
/// What the driver or the server says of the command as a whole. Failed statements are in the outcome.
pub(super) async fn send(
    database: &Database,
    command: Command,
    session: Option<&mut ClientSession>,
) -> Result<Outcome, TargetError> {
    let run = database.run_raw_command(command.document);
    let run = match session {
        Some(session) => run.session(session),
        None => run,
    };
    let reply = client::bounded(async { run.await }).await?;
    outcome(&reply, &command.events)
}

fn outcome(reply: &Document, events: &[u32]) -> Result<Outcome, TargetError> {
    if let Ok(concern) = reply.get_document("writeConcernError") {
        return Err(client::write_concern_fault(concern));
    }
    let n = match reply.get("n") {
        Some(bson::Bson::Int32(n)) => u64::try_from(*n).unwrap_or(0),
        Some(bson::Bson::Int64(n)) => u64::try_from(*n).unwrap_or(0),
        _ => return Err(client::unexpected("the server's reply to a write has no count")),
    };
    let mut faults = Vec::new();
    if let Ok(list) = reply.get_array("writeErrors") {
        for fault in list.iter().filter_map(bson::Bson::as_document) {
            faults.push(WriteFault::read(fault, events));
        }
    }
    Ok(Outcome { n, faults })
}
