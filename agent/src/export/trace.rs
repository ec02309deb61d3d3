//! Traces: one span per batch, linked to the spans that produced its records.
//!
//! A batch has many causes, so it cannot be a child of one of them: the span is a root of kind consumer with a *link* per
//! `traceparent` header, at most [`MAX_LINKS`], each once. Stages are its children. With traces off a [`BatchSpan`] is
//! `None` inside and every call returns at once. Attributes follow the semantic conventions for messaging and databases;
//! none holds row values.

use std::collections::HashSet;
use std::time::SystemTime;

use opentelemetry::trace::{Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceId};
use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use super::traceparent;

/// Most links of a span; the default limit of the OpenTelemetry SDKs.
pub const MAX_LINKS: usize = 128;

/// Where batch spans go; a handle.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    tracer: Option<SdkTracer>,
}

/// What a batch span says of its batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchFacts<'a> {
    /// Pipeline.
    pub pipeline: &'a str,
    /// Consumer group.
    pub group: &'a str,
    /// Topic, when the batch has one only.
    pub topic: Option<&'a str>,
    /// Records.
    pub records: usize,
}

/// What the span of a plugin says.
#[derive(Debug, Clone, Copy)]
pub struct PluginFacts<'a> {
    /// The plugin.
    pub plugin: &'a str,
    /// Events it saw.
    pub events: usize,
    /// Calls that were made for them.
    pub calls: u64,
    /// Calls that ended in a trap.
    pub traps: u64,
    /// The cause of the last trap, a word.
    pub cause: Option<&'static str>,
}

/// The `traceparent` headers of a batch, as they come: the first [`MAX_LINKS`] different ones.
#[derive(Debug, Default)]
pub struct Links {
    seen: HashSet<(TraceId, SpanId)>,
    links: Vec<SpanContext>,
}

impl Links {
    /// Takes a header value; what is no `traceparent` is ignored. False when there is room for no more.
    pub fn take(&mut self, header: &[u8]) -> bool {
        if self.links.len() >= MAX_LINKS {
            return false;
        }
        if let Some(context) = traceparent::parse(header)
            && self.seen.insert((context.trace_id(), context.span_id()))
        {
            self.links.push(context);
        }
        true
    }
}

/// The span of a batch. Ends when it is dropped, at the latest.
#[derive(Debug)]
pub struct BatchSpan {
    inner: Option<(SdkTracer, Context)>,
}

impl Traces {
    /// Spans go to this provider.
    #[must_use]
    pub fn new(provider: &SdkTracerProvider) -> Self {
        Self { tracer: Some(provider.tracer("whimbrel")) }
    }

    /// Spans go nowhere.
    #[must_use]
    pub const fn off() -> Self {
        Self { tracer: None }
    }

    /// False when it is not worth looking for headers.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.tracer.is_some()
    }

    /// For spans that are made elsewhere; none when they would go nowhere.
    pub(crate) const fn tracer(&self) -> Option<&SdkTracer> {
        self.tracer.as_ref()
    }

    /// Begins the span of a batch that was read at `start`.
    #[must_use]
    pub fn batch(&self, facts: &BatchFacts<'_>, links: Links, start: SystemTime) -> BatchSpan {
        let Some(tracer) = &self.tracer else { return BatchSpan { inner: None } };
        let mut attributes = vec![
            KeyValue::new("messaging.system", "kafka"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.batch.message_count", i64::try_from(facts.records).unwrap_or(i64::MAX)),
            KeyValue::new("messaging.consumer.group.name", facts.group.to_owned()),
            KeyValue::new("cdc.pipeline", facts.pipeline.to_owned()),
        ];
        attributes.extend(facts.topic.map(|topic| KeyValue::new("messaging.destination.name", topic.to_owned())));
        let span = tracer
            .span_builder("cdc.batch")
            .with_kind(SpanKind::Consumer)
            .with_start_time(start)
            .with_attributes(attributes)
            .with_links(links.links.into_iter().map(Link::with_context).collect())
            // A root always: whatever span the caller happens to be in did not cause this batch.
            .start_with_context(tracer, &Context::new());
        BatchSpan { inner: Some((tracer.clone(), Context::new().with_span(span))) }
    }
}

impl BatchSpan {
    /// Adds a stage (`decode`, `transform`) that ran from `start` to `end`.
    pub fn stage(&self, name: &'static str, start: SystemTime, end: SystemTime) {
        self.child(name, SpanKind::Internal, start, end, Vec::new(), Ok(()));
    }

    /// Adds the target's write: `system` as the conventions name it (`mongodb`, `postgresql`, `sqlite`). On failure the
    /// class of the error, a word; never its text.
    pub fn apply(
        &self,
        system: &str,
        rows: usize,
        start: SystemTime,
        end: SystemTime,
        outcome: Result<(), &'static str>,
    ) {
        let attributes = vec![
            KeyValue::new("db.system.name", system.to_owned()),
            KeyValue::new("db.operation.name", "BATCH"),
            KeyValue::new("db.operation.batch.size", i64::try_from(rows).unwrap_or(i64::MAX)),
        ];
        self.child("apply", SpanKind::Client, start, end, attributes, outcome);
    }

