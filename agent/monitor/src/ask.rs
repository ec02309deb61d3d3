//! Questions over HTTP to an agent, a Prometheus or a Grafana: bounded in time and size, without redirects. Neither tokens nor
//! passwords of URLs are in any error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, Client, Method, StatusCode, redirect};
use serde_json::Value;
use url::{Host, Url};

/// The largest answer: a Prometheus with thousands of series of one migration sends less.
const MAX_ANSWER: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The address cannot be used.
    #[error("`{0}` is no http or https address, such as http://127.0.0.1:9090")]
    Address(String),
    /// The file of authorities cannot be used.
    #[error("the file of authorities {path} cannot be used: {why}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No client could be made.
    #[error("no HTTP client could be made: {0}")]
    Client(String),
    /// Nobody answers there, or not in time.
    #[error("{at} does not answer: {why}")]
    Unreachable {
        /// Where.
        at: String,
        /// What happened.
        why: String,
    },
    /// It answers with something that is not JSON, or too large.
    #[error("{at} answers, but not as it should: {why}")]
    Answer {
        /// Where.
        at: String,
        /// What is wrong.
        why: String,
    },
}

impl AskError {
    /// Whether the command line or its files are wrong, rather than whoever is asked.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Address(_) | Self::CaFile { .. })
    }
}

/// Who is asked, and with what credentials.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Bearer token.
    pub token: Option<String>,
    /// PEM file of trusted authorities, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time for one question.
    pub timeout: Option<Duration>,
}

/// An answer: its status, and its body where that is JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

/// Somebody to ask.
#[derive(Clone)]
pub struct Asked {
    client: Client,
    base: Url,
    token: Option<String>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("at", &self.address()).finish_non_exhaustive()
    }
}

impl Asked {
    /// Somebody at an address.
    ///
    /// # Errors
    /// When the address, the authorities or the client cannot be used.
    pub fn new(address: &str, access: &Access) -> Result<Self, AskError> {
        let mut base = Url::parse(address).map_err(|_| AskError::Address(hidden(address)))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            return Err(AskError::Address(hidden(address)));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.set_query(None);
        base.set_fragment(None);
        if access.token.is_some() {
            // One login only: the token.
            let _ = base.set_username("");
            let _ = base.set_password(None);
        }
        // reqwest is built without a TLS provider of its own. If another part of the process was first, its choice stands.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(access.timeout.unwrap_or(Duration::from_secs(10)))
            .user_agent(concat!("whimbrel/", env!("CARGO_PKG_VERSION")));
        builder = match (&access.ca_file, base.scheme()) {
            (Some(path), _) => builder.tls_certs_only(authorities(path)?),
            (None, "https") => builder,
            // Plain HTTP needs no authorities, and a system without any must not stop it.
            (None, _) => builder.tls_certs_only(std::iter::empty()),
        };
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| AskError::Client(error.to_string()))?;
        Ok(Self { client, base, token: access.token.clone() })
    }

    /// Where, without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        hidden(self.base.as_str()).trim_end_matches('/').to_owned()
    }

    /// Asks for a page below the address.
    ///
    /// # Errors
    /// When there is no answer, or one that is not JSON although the status is 200.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, AskError> {
        self.ask(Method::GET, path, query, None).await
    }

    /// Sends JSON to a page below the address.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, AskError> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, AskError> {
        let url = self.base.join(path).map_err(|_| AskError::Address(path.to_owned()))?;
        let mut request = self.client.request(method, url).query(query);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(self.wrong(format!("more than {} MiB", MAX_ANSWER >> 20)));
            }
            bytes.extend_from_slice(&chunk);
        }
        match serde_json::from_slice(&bytes) {
            Ok(body) => Ok(Answer { status: status.as_u16(), body }),
            Err(_) if status == StatusCode::OK => {
                Err(self.wrong("no JSON; is something else listening there?".to_owned()))
            }
            Err(_) => Ok(Answer { status: status.as_u16(), body: Value::Null }),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> AskError {
        AskError::Unreachable { at: self.address(), why: chain(&error.without_url()) }
    }

    /// The answer was not what it should be.
    #[must_use]
    pub fn wrong(&self, why: String) -> AskError {
        AskError::Answer { at: self.address(), why }
    }
}

/// Errors with their causes, once each.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, AskError> {
    let fail = |why: String| AskError::CaFile { path: path.to_owned(), why };
    let pem = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| fail(error.to_string()))?;
    match found.is_empty() {
        true => Err(fail("there is no certificate in it".to_owned())),
        false => Ok(found),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// An address as it may be shown: without what may be a password.
fn hidden(address: &str) -> String {
    match Url::parse(address) {
        Ok(mut url) if url.has_host() => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.set_query(None);
            url.to_string()
        }
        _ if address.contains('@') => "…".to_owned(),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets_and_others_are_refused() {
        for (address, expect) in [
            ("http://127.0.0.1:9090", Some("http://127.0.0.1:9090")),
            ("https://me:secret@prometheus.example/base?token=x", Some("https://prometheus.example/base")),
            ("prometheus:9090", None),
            ("ftp://prometheus/", None),
            ("", None),
        ] {
            let asked = Asked::new(address, &Access::default());
            assert_eq!(asked.as_ref().ok().map(Asked::address).as_deref(), expect, "{address}");
            assert!(asked.is_ok() || asked.is_err_and(|error| error.is_usage()));
        }
        let error = Asked::new("x:me:secret@h", &Access::default()).unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
