//! The whole way on librdkafka's in-process mock brokers and the embedded target: nothing lost, nothing doubled.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use serde_json::json;

use super::config::DeliveryConfig;
use super::mapping::Mapping;
use super::{Handle, Parts, Settings, start};
use crate::config::raw;
use crate::decode::DecodeConfig;
use crate::source::kafka::KafkaConfig;
use crate::source::kafka::watch::now_ms;
use crate::stats::{Instruments, LagConfig, Observer, PipelineState};
use crate::target::sqlite;

struct World {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: BaseProducer,
    directory: tempfile::TempDir,
    produced: u64,
}

impl World {
    fn new(partitions: i32) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("shop.public.orders", partitions, 1).unwrap();
        let producer = ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        Self { cluster, producer, directory: tempfile::tempdir().unwrap(), produced: 0 }
    }

    fn put(&mut self, id: i64, value: Option<&str>) {
        let key = format!(r#"{{"id":{id}}}"#);
        let partition = i32::try_from(id % i64::from(self.partitions())).unwrap();
        let mut record = BaseRecord::to("shop.public.orders").key(&key).partition(partition);
        if let Some(value) = value {
            record = record.payload(value);
        }
        self.producer.send(record).unwrap();
        self.produced += 1;
        if self.produced.is_multiple_of(1_000) {
            self.producer.flush(Duration::from_secs(10)).unwrap();
        }
    }

    fn partitions(&self) -> i32 {
        let metadata =
            self.producer.client().fetch_metadata(Some("shop.public.orders"), Duration::from_secs(5)).unwrap();
        i32::try_from(metadata.topics()[0].partitions().len()).unwrap()
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(10)).unwrap();
    }

    fn agent(&self, json: serde_json::Value) -> (Handle, Arc<Observer>) {
        let kafka: raw::Kafka = serde_json::from_value(json!({
            "brokers": self.cluster.bootstrap_servers().split(',').collect::<Vec<_>>(),
            "topics": ["shop.public.orders"],
            "session_timeout": "6s",
        }))
        .unwrap();
        let delivery: raw::Delivery = serde_json::from_value(json).unwrap();
        let mappings: Vec<raw::TableMapping> = serde_json::from_value(json!([{"from": "*", "create": true}])).unwrap();
        let target: raw::SqliteTarget =
            serde_json::from_value(json!({"path": self.database(), "ledger": true, "synchronous": "normal"})).unwrap();
        let delivery = DeliveryConfig::new(&delivery, true).unwrap();
        let observer =
            Observer::new("shop", "kafka", "sqlite", LagConfig::default(), Instruments::detached(Arc::new(now_ms)));
        let settings = Settings {
            name: "shop".into(),
            kafka: KafkaConfig::try_from(&kafka).unwrap(),
            decode: DecodeConfig::try_from(&raw::Decode::default()).unwrap(),
            mapping: Mapping::try_from(mappings.as_slice()).unwrap(),
            delivery,
            use_group_offsets: false,
        };
        let target =
            sqlite::SqliteTarget::new(sqlite::Settings::from_raw(&target, Duration::from_secs(86_400)).unwrap());
        let parts = Parts {
            target: Box::new(target),
            target_kind: "sqlite",
            chain: crate::transform::Chain::new(Vec::new()),
            observer: Arc::clone(&observer),
            traces: crate::export::trace::Traces::off(),
        };
        (start(settings, parts).unwrap(), observer)
    }

    fn database(&self) -> std::path::PathBuf {
        self.directory.path().join("shop.db")
    }

    fn query<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    fn wait_for(&self, what: &str, sql: &str, expect: i64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut last = -1;
        while Instant::now() < deadline {
            let connection = rusqlite::Connection::open(self.database()).unwrap();
            last = connection.query_row(sql, [], |row| row.get(0)).unwrap_or(-1);
            if last == expect {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{what}: expected {expect}, still {last}");
    }
}

fn row(op: &str, id: i64, value: &str) -> String {
    let image = json!({"id": id, "note": value});
    let (before, after) = if op == "d" { (image, json!(null)) } else { (json!(null), image) };
    json!({
        "before": before, "after": after, "op": op, "ts_ms": 1_795_432_096_338_i64,
        "source": {"version": "3.7.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1_795_432_095_797_i64,
            "snapshot": "false", "db": "postgres", "schema": "public", "table": "orders", "txId": 1, "lsn": id},
    })
    .to_string()
}

const EFFECTS: &str = "SELECT count(*) FROM whimbrel_ledger";
const DISTINCT_EFFECTS: &str =
    "SELECT count(*) FROM (SELECT DISTINCT topic, \"partition\", \"offset\" FROM whimbrel_ledger)";

#[test]
fn rows_reach_their_final_state_and_a_restart_repeats_nothing() {
    let mut world = World::new(3);
    let (agent, observer) = world.agent(json!({}));
    for id in 0..300 {
        world.put(id, Some(&row("c", id, "first")));
        world.put(id, Some(&row("u", id, "second")));
        if id % 3 == 0 {
            world.put(id, Some(&row("d", id, "second")));
            world.put(id, None);
        }
    }
    world.flush();
    world.wait_for("effects", EFFECTS, 700);
    assert_eq!(observer.status().state, PipelineState::Running);
    assert!(agent.join(), "in-flight batches must become durable");
    for id in 300..400 {
        world.put(id, Some(&row("c", id, "third")));
    }
    world.flush();
    let (agent, _) = world.agent(json!({}));
    world.wait_for("effects after the restart", EFFECTS, 800);
    assert!(agent.join());
    assert_eq!(world.query::<i64>(DISTINCT_EFFECTS), 800);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM orders"), 300);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM orders WHERE note = 'second'"), 200);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM orders WHERE id < 300 AND id % 3 = 0"), 0);
}

