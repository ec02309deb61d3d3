//! What is outside the sandbox, played from a case: log, series, state, HTTP, mail and database. Answers as the case says
//! and writes down what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::case::{Bytes, Case, DatabaseReply, HttpReply, MailReply};
use crate::plugin::egress::{Egress, Mail, Request, Response};
use crate::plugin::rights::{HttpRights, MailRights};
use crate::plugin::services::{LogSink, MetricSink};
use crate::plugin::store::{Changes, Memory, StateStore};
use crate::plugin::{Database, Failure, Services};

#[derive(Debug, Default)]
struct Notes {
    http: VecDeque<HttpReply>,
    mail: VecDeque<MailReply>,
    database: VecDeque<DatabaseReply>,
    secrets: Vec<(String, String)>,
    logs: Vec<Value>,
    counters: BTreeMap<String, f64>,
    gauges: BTreeMap<String, f64>,
    observations: BTreeMap<String, Vec<f64>>,
    requests: Vec<Value>,
    mails: Vec<Value>,
    commands: Vec<Value>,
    progress: Vec<Value>,
}

/// The world around one call. Cheap to clone: all clones write into one notebook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage(Arc<Mutex<Notes>>);

/// Under which name the state of a replay is kept.
pub(crate) const OWNER: &str = "replay";

fn missing(what: &str, member: &str) -> Failure {
    Failure {
        code: "case".to_owned(),
        message: format!("the case has no answer left for this {what}; add one under `{member}`"),
        retryable: false,
    }
}

impl Stage {
    /// The world as a case describes it.
    pub(crate) fn set(case: &Case) -> Self {
        Stage(Arc::new(Mutex::new(Notes::of(case))))
    }

    /// Begins anew: all answers are there again, all notes gone. State that was kept stays.
    pub(crate) fn rewind(&self, case: &Case) {
        *self.notes() = Notes::of(case);
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The services a plugin gets here.
    ///
    /// # Errors
    /// When the state in the case cannot be read.
    pub(crate) fn services(&self, case: &Case) -> Result<Services, String> {
        let store = Memory::default();
        let mut kept = Changes::new();
        for (key, value) in &case.state {
            kept.insert(key.clone(), Some(value.decode().map_err(|why| format!("state.{key}: {why}"))?));
        }
        store.save(OWNER, &kept).map_err(|error| error.to_string())?;
        let now = case.now_ms;
        Ok(Services {
            store: Arc::new(store),
            metrics: Some(Arc::new(self.clone())),
            log: Some(Arc::new(self.clone())),
            clock: Arc::new(move || now),
            egress: Some(Arc::new(self.clone())),
        })
    }

    /// The database a migration works on.
    pub(crate) fn database(&self) -> Box<dyn Database> {
        Box::new(self.clone())
    }

    /// What was done, member by member; nothing where nothing was.
    pub(crate) fn told(&self, services: &Services, into: &mut Map<String, Value>) {
        let notes = self.notes();
        let lists = [
            ("requests", &notes.requests),
            ("mails", &notes.mails),
            ("commands", &notes.commands),
            ("progress", &notes.progress),
            ("logs", &notes.logs),
        ];
        for (name, list) in lists {
            if !list.is_empty() {
                into.insert(name.to_owned(), Value::from(list.clone()));
            }
        }
        let mut metrics = Map::new();
        if !notes.counters.is_empty() {
            metrics.insert("counters".to_owned(), json!(notes.counters));
        }
        if !notes.gauges.is_empty() {
            metrics.insert("gauges".to_owned(), json!(notes.gauges));
        }
        if !notes.observations.is_empty() {
            metrics.insert("observations".to_owned(), json!(notes.observations));
        }
        if !metrics.is_empty() {
            into.insert("metrics".to_owned(), metrics.into());
        }
        let kept = services.store.load(OWNER).unwrap_or_default();
        if !kept.is_empty() {
            let kept = kept.iter().map(|(key, value)| (key.clone(), Bytes::show(value)));
            into.insert("state".to_owned(), Value::Object(kept.collect()));
        }
    }
}

impl Notes {
    fn of(case: &Case) -> Self {
        let secrets = case.grants.iter().flat_map(|grants| &grants.secrets);
        Notes {
            http: case.http.clone().into(),
            mail: case.mail.clone().into(),
            database: case.database.clone().into(),
            secrets: secrets.map(|(name, value)| (name.clone(), value.clone())).collect(),
            ..Notes::default()
        }
    }

