//! New versions of a plugin in a running agent: by a swapped link, over the API, out of the shadow. On mock brokers of this
//! process, so it needs no server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::{Value, json};
use whimbrel::plugin::bundled;

use crate::support::agent::{Agent, binary};
use crate::support::eventually;
use crate::support::kafka::{Producer, envelope};

const TOPIC: &str = "shop.public.items";
const WITHIN: Duration = Duration::from_secs(60);

/// The bundled mask with another character in place of its stars: another file, that works differently.
fn mask(with: &str) -> Vec<u8> {
    let bytes = bundled::find("mask-fields").unwrap();
    let (stars, other) = (b"***@***", format!("{0}@{0}", with.repeat(3)));
    let found: Vec<usize> = (0..bytes.len() - stars.len()).filter(|at| bytes[*at..].starts_with(stars)).collect();
    assert_eq!(found.len(), 1, "the mask's text has to be found to be changed");
    let mut bytes = bytes.to_vec();
    bytes[found[0]..found[0] + stars.len()].copy_from_slice(other.as_bytes());
    bytes
}

/// A volume as Kubernetes mounts it: the file is a link into a directory that is a link, and that one is swapped.
struct Mount {
    root: PathBuf,
    version: u32,
}

impl Mount {
    fn put(&mut self, bytes: &[u8]) {
        self.version += 1;
        let directory = format!("..{}", self.version);
        fs::create_dir_all(self.root.join(&directory)).unwrap();
        fs::write(self.root.join(&directory).join("mask.wasm"), bytes).unwrap();
        symlink(&directory, self.root.join("..next")).unwrap();
        fs::rename(self.root.join("..next"), self.root.join("..data")).unwrap();
        if self.version == 1 {
            symlink("..data/mask.wasm", self.root.join("mask.wasm")).unwrap();
        } else {
            fs::remove_dir_all(self.root.join(format!("..{}", self.version - 1))).unwrap();
        }
    }
}

pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    _cluster: MockCluster<'static, DefaultProducerContext>,
    producer: Producer,
    pub(super) agent: Agent,
    produced: i64,
}

impl World {
    fn start(directory: tempfile::TempDir, transform: &Value) -> Self {
        Self::with(directory, &json!({}), transform)
    }

    /// With more settings of the plugin host.
    pub(super) fn with(directory: tempfile::TempDir, plugins: &Value, transform: &Value) -> Self {
        let mut host = json!({"cache_dir": directory.path().join("cache")});
        host.as_object_mut().unwrap().extend(plugins.as_object().unwrap().clone());
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let config = json!({
            "name": "reload",
            "http": {"listen": "127.0.0.1:0"},
            "plugins": host,
            "pipelines": [{
                "name": "shop",
                "source": {"kafka": {
                    "brokers": brokers.split(',').collect::<Vec<_>>(), "topics": [TOPIC], "session_timeout": "6s",
                }},
                "transform": [transform],
                "target": {"sqlite": {"path": directory.path().join("shop.db")}},
                "tables": [{"from": "*", "create": true}],
                "delivery": {"batch": {"max_events": 20}},
            }],
        });
        let agent = Agent::start(directory.path(), "reload", &config, &[]);
        let producer = Producer::new(&brokers, TOPIC);
        World { directory, _cluster: cluster, producer, agent, produced: 0 }
    }

