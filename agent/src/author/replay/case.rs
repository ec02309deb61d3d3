//! What a replay case says: one JSON file, read strictly, and written back with its golden part renewed while everything
//! else keeps the author's own formatting.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{channel, rule};
use crate::config::secret::Secret;
use crate::plugin::rights::{HttpRights, MailRights, Origin};
use crate::plugin::{Failure, Grants, Limits};
use crate::transform::Sample;

/// Why a case cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Its path.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Its path.
        path: String,
        /// The system's words.
        source: io::Error,
    },
    /// It is no case.
    #[error("{path}: {source}")]
    Parse {
        /// Its path.
        path: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// There is none.
    #[error(
        "no replay cases in {0}; write one, for example tests/first.json: {{\"events\": [{{\"operation\": \"create\", \"table\": \"t\", \"after\": {{}}}}]}}, and let `whimbrel plugin test --bless` write what is expected"
    )]
    None(String),
}

/// One case.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    /// What it shows, for people.
    pub description: String,
    /// The plugin's configuration.
    pub config: Value,
    /// What it is granted; without it state, metrics and clock.
    pub grants: Option<CaseGrants>,
    /// Limits that are not the defaults.
    pub limits: CaseLimits,
    /// What the clock says.
    pub now_ms: i64,
    /// What the agent keeps for it before the call.
    pub state: BTreeMap<String, Bytes>,
    /// For a transform: the events.
    pub events: Option<Vec<Sample>>,
    /// For a rule: the window.
    pub window: Option<rule::Given>,
    /// For a channel: the alerts.
    pub alerts: Option<Vec<channel::Given>>,
    /// For a migration: "up", "down" or "validate".
    pub step: Option<StepWord>,
    /// Answers to HTTP requests, in order.
    pub http: Vec<HttpReply>,
    /// Answers to mails, in order; when they are used up, mails are accepted.
    pub mail: Vec<MailReply>,
    /// Answers of the database, in order.
    pub database: Vec<DatabaseReply>,
    /// What is to come out; none: `--bless` has not run yet.
    pub expect: Option<Value>,
    /// What it may cost.
    pub budget: Budget,
    /// For a case that came from a crash: what the agent knew of it. The replay is compared with it as long as nothing is
    /// expected.
    pub trap: Option<Value>,
}

/// What the replay grants.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseGrants {
    /// Bytes of state.
    pub state: Option<usize>,
    /// Series of its own.
    pub metrics: bool,
    /// The clock.
    pub clock: bool,
    /// Origins.
    pub http: Option<CaseHttp>,
    /// Recipients.
    pub mail: Option<CaseMail>,
    /// Secrets with the values they have in this case.
    pub secrets: BTreeMap<String, String>,
}

/// Limits of the call.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaseLimits {
    /// Its longest time in milliseconds.
    pub call_ms: Option<u64>,
    /// Most linear memory in bytes.
    pub memory: Option<usize>,
}

impl CaseLimits {
    /// All limits of the call. The rate of log lines is by the clock on the wall, which a replay must not depend on.
    #[must_use]
    pub fn all(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            call: self.call_ms.map_or(defaults.call, Duration::from_millis),
            memory: self.memory.unwrap_or(defaults.memory),
            log_lines: 10_000,
            ..defaults
        }
    }
}

/// Where requests may go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseHttp {
    /// Scheme, host and port.
    pub origins: Vec<String>,
}

/// To whom mail may go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseMail {
    /// Addresses, or `@domain`.
    pub recipients: Vec<String>,
}

/// Bytes as text, or as `{"base64": "…"}` where they are none.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// As text.
    Text(String),
    /// As Base64.
    Encoded {
        /// The Base64.
        base64: String,
    },
}

impl Bytes {
    /// The bytes.
    ///
    /// # Errors
    /// When it is no Base64.
    pub fn decode(&self) -> Result<Vec<u8>, String> {
        match self {
            Bytes::Text(text) => Ok(text.clone().into_bytes()),
            Bytes::Encoded { base64 } => BASE64.decode(base64).map_err(|error| format!("`{base64}`: {error}")),
        }
    }

