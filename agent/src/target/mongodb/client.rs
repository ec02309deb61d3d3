//! Connecting, and what errors mean: the one table from MongoDB's codes and the driver's kinds to [`ErrorKind`]. Messages
//! made here hold no row values: the server's own texts do (duplicate keys, refused commands), so they are cut or replaced.

use std::future::Future;
use std::time::Duration;

use bson::{Document, doc};
use mongodb::error::{Error, ErrorKind as Driver, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, WriteFailure};
use mongodb::options::{ClientOptions, ReadPreference, SelectionCriteria};
use mongodb::{Client, Database};

use super::config::Settings;
use crate::runtime::tls::Handshake;
use crate::target::{DeliveryMode, ErrorKind, TargetError};

/// How long a write may wait for the majority: shorter than [`ANSWER_WITHIN`], so that the server says it first.
pub(super) const WRITE_CONFIRMED_WITHIN: Duration = Duration::from_secs(30);

/// How long a command may take: the server ends transactions after 60 s (`transactionLifetimeLimitSeconds`), so whatever
/// comes later is too late. A hung server would otherwise hold the pipeline for ever: the driver has no limit of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How often the driver asks who is primary. After an error that says "not me" it trusts nobody until it has asked again,
/// and its default of 10 s is as long as the time-out it would have to fit into.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Error codes of the server (`src/mongo/base/error_codes.yml`) that mean the same wherever they come up.
const CODES: &[(i32, &str, ErrorKind)] = &[
    (6, "HostUnreachable", ErrorKind::Network),
    (7, "HostNotFound", ErrorKind::Network),
    (89, "NetworkTimeout", ErrorKind::Network),
    (9001, "SocketException", ErrorKind::Network),
    (91, "ShutdownInProgress", ErrorKind::NotPrimary),
    (189, "PrimarySteppedDown", ErrorKind::NotPrimary),
    (10058, "LegacyNotPrimary", ErrorKind::NotPrimary),
    (10107, "NotWritablePrimary", ErrorKind::NotPrimary),
    (11600, "InterruptedAtShutdown", ErrorKind::NotPrimary),
    (11602, "InterruptedDueToReplStateChange", ErrorKind::NotPrimary),
    (13435, "NotPrimaryNoSecondaryOk", ErrorKind::NotPrimary),
    (13436, "NotPrimaryOrSecondary", ErrorKind::NotPrimary),
    (24, "LockTimeout", ErrorKind::Conflict),
    (46, "LockBusy", ErrorKind::Conflict),
    (50, "MaxTimeMSExpired", ErrorKind::Conflict),
    (112, "WriteConflict", ErrorKind::Conflict),
    (117, "ConflictingOperationInProgress", ErrorKind::Conflict),
    (134, "ReadConcernMajorityNotAvailableYet", ErrorKind::Conflict),
    (225, "TransactionTooOld", ErrorKind::Conflict),
    (239, "SnapshotTooOld", ErrorKind::Conflict),
    (244, "TransactionAborted", ErrorKind::Conflict),
    (246, "SnapshotUnavailable", ErrorKind::Conflict),
    (251, "NoSuchTransaction", ErrorKind::Conflict),
    (262, "ExceededTimeLimit", ErrorKind::Conflict),
    (267, "PreparedTransactionInProgress", ErrorKind::Conflict),
    (290, "TransactionExceededLifetimeLimitSeconds", ErrorKind::Conflict),
    (11601, "Interrupted", ErrorKind::Conflict),
    (64, "WriteConcernFailed", ErrorKind::Overloaded),
    (146, "ExceededMemoryLimit", ErrorKind::Overloaded),
    (202, "NetworkInterfaceExceededTimeLimit", ErrorKind::Overloaded),
    (365, "TemporarilyUnavailable", ErrorKind::Overloaded),
    (462, "IngressRequestRateLimitExceeded", ErrorKind::Overloaded),
    (11000, "DuplicateKey", ErrorKind::Constraint),
    (11001, "DuplicateKey (legacy)", ErrorKind::Constraint),
    (12582, "DuplicateKey (sharded, legacy)", ErrorKind::Constraint),
    (121, "DocumentValidationFailure", ErrorKind::Constraint),
    (10334, "BSONObjectTooLarge", ErrorKind::RowTooLarge),
    (17419, "document after update is larger than the limit", ErrorKind::RowTooLarge),
    (17420, "document after update is larger than the limit", ErrorKind::RowTooLarge),
    (17280, "KeyTooLong", ErrorKind::RowTooLarge),
    (257, "TransactionTooLarge", ErrorKind::RowTooLarge),
    (388, "TransactionTooLargeForCache", ErrorKind::RowTooLarge),
    (11, "UserNotFound", ErrorKind::Authentication),
    (18, "AuthenticationFailed", ErrorKind::Authentication),
    (391, "ReauthenticationRequired", ErrorKind::Authentication),
    (13, "Unauthorized", ErrorKind::Authorization),
    (31, "RoleNotFound", ErrorKind::Authorization),
    (26, "NamespaceNotFound", ErrorKind::SchemaMismatch),
    (73, "InvalidNamespace", ErrorKind::SchemaMismatch),
    (85, "IndexOptionsConflict", ErrorKind::SchemaMismatch),
    (86, "IndexKeySpecsConflict", ErrorKind::SchemaMismatch),
    (166, "CommandNotSupportedOnView", ErrorKind::SchemaMismatch),
    (14031, "OutOfDiskSpace", ErrorKind::Storage),
    (20, "IllegalOperation", ErrorKind::Unsupported),
    (59, "CommandNotFound", ErrorKind::Unsupported),
    (72, "InvalidOptions", ErrorKind::Unsupported),
    (79, "UnknownReplWriteConcern", ErrorKind::Unsupported),
    (100, "UnsatisfiableWriteConcern", ErrorKind::Unsupported),
    (115, "CommandNotSupported", ErrorKind::Unsupported),
    (263, "OperationNotSupportedInTransaction", ErrorKind::Unsupported),
    (303, "FeatureNotSupported", ErrorKind::Unsupported),
];

