//! The `http:`, `otlp:` and `metrics:` sections, checked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use url::Url;

use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::config::secret::Secret;
use crate::stats::instruments::DEFAULT_MAX_SERIES;

/// Often enough that a dashboard follows, rare enough that a push costs nothing.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// As OTLP's specification has it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is exported and where.
#[derive(Clone)]
pub struct ExportConfig {
    /// Address of the HTTP endpoint.
    pub listen: SocketAddr,
    /// Push over OTLP.
    pub otlp: Option<OtlpConfig>,
    /// Most series per metric.
    pub max_series_per_metric: usize,
}

/// OTLP push.
#[derive(Clone)]
pub struct OtlpConfig {
    /// Base URL of the collector.
    pub endpoint: Url,
    /// Wire protocol.
    pub protocol: raw::OtlpProtocol,
    /// Extra headers; names checked, values secret.
    pub headers: Vec<(HeaderName, Secret)>,
    /// Whom to trust, and what to show.
    pub tls: OtlpTls,
    /// Push metrics.
    pub metrics: bool,
    /// Push traces.
    pub traces: bool,
    /// Push logs.
    pub logs: bool,
    /// How often metrics are pushed.
    pub interval: Duration,
    /// Time-out of one export.
    pub timeout: Duration,
    /// Also the collector's and the semantic conventions' names.
    pub semantic_conventions: bool,
}

/// TLS to a collector.
#[derive(Clone, Default)]
pub struct OtlpTls {
    /// Trusted authorities, and no others; the system's without it.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ExportConfig {
    /// Checks the three sections.
    pub fn new(http: &raw::Http, otlp: Option<&raw::Otlp>, metrics: &raw::Metrics) -> Result<Self, Invalid> {
        let listen = http.listen.parse().map_err(|_| {
            Invalid::new(
                "http.listen",
                format!("`{}` is not an address and a port", http.listen),
                "write for example 127.0.0.1:9464, or [::1]:0 for a free port",
            )
        })?;
        let max_series_per_metric = metrics.max_series_per_metric.unwrap_or(DEFAULT_MAX_SERIES);
        if max_series_per_metric == 0 {
            return Err(Invalid::new(
                "metrics.max_series_per_metric",
                "0 leaves no series",
                format!("leave it out for {DEFAULT_MAX_SERIES}"),
            ));
        }
        let otlp = otlp.map(OtlpConfig::new).transpose().map_err(|invalid| invalid.within("otlp"))?;
        Ok(Self { listen, otlp, max_series_per_metric })
    }
}

impl OtlpConfig {
    /// What OpenTelemetry's own variables say; none when they name no endpoint. `variable` reads one.
    ///
    /// # Errors
    /// The first variable that cannot be used; a header's value is never repeated.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Invalid> {
        super::otlp_env::read(variable)
    }

    /// Checks the section; paths are relative to it.
    pub fn new(raw: &raw::Otlp) -> Result<Self, Invalid> {
        let hint = "write for example http://127.0.0.1:4318 (4317 for grpc)";
        let endpoint: Url =
            raw.endpoint.parse().map_err(|error| Invalid::new("endpoint", format!("is not a URL: {error}"), hint))?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.host_str().is_none() {
            return Err(Invalid::new("endpoint", "is not an http or https URL", hint));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(Invalid::new(
                "endpoint",
                "holds a user or password",
                "use `headers` with an authorization header",
            ));
        }
        if raw.tls.is_some() && endpoint.scheme() == "http" {
            return Err(Invalid::new(
                "tls",
                "the endpoint is plain http",
                "write https in `endpoint`, or leave out `tls`",
            ));
        }
        let headers = raw
            .headers
            .iter()
            .map(|(name, value)| {
                let path = format!("headers.{name}");
                if HeaderValue::from_str(value.expose()).is_err() {
                    return Err(Invalid::new(
                        path,
                        "the value has characters no header may have",
                        "remove line breaks",
                    ));
                }
                HeaderName::try_from(name.as_str())
                    .map(|name| (name, value.clone()))
                    .map_err(|_| Invalid::new(path, "is not a header name", "use letters, digits and `-`"))
            })
            .collect::<Result<_, _>>()?;
        let duration = |field: &str, value: Option<crate::config::units::Millis>, default: Duration| match value {
            Some(millis) if millis.0.is_zero() => {
                Err(Invalid::new(field, "must be more than 0", format!("leave it out for {}s", default.as_secs())))
            }
            Some(millis) => Ok(millis.0),
            None => Ok(default),
        };
        Ok(Self {
            interval: duration("interval", raw.interval, DEFAULT_INTERVAL)?,
            timeout: duration("timeout", raw.timeout, DEFAULT_TIMEOUT)?,
            endpoint,
            tls: raw
                .tls
                .as_ref()
                .map(OtlpTls::new)
                .transpose()
                .map_err(|invalid| invalid.within("tls"))?
                .unwrap_or_default(),
            protocol: raw.protocol,
            headers,
            metrics: raw.metrics,
            traces: raw.traces,
            logs: raw.logs,
            semantic_conventions: raw.semantic_conventions,
        })
    }
}