    /// Bytes as they are written in a case.
    #[must_use]
    pub fn show(bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(text) => Value::from(text),
            Err(_) => serde_json::json!({ "base64": BASE64.encode(bytes) }),
        }
    }
}

/// A failure of what is outside the sandbox.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    retryable: bool,
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Failure { code: broken.code, message: broken.message, retryable: broken.retryable }
    }
}

/// How a request is answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpReply {
    /// With a response.
    Answer {
        /// The status.
        status: u16,
        /// Headers.
        #[serde(default)]
        headers: IndexMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
    /// Not at all.
    Failure(Broken),
}

/// How a mail is taken.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailReply {
    /// It is.
    Accepted,
    /// It is not.
    Failure(Broken),
}

/// How a command is answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseReply {
    /// With this document.
    Answer(Value),
    /// With an error.
    Failure(Broken),
}

/// What a migration is asked for.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepWord {
    /// Make the change.
    Up,
    /// Undo it.
    Down,
    /// See whether it is made.
    Validate,
}

/// What a call may cost. Fuel and memory are the same on every machine and therefore strict; time only warns.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Wall-clock time of the call in milliseconds.
    pub time_ms: Option<f64>,
    /// What it executes, in the engine's unit: about one an instruction.
    pub fuel: Option<u64>,
    /// Linear memory after the call, in bytes.
    pub memory: Option<u64>,
}

impl Case {
    /// Reads one file.
    ///
    /// # Errors
    /// When it cannot be read or is no case.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).map_err(|source| CaseError::Read { path: name(), source })?;
        serde_json::from_str(&text).map_err(|source| CaseError::Parse { path: name(), source })
    }

    /// The grants as the host takes them.
    ///
    /// # Errors
    /// When an origin is none.
    pub fn granted(&self) -> Result<Grants, String> {
        let Some(given) = &self.grants else { return Ok(Grants::harmless()) };
        let origin = |text: &String| {
            Origin::parse(text)
                .ok_or_else(|| format!("grants.http.origins: `{text}` is no origin; write scheme, host and port only"))
        };
        let http = given.http.as_ref().map(|http| http.origins.iter().map(origin).collect::<Result<Vec<_>, _>>());
        Ok(Grants {
            state: given.state,
            metrics: given.metrics,
            clock: given.clock,
            http: http.transpose()?.map(|origins| HttpRights { origins, private_addresses: false }),
            mail: given.mail.as_ref().map(|mail| MailRights { recipients: mail.recipients.clone() }),
            secrets: given.secrets.iter().map(|(name, value)| (name.clone(), Secret::new(value))).collect(),
        })
    }
}

/// The cases at a path: the file itself, or every `.json` file of a folder in order of their names.
///
/// # Errors
/// When there is none, or the folder cannot be read.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, CaseError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let name = || path.display().to_string();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CaseError::None(name())),
        entries => entries.map_err(|source| CaseError::Read { path: name(), source })?,
    };
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    if files.is_empty() { Err(CaseError::None(name())) } else { Ok(files) }
}

/// Writes what came out as what is expected from now on. The other members keep their text.
///
/// # Errors
/// When the file cannot be read or written.
pub fn bless(path: &Path, got: &Value) -> Result<(), CaseError> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| CaseError::Read { path: name(), source })?;
    let parse = |source| CaseError::Parse { path: name(), source };
    let members: IndexMap<String, Box<RawValue>> = serde_json::from_str(&text).map_err(parse)?;
    let pretty = serde_json::to_string_pretty(got).map_err(parse)?.replace('\n', "\n  ");
    let mut lines: Vec<String> = Vec::with_capacity(members.len() + 1);
    for (member, raw) in &members {
        let value = if member == "expect" { &pretty } else { raw.get() };
        lines.push(format!("  {}: {value}", Value::from(member.as_str())));
    }
    if !members.contains_key("expect") {
        lines.push(format!("  \"expect\": {pretty}"));
    }
    let text = format!("{{\n{}\n}}\n", lines.join(",\n"));
    fs::write(path, text).map_err(|source| CaseError::Write { path: name(), source })
}
