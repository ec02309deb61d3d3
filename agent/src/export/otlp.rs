//! The push: metrics, traces and logs over OTLP.
//!
//! The SDK exports from threads of its own, outside the async runtime; requests therefore run as tasks of the runtime
//! this was set up in, and the exporting thread waits for them. Retries, batching and time-outs are the SDK's; queues are
//! bounded there, and what does not fit is dropped and said so in the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use tokio::runtime::Handle;

use super::config::OtlpConfig;
use super::otlp_tls::{Material, NotTaken, TlsFileError};
use crate::config::raw::OtlpProtocol;

/// An answer of a collector is a few bytes; more is not read.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// How often it is told why pushes fail.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// Why the push could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A file for TLS.
    #[error("tls to the collector could not be set up")]
    Tls(#[source] TlsFileError),
    /// The HTTP client.
    #[error("the http client for otlp could not be made")]
    Client(#[source] reqwest::Error),
    /// An exporter.
    #[error("the otlp exporter could not be made")]
    Exporter(#[source] ExporterBuildError),
    /// Called outside the runtime.
    #[error("otlp needs the async runtime")]
    NoRuntime(#[source] tokio::runtime::TryCurrentError),
}

/// Makes the exporters of one collector.
#[derive(Debug)]
pub struct Exporters<'a> {
    config: &'a OtlpConfig,
    client: OnRuntime,
    tls: Option<ClientTlsConfig>,
}

impl<'a> Exporters<'a> {
    /// For this collector; call it inside the async runtime.
    pub fn new(config: &'a OtlpConfig) -> Result<Self, OtlpError> {
        let runtime = Handle::try_current().map_err(OtlpError::NoRuntime)?;
        crate::runtime::tls::install();
        let material = Material::read(config).map_err(OtlpError::Tls)?;
        let client = client(config, &material)?;
        Ok(Self { client: OnRuntime { client, runtime, told: Arc::default() }, tls: material.grpc(), config })
    }

    fn url(&self, signal: &str) -> String {
        match self.config.protocol {
            OtlpProtocol::Grpc => self.config.endpoint.to_string(),
            OtlpProtocol::HttpProtobuf => {
                format!("{}/v1/{signal}", self.config.endpoint.as_str().trim_end_matches('/'))
            }
        }
    }

    fn headers(&self) -> HashMap<String, String> {
        let pair = |(name, value): &(_, crate::config::secret::Secret)| (format!("{name}"), value.expose().to_owned());
        self.config.headers.iter().map(pair).collect()
    }

    fn metadata(&self) -> MetadataMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.config.headers {
            if let Ok(mut value) = HeaderValue::from_str(value.expose()) {
                value.set_sensitive(true);
                headers.append(name.clone(), value);
            }
        }
        MetadataMap::from_headers(headers)
    }

    /// For metrics.
    pub fn metrics(&self) -> Result<MetricExporter, OtlpError> {
        match self.config.protocol {
            OtlpProtocol::Grpc => self.grpc(MetricExporter::builder().with_tonic()).build(),
            OtlpProtocol::HttpProtobuf => self.http(MetricExporter::builder().with_http(), "metrics").build(),
        }
        .map_err(OtlpError::Exporter)
    }

    /// For traces.
    pub fn traces(&self) -> Result<SpanExporter, OtlpError> {
        match self.config.protocol {
            OtlpProtocol::Grpc => self.grpc(SpanExporter::builder().with_tonic()).build(),
            OtlpProtocol::HttpProtobuf => self.http(SpanExporter::builder().with_http(), "traces").build(),
        }
        .map_err(OtlpError::Exporter)
    }

    /// For logs.
    pub fn logs(&self) -> Result<LogExporter, OtlpError> {
        match self.config.protocol {
            OtlpProtocol::Grpc => self.grpc(LogExporter::builder().with_tonic()).build(),
            OtlpProtocol::HttpProtobuf => self.http(LogExporter::builder().with_http(), "logs").build(),
        }
        .map_err(OtlpError::Exporter)
    }

    fn grpc<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let builder =
            builder.with_endpoint(self.url("")).with_timeout(self.config.timeout).with_metadata(self.metadata());
        match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()),
            None => builder,
        }
    }

    fn http<B: WithExportConfig + WithHttpConfig>(&self, builder: B, signal: &str) -> B {
        builder
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(self.url(signal))
            .with_timeout(self.config.timeout)
            .with_headers(self.headers())
            .with_http_client(self.client.clone())
    }
}

fn client(config: &OtlpConfig, material: &Material) -> Result<reqwest::Client, OtlpError> {
    let builder = reqwest::Client::builder()
        .timeout(config.timeout)
        // Keep one connection between pushes, not more.
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(config.interval.saturating_mul(3).max(Duration::from_secs(30)))
        // Authorization headers must not follow a redirect elsewhere.
        .redirect(reqwest::redirect::Policy::none());
    material.http(builder).map_err(OtlpError::Tls)?.build().map_err(OtlpError::Client)
}

#[derive(Debug, Clone)]
struct OnRuntime {
    client: reqwest::Client,
    runtime: Handle,
    /// When it was last told why a push failed: the SDK tells each time that one did, and not why.
    told: Arc<Mutex<Option<Instant>>>,
}

impl OnRuntime {
    fn tell(&self, error: &(dyn std::error::Error + 'static)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() >= TELL_AGAIN) {
            *told = Some(Instant::now());
            tracing::error!(error, "collector takes no push");
        }
    }
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let result = self.runtime.spawn(async move { send(&client, request).await }).await?;
        if let Err(error) = &result {
            self.tell(error.as_ref());
        }
        result
    }
}

async fn send(client: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request.try_into()?).await.map_err(|error| NotTaken::new(&error))?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err("the collector's answer is too long".into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        *headers = std::mem::take(answer.headers_mut());
    }
    Ok(response.body(Bytes::from(body))?)
}