impl OtlpTls {
    fn new(raw: &raw::OtlpTls) -> Result<Self, Invalid> {
        let identity = match (&raw.cert_file, &raw.key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => return Err(Invalid::new("key_file", "is missing", "a certificate needs its key")),
            (None, Some(_)) => return Err(Invalid::new("cert_file", "is missing", "a key needs its certificate")),
        };
        Ok(Self { ca_file: raw.ca_file.clone(), identity })
    }
}

crate::config::opaque::opaque_debug!(ExportConfig, OtlpConfig, OtlpTls);

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp(yaml: &str) -> Result<OtlpConfig, String> {
        let raw: raw::Otlp = serde_saphyr::from_str(yaml).unwrap();
        OtlpConfig::new(&raw).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn each_wrong_setting_is_named_with_a_remedy_and_a_header_value_is_never_shown() {
        assert!(otlp("endpoint: http://127.0.0.1:4318").is_ok());
        for (yaml, expect) in [
            ("endpoint: collector", "endpoint: is not a URL"),
            ("endpoint: ftp://x", "endpoint: is not an http or https URL"),
            ("endpoint: http://me:canary@x", "endpoint: holds a user or password"),
            ("endpoint: http://x\ntls: {ca_file: a.pem}", "tls: the endpoint is plain http"),
            ("endpoint: https://x\ntls: {cert_file: a.pem}", "tls.key_file: is missing"),
            ("endpoint: https://x\ntls: {key_file: a.key}", "tls.cert_file: is missing"),
            ("endpoint: http://x\nheaders: {'a b': canary}", "headers.a b: is not a header name"),
            ("endpoint: http://x\nheaders: {a: \"can\\nary\"}", "headers.a: the value has characters"),
            ("endpoint: http://x\ninterval: 0s", "interval: must be more than 0"),
        ] {
            let message = otlp(yaml).expect_err(yaml);
            assert!(message.starts_with(expect), "{yaml}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
        let shown = format!("{:?}", otlp("endpoint: http://x\nheaders: {a: canary}"));
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn an_address_needs_a_port_and_a_budget_needs_a_series() {
        let with = |listen: &str, max| {
            let http = raw::Http { listen: listen.into() };
            ExportConfig::new(&http, None, &raw::Metrics { max_series_per_metric: max })
        };
        assert_eq!(with("127.0.0.1:0", None).unwrap().max_series_per_metric, 2_000);
        assert!(with("[::1]:9464", Some(1)).is_ok());
        assert_eq!(with("localhost", None).unwrap_err().path, "http.listen");
        assert_eq!(with("127.0.0.1:0", Some(0)).unwrap_err().path, "metrics.max_series_per_metric");
    }
}
