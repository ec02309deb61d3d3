//! The agent's services in a plain `cargo test`: in memory, scripted beforehand and looked into afterwards by
//! [`crate::testing::TestHost`]. Not for the sandbox: nothing is limited or undone here.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::context::Level;
use crate::failure::Failure;
use crate::http::{Request, Response};
use crate::mail::Mail;

/// What a test host holds.
#[derive(Debug, Default)]
pub(crate) struct Bench {
    pub(crate) now_ms: i64,
    pub(crate) request_ms: i64,
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) state: BTreeMap<String, Vec<u8>>,
    pub(crate) counters: BTreeMap<String, f64>,
    pub(crate) gauges: BTreeMap<String, f64>,
    pub(crate) observations: BTreeMap<String, Vec<f64>>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) answers: VecDeque<Result<Response, Failure>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) mails: Vec<Mail>,
    pub(crate) results: VecDeque<Result<String, Failure>>,
    pub(crate) commands: Vec<String>,
    pub(crate) progress: Vec<(String, u64, Option<u64>)>,
}

/// A test host, shared by the contexts made of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services(pub(crate) Rc<RefCell<Bench>>);

/// Goes to standard error, which `cargo test` captures.
pub(crate) fn log(services: &Services, level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: String = fields.iter().map(|(name, value)| format!(" {name}={value:?}")).collect();
    eprintln!("[{level:?}] {message}{fields}");
    services.0.borrow_mut().lines.push((level, format!("{message}{fields}")));
}

pub(crate) fn state_get(services: &Services, key: &str) -> Option<Vec<u8>> {
    services.0.borrow().state.get(key).cloned()
}

pub(crate) fn state_set(services: &Services, key: &str, value: &[u8]) -> Result<(), Failure> {
    if key.is_empty() || key.len() > 256 {
        return Err(Failure::new("key", "a key has 1 to 256 bytes"));
    }
    services.0.borrow_mut().state.insert(key.to_owned(), value.to_vec());
    Ok(())
}

pub(crate) fn state_delete(services: &Services, key: &str) {
    services.0.borrow_mut().state.remove(key);
}

pub(crate) fn metric_add(services: &Services, name: &str, by: f64) {
    if by.is_finite() && by >= 0.0 {
        *services.0.borrow_mut().counters.entry(name.to_owned()).or_default() += by;
    }
}

pub(crate) fn metric_set(services: &Services, name: &str, value: f64) {
    if value.is_finite() {
        services.0.borrow_mut().gauges.insert(name.to_owned(), value);
    }
}

pub(crate) fn metric_observe(services: &Services, name: &str, value: f64) {
    if value.is_finite() {
        services.0.borrow_mut().observations.entry(name.to_owned()).or_default().push(value);
    }
}

pub(crate) fn now_ms(services: &Services) -> i64 {
    services.0.borrow().now_ms
}

pub(crate) fn send(services: &Services, request: &Request) -> Result<Response, Failure> {
    let mut bench = services.0.borrow_mut();
    bench.requests.push(request.clone());
    bench.now_ms = bench.now_ms.saturating_add(bench.request_ms);
    bench
        .answers
        .pop_front()
        .unwrap_or_else(|| Err(Failure::new("denied", "the test host has no answer for this request")))
}

pub(crate) fn mail(services: &Services, mail: &Mail) -> Result<(), Failure> {
    services.0.borrow_mut().mails.push(mail.clone());
    Ok(())
}

pub(crate) fn secret(services: &Services, name: &str) -> Result<String, Failure> {
    let bench = services.0.borrow();
    match bench.secrets.get(name) {
        // Never the secret itself: a plugin that looks at it must fail its own test.
        Some(_) => Ok(format!("whimbrel-secret-{name}")),
        None => Err(denied(name)),
    }
}

/// The test host's signature names its inputs instead of hiding them: tests compare it.
pub(crate) fn sign(services: &Services, name: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
    if !services.0.borrow().secrets.contains_key(name) {
        return Err(denied(name));
    }
    let mut signature = format!("signed with {name}: ").into_bytes();
    signature.extend_from_slice(message);
    Ok(signature)
}

fn denied(name: &str) -> Failure {
    Failure::new("denied", format!("no secret `{name}` is granted; add it with `TestHost::secret`"))
}

pub(crate) fn run(services: &Services, command: &str) -> Result<String, Failure> {
    let mut bench = services.0.borrow_mut();
    bench.commands.push(command.to_owned());
    bench
        .results
        .pop_front()
        .unwrap_or_else(|| Err(Failure::new("database", "the test host has no answer for this command")))
}

pub(crate) fn progress(services: &Services, collection: &str, processed: u64, expected: Option<u64>) {
    services.0.borrow_mut().progress.push((collection.to_owned(), processed, expected));
}