/// Codes that a statement gets for what the transaction has become. Row-local all the same: a smaller batch mends it.
const WHOLE: &[i32] = &[257, 388];

/// Codes that blame the row when a statement gets them. For a whole command they would blame the agent, which is
/// [`ErrorKind::Unknown`].
const ROW_CODES: &[(i32, &str)] = &[
    (2, "BadValue"),
    (9, "FailedToParse"),
    (14, "TypeMismatch"),
    (15, "Overflow"),
    (22, "InvalidBSON"),
    (28, "PathNotViable"),
    (52, "DollarPrefixedFieldName"),
    (53, "InvalidIdField"),
    (54, "NotSingleValueField"),
    (55, "InvalidDBRef"),
    (56, "EmptyFieldName"),
    (57, "DottedFieldName"),
    (66, "ImmutableField"),
    // The server's indexes have types too: 2dsphere, text and array-valued pairs refuse what they cannot index.
    (171, "CannotIndexParallelArrays"),
    (10065, "InvalidIdType"),
    (16755, "geo keys cannot be extracted"),
    (17261, "text language is not supported"),
];

fn code_kind(code: i32) -> Option<(&'static str, ErrorKind)> {
    CODES.iter().find(|(known, ..)| *known == code).map(|(_, name, kind)| (*name, *kind))
}

/// A statement that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriteFault {
    /// The event the statement stands for, if the server's index names one.
    pub event: Option<u32>,
    /// Kind.
    pub kind: ErrorKind,
    /// Whether a duplicate key was that of `_id`.
    pub duplicate_id: bool,
    message: String,
}

impl WriteFault {
    /// Reads an element of `writeErrors`.
    pub(super) fn read(fault: &Document, events: &[u32]) -> Self {
        let code = fault.get_i32("code").unwrap_or(0);
        let index = fault.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
        // A transaction that is too large as a whole is nobody's fault: without an event, the pipeline halves the batch.
        let event = index.filter(|_| !WHOLE.contains(&code)).and_then(|index| events.get(index).copied());
        if let Some((name, kind)) = code_kind(code) {
            let keys = fault.get_document("keyPattern").ok();
            let duplicate_id = kind == ErrorKind::Constraint && keys.is_some_and(|keys| keys.keys().eq(["_id"]));
            let message = match (kind, keys) {
                (ErrorKind::Constraint, Some(keys)) => {
                    let fields: Vec<&str> = keys.keys().map(String::as_str).collect();
                    format!("the unique index on ({}) already holds this value (code {code})", fields.join(", "))
                }
                (ErrorKind::Constraint, None) if code == 121 => {
                    "the collection's validator refuses the document (code 121)".to_owned()
                }
                _ => format!("the server refuses the write: {name} (code {code})"),
            };
            return Self { event, kind, duplicate_id, message };
        }
        if let Some((_, name)) = ROW_CODES.iter().find(|(known, _)| *known == code) {
            let message = format!("the server refuses the document: {name} (code {code})");
            return Self { event, kind: ErrorKind::BadValue, duplicate_id: false, message };
        }
        let message = format!("the server refuses the write with code {code}, which is not in the agent's table");
        Self { event, kind: ErrorKind::Unknown, duplicate_id: false, message }
    }

