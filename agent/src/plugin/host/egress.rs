//! Secrets, HTTP and mail: what a channel may send out. Checked against the rights here, before anything is resolved or
//! dialled; the address is checked once more by whoever sends.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::log::cleaned;
use super::{State, failure};
use crate::config::secret::Secret;
use crate::plugin::bindings::channel::whimbrel::plugin::{host_http, host_mail, host_secrets};
use crate::plugin::bindings::types;
use crate::plugin::egress::{Mail, Request};
use crate::plugin::rights::Origin;

/// The references given out during a call, with the names they stand for.
#[derive(Default)]
pub(super) struct SecretReferences(Vec<(String, String)>);

impl SecretReferences {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// A text nobody can guess, so that what a plugin was handed (an alert's words, a row) cannot hold one.
    fn of(&mut self, name: &str) -> String {
        if let Some((_, reference)) = self.0.iter().find(|(known, _)| known == name) {
            return reference.clone();
        }
        let reference = format!("whimbrel-secret-{:032x}", rand::random::<u128>());
        self.0.push((name.to_owned(), reference.clone()));
        reference
    }
}

impl<L> State<L> {
    fn secret(&self, name: &str) -> Result<&Secret, types::Failure> {
        self.rights.secrets.get(name).ok_or_else(|| {
            let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            failure("denied", format!("no secret `{name}` is granted; add it under `grants: secrets:`"))
        })
    }

    /// The text with every reference replaced by its secret, written as `encode` wants it.
    fn revealed(&self, text: &str, encode: impl Fn(&str) -> String) -> String {
        let mut text = text.to_owned();
        for (name, reference) in &self.secrets.0 {
            if text.contains(reference.as_str())
                && let Some(secret) = self.rights.secrets.get(name)
            {
                text = text.replace(reference.as_str(), &encode(secret.expose()));
            }
        }
        text
    }

    fn request(&self, request: host_http::Request) -> Result<Request, types::Failure> {
        let plain = |secret: &str| secret.to_owned();
        let url = self.revealed(&request.url, plain);
        // Neither message repeats the URL: it may hold a secret by now.
        let parsed = url::Url::parse(&url).map_err(|_| failure("request", "the URL cannot be read"))?;
        let Some(origin) = Origin::of(&parsed) else {
            return Err(failure("denied", "only http and https leave the agent"));
        };
        if !self.rights.http.as_ref().is_some_and(|http| http.origins.contains(&origin)) {
            // Named as the plugin wrote it: with a reference in the host's place the real one would tell the secret.
            let written = url::Url::parse(&request.url).ok().and_then(|written| Origin::of(&written));
            let named = match written {
                Some(written) if written == origin => origin.to_string(),
                _ => "the origin that a secret is part of".to_owned(),
            };
            return Err(failure("denied", format!("{named} is not granted; add it under `grants: http: origins:`")));
        }
        let is_json = request.headers.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().contains("json")
        });
        let headers = request.headers.iter().map(|(name, value)| (name.clone(), self.revealed(value, plain))).collect();
        let body = match String::from_utf8(request.body) {
            Ok(text) => {
                self.revealed(&text, |secret| if is_json { in_json(secret) } else { plain(secret) }).into_bytes()
            }
            Err(bytes) => bytes.into_bytes(),
        };
        Ok(Request { method: request.method, url, headers, body })
    }
}

/// A secret as it must stand between the quotes of a JSON string.
fn in_json(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned()
}

impl<L: Send> host_secrets::Host for State<L> {
    fn reference(&mut self, name: String) -> wasmtime::Result<Result<String, types::Failure>> {
        if let Err(denied) = self.secret(&name) {
            return Ok(Err(denied));
        }
        Ok(Ok(self.secrets.of(&name)))
    }

    fn hmac_sha256(&mut self, name: String, message: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, types::Failure>> {
        let secret = match self.secret(&name) {
            Ok(secret) => secret,
            Err(denied) => return Ok(Err(denied)),
        };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else {
            return Ok(Err(failure("secret", "the secret cannot be a key")));
        };
        mac.update(&message);
        Ok(Ok(mac.finalize().into_bytes().to_vec()))
    }
}

fn no_way_out() -> types::Failure {
    failure("denied", "this agent sends nothing for plugins here")
}

fn no_time() -> types::Failure {
    types::Failure { retryable: true, ..failure("timeout", "the call's time is over") }
}

impl<L: Send> host_http::Host for State<L> {
    fn send(&mut self, request: host_http::Request) -> wasmtime::Result<Result<host_http::Response, types::Failure>> {
        let request = match self.request(request) {
            Ok(request) => request,
            Err(denied) => return Ok(Err(denied)),
        };
        let (Some(egress), Some(rights)) = (&self.services.egress, &self.rights.http) else {
            return Ok(Err(no_way_out()));
        };
        let within = self.wait();
        if within == Duration::ZERO {
            return Ok(Err(no_time()));
        }
        let answer = egress.http(rights, request, within);
        self.in_time()?;
        Ok(match answer {
            Ok(answer) => Ok(host_http::Response { status: answer.status, headers: answer.headers, body: answer.body }),
            Err(failed) => Err(cleaned(failed)),
        })
    }
}

impl<L: Send> host_mail::Host for State<L> {
    fn send(&mut self, message: host_mail::Message) -> wasmtime::Result<Result<(), types::Failure>> {
        let (Some(egress), Some(rights)) = (&self.services.egress, &self.rights.mail) else {
            return Ok(Err(no_way_out()));
        };
        if let Some(stranger) = message.to.iter().find(|to| !rights.admit(to)) {
            let stranger: String = stranger.chars().filter(|c| c.is_ascii_graphic()).take(128).collect();
            return Ok(Err(failure(
                "denied",
                format!("{stranger} is not granted; add it under `grants: mail: recipients:`"),
            )));
        }
        let within = self.wait();
        if within == Duration::ZERO {
            return Ok(Err(no_time()));
        }
        let mail = Mail { to: message.to, subject: message.subject, text: message.text, html: message.html };
        let sent = egress.mail(rights, mail, within);
        self.in_time()?;
        Ok(sent.map_err(cleaned))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_stays_inside_its_json_string() {
        assert_eq!(super::in_json(r#"a"b\c"#), r#"a\"b\\c"#);
        assert_eq!(super::in_json("\"quoted\""), "\\\"quoted\\\"");
    }
}
