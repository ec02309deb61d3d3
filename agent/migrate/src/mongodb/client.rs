//! Connecting, and what errors of the driver mean. Messages made here hold no values of documents: the server's own do
//! (duplicate keys, refused commands), so they are cut or replaced.

use std::borrow::Cow;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use mongodb::error::{
    Error as DriverError, ErrorKind as Driver, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
    WriteFailure,
};
use mongodb::options::{ClientOptions, HostInfo, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};

use super::value::count;
use crate::error::{Error, Kind, Result};

/// Long enough for an election with default settings (10 s without heartbeat, then a vote) to be seen as one slow attempt.
const SELECT_WITHIN: Duration = Duration::from_secs(20);
/// How often the driver asks who is primary.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Codes by which a server says that it is no primary, or not for long.
const NOT_PRIMARY: [i32; 9] = [91, 189, 10058, 10107, 11600, 11602, 13435, 13436, 9001];
/// Codes of what passes by itself: LockTimeout, ConflictingOperationInProgress, WriteConflict, LockBusy,
/// PreparedTransactionInProgress, BackgroundOperationInProgressForNamespace, TemporarilyUnavailable.
const PASSES: [i32; 7] = [24, 117, 112, 46, 267, 12587, 365];

/// Names of the codes that writes give without one (`src/mongo/base/error_codes.yml`).
const WRITE_CODES: &[(i32, &str)] = &[
    (2, "BadValue"),
    (9, "FailedToParse"),
    (14, "TypeMismatch"),
    (28, "PathNotViable"),
    (40, "ConflictingUpdateOperators"),
    (52, "DollarPrefixedFieldName"),
    (54, "NotSingleValueField"),
    (56, "EmptyFieldName"),
    (66, "ImmutableField"),
    (112, "WriteConflict"),
    (121, "DocumentValidationFailure"),
    (257, "TransactionTooLarge"),
    (388, "TransactionTooLargeForCache"),
    (10334, "BSONObjectTooLarge"),
    (11000, "DuplicateKey"),
    (17419, "BSONObjectTooLarge"),
    (17420, "BSONObjectTooLarge"),
];

/// Connects and looks whether the server has transactions. The string is never repeated.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let mut options = ClientOptions::parse(url).await.map_err(|error| match &*error.kind {
        Driver::DnsResolve { .. } => failed(&error),
        // The parser's message repeats parts of the string, and the password is one.
        _ => Error::refused(
            "this is not a MongoDB connection string",
            "write mongodb://user:password@host:port/database?replicaSet=name, with special characters percent-encoded",
        ),
    })?;
    options.app_name.get_or_insert_with(|| "whimbrel migrate".to_owned());
    options.server_selection_timeout.get_or_insert(SELECT_WITHIN);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(WriteConcern::majority());
    let client = Client::with_options(options).map_err(|error| failed(&error))?;
    let hello = client.database("admin").run_command(doc! {"hello": 1}).await.map_err(|error| failed(&error))?;
    if !hello.contains_key("setName") && !hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Err(Error::refused(
            "migrations need transactions, and this mongod stands alone",
            "make it a replica set; one member will do (--replSet, then rs.initiate())",
        ));
    }
    Ok(client)
}

/// What a driver's error means.
pub(super) fn failed(error: &DriverError) -> Error {
    let kind = kind(error);
    let (code, message) = words(error);
    Error::new(kind, code, message)
}

fn code_of(error: &DriverError) -> Option<i32> {
    match &*error.kind {
        Driver::Command(command) => Some(command.code),
        Driver::Write(WriteFailure::WriteError(fault)) => Some(fault.code),
        Driver::Write(WriteFailure::WriteConcernError(fault)) => Some(fault.code),
        Driver::InsertMany(many) => many.write_errors.as_ref()?.first().map(|fault| fault.code),
        _ => None,
    }
}

fn kind(error: &DriverError) -> Kind {
    if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
        return Kind::CommitUnknown;
    }
    if error.contains_label(TRANSIENT_TRANSACTION_ERROR) {
        return Kind::Transient;
    }
    match code_of(error) {
        Some(code) if NOT_PRIMARY.contains(&code) => return Kind::Connection,
        Some(code) if PASSES.contains(&code) => return Kind::Transient,
        _ => {}
    }
    match &*error.kind {
        Driver::Io(_)
        | Driver::ConnectionPoolCleared { .. }
        | Driver::ServerSelection { .. }
        | Driver::DnsResolve { .. } => Kind::Connection,
        _ => Kind::Database,
    }
}

