//! The chain with real guests: the bundled ones, and hostile ones written for the purpose.

mod author;
mod bundled;
mod crash;
mod guests;
mod hostile;
mod lists;
mod recording;
mod swapping;
mod trusted;
mod writing;

use std::sync::{Arc, LazyLock};

use super::{Chain, Link, TrapPolicy, View, stored};
use crate::batch::{Batch, Image};
use crate::event::{Event, Kind, Op, Origin, SourcePosition, Span, Verdict};
use crate::plugin::{Cache, Engine, Instance, Limits, LoadError, Plugin, Setup, Transform};
use crate::stats::Instruments;

/// One engine for all tests, as an agent has one.
pub(super) static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new().unwrap());

pub(super) fn instruments() -> Instruments {
    Instruments::detached(Arc::new(|| 0))
}

/// A batch of events: operation, table, before, after.
pub(super) fn batch_of(events: &[(Op, &str, &str, &str)]) -> Batch {
    let mut batch = Batch::default();
    let topic = batch.topic_index(&Arc::from("shop"));
    for (offset, (op, table, before, after)) in events.iter().enumerate() {
        let destination = batch.name_index(&Arc::from(*table));
        let mut image = |json: &str| match json {
            "null" => None,
            json => {
                let parsed = serde_json::from_str(json).unwrap();
                Some(stored::row(&mut batch, None, &parsed))
            }
        };
        let (before, after) = (image(before), image(after));
        batch.events.push(Event {
            origin: Origin { topic, partition: 0, offset: offset as i64 },
            broker_ts_ms: 0,
            kind: Kind::Change(*op),
            table: 0,
            destination,
            key: None,
            before,
            after,
            raw_key: None,
            raw_value: None,
            raw_headers: Span::default(),
            source_ts_us: 1_700_000_000_000_000 + offset as i64 * 1000,
            captured_ts_us: 0,
            position: SourcePosition::default(),
            snapshot: false,
            verdict: Verdict::Keep,
        });
    }
    batch
}

/// One cell as text.
pub(super) fn text(batch: &Batch, event: usize, image: Image, column: &str) -> Option<String> {
    let row = batch.image(&batch.events[event], image)?;
    let at = batch.shape(row)?.position(column)?;
    batch.text(batch.row(row)[at]).map(std::borrow::Cow::into_owned)
}

pub(super) fn start(
    name: &str,
    bytes: &[u8],
    limits: Limits,
    config: &str,
) -> Result<Instance<Transform<View>>, LoadError> {
    let setup = Setup { limits, ..Setup::new(name, config) };
    Arc::new(Plugin::load(&ENGINE, &Cache::none(), bytes, setup)?).start()
}

pub(super) fn chain(name: &str, bytes: &[u8], limits: Limits, config: &str, policy: TrapPolicy) -> Chain {
    Chain::new(vec![Link::new(start(name, bytes, limits, config).unwrap(), policy, &instruments())])
}