    /// Values of secrets never stand in a golden file, not even made-up ones: their names do.
    fn hidden(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in self.secrets.iter().filter(|(_, value)| !value.is_empty()) {
            text = text.replace(value.as_str(), &format!("<secret {name}>"));
        }
        text
    }

    /// A body as JSON where it is, else as text or bytes.
    fn body(&self, body: &[u8]) -> Value {
        let Ok(text) = std::str::from_utf8(body) else { return Bytes::show(body) };
        let text = self.hidden(text);
        match serde_json::from_str::<Value>(&text) {
            Ok(value @ (Value::Object(_) | Value::Array(_))) => json!({ "json": value }),
            _ => Value::from(text),
        }
    }
}

impl LogSink for Stage {
    fn line(&self, level: &'static str, line: &str) {
        self.notes().logs.push(json!({ "level": level, "line": line }));
    }
}

impl MetricSink for Stage {
    fn add(&self, name: &str, by: f64) {
        *self.notes().counters.entry(name.to_owned()).or_default() += by;
    }

    fn set(&self, name: &str, value: f64) {
        self.notes().gauges.insert(name.to_owned(), value);
    }

    fn observe(&self, name: &str, value: f64) {
        self.notes().observations.entry(name.to_owned()).or_default().push(value);
    }
}

impl Egress for Stage {
    fn http(&self, _rights: &HttpRights, request: Request, _within: Duration) -> Result<Response, Failure> {
        let mut notes = self.notes();
        let headers: Map<String, Value> =
            request.headers.iter().map(|(name, value)| (name.clone(), notes.hidden(value).into())).collect();
        let note = json!({
            "method": request.method,
            "url": notes.hidden(&request.url),
            "headers": headers,
            "body": notes.body(&request.body),
        });
        notes.requests.push(note);
        match notes.http.pop_front() {
            Some(HttpReply::Answer { status, headers, body }) => {
                Ok(Response { status, headers: headers.into_iter().collect(), body: body.into_bytes() })
            }
            Some(HttpReply::Failure(failure)) => Err(failure.into()),
            None => Err(missing("request", "http")),
        }
    }

    fn mail(&self, _rights: &MailRights, mail: Mail, _within: Duration) -> Result<(), Failure> {
        let mut notes = self.notes();
        let mut note = json!({ "to": mail.to, "subject": mail.subject, "text": mail.text });
        if let (Some(note), Some(html)) = (note.as_object_mut(), mail.html) {
            note.insert("html".to_owned(), html.into());
        }
        notes.mails.push(note);
        match notes.mail.pop_front() {
            None | Some(MailReply::Accepted) => Ok(()),
            Some(MailReply::Failure(failure)) => Err(failure.into()),
        }
    }
}

impl Database for Stage {
    fn run(&mut self, command: &str) -> Result<String, Failure> {
        let mut notes = self.notes();
        let command = serde_json::from_str(command).unwrap_or_else(|_| Value::from(command));
        notes.commands.push(command);
        match notes.database.pop_front() {
            Some(DatabaseReply::Answer(answer)) => Ok(answer.to_string()),
            Some(DatabaseReply::Failure(failure)) => Err(failure.into()),
            None => Err(missing("command", "database")),
        }
    }

    fn progress(&mut self, collection: &str, processed: u64, expected: Option<u64>) {
        self.notes().progress.push(json!({ "in": collection, "processed": processed, "expected": expected }));
    }
}