fn name(code: i32) -> Cow<'static, str> {
    match WRITE_CODES.iter().find(|(known, _)| *known == code) {
        Some((_, name)) => Cow::Borrowed(name),
        None => Cow::Owned(format!("code_{code}")),
    }
}

/// A write that the server refuses with this code, as its reply says it.
pub(super) fn refused_write(code: i32) -> Error {
    let (name, message) = write_words(code);
    let kind = if PASSES.contains(&code) { Kind::Transient } else { Kind::Database };
    Error::new(kind, name, message)
}

fn write_words(code: i32) -> (Cow<'static, str>, String) {
    let name = name(code);
    let message = match code {
        11000 => "a unique index has this value already".to_owned(),
        121 => "the collection's validator refuses a document".to_owned(),
        _ => format!("the server refuses the write: {name} (code {code})"),
    };
    (name, message)
}

fn words(error: &DriverError) -> (Cow<'static, str>, String) {
    match &*error.kind {
        Driver::Command(command) => {
            let code = match command.code_name.is_empty() {
                true => name(command.code),
                false => Cow::Owned(command.code_name.clone()),
            };
            // What comes after a brace, a quote or a line's end is a document or a value.
            let said = command.message.split(['{', '"', '\n']).next().unwrap_or_default().trim_end();
            let message = match command.code {
                11000 => "a unique index has this value already".to_owned(),
                _ => format!("the server says {code} (code {}): {said}", command.code),
            };
            (code, message)
        }
        Driver::Write(WriteFailure::WriteError(fault)) => write_words(fault.code),
        Driver::InsertMany(many) => {
            write_words(many.write_errors.as_ref().and_then(|all| all.first()).map_or(0, |fault| fault.code))
        }
        Driver::Write(WriteFailure::WriteConcernError(fault)) => (
            Cow::Owned(fault.code_name.clone()),
            "the write was not confirmed by the majority of the replica set".to_owned(),
        ),
        Driver::Io(io) => ("connection".into(), format!("the connection to MongoDB was lost: {io}")),
        Driver::ServerSelection { message, .. } => {
            ("no_primary".into(), format!("no primary of MongoDB can be reached{}", reason(message)))
        }
        Driver::Authentication { message, .. } => {
            ("AuthenticationFailed".into(), format!("MongoDB refuses the login: {message}"))
        }
        Driver::DnsResolve { message, .. } | Driver::ConnectionPoolCleared { message, .. } => {
            ("connection".into(), message.clone())
        }
        Driver::InvalidTlsConfig { message, .. } => ("tls".into(), message.clone()),
        Driver::Transaction { message, .. }
        | Driver::InvalidArgument { message, .. }
        | Driver::IncompatibleServer { message, .. } => ("driver".into(), message.clone()),
        _ => ("driver".into(), "the driver failed in a way that is not known here".to_owned()),
    }
}

/// The first reason in the driver's picture of the topology, which goes on with whole replies of the server.
fn reason(topology: &str) -> String {
    let Some((_, cause)) = topology.split_once("Error: ") else { return String::new() };
    let cause = cause.split([',', '{', '}']).next().unwrap_or_default();
    format!(": {}", cause.trim_start_matches("Kind: ").trim_end())
}

/// The hosts of a connection string, for people.
pub(crate) fn hosts(info: &HostInfo) -> String {
    match info {
        HostInfo::HostIdentifiers(hosts) => hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        HostInfo::DnsRecord(name) => name.clone(),
        _ => String::new(),
    }
}

/// Bytes of a document of a collection on average; 0: not known.
pub(super) async fn average_size(database: &mongodb::Database, collection: &str) -> u64 {
    let stats = database.run_command(doc! {"collStats": collection}).await;
    stats.map_or(0, |stats| count(stats.get("avgObjSize")))
}

/// A collection that is read and written as documents.
pub(super) fn documents(database: &mongodb::Database, name: &str) -> mongodb::Collection<Document> {
    database.collection(name)
}