    /// Adds what one plugin did with the batch.
    pub fn plugin(&self, facts: &PluginFacts<'_>, start: SystemTime, end: SystemTime) {
        // Names are copied only for a batch that somebody will see.
        if !self.inner.as_ref().is_some_and(|(_, context)| context.span().is_recording()) {
            return;
        }
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let attributes = vec![
            KeyValue::new("plugin.name", facts.plugin.to_owned()),
            KeyValue::new("plugin.events", number(facts.events as u64)),
            KeyValue::new("plugin.calls", number(facts.calls)),
            KeyValue::new("plugin.traps", number(facts.traps)),
        ];
        let outcome = facts.cause.map_or(Ok(()), Err);
        self.child("plugin", SpanKind::Internal, start, end, attributes, outcome);
    }

    fn child(
        &self,
        name: &'static str,
        kind: SpanKind,
        start: SystemTime,
        end: SystemTime,
        attributes: Vec<KeyValue>,
        outcome: Result<(), &'static str>,
    ) {
        let Some((tracer, context)) = &self.inner else { return };
        let mut span = tracer
            .span_builder(name)
            .with_kind(kind)
            .with_start_time(start)
            .with_attributes(attributes)
            .start_with_context(tracer, context);
        if let Err(class) = outcome {
            span.set_attribute(KeyValue::new("error.type", class));
            span.set_status(Status::error(class));
        }
        span.end_with_timestamp(end);
    }

    /// Ends the span at `end`; `Err` is the class of what went wrong, a word.
    pub fn end(self, end: SystemTime, outcome: Result<(), &'static str>) {
        let Some((_, context)) = &self.inner else { return };
        let span = context.span();
        if let Err(class) = outcome {
            span.set_attribute(KeyValue::new("error.type", class));
            span.set_status(Status::error(class));
        }
        span.end_with_timestamp(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);
    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    fn header(trace: u128) -> Vec<u8> {
        format!("00-{trace:032x}-00f067aa0ba902b7-01").into_bytes()
    }

    #[test]
    fn a_batch_is_a_root_span_with_a_link_per_cause_and_its_stages_as_children() {
        let exporter = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let traces = Traces::new(&provider);
        let mut links = Links::default();
        for value in [header(1), header(2), header(1), b"nonsense".to_vec()] {
            assert!(links.take(&value));
        }
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let facts = BatchFacts { pipeline: "shop", group: "g", topic: Some("t"), records: 3 };
        let span = traces.batch(&facts, links, at(1_000));
        span.stage("decode", at(1_000), at(1_010));
        let facts = PluginFacts { plugin: "mask", events: 3, calls: 4, traps: 2, cause: Some("deadline") };
        span.plugin(&facts, at(1_002), at(1_010));
        span.apply("postgresql", 3, at(1_010), at(1_050), Err("conflict"));
        span.end(at(1_060), Ok(()));
        let spans = exporter.0.lock().unwrap().clone();
        let by = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let batch = by("cdc.batch");
        assert_eq!(batch.parent_span_id, SpanId::INVALID);
        assert_eq!(batch.links.links.len(), 2, "each cause once");
        assert_eq!((batch.start_time, batch.end_time), (at(1_000), at(1_060)));
        for name in ["decode", "plugin", "apply"] {
            assert_eq!(by(name).parent_span_id, batch.span_context.span_id());
        }
        assert_eq!(by("apply").status, Status::error("conflict"));
        let plugin = by("plugin");
        assert_eq!((plugin.start_time, plugin.end_time), (at(1_002), at(1_010)));
        assert_eq!(plugin.status, Status::error("deadline"));
        for (key, value) in [("plugin.name", "mask"), ("plugin.calls", "4"), ("plugin.traps", "2")] {
            assert!(
                plugin.attributes.iter().any(|one| one.key.as_str() == key && one.value.as_str() == value),
                "{key}"
            );
        }
        assert_eq!(spans.len(), 4);
    }

    #[test]
    fn a_batch_that_is_not_sampled_costs_no_spans_for_its_plugins() {
        let exporter = Kept::default();
        let provider = SdkTracerProvider::builder()
            .with_sampler(opentelemetry_sdk::trace::Sampler::AlwaysOff)
            .with_simple_exporter(exporter.clone())
            .build();
        let facts = BatchFacts { pipeline: "p", group: "g", topic: None, records: 1 };
        let span = Traces::new(&provider).batch(&facts, Links::default(), SystemTime::now());
        let facts = PluginFacts { plugin: "mask", events: 1, calls: 1, traps: 0, cause: None };
        span.plugin(&facts, SystemTime::now(), SystemTime::now());
        span.end(SystemTime::now(), Ok(()));
        assert!(exporter.0.lock().unwrap().is_empty());
    }

    #[test]
    fn links_are_bounded() {
        let mut links = Links::default();
        for trace in 1..=MAX_LINKS as u128 {
            assert!(links.take(&header(trace)));
        }
        assert!(!links.take(&header(9_999)), "full");
        assert_eq!(links.links.len(), MAX_LINKS);
    }

    #[test]
    fn with_traces_off_nothing_happens() {
        let traces = Traces::off();
        assert!(!traces.is_on());
        let facts = BatchFacts { pipeline: "p", group: "", topic: None, records: 0 };
        let span = traces.batch(&facts, Links::default(), SystemTime::now());
        assert!(span.inner.is_none());
        span.stage("decode", SystemTime::now(), SystemTime::now());
        span.end(SystemTime::now(), Ok(()));
    }
}
