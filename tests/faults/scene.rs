//! A topic, a target, and agents that may be killed; and in the end what was lost or doubled.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::kafka::{Producer, create_topic_at, envelope};
use crate::support::ledger::{At, Found, Store, Verdict};
use crate::support::{brokers, unique};

/// Keys the generator moves; few enough that each is written often.
const KEYS: i64 = 200;

/// What has been produced, and what must come of it.
pub(super) struct Scene {
    brokers: String,
    pub(super) topic: String,
    pub(super) store: Store,
    pub(super) directory: tempfile::TempDir,
    partitions: i32,
    producer: Producer,
    random: SmallRng,
    next: Vec<i64>,
    lsn: i64,
    /// Records whose effect is expected.
    pub(super) produced: Vec<At>,
    /// Final state of the rows.
    pub(super) rows: BTreeMap<i64, String>,
}

impl Scene {
    pub(super) async fn new(stem: &str, store: Store, partitions: i32, seed: u64) -> Self {
        Self::at(&brokers(), stem, store, partitions, seed).await
    }

    /// With brokers of its own.
    pub(super) async fn at(brokers: &str, stem: &str, store: Store, partitions: i32, seed: u64) -> Self {
        let scene = Self::over(brokers, stem, store, partitions, seed);
        create_topic_at(brokers, &scene.topic, partitions).await;
        scene
    }

    /// The topic is not there yet.
    pub(super) fn without_topic(stem: &str, store: Store, partitions: i32, seed: u64) -> Self {
        Self::over(&brokers(), stem, store, partitions, seed)
    }

    fn over(brokers: &str, stem: &str, store: Store, partitions: i32, seed: u64) -> Self {
        let topic = unique(&format!("faults.{stem}"));
        Self {
            producer: Producer::new(brokers, &topic),
            brokers: brokers.to_owned(),
            topic,
            store,
            directory: tempfile::tempdir().unwrap(),
            partitions,
            random: SmallRng::seed_from_u64(seed),
            next: vec![0; usize::try_from(partitions).unwrap()],
            lsn: 1,
            produced: Vec::new(),
            rows: BTreeMap::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration of an agent; `static_member` makes a restarted one take over at once.
    pub(super) fn config(&self, group: &str, static_member: Option<&str>, delivery: &Value) -> Value {
        let mut kafka = json!({
            "brokers": [self.brokers], "topics": [self.topic], "group": group, "session_timeout": "2s",
            "properties": {"topic.metadata.refresh.interval.ms": "1000", "reconnect.backoff.max.ms": "500"},
        });
        if let Some(id) = static_member {
            kafka["properties"]["group.instance.id"] = json!(id);
        }
        json!({
            "name": "faults",
            "http": {"listen": "127.0.0.1:0"},
            "pipelines": [{
                "name": "p", "source": {"kafka": kafka}, "target": self.store.target(),
                "tables": [{"from": "*", "create": true}], "delivery": delivery,
            }],
        })
    }

    pub(super) fn agent(&self, name: &str, config: &Value, environment: &[(&str, &str)]) -> Agent {
        Agent::start(self.path(), name, config, environment)
    }

    /// Inserts, updates and deletes of random keys.
    pub(super) fn produce(&mut self, count: usize) {
        for _ in 0..count {
            let id = self.random.random_range(0..KEYS);
            let (op, note) = match (self.rows.contains_key(&id), self.random.random_range(0..10)) {
                (true, 0..2) => ("d", self.rows.remove(&id).unwrap()),
                (known, _) => {
                    let note = format!("v{}", self.lsn);
                    self.rows.insert(id, note.clone());
                    (if known { "u" } else { "c" }, note)
                }
            };
            let value = envelope(op, id, &note, self.lsn);
            self.send(id, Some(&value), true);
            if op == "d" {
                self.send(id, None, false);
            }
        }
        self.producer.flush();
    }

    /// A record as it is, with the key of `id`; `counts`: it must take effect or become a dead letter.
    pub(super) fn send(&mut self, id: i64, value: Option<&[u8]>, counts: bool) {
        self.lsn += 1;
        let partition = i32::try_from(id % i64::from(self.partitions)).unwrap();
        self.producer.send(partition, Some(&format!("{{\"id\":{id}}}")), value);
        let slot = &mut self.next[usize::try_from(partition).unwrap()];
        if counts {
            self.produced.push((partition, *slot));
        }
        *slot += 1;
    }

    pub(super) fn flush(&self) {
        self.producer.flush();
    }

    pub(super) async fn judge(&self) -> (Found, Verdict) {
        let found = self.store.read().await;
        let verdict = found.judge(self.produced.iter().copied());
        (found, verdict)
    }

    /// Waits until every record is accounted for; what is still lost after `within` is lost.
    pub(super) async fn settle(&self, within: Duration) -> (Found, Verdict) {
        let deadline = Instant::now() + within;
        loop {
            let (found, verdict) = self.judge().await;
            if verdict.lost.is_empty() || Instant::now() >= deadline {
                return (found, verdict);
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// All is as it must be: ledger and rows.
    pub(super) async fn assert_whole(&self, within: Duration, agents: &[&Agent]) {
        let (found, verdict) = self.settle(within).await;
        let logs = || agents.iter().map(|a| a.tail()).collect::<Vec<_>>().join("\n---\n");
        assert!(
            verdict.is_green(),
            "of {} records {} lost (first {:?}), {} doubled (first {:?})\n{}",
            self.produced.len(),
            verdict.lost.len(),
            verdict.lost.first(),
            verdict.doubled.len(),
            verdict.doubled.first(),
            logs(),
        );
        if found.dead.is_empty() {
            assert!(found.rows == self.rows, "rows differ from the model\n{}", logs());
        }
    }
}
