//! Spans of migrations: one for the migration, a root; one below it for each step or statement; one below that for each chunk
//! that was committed. Attributes follow the semantic conventions for databases; none holds values.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;
use whimbrel_migrate::database::System;
use whimbrel_migrate::watch::{Event, Watch};

use crate::export::Traces;
use crate::stats::migrations::id_of;

/// Makes spans of events.
pub struct Spans {
    tracer: Option<SdkTracer>,
    open: Mutex<HashMap<String, Open>>,
}

struct Open {
    migration: Context,
    step: Option<Context>,
    system: Option<System>,
    place: Option<String>,
    what: String,
}

impl Open {
    /// What a step and its chunks have in common.
    fn attributes(&self) -> Vec<KeyValue> {
        // The first word is the kind of operation, and few there are: "update orders" is an update.
        let operation = self.what.split_whitespace().next().unwrap_or_default().to_owned();
        let mut attributes = vec![KeyValue::new("db.operation.name", operation)];
        attributes.push(KeyValue::new("db.query.summary", self.what.clone()));
        attributes.extend(self.system.map(|system| KeyValue::new("db.system.name", system.as_str())));
        attributes.extend(self.place.clone().map(|place| KeyValue::new("db.collection.name", place)));
        attributes
    }
}

impl Spans {
    /// Spans go where `traces` go.
    #[must_use]
    pub fn new(traces: &Traces) -> Self {
        Self { tracer: traces.tracer().cloned(), open: Mutex::default() }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn end(context: &Context, error: Option<&str>, at: SystemTime) {
    let span = context.span();
    if let Some(code) = error {
        span.set_attribute(KeyValue::new("error.type", code.to_owned()));
        span.set_status(Status::error(code.to_owned()));
    }
    span.end_with_timestamp(at);
}

impl Watch for Spans {
    fn tell(&self, event: &Event<'_>) {
        let Some((tracer, id)) = self.tracer.as_ref().zip(id_of(event)) else { return };
        let now = SystemTime::now();
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Event::Started { name, system, direction, steps, .. } = event {
            let mut attributes = vec![
                KeyValue::new("migration.id", id.to_owned()),
                KeyValue::new("migration.name", (*name).to_owned()),
                KeyValue::new("migration.direction", direction.as_str()),
                KeyValue::new("migration.steps", number(*steps as u64)),
            ];
            attributes.extend(system.map(|system| KeyValue::new("db.system.name", system.as_str())));
            let span = tracer
                .span_builder("migration")
                .with_kind(SpanKind::Internal)
                .with_start_time(now)
                .with_attributes(attributes)
                .start_with_context(tracer, &Context::new());
            let migration = Context::new().with_span(span);
            let open = Open { migration, step: None, system: *system, place: None, what: String::new() };
            all.insert(id.to_owned(), open);
            return;
        }
        let Some(open) = all.get_mut(id) else { return };
        match event {
            Event::StepStarted { index, what, place, .. } => {
                (open.what, open.place) = ((*what).to_owned(), place.map(str::to_owned));
                let mut attributes = open.attributes();
                attributes.push(KeyValue::new("migration.step", number(*index as u64)));
                let span = tracer
                    .span_builder("migration.step")
                    .with_kind(SpanKind::Client)
                    .with_start_time(now)
                    .with_attributes(attributes)
                    .start_with_context(tracer, &open.migration);
                open.step = Some(Context::new().with_span(span));
            }
            Event::Committed { place, count, started, .. } => {
                let mut attributes = open.attributes();
                attributes.retain(|one| one.key.as_str() != "db.collection.name");
                attributes.push(KeyValue::new("db.collection.name", (*place).to_owned()));
                attributes.push(KeyValue::new("db.operation.batch.size", number(*count)));
                let mut span = tracer
                    .span_builder("migration.chunk")
                    .with_kind(SpanKind::Client)
                    .with_start_time(*started)
                    .with_attributes(attributes)
                    .start_with_context(tracer, open.step.as_ref().unwrap_or(&open.migration));
                span.end_with_timestamp(now);
            }
            Event::Retried { code, attempt, .. } => {
                let span = open.step.as_ref().unwrap_or(&open.migration).span();
                let attributes = vec![
                    KeyValue::new("error.type", (*code).to_owned()),
                    KeyValue::new("migration.attempt", i64::from(*attempt)),
                ];
                span.add_event_with_timestamp("retry", now, attributes);
            }
            Event::StepEnded { error, .. } => {
                if let Some(step) = open.step.take() {
                    end(&step, *error, now);
                }
            }
            Event::Ended { error, progress, .. } => {
                let code = error.map(|(code, _)| code);
                if let Some(step) = open.step.take() {
                    end(&step, code, now);
                }
                open.migration.span().set_attribute(KeyValue::new("migration.count", number(progress.total().done)));
                end(&open.migration, code, now);
                all.remove(id);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use opentelemetry::trace::SpanId;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use whimbrel_migrate::ledger::{Direction, Progress};

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);
    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    fn attribute(span: &SpanData, key: &str) -> String {
        span.attributes.iter().find(|one| one.key.as_str() == key).map(|one| one.value.to_string()).unwrap_or_default()
    }

    #[test]
    fn chunks_are_below_their_step_and_steps_below_the_migration_with_their_own_times() {
        let exporter = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
        let spans = Spans::new(&Traces::new(&provider));
        let (id, direction, progress) = ("7", Direction::Up, Progress::default());
        let began = SystemTime::now() - Duration::from_secs(60);
        spans.tell(&Event::Started {
            id,
            name: "fill",
            system: Some(System::Mongodb),
            direction,
            steps: 2,
            progress: &progress,
        });
        for (index, what, error) in [(0, "update orders", None), (1, "create index a", Some("IndexOptionsConflict"))] {
            spans.tell(&Event::StepStarted { id, index, what, place: Some("orders"), expected: None });
            if index == 0 {
                spans.tell(&Event::Committed { id, place: "orders", count: 500, started: began, progress: &progress });
                spans.tell(&Event::Retried { id, code: "WriteConflict", attempt: 2, wait: Duration::ZERO });
            }
            spans.tell(&Event::StepEnded { id, index, what, started: began, error });
        }
        let error = Some(("IndexOptionsConflict", "there is another index of this name"));
        spans.tell(&Event::Ended { id, direction, started: began, error, progress: &progress });
        let all = exporter.0.lock().unwrap().clone();
        let named = |name: &str| all.iter().filter(|span| span.name == name).collect::<Vec<_>>();
        let (migration, steps, chunks) = (named("migration"), named("migration.step"), named("migration.chunk"));
        assert_eq!((migration.len(), steps.len(), chunks.len()), (1, 2, 1));
        assert_eq!(migration[0].parent_span_id, SpanId::INVALID);
        assert!(steps.iter().all(|step| step.parent_span_id == migration[0].span_context.span_id()));
        assert_eq!(chunks[0].parent_span_id, steps[0].span_context.span_id());
        assert_eq!(chunks[0].start_time, began, "when the chunk began, not when it was told of");
        assert_eq!(steps[0].events.events.len(), 1, "a retry is an event of its step");
        for (span, key, expect) in [
            (chunks[0], "db.system.name", "mongodb"),
            (chunks[0], "db.collection.name", "orders"),
            (chunks[0], "db.operation.name", "update"),
            (chunks[0], "db.operation.batch.size", "500"),
            (steps[1], "db.query.summary", "create index a"),
            (steps[1], "error.type", "IndexOptionsConflict"),
            (steps[0], "error.type", ""),
            (migration[0], "migration.id", "7"),
            (migration[0], "error.type", "IndexOptionsConflict"),
        ] {
            assert_eq!(attribute(span, key), expect, "{} {key}", span.name);
        }
        assert!(spans.open.lock().unwrap().is_empty(), "nothing is kept of what is over");
    }

    #[test]
    fn without_a_collector_nothing_is_kept() {
        let spans = Spans::new(&Traces::off());
        let progress = Progress::default();
        let (name, direction) = ("n", Direction::Up);
        spans.tell(&Event::Started { id: "1", name, system: None, direction, steps: 1, progress: &progress });
        assert!(spans.open.lock().unwrap().is_empty());
    }
}
