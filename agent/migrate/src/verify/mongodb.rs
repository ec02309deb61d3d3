//! A side in MongoDB: documents are streamed and hashed here, in one snapshot where the server has snapshots.

use ::mongodb::options::{ClientOptions, SessionOptions};
use ::mongodb::{Client, ClientSession, Collection, SessionCursor};
use async_trait::async_trait;
use bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};

use super::Way;
use super::bisect::{Digest, Key, Range, RowHash, Side};
use super::endpoint::{self, Reader};
use super::hash::Hasher;
use super::plan::{Field, Shape, Task};
use super::value::Value;
use crate::database::System;
use crate::error::{Error, Kind, Result};

/// Snapshots are to be had from replica sets and sharded clusters only; a server keeps them for five minutes.
const NO_SNAPSHOT: [i32; 5] = [20, 72, 123, 246, 40_415];
const SNAPSHOT_GONE: i32 = 239;

/// A collection that was found.
pub(super) struct Table {
    client: Client,
    collection: Collection<RawDocumentBuf>,
    shape: Shape,
}

/// The side.
struct Mongodb {
    client: Client,
    session: ClientSession,
    snapshot: bool,
    gone: u64,
    collection: Collection<RawDocumentBuf>,
    task: Task,
    /// Of which type the key's fields are.
    brackets: Vec<Bracket>,
    hasher: Hasher,
}

/// Values of one of these sort among each other, and conditions find no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bracket {
    Number,
    Text,
    ObjectId,
    Uuid,
    Bytes,
    Time,
    Document,
}

fn failed(doing: &str, cause: &::mongodb::error::Error) -> Error {
    use ::mongodb::error::ErrorKind;
    let (kind, code) = match &*cause.kind {
        ErrorKind::Command(command) => (Kind::Database, command.code_name.clone()),
        ErrorKind::Authentication { .. } => (Kind::Database, "AuthenticationFailed".into()),
        _ => (Kind::Connection, "connection".into()),
    };
    super::failed(kind, code, doing, &cause.kind)
}

