//! The `otlp:` section, checked.

use std::time::Duration;

use url::Url;

use super::invalid::Invalid;
use super::raw;
use super::secret::Secret;

/// As often as the Prometheus scrape most people run, so that both show the same picture.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// The OpenTelemetry specification's default (`OTEL_EXPORTER_OTLP_TIMEOUT`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Export over OTLP.
#[derive(Debug, Clone)]
pub struct OtlpConfig {
    /// Base URL of the collector; never holds a password.
    pub endpoint: Url,
    /// Wire protocol.
    pub protocol: raw::OtlpProtocol,
    /// Extra headers.
    pub headers: Vec<(String, Secret)>,
    /// Export metrics.
    pub metrics: bool,
    /// Export traces.
    pub traces: bool,
    /// Export logs.
    pub logs: bool,
    /// How often metrics are pushed.
    pub interval: Duration,
    /// Time-out of one export.
    pub timeout: Duration,
    /// Also emit the names of the collector and of the semantic conventions.
    pub semantic_conventions: bool,
}

impl TryFrom<&raw::Otlp> for OtlpConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Otlp) -> Result<Self, Invalid> {
        let hint = "write the collector's base URL, such as `http://127.0.0.1:4318`";
        let endpoint = Url::parse(&raw.endpoint).map_err(|_| Invalid::new("endpoint", "not a URL", hint))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host().is_none() {
            return Err(Invalid::new("endpoint", "neither http:// nor https:// with a host", hint));
        }
        if endpoint.password().is_some() || !endpoint.username().is_empty() {
            return Err(Invalid::new(
                "endpoint",
                "a login inside the URL",
                "use `headers: {authorization: \"Basic ${env:OTLP_LOGIN}\"}`: headers are never printed",
            ));
        }
        let mut headers = Vec::new();
        for (name, value) in &raw.headers {
            let valid = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !valid {
                return Err(Invalid::new(
                    format!("headers.{name}"),
                    "not a header name",
                    "use letters, digits and `-`",
                ));
            }
            if value.expose().chars().any(char::is_control) {
                return Err(Invalid::new(
                    format!("headers.{name}"),
                    "a line break or control character in a header",
                    "check the variable or file it comes from",
                ));
            }
            headers.push((name.to_ascii_lowercase(), value.clone()));
        }
        Ok(Self {
            endpoint,
            protocol: raw.protocol,
            headers,
            metrics: raw.metrics,
            traces: raw.traces,
            logs: raw.logs,
            interval: positive("interval", raw.interval, DEFAULT_INTERVAL)?,
            timeout: positive("timeout", raw.timeout, DEFAULT_TIMEOUT)?,
            semantic_conventions: raw.semantic_conventions,
        })
    }
}

/// A duration that is not zero.
pub(crate) fn positive(
    field: &str,
    written: Option<super::units::Millis>,
    default: Duration,
) -> Result<Duration, Invalid> {
    match written {
        Some(written) if written.0.is_zero() => {
            Err(Invalid::new(field, "zero is no time at all", "write a duration such as `10s`, or leave it out"))
        }
        Some(written) => Ok(written.0),
        None => Ok(default),
    }
}
