//! The agent's functions behind the SDK's types: the same names as the native host has, as calls over the boundary.

use super::bindings::channel::whimbrel::plugin::{host_http, host_mail, host_secrets};
use super::bindings::migration::whimbrel::plugin::host_database;
use super::bindings::whimbrel::plugin::{host_clock, host_log, host_metrics, host_state};
use crate::context::Level;
use crate::failure::Failure;
use crate::http::{Request, Response};
use crate::mail::Mail;

pub(crate) use super::batch::Host;

/// The agent is reached through imports, so there is nothing to hold.
#[derive(Debug)]
pub(crate) struct Services;

pub(crate) fn log(_: &Services, level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => host_log::Level::Trace,
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    host_log::log(level, message, &fields);
}

pub(crate) fn state_get(_: &Services, key: &str) -> Option<Vec<u8>> {
    host_state::get(key)
}

pub(crate) fn state_set(_: &Services, key: &str, value: &[u8]) -> Result<(), Failure> {
    Ok(host_state::set(key, value)?)
}

pub(crate) fn state_delete(_: &Services, key: &str) {
    host_state::delete(key);
}

pub(crate) fn metric_add(_: &Services, name: &str, by: f64) {
    host_metrics::add(name, by);
}

pub(crate) fn metric_set(_: &Services, name: &str, value: f64) {
    host_metrics::set(name, value);
}

pub(crate) fn metric_observe(_: &Services, name: &str, value: f64) {
    host_metrics::observe(name, value);
}

pub(crate) fn now_ms(_: &Services) -> i64 {
    host_clock::now_ms()
}

pub(crate) fn send(_: &Services, request: &Request) -> Result<Response, Failure> {
    let answer = host_http::send(&host_http::Request {
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.clone(),
        body: request.body.clone(),
    })?;
    Ok(Response { status: answer.status, headers: answer.headers, body: answer.body })
}

pub(crate) fn mail(_: &Services, mail: &Mail) -> Result<(), Failure> {
    Ok(host_mail::send(&host_mail::Message {
        to: mail.to.clone(),
        subject: mail.subject.clone(),
        text: mail.text.clone(),
        html: mail.html.clone(),
    })?)
}

pub(crate) fn secret(_: &Services, name: &str) -> Result<String, Failure> {
    Ok(host_secrets::reference(name)?)
}

pub(crate) fn sign(_: &Services, name: &str, message: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(host_secrets::hmac_sha256(name, message)?)
}

pub(crate) fn run(_: &Services, command: &str) -> Result<String, Failure> {
    Ok(host_database::run(command)?)
}

pub(crate) fn progress(_: &Services, collection: &str, processed: u64, expected: Option<u64>) {
    host_database::progress(collection, processed, expected);
}
