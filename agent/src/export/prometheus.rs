//! The scrape: Prometheus' text format out of the OpenTelemetry instruments.
//!
//! `opentelemetry-prometheus` is told to add nothing of its own: no unit, no `_total`, no scope labels; names come out as
//! the instruments have them. A reader keeps no history here, so a scrape costs what is there now.

use opentelemetry_prometheus::PrometheusExporter;
use opentelemetry_sdk::metrics::{Instrument, Stream};
use prometheus::{Encoder, Registry, TextEncoder};

/// What the scrape answers with.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a scrape failed.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The exporter could not be set up or the metrics not be written.
    #[error("metrics could not be gathered")]
    Gather(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads the metrics for `/metrics`.
#[derive(Debug, Clone)]
pub struct Scrape {
    registry: Registry,
}

impl Scrape {
    /// A scrape, and the reader to give to the meter provider.
    pub fn new() -> Result<(Self, PrometheusExporter), ScrapeError> {
        let registry = Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_units()
            .without_counter_suffixes()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| ScrapeError::Gather(error.into()))?;
        Ok((Self { registry }, reader))
    }

    /// The metrics now, in text format. Takes milliseconds and locks the SDK's reader: call it off the async workers.
    pub fn text(&self) -> Result<Vec<u8>, ScrapeError> {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| ScrapeError::Gather(error.into()))?;
        Ok(text)
    }
}

/// Metrics whose labels are words of the code (states, reasons, hops, names of metrics) have no budget of ours; none has
/// this many for one pipeline.
const WORDS: usize = 64;

/// The SDK's own limit per metric must never bite before the budget of `stats`, which knows how to name its overflow.
pub fn view(max_series: usize) -> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static {
    let limit = max_series.saturating_add(1).max(WORDS);
    move |_| Stream::builder().with_cardinality_limit(limit).build().ok()
}