fn code(cause: &::mongodb::error::Error) -> Option<i32> {
    match &*cause.kind {
        ::mongodb::error::ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

impl Table {
    pub(super) async fn open(url: &str, database: &str, collection: &str, place: String) -> Result<Self> {
        let doing = format!("cannot connect to read the {place}");
        let mut options = ClientOptions::parse(url).await.map_err(|error| failed(&doing, &error))?;
        options.app_name.get_or_insert_with(|| "whimbrel".into());
        // The driver's own 30 s are long to wait for a server that is not there.
        options.server_selection_timeout.get_or_insert(std::time::Duration::from_secs(10));
        let client = Client::with_options(options).map_err(|error| failed(&doing, &error))?;
        let handle = client.database(database);
        let names = handle.list_collection_names().filter(doc! {"name": collection}).await;
        if names.map_err(|error| failed(&doing, &error))?.is_empty() {
            return Err(Error::refused(format!("there is no {place}"), "check the name, and that the user may see it"));
        }
        let collection = handle.collection(collection);
        Ok(Self { client, collection, shape: Shape { system: System::Mongodb, place, columns: None } })
    }
}

#[async_trait]
impl endpoint::Table for Table {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    async fn side(self: Box<Self>, task: Task) -> Result<Box<dyn Reader>> {
        let session = session(&self.client, true).await?;
        let hasher = task.nonce.hasher();
        let (client, collection) = (self.client, self.collection);
        let mut side =
            Mongodb { client, session, snapshot: true, gone: 0, collection, task, brackets: Vec::new(), hasher };
        for index in 0..side.task.key.len() {
            let bracket = side.bracket(index, &self.shape.place).await?;
            side.brackets.push(bracket);
        }
        Ok(Box::new(side))
    }
}

async fn session(client: &Client, snapshot: bool) -> Result<ClientSession> {
    let options = SessionOptions::builder().snapshot(snapshot).build();
    client.start_session().with_options(options).await.map_err(|error| failed("cannot begin a session", &error))
}

/// What is read: a filter, and how.
#[derive(Clone, Default)]
struct Find {
    filter: Document,
    fields: Option<Document>,
    sort: Option<Document>,
    skip: u64,
    limit: i64,
}

const READING: &str = "cannot read a range";

impl Reader for Mongodb {
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.snapshot {
            notes.push("this MongoDB has no snapshots: its documents were read while they may have changed".into());
        }
        if self.gone > 0 {
            notes.push("MongoDB keeps a snapshot for five minutes: the comparison went on with a later one".into());
        }
        notes
    }
}

impl Mongodb {
    /// Opens a cursor in the snapshot; in a later one if the server has given this one up, in none if it has none.
    async fn find(&mut self, find: &Find) -> Result<SessionCursor<RawDocumentBuf>> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let mut action = self.collection.find(find.filter.clone()).allow_disk_use(find.sort.is_some());
            if let Some(fields) = &find.fields {
                action = action.projection(fields.clone());
            }
            if let Some(sort) = &find.sort {
                action = action.sort(sort.clone());
            }
            let action = action.skip(find.skip).limit(find.limit);
            match action.session(&mut self.session).await {
                Ok(cursor) => return Ok(cursor),
                Err(error) => self.without_snapshot(&error, &mut attempts).await?,
            }
        }
    }

    /// Takes another snapshot, or does without; or it was something else.
    async fn without_snapshot(&mut self, error: &::mongodb::error::Error, attempts: &mut u32) -> Result<()> {
        match code(error) {
            Some(SNAPSHOT_GONE) if *attempts < 3 => self.gone += 1,
            Some(code) if self.snapshot && NO_SNAPSHOT.contains(&code) => self.snapshot = false,
            _ => return Err(failed(READING, error)),
        }
        self.session = session(&self.client, self.snapshot).await?;
        Ok(())
    }

    /// Reads a range; `each` gets the documents one by one. Starts again from the first if the snapshot ends meanwhile, of
    /// which `again` is told.
    async fn read(
        &mut self,
        find: &Find,
        mut each: impl FnMut(&Self, Option<&RawDocument>) -> Result<()> + Send,
    ) -> Result<()> {
        let mut attempts = 0;
        'again: loop {
            attempts += 1;
            each(self, None)?;
            let mut cursor = self.find(find).await?;
            loop {
                match cursor.advance(&mut self.session).await {
                    Ok(true) => each(self, Some(cursor.current()))?,
                    Ok(false) => return Ok(()),
                    Err(error) => {
                        self.without_snapshot(&error, &mut attempts).await?;
                        continue 'again;
                    }
                }
            }
        }
    }

    /// The type of a field of the key. Types do not mix where they sort: if the first and the last are of one type, all are.
    async fn bracket(&mut self, index: usize, place: &str) -> Result<Bracket> {
        let name = self.task.key.get(index).map(|field| field.column.name.clone()).unwrap_or_default();
        let exact = self.task.way == Way::Exact;
        let mut found = Vec::new();
        for direction in [1, -1] {
            let find = Find {
                fields: Some(fields(&[&name])),
                sort: Some(doc! {&name: direction}),
                limit: 1,
                ..Find::default()
            };
            let mut first = None;
            self.read(&find, |_, document| {
                first = document.map(|document| document.get(&name).ok().flatten().and_then(|raw| bracket(raw, exact)));
                Ok(())
            })
            .await?;
            found.extend(first);
        }
        match found.as_slice() {
            // No document: any type will do.
            [] => Ok(Bracket::Text),
            [Some(one), Some(other)] if one == other => Ok(*one),
            _ => Err(Error::refused(
                format!(
                    "documents of the {place} have keys of several types, or of one that cannot be compared, in `{name}`"
                ),
                "name a key that every document has, of one type: numbers without NaN, strings, ObjectIds, UUIDs, dates or binary data",
            )),
        }
    }

    /// A value of the key as MongoDB has it.
    fn bound(&self, index: usize, value: &Value) -> Result<Bson> {
        let made = match (self.brackets.get(index), value) {
            (Some(Bracket::Number), Value::Number(number)) => match number.parse::<i64>() {
                Ok(integer) => Some(Bson::Int64(integer)),
                Err(_) => number.parse().ok().map(Bson::Decimal128),
            },
            (Some(Bracket::ObjectId), Value::Text(text)) => {
                bson::oid::ObjectId::parse_str(text).ok().map(Bson::ObjectId)
            }
            (Some(Bracket::Uuid), Value::Text(text)) => bson::Uuid::parse_str(text).ok().map(Bson::from),
            (Some(Bracket::Time), Value::Time(micros)) => {
                Some(Bson::DateTime(bson::DateTime::from_millis(micros.div_euclid(1000))))
            }
            (Some(Bracket::Text), Value::Text(text)) => Some(Bson::String(text.clone())),
            (Some(Bracket::Bytes), Value::Bytes(bytes)) => {
                Some(Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: bytes.clone() }))
            }
            (Some(Bracket::Document), Value::Bson(bytes)) => RawDocument::from_bytes(bytes)
                .ok()
                .and_then(|raw| Document::try_from(raw).ok())
                .and_then(|mut document| document.remove("")),
            _ => None,
        };
        made.ok_or_else(|| {
            let name = self.task.key.get(index).map_or("", |field| field.column.name.as_str());
            Error::refused(
                format!("the two sides have keys of different types in `{name}`, which do not sort alike"),
                "name a key of the same type on both sides",
            )
        })
    }

    /// The condition of a range: for a key of several fields, lexicographically.
    fn condition(&self, range: &Range) -> Result<Document> {
        let mut all = Vec::new();
        for (key, strict, last) in [(&range.from, "$gt", "$gte"), (&range.to, "$lt", "$lt")] {
            let Some(key) = key else { continue };
            let (mut equal, mut any) = (Document::new(), Vec::new());
            for (index, (field, value)) in self.task.key.iter().zip(key).enumerate() {
                let bound = self.bound(index, value)?;
                let operator = if index + 1 == key.len() { last } else { strict };
                let mut one = equal.clone();
                one.insert(&field.column.name, doc! {operator: bound.clone()});
                any.push(one);
                equal.insert(&field.column.name, bound);
            }
            all.push(doc! {"$or": any});
        }
        Ok(if all.is_empty() {
            Document::new()
        } else {
            doc! {"$and": all}
        })
    }

    fn key(&self, document: &RawDocument) -> Key {
        let value = |field: &Field| field.form.apply(self.raw_value(document.get(&field.column.name).ok().flatten()));
        self.task.key.iter().map(value).collect()
    }

    fn raw_value(&self, raw: Option<RawBsonRef<'_>>) -> Value {
        match raw {
            // A document keeps the order of its fields and their types, which no other form here does.
            Some(raw @ (RawBsonRef::Document(_) | RawBsonRef::Array(_))) if self.task.way == Way::Exact => {
                let mut wrapped = RawDocumentBuf::new();
                wrapped.append(bson::raw::cstr!(""), raw);
                Value::Bson(wrapped.into_bytes())
            }
            Some(raw) => value(raw, DEPTH),
            None => Value::Null,
        }
    }

    fn hash(&self, document: &RawDocument, hasher: &mut Hasher) -> RowHash {
        let fields = self.task.key.iter().chain(self.task.columns.iter().flatten());
        match (self.task.way, &self.task.columns) {
            (Way::Exact, None) => {
                // The order of a document's own fields does not count.
                let mut elements: Vec<_> = document.iter_elements().flatten().collect();
                elements.sort_by(|one, other| one.key().as_str().cmp(other.key().as_str()));
                for element in elements {
                    exact(element.key().as_str(), element.value().ok(), hasher.row());
                }
            }
            (Way::Exact, Some(_)) => {
                for field in fields {
                    exact(&field.column.name, document.get(&field.column.name).ok().flatten(), hasher.row());
                }
            }
            _ => {
                for field in fields {
                    let raw = document.get(&field.column.name).ok().flatten();
                    field.form.apply(self.raw_value(raw)).encode(hasher.row());
                }
            }
        }
        hasher.finish()
    }

    /// What is read of each document; none: all of it.
    fn projection(&self) -> Option<Document> {
        let columns = self.task.columns.as_ref()?;
        let names = self.task.key.iter().chain(columns).map(|field| field.column.name.as_str());
        Some(fields(&names.collect::<Vec<_>>()))
    }
}

