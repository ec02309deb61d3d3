//! How much room the source has left: bytes until the server gives a replication slot up. Asked once a step, over a
//! connection that is closed again; what cannot be asked has no point.

use std::sync::Arc;
use std::time::{Duration, Instant};

use whimbrel_monitor::history::{Key, Reading, Value};

use super::shared::Shared;
use crate::config::AgentConfig;
use crate::connect::slot;
use crate::runtime::logging::chain;
use crate::source::kafka::config::Topics;
use crate::target::postgres;

/// The longest that one look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A slot, and the pipelines that lose data with it.
#[derive(Clone)]
pub struct Slot {
    name: String,
    database: postgres::Settings,
    scopes: Vec<Arc<str>>,
}

crate::config::opaque::opaque_debug!(Slot);

/// The slots of the connectors of this configuration that feed its pipelines.
#[must_use]
pub fn slots(config: &AgentConfig) -> Vec<Slot> {
    let connectors = config.connectors.iter().flat_map(|connectors| &connectors.desired);
    let slot = |desired| {
        let name = slot::name(desired)?.to_owned();
        let prefix = format!("{}.", desired.config.get("topic.prefix")?);
        let reads = |topics: &Topics, heartbeats: &[String]| {
            let heartbeat = desired.heartbeat_topic();
            let named = match topics {
                Topics::Names(names) => names.iter().any(|topic| topic.starts_with(&prefix)),
                // A pattern may say the prefix in many ways; one that takes a table of it reads from it.
                Topics::Pattern(pattern) => pattern.as_str().replace('\\', "").contains(&prefix),
            };
            named || heartbeat.is_some_and(|topic| heartbeats.contains(&topic))
        };
        let fed = config.pipelines.iter().map(|pipeline| &pipeline.settings);
        let fed = fed.filter(|settings| reads(&settings.kafka.topics, &settings.kafka.heartbeat_topics));
        let scopes: Vec<Arc<str>> = fed.map(|settings| format!("pipeline/{}", settings.name).into()).collect();
        (!scopes.is_empty()).then_some(Slot { name, database: slot::database(desired)?, scopes })
    };
    connectors.filter_map(slot).collect()
}

/// Asks until it is over.
pub(super) fn run(shared: &Shared, slots: &[Slot]) {
    crate::runtime::tls::install();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        tracing::error!("nobody looks at the replication slots: there is no async runtime to be had");
        return;
    };
    loop {
        let next = Instant::now() + shared.step;
        let mut readings = Vec::new();
        for slot in slots {
            let asked =
                runtime.block_on(async { tokio::time::timeout(PATIENCE, slot::ask(&slot.database, &slot.name)).await });
            match asked {
                Ok(Ok(Some(facts))) => readings.extend(read(slot, facts.room)),
                Ok(Ok(None)) => tracing::debug!(slot = slot.name, "replication slot is not there"),
                Ok(Err(error)) => tracing::debug!(slot = slot.name, error = chain(&error), "replication slot not seen"),
                Err(_) => tracing::debug!(slot = slot.name, "replication slot not seen in time"),
            }
        }
        shared.beside(readings);
        if !shared.rest(next) {
            return;
        }
    }
}

fn read(slot: &Slot, room: Option<i64>) -> Vec<Reading> {
    let Some(room) = room else { return Vec::new() };
    #[expect(clippy::cast_precision_loss, reason = "bytes as points of a series")]
    let value = Value::Level(room.max(0) as f64);
    let labels = vec![("by".into(), "slot".into()), ("name".into(), slot.name.as_str().into())];
    let key = |scope: &Arc<str>| Key {
        scope: Arc::clone(scope),
        name: "source_headroom_bytes".into(),
        labels: labels.clone(),
    };
    slot.scopes.iter().map(|scope| Reading { key: key(scope), value, fine: false }).collect()
}