    /// The fault as the batch's error.
    pub(super) fn into_error(self, collection: &str) -> TargetError {
        let error = TargetError::new(self.kind, format!("collection `{collection}`: {}", self.message));
        match self.event {
            Some(event) => error.at_event(event),
            None => error,
        }
    }
}

/// A reply's `writeConcernError`: the write is there, but not confirmed by the majority.
pub(super) fn write_concern_fault(concern: &Document) -> TargetError {
    let code = concern.get_i32("code").unwrap_or(0);
    let (name, kind) = code_kind(code).unwrap_or(("not in the agent's table", ErrorKind::Unknown));
    TargetError::new(
        kind,
        format!("the write was not confirmed by the majority of the replica set: {name} (code {code})"),
    )
}

/// The reply makes no sense.
pub(super) fn unexpected(what: &str) -> TargetError {
    TargetError::new(ErrorKind::Unknown, what)
}

/// What a driver's error means.
pub(super) fn kind_of(error: &Error) -> ErrorKind {
    let code = match &*error.kind {
        Driver::Command(command) => Some(command.code),
        Driver::Write(WriteFailure::WriteError(fault)) => Some(fault.code),
        Driver::Write(WriteFailure::WriteConcernError(fault)) => Some(fault.code),
        _ => None,
    };
    if let Some((_, kind)) = code.and_then(code_kind) {
        return kind;
    }
    match &*error.kind {
        Driver::Io(_)
        | Driver::ConnectionPoolCleared { .. }
        | Driver::ServerSelection { .. }
        | Driver::DnsResolve { .. } => ErrorKind::Network,
        Driver::Authentication { .. } => ErrorKind::Authentication,
        Driver::InvalidTlsConfig { .. } | Driver::SessionsNotSupported | Driver::IncompatibleServer { .. } => {
            ErrorKind::Unsupported
        }
        _ if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => ErrorKind::Conflict,
        _ if error.contains_label(RETRYABLE_WRITE_ERROR) => ErrorKind::NotPrimary,
        _ => ErrorKind::Unknown,
    }
}

/// A driver's error as the target's.
pub(super) fn failed(error: &Error) -> TargetError {
    TargetError::new(kind_of(error), describe(error))
}

/// A sentence without row values, and what mends it where a handshake failed.
fn describe(error: &Error) -> String {
    let said = words(error);
    match Handshake::told_by(&said) {
        // A server that demands TLS hangs up without a word on who comes without.
        None if said.contains("unexpected end of file") => {
            format!("{said} (if the server demands TLS, add `tls=true` to `uri`)")
        }
        None => said,
        Some(handshake) => {
            let remedy =
                handshake.remedy("name it by `tlsCAFile=` in `uri`", "name one by `tlsCertificateKeyFile=` in `uri`");
            format!("{said} ({remedy})")
        }
    }
}

/// A sentence without row values. The driver's own `Display` prints the server's reply.
fn words(error: &Error) -> String {
    match &*error.kind {
        Driver::Command(command) => {
            // "not authorized on db to execute command { update: …" goes on with the rows.
            let text = command.message.split(['{', '"']).next().unwrap_or_default().trim_end();
            format!("the server says {} (code {}): {text}", command.code_name, command.code)
        }
        Driver::Write(WriteFailure::WriteError(fault)) => format!("the server refuses the write (code {})", fault.code),
        Driver::Write(WriteFailure::WriteConcernError(fault)) => {
            format!("the write was not confirmed: {} (code {})", fault.code_name, fault.code)
        }
        Driver::Io(io) => format!("connection lost: {io}"),
        Driver::ServerSelection { message, .. } => format!("no primary can be reached{}", reason(message)),
        Driver::Authentication { message, .. } => format!("login refused: {message}"),
        Driver::DnsResolve { message, .. } | Driver::ConnectionPoolCleared { message, .. } => message.clone(),
        Driver::InvalidTlsConfig { message, .. } | Driver::Transaction { message, .. } => message.clone(),
        Driver::IncompatibleServer { message, .. } | Driver::InvalidArgument { message, .. } => message.clone(),
        Driver::SessionsNotSupported => "the server has no sessions".to_owned(),
        Driver::InvalidResponse { .. } | Driver::Bson(_) => "the server's reply cannot be read".to_owned(),
        Driver::Shutdown => "the client was shut down".to_owned(),
        _ => "the driver failed in a way the agent does not know".to_owned(),
    }
}

