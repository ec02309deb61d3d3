//! OTLP as OpenTelemetry's own variables have it, for commands that are run without a configuration file.
//!
//! Names and meaning: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. Only what holds for all signals is read.

use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use super::config::OtlpConfig;
use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::config::secret::Secret;
use crate::config::units::Millis;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// What the variables say; none without an endpoint.
pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<OtlpConfig>, Invalid> {
    let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let Some(endpoint) = variable(ENDPOINT) else { return Ok(None) };
    let protocol = match variable(PROTOCOL).as_deref() {
        None | Some("http/protobuf") => raw::OtlpProtocol::HttpProtobuf,
        Some("grpc") => raw::OtlpProtocol::Grpc,
        Some(other) => {
            let message = format!("`{other}` is not known here");
            return Err(Invalid::new(PROTOCOL, message, "write http/protobuf or grpc"));
        }
    };
    let timeout = match variable(TIMEOUT).map(|text| text.parse::<u64>()) {
        None => None,
        Some(Ok(milliseconds)) => Some(Millis(Duration::from_millis(milliseconds))),
        Some(Err(_)) => return Err(Invalid::new(TIMEOUT, "is no number", "write milliseconds, such as 10000")),
    };
    let mut headers = IndexMap::new();
    for pair in variable(HEADERS).iter().flat_map(|text| text.split(',')).filter(|pair| !pair.trim().is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Invalid::new(HEADERS, "has a header without a value", "write name=value,name=value"));
        };
        headers.insert(name.trim().to_owned(), Secret::new(decoded(value.trim())));
    }
    let tls = variable(CERTIFICATE)
        .map(|file| raw::OtlpTls { ca_file: Some(PathBuf::from(file)), ..raw::OtlpTls::default() });
    let section = raw::Otlp {
        endpoint,
        protocol,
        headers,
        tls,
        metrics: true,
        traces: true,
        logs: true,
        interval: None,
        timeout,
        semantic_conventions: false,
    };
    OtlpConfig::new(&section).map(Some).map_err(|invalid| {
        let name = match invalid.path.split('.').next() {
            Some("endpoint") => ENDPOINT,
            Some("headers") => HEADERS,
            Some("timeout") => TIMEOUT,
            _ => CERTIFICATE,
        };
        Invalid { path: name.to_owned(), ..invalid }
    })
}

/// Values are percent-encoded, as in W3C baggage.
fn decoded(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<OtlpConfig>, String> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        read(find).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn the_variables_are_read_as_the_specification_has_them() {
        assert!(of(&[(HEADERS, "a=b")]).unwrap().is_none(), "no endpoint");
        assert!(of(&[(ENDPOINT, " ")]).unwrap().is_none(), "an empty one is none");
        let config = of(&[
            (ENDPOINT, "http://127.0.0.1:4317"),
            (PROTOCOL, "grpc"),
            (HEADERS, "authorization=Bearer%20x%3D, tenant=7"),
            (TIMEOUT, "2500"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!((config.protocol, config.timeout.as_millis()), (raw::OtlpProtocol::Grpc, 2_500));
        let headers: Vec<_> = config.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(headers, [("authorization", "Bearer x="), ("tenant", "7")]);
        assert!(config.metrics && config.traces && config.logs);
    }

    #[test]
    fn a_variable_that_cannot_be_used_is_named_and_no_header_shown() {
        const AT: (&str, &str) = (ENDPOINT, "http://127.0.0.1:4318");
        for (variables, expect) in [
            (vec![(ENDPOINT, "collector")], "OTEL_EXPORTER_OTLP_ENDPOINT: is not a URL"),
            (vec![AT, (PROTOCOL, "http/json")], "OTEL_EXPORTER_OTLP_PROTOCOL: `http/json` is not known"),
            (vec![AT, (TIMEOUT, "10s")], "OTEL_EXPORTER_OTLP_TIMEOUT: is no number"),
            (vec![AT, (HEADERS, "canary")], "OTEL_EXPORTER_OTLP_HEADERS: has a header without a value"),
            (vec![AT, (HEADERS, "a=can%0Aary")], "OTEL_EXPORTER_OTLP_HEADERS: the value has characters"),
            (vec![AT, (CERTIFICATE, "ca.pem")], "OTEL_EXPORTER_OTLP_CERTIFICATE: the endpoint is plain http"),
        ] {
            let message = of(&variables).expect_err(expect);
            assert!(message.starts_with(expect) && !message.contains("canary"), "{message}");
        }
    }
}