    pub(super) fn produce(&mut self, count: i64) {
        for id in self.produced..self.produced + count {
            let key = format!(r#"{{"id":{id}}}"#);
            self.producer.send(0, Some(&key), Some(&envelope("c", id, "n", id + 1)));
        }
        self.producer.flush();
        self.produced += count;
    }

    /// What the mask left, by id.
    fn masks(&self) -> Result<BTreeMap<i64, String>, String> {
        let database = rusqlite::Connection::open(self.directory.path().join("shop.db")).map_err(|e| e.to_string())?;
        let mut query = database.prepare("SELECT id, email FROM items").map_err(|e| e.to_string())?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).map_err(|e| e.to_string())?;
        rows.map(|row| row.map(|(id, email)| (id, email[1..4].to_owned())))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())
    }

    /// Waits until all that was produced has arrived.
    pub(super) async fn arrived(&self) -> BTreeMap<i64, String> {
        eventually("rows", WITHIN, async || {
            let masks = self.masks()?;
            if masks.len() as i64 == self.produced {
                Ok(masks)
            } else {
                Err(format!("{}\n{}", masks.len(), self.agent.tail()))
            }
        })
        .await
    }

    /// Waits until the plugin's status is so.
    pub(super) async fn status(&self, what: &str, good: impl Fn(&Value) -> bool) -> Value {
        eventually(what, WITHIN, async || {
            let (_, body) = self.agent.get("/api/v1/plugins").await?;
            let status: Value = serde_json::from_str(&body).map_err(|e| e.to_string())?;
            if good(&status[0]) { Ok(status[0].clone()) } else { Err(format!("{body}\n{}", self.agent.tail())) }
        })
        .await
    }

    async fn post(&self, path: &str, header: Option<&str>) -> (u16, Value) {
        let request = reqwest::Client::new().post(format!("http://{}{path}", self.agent.address().unwrap()));
        let request = header.map_or(request.try_clone().unwrap(), |value| request.header("x-whimbrel", value));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    fn promote(&self, more: &[&str]) -> Output {
        let url = format!("http://{}", self.agent.address().unwrap());
        let mut command = Command::new(binary());
        command.args(["plugin", "promote", "--url", &url, "--pipeline", "shop", "--plugin", "mask"]).args(more);
        command.output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agent_takes_new_versions_and_keeps_the_old_one_over_a_broken_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut mount = Mount { root: directory.path().join("mount"), version: 0 };
    fs::create_dir(&mount.root).unwrap();
    mount.put(&mask("*"));
    let shadow: &Path = &directory.path().join("next.wasm");
    fs::write(shadow, mask("-")).unwrap();
    let mut world = World::start(
        directory,
        &json!({
            "name": "mask", "plugin": mount.root.join("mask.wasm"), "config": {"rules": [{"columns": ["email"]}]},
            "shadow": {"plugin": shadow},
        }),
    );
    world.produce(100);
    let masks = world.arrived().await;
    assert!(masks.values().all(|mask| mask == "***"), "{masks:?}");

    // While records flow: every one arrives once, and the masks change once.
    mount.put(&mask("+"));
    let mut swaps = 0;
    while swaps == 0 {
        assert!(world.produced < 100_000, "{}", world.agent.tail());
        world.produce(20);
        let (_, body) = world.agent.get("/api/v1/plugins").await.unwrap();
        swaps = serde_json::from_str::<Value>(&body).unwrap()[0]["swaps"].as_u64().unwrap();
    }
    world.produce(100);
    let masks = world.arrived().await;
    let last_old = masks.iter().filter(|(_, mask)| *mask == "***").map(|(id, _)| *id).max().unwrap();
    let first_new = masks.iter().filter(|(_, mask)| *mask == "+++").map(|(id, _)| *id).min().unwrap();
    assert_eq!(last_old + 1, first_new, "{masks:?}");

    mount.put(b"\0asm rubbish");
    let status = world.status("the refusal", |status| status["last_reload"]["outcome"] == "refused").await;
    assert!(status["last_reload"]["why"].as_str().unwrap().contains("damaged"), "{status}");
    let (ready, body) = world.agent.get("/readyz").await.unwrap();
    assert_eq!(ready, 200, "{body}");
    assert!(body.contains("not_reloaded") && body.contains("shop/mask"), "{body}");
    assert_eq!(world.post("/api/v1/plugins/reload", None).await.0, 403);
    let (code, answer) = world.post("/api/v1/plugins/reload", Some("1")).await;
    assert_eq!((code, &answer["reloads"][0]["outcome"]), (409, &json!("refused")), "{answer}");
    world.produce(50);
    assert_eq!(world.arrived().await[&(world.produced - 1)], "+++");

    // Out of the shadow: first what it did is shown, then the conditions hold.
    world.status("a comparison", |status| status["shadow"]["events"]["differs"].as_u64() > Some(50)).await;
    let refused = world.promote(&["--max-differs", "0"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stdout).contains("differs    after.email in"), "{}", text(&refused.stdout));
    assert!(text(&refused.stderr).contains("at most 0 may"), "{}", text(&refused.stderr));
    let promoted = world.promote(&["--min-events", "50"]);
    assert_eq!(promoted.status.code(), Some(0), "{}", text(&promoted.stderr));
    assert!(text(&promoted.stdout).contains("remove `shadow`"), "{}", text(&promoted.stdout));
    let status = world.status("the promotion", |status| status["promoted"] == true).await;
    assert_eq!((&status["swaps"], &status["shadow"]), (&json!(2), &Value::Null));
    world.produce(50);
    assert_eq!(world.arrived().await[&(world.produced - 1)], "---");

    let (_, metrics) = world.agent.get("/metrics").await.unwrap();
    let lines = |start: &str| metrics.lines().filter(|line| line.starts_with(start)).collect::<Vec<_>>();
    let info = lines("plugin_info{");
    assert!(info.len() == 1 && info[0].contains(status["digest"].as_str().unwrap()), "{info:?}");
    let swapped = metrics.lines().find(|line| line.starts_with("plugin_reloads_total{") && line.contains("swapped"));
    assert!(swapped.unwrap().ends_with(" 2"), "{swapped:?}");
    assert_eq!(world.agent.stop(), Some(0));
}