/// The first reason in the driver's picture of the topology, which goes on with whole replies of the server.
fn reason(topology: &str) -> String {
    let Some((_, cause)) = topology.split_once("Error: ") else { return String::new() };
    let cause = cause.split([',', '{', '}']).next().unwrap_or_default();
    format!(": {}", cause.trim_start_matches("Kind: ").trim_end())
}

/// Waits for the driver, but not for ever.
pub(super) async fn bounded<T>(answer: impl Future<Output = mongodb::error::Result<T>>) -> Result<T, TargetError> {
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| failed(&error)),
        Err(_) => Err(silent()),
    }
}

/// [`bounded`] for those who look at the driver's error themselves; `None` when time is up.
pub(super) async fn within<F: Future>(answer: F) -> Option<F::Output> {
    tokio::time::timeout(ANSWER_WITHIN, answer).await.ok()
}

/// No answer.
pub(super) fn silent() -> TargetError {
    TargetError::new(ErrorKind::Network, format!("the server did not answer within {} s", ANSWER_WITHIN.as_secs()))
}

/// Connects and looks whether the server can do what the mode needs.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for exactly_once on a server that is not part of a replica set or sharded cluster.
pub(crate) async fn connect(settings: &Settings) -> Result<Client, TargetError> {
    let mut options = bounded(async { ClientOptions::parse(settings.uri.expose()).await }).await?;
    options.app_name = Some(super::abandoned::APP_NAME.to_owned());
    options.server_selection_timeout = Some(settings.timeout);
    options.connect_timeout = Some(settings.timeout);
    options.heartbeat_freq = Some(HEARTBEAT);
    // State must be read where it is written; a transaction reads nowhere else anyway.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = None;
    options.write_concern = None;
    let client = Client::with_options(options).map_err(|error| failed(&error))?;
    let hello = hello(&client.database("admin")).await?;
    let transactions = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if settings.mode == DeliveryMode::ExactlyOnce && !transactions {
        return Err(TargetError::new(
            ErrorKind::Unsupported,
            "exactly_once needs transactions, and this mongod stands alone: make it a replica set (one member will do), or set \
             delivery.mode to at_least_once",
        ));
    }
    Ok(client)
}

async fn hello(admin: &Database) -> Result<Document, TargetError> {
    bounded(async { admin.run_command(doc! {"hello": 1}).await }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(document: Document) -> WriteFault {
        WriteFault::read(&document, &[40, 41, 42])
    }

    #[test]
    fn failed_statements_name_their_event_and_no_values() {
        let secret = "E11000 duplicate key error collection: db.c index: email_1 dup key: { email: \"a@b.c\" }";
        let unique = fault(
            doc! {"index": 1, "code": 11000, "errmsg": secret, "keyPattern": {"email": 1}, "keyValue": {"email": "a@b.c"}},
        );
        assert_eq!((unique.event, unique.kind, unique.duplicate_id), (Some(41), ErrorKind::Constraint, false));
        let shown = unique.into_error("c").to_string();
        assert!(shown.contains("(email)") && !shown.contains("a@b.c"), "{shown}");

        let id = fault(doc! {"index": 0, "code": 11000, "keyPattern": {"_id": 1}, "keyValue": {"_id": 7}});
        assert!(id.duplicate_id);
        let compound = fault(doc! {"index": 0, "code": 11000, "keyPattern": {"_id": 1, "x": 1}});
        assert!(!compound.duplicate_id);
        let validator = fault(doc! {"index": 2, "code": 121, "errInfo": {"failingDocumentId": 9}});
        assert_eq!((validator.event, validator.kind), (Some(42), ErrorKind::Constraint));
        assert_eq!(fault(doc! {"index": 2, "code": 2}).kind, ErrorKind::BadValue);
        let whole = fault(doc! {"index": 2, "code": 388});
        assert_eq!((whole.event, whole.kind), (None, ErrorKind::RowTooLarge));
        let strange = fault(doc! {"index": 9, "code": 999_999});
        assert_eq!((strange.event, strange.kind), (None, ErrorKind::Unknown));
    }

    #[test]
    fn the_topology_is_cut_to_its_first_reason() {
        let topology = "Server selection timeout: No available servers. Topology: { Type: Unknown, Servers: [ { Address: h:1, \
                        Type: Unknown, Error: Kind: I/O error: Connection refused (os error 111), labels: {}, source: None } ] }";
        assert_eq!(reason(topology), ": I/O error: Connection refused (os error 111)");
        assert_eq!(reason("no topology"), "");
    }

    #[test]
    fn no_code_stands_twice() {
        let mut codes: Vec<i32> = CODES.iter().map(|c| c.0).chain(ROW_CODES.iter().map(|c| c.0)).collect();
        codes.sort_unstable();
        let all = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