#[test]
fn two_agents_share_partitions_and_neither_loses_nor_doubles_when_one_leaves() {
    let mut world = World::new(4);
    let (first, _) = world.agent(json!({"batch": {"max_events": 50}}));
    for id in 0..1_000 {
        world.put(id, Some(&row("c", id, "a")));
    }
    world.flush();
    let (second, _) = world.agent(json!({"batch": {"max_events": 50}}));
    for id in 1_000..3_000 {
        world.put(id, Some(&row("c", id, "b")));
    }
    world.flush();
    world.wait_for("effects with two agents", EFFECTS, 3_000);
    assert!(first.join());
    for id in 3_000..4_000 {
        world.put(id, Some(&row("c", id, "c")));
    }
    world.flush();
    world.wait_for("effects with the second alone", EFFECTS, 4_000);
    assert!(second.join());
    assert_eq!(world.query::<i64>(DISTINCT_EFFECTS), 4_000);
    assert_eq!(world.query::<i64>("SELECT count(*) FROM orders"), 4_000);
}

#[test]
fn a_poison_record_becomes_a_dead_letter_and_parks_what_follows_on_its_key() {
    let mut world = World::new(1);
    let (agent, _) = world.agent(json!({}));
    for id in 0..50 {
        world.put(id, Some(&row("c", id, "good")));
    }
    world.put(7, Some("{not json"));
    world.put(7, Some(&row("u", 7, "after the poison")));
    world.put(8, Some(&row("u", 8, "unharmed")));
    world.flush();
    world.wait_for("dead letters", "SELECT count(*) FROM whimbrel_dead_letters", 2);
    world.wait_for("the neighbour", "SELECT count(*) FROM orders WHERE note = 'unharmed'", 1);
    assert!(agent.join());
    assert_eq!(world.query::<String>("SELECT note FROM orders WHERE id = 7"), "good");
    let reasons =
        "SELECT group_concat(reason, ',') FROM (SELECT reason FROM whimbrel_dead_letters ORDER BY \"offset\")";
    assert_eq!(world.query::<String>(reasons), "malformed,parked_behind");
    assert_eq!(world.query::<i64>(EFFECTS), 51);
}

#[test]
fn too_many_dead_letters_pause_the_pipeline_until_an_operator_resumes() {
    let mut world = World::new(1);
    let (agent, observer) = world.agent(json!({"poison": {"max_consecutive": 10}}));
    for id in 0..30 {
        world.put(id, Some("rubbish"));
    }
    world.flush();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !matches!(observer.status().state, PipelineState::Paused { .. }) {
        assert!(Instant::now() < deadline, "still {:?}", observer.status().state);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(world.query::<i64>("SELECT count(*) FROM whimbrel_dead_letters"), 0);
    agent.resume();
    world.wait_for("accepted dead letters", "SELECT count(*) FROM whimbrel_dead_letters", 30);
    assert!(agent.join());
}
