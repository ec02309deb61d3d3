//! What can go wrong between us and Kafka Connect, and what a person should look at then.
//!
//! Messages are about the error alone; the cause is in `source`, advice is in [`Error::hint`].

use crate::runtime::logging::chain;

/// An error of the Kafka Connect stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The HTTP client could not be built.
    #[error("cannot set up the HTTP client for kafka connect")]
    Setup(#[source] reqwest::Error),
    /// The file with certificate authorities could not be used.
    #[error("cannot read the certificate authorities in `{path}`")]
    CaFile {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answered.
    #[error("kafka connect does not answer at {url}")]
    Away {
        /// Base address of the REST API.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer was begun but did not come in time.
    #[error("kafka connect at {url} did not answer {call} within {}", Seconds(*.timeout))]
    Timeout {
        /// Base address of the REST API.
        url: String,
        /// Method and path.
        call: String,
        /// The limit.
        timeout: std::time::Duration,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Connect answered, and the answer was no.
    #[error("kafka connect at {url} refused {call} with HTTP {status}: {message}")]
    Refused {
        /// Base address of the REST API.
        url: String,
        /// Method and path.
        call: String,
        /// HTTP status.
        status: u16,
        /// Connect's own words, without secrets.
        message: String,
    },
    /// Connect was busy rebalancing for longer than we were willing to wait.
    #[error("kafka connect at {url} is still rebalancing after {attempts} attempts of {call}: {message}")]
    Rebalancing {
        /// Base address of the REST API.
        url: String,
        /// Method and path.
        call: String,
        /// How often it was tried.
        attempts: u32,
        /// Connect's own words.
        message: String,
    },
    /// Something answered that is not Kafka Connect, or not a version we know.
    #[error("the answer to {call} at {url} is not what kafka connect would say")]
    NotConnect {
        /// Base address.
        url: String,
        /// Method and path.
        call: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The connector's class is not installed in the workers.
    #[error("connector plugin {class} is not installed in kafka connect at {url}; {}", installed_text(.installed))]
    PluginMissing {
        /// Base address.
        url: String,
        /// The class that is missing.
        class: String,
        /// Debezium classes that are there, with their versions.
        installed: Vec<String>,
    },
    /// Connect judged a configuration invalid.
    #[error("kafka connect finds the configuration of {connector} invalid:{}", fields_text(.fields))]
    Invalid {
        /// Name of the connector.
        connector: String,
        /// Property and Connect's messages about it.
        fields: Vec<(String, Vec<String>)>,
    },
}

impl Error {
    /// What to check, in one sentence.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Setup(_) => {
                Some("for https the system's certificate authorities are needed, or `connectors.tls.ca_file`")
            }
            Self::CaFile { .. } => Some("`connectors.tls.ca_file` must name a readable PEM file"),
            Self::Away { source, .. } => Some(match tls_error(source) {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    "the server's certificate was not accepted: set `connectors.tls.ca_file` to the authority that signed it, and check the host name"
                }
                Some(_) => {
                    "the TLS handshake failed: does the server speak plain HTTP? check http or https in `connectors.url`"
                }
                None => {
                    "check `connectors.url`, that the worker runs (its log says \"REST resources initialized\"), and that no firewall is between"
                }
            }),
            Self::Timeout { .. } => Some(
                "the worker may be starting, joining its group, or cut off from kafka: see its log, or raise `connectors.timeout`",
            ),
            Self::Refused { status: 401 | 403, .. } => Some("check `connectors.basic_auth`"),
            Self::Refused { status: 404, .. } => {
                Some("check the path in `connectors.url`; a proxy may be answering in place of kafka connect")
            }
            Self::Refused { status: 300..=399, .. } => {
                Some("redirects are not followed: put the final address into `connectors.url`")
            }
            Self::Refused { .. } => Some("the worker's log has the whole story"),
            Self::Rebalancing { .. } => {
                Some("workers are joining or leaving the group; try again when they are settled")
            }
            Self::NotConnect { .. } => Some("check that `connectors.url` is the REST API of kafka connect"),
            Self::PluginMissing { .. } => {
                Some("unpack the connector below a directory in the workers' `plugin.path` and restart them")
            }
            Self::Invalid { .. } => None,
        }
    }

    /// The message with its causes, once, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// The handshake's error, if there was a connection and the handshake failed.
fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // The TLS error comes wrapped into io::Errors, whose `source` is not what they wrap but the source of that.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

struct Seconds(std::time::Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s", self.0.as_secs_f64())
    }
}

fn installed_text(installed: &[String]) -> String {
    if installed.is_empty() {
        "no debezium connector is".to_owned()
    } else {
        format!("installed are {}", installed.join(", "))
    }
}

fn fields_text(fields: &[(String, Vec<String>)]) -> String {
    let mut text = String::new();
    for (field, messages) in fields {
        for message in messages {
            text.push_str(&format!("\n  {field}: {message}"));
        }
    }
    text
}