/// The fields of documents that are read; `_id` comes unless it is told not to.
fn fields(names: &[&str]) -> Document {
    let mut fields: Document = names.iter().map(|name| ((*name).to_owned(), Bson::Int32(1))).collect();
    if !names.contains(&"_id") {
        fields.insert("_id", 0);
    }
    fields
}

/// Bytes of a field with its name and type; a field that is not there has none.
fn exact(name: &str, raw: Option<RawBsonRef<'_>>, out: &mut Vec<u8>) {
    let Some(raw) = raw else { return };
    // A field cannot have a name that is none in BSON.
    let Ok(name) = <&bson::raw::CStr>::try_from(name) else { return };
    let mut wrapped = RawDocumentBuf::new();
    wrapped.append(name, raw);
    out.extend_from_slice(wrapped.as_bytes());
}

fn bracket(raw: RawBsonRef<'_>, exact: bool) -> Option<Bracket> {
    use bson::spec::BinarySubtype;
    Some(match raw {
        RawBsonRef::Int32(_) | RawBsonRef::Int64(_) => Bracket::Number,
        RawBsonRef::Double(number) if !number.is_nan() => Bracket::Number,
        RawBsonRef::Decimal128(number) if !number.to_string().contains("NaN") => Bracket::Number,
        RawBsonRef::String(_) => Bracket::Text,
        RawBsonRef::ObjectId(_) => Bracket::ObjectId,
        RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Uuid => Bracket::Uuid,
        RawBsonRef::Binary(binary) if binary.subtype == BinarySubtype::Generic && exact => Bracket::Bytes,
        RawBsonRef::DateTime(_) => Bracket::Time,
        RawBsonRef::Document(_) if exact => Bracket::Document,
        _ => return None,
    })
}

/// MongoDB's own limit of nesting.
const DEPTH: usize = 100;

/// A value in the one form; what has none there is text.
fn value(raw: RawBsonRef<'_>, depth: usize) -> Value {
    use bson::spec::BinarySubtype;
    let as_text = |raw: RawBsonRef<'_>| match Bson::try_from(raw) {
        Ok(bson) => Value::Text(bson.to_string()),
        Err(_) => Value::Null,
    };
    let Some(below) = depth.checked_sub(1) else { return as_text(raw) };
    match raw {
        RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
        RawBsonRef::Int32(number) => Value::integer(number),
        RawBsonRef::Int64(number) => Value::integer(number),
        RawBsonRef::Double(number) => Value::double(number),
        RawBsonRef::Decimal128(number) => Value::number(&number.to_string()),
        RawBsonRef::Boolean(flag) => Value::integer(i8::from(flag)),
        RawBsonRef::String(text) => Value::Text(text.to_owned()),
        RawBsonRef::Symbol(text) => Value::Text(text.to_owned()),
        RawBsonRef::ObjectId(id) => Value::Text(id.to_hex()),
        RawBsonRef::DateTime(at) => Value::Time(at.timestamp_millis().saturating_mul(1000)),
        RawBsonRef::Binary(binary) => match (binary.subtype, uuid::Uuid::from_slice(binary.bytes)) {
            (BinarySubtype::Uuid, Ok(uuid)) => Value::Text(uuid.to_string()),
            _ => Value::Bytes(binary.bytes.to_vec()),
        },
        RawBsonRef::Array(items) => Value::List(items.into_iter().flatten().map(|item| value(item, below)).collect()),
        RawBsonRef::Document(fields) => {
            let field = |(name, raw): (&bson::raw::CStr, RawBsonRef<'_>)| (name.as_str().to_owned(), value(raw, below));
            Value::Map(fields.iter().flatten().map(field).collect())
        }
        other => as_text(other),
    }
}

#[async_trait]
impl Side for Mongodb {
    async fn count(&mut self) -> Result<u64> {
        // Counted by what the collection says of itself: the ranges count anew.
        self.collection.estimated_document_count().await.map_err(|error| failed("cannot count the documents", &error))
    }

    async fn digest(&mut self, range: &Range) -> Result<Digest> {
        let find = Find { filter: self.condition(range)?, fields: self.projection(), ..Find::default() };
        let (mut digest, mut hasher) = (Digest::default(), self.hasher.clone());
        self.read(&find, |side, document| {
            match document {
                Some(document) => digest.add(&side.hash(document, &mut hasher)),
                None => digest = Digest::default(),
            }
            Ok(())
        })
        .await?;
        Ok(digest)
    }

    async fn split(&mut self, range: &Range, rows: u64, parts: u64) -> Result<Vec<Key>> {
        let step = rows.div_ceil(parts.max(1)).max(1);
        let names: Vec<_> = self.task.key.iter().map(|field| field.column.name.clone()).collect();
        let fields = fields(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let sort: Document = names.iter().map(|name| (name.clone(), Bson::Int32(1))).collect();
        let (mut keys, mut from) = (Vec::<Key>::new(), range.from.clone());
        // From one key to the next, so that each walk over the index is short.
        while (keys.len() as u64) < parts {
            let rest = Range { from: from.clone(), to: range.to.clone() };
            let find = Find {
                filter: self.condition(&rest)?,
                fields: Some(fields.clone()),
                sort: Some(sort.clone()),
                skip: step,
                limit: 1,
            };
            let mut next = None;
            self.read(&find, |side, document| {
                next = document.map(|document| side.key(document));
                Ok(())
            })
            .await?;
            match next {
                // The same key once more: there are more documents with it than a step is long.
                Some(key) if Some(&key) != from.as_ref() => {
                    keys.push(key.clone());
                    from = Some(key);
                }
                _ => break,
            }
        }
        Ok(keys)
    }

    async fn rows(&mut self, range: &Range, limit: usize) -> Result<Vec<(Key, RowHash)>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let find = Find { filter: self.condition(range)?, fields: self.projection(), limit, ..Find::default() };
        let (mut found, mut hasher) = (Vec::new(), self.hasher.clone());
        self.read(&find, |side, document| {
            match document {
                Some(document) => found.push((side.key(document), side.hash(document, &mut hasher))),
                None => found.clear(),
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn refresh(&mut self) -> Result<()> {
        self.session = session(&self.client, self.snapshot).await?;
        Ok(())
    }
}
