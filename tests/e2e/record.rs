//! Replay cases out of a running agent: recorded over its API and the command line, and left by a crash. On mock brokers of this process, so it needs no
//! server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use super::reload::World;
use crate::support::agent::binary;
use crate::support::eventually;

const CANARY: &str = "canary-4711-zqxjkv";

fn mask() -> Value {
    json!({
        "name": "mask", "plugin": "mask-fields",
        "config": {"salt": "${file:salt}", "rules": [{"columns": ["email"]}, {"columns": ["note"], "with": "hash"}]},
    })
}

fn started(plugins: &Value) -> World {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("salt"), CANARY).unwrap();
    World::with(directory, plugins, &mask())
}

impl World {
    fn record(&self, more: &[&str]) -> Output {
        let url = format!("http://{}", self.agent.address().unwrap());
        let mut command = Command::new(binary());
        command.args(["plugin", "record", "--url", &url, "--pipeline", "shop", "--plugin", "mask"]).args(more);
        command.current_dir(self.directory.path()).output().unwrap()
    }
}

fn tested(plugin: &Path, cases: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    said(&command.args(["plugin", "test"]).arg(plugin).arg("--case").arg(cases).args(more).output().unwrap())
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_recorded_without_its_values_and_becomes_a_test() {
    let mut world = started(&json!({}));
    world.status("the plugin", |status| status["plugin"] == "mask").await;
    let (code, text) = said(&world.record(&[]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("has seen no batch since the agent started"), "{text}");
    world.produce(30);
    world.arrived().await;

    let (code, text) = said(&world.record(&[]));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("tests/recorded-shop-mask.json") && text.contains("values redacted"), "{text}");
    let file = world.directory.path().join("tests/recorded-shop-mask.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let case = fs::read_to_string(&file).unwrap();
    for hidden in [CANARY, "user", "example"] {
        assert!(!case.contains(hidden), "{hidden} is in\n{case}");
    }
    assert!(case.contains(r#""salt": "${file:salt}""#), "{case}");
    assert!(case.contains("@xxxxxxx.xxx"), "{case}");
    let (code, _) = said(&world.record(&[]));
    assert_eq!((code, world.directory.path().join("tests/recorded-shop-mask-2.json").is_file()), (Some(0), true));

    for (more, expect) in [(&[][..], 1), (&["--bless"], 0), (&[], 0)] {
        let (code, text) = tested(Path::new("mask-fields"), &file, more);
        assert_eq!(code, Some(expect), "{more:?}: {text}");
    }
    let blessed: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(blessed["expect"]["result"], "ok");

    let (code, text) = said(&world.record(&["--show", "email"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("`plugins.record: values`"), "{text}");
    let address = world.agent.address().unwrap();
    let path = format!("http://{address}/api/v1/pipelines/shop/plugins/mask/recorded");
    let client = reqwest::Client::new();
    for (headers, expect) in [
        (vec![], 403),
        (vec![("x-whimbrel", "1"), ("origin", "http://127.0.0.1")], 403),
        (vec![("x-whimbrel", "1")], 200),
    ] {
        let request = headers.iter().fold(client.get(&path), |request, (name, value)| request.header(*name, *value));
        assert_eq!(request.send().await.unwrap().status().as_u16(), expect, "{headers:?}");
    }
    assert_eq!(world.agent.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_recorded_where_the_configuration_says_so() {
    let mut world = started(&json!({"record": "values"}));
    world.produce(30);
    world.arrived().await;
    let (code, text) = said(&world.record(&["--show", "email", "--out", "mails.json"]));
    assert_eq!(code, Some(0), "{text}");
    let case = fs::read_to_string(world.directory.path().join("mails.json")).unwrap();
    assert!(case.contains("@example.org") && !case.contains(CANARY), "{case}");
    let (code, text) = said(&world.record(&["--out", "mails.json"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("exists"), "what is there is not written over: {text}");
    assert!(world.agent.tail().contains("was handed out"), "{}", world.agent.tail());
    assert_eq!(world.agent.stop(), Some(0));
}

/// A transform that traps on whatever it gets.
fn crasher() -> Vec<u8> {
    let module = r#"(module
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
        (func (export "whimbrel:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32) (i32.const 1024))
        (func (export "whimbrel:plugin/transform@0.1.0#apply") (param i32) (result i32) (unreachable)))"#;
    let manifest = json!({
        "manifest": 1, "kind": "transform", "name": "crasher", "version": "0.0.1", "wit": "0.1.0", "config": {},
    });
    whimbrel::author::encode::plugin(&wat::parse_str(module).unwrap(), manifest.to_string().as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_running_agent_leaves_a_case_that_crashes_again() {
    let directory = tempfile::tempdir().unwrap();
    let (plugin, repro) = (directory.path().join("crasher.wasm"), directory.path().join("repro"));
    fs::write(&plugin, crasher()).unwrap();
    let entry = json!({"name": "mask", "plugin": plugin, "on_trap": "dead_letter"});
    let mut world = World::with(directory, &json!({"repro_dir": repro}), &entry);
    world.produce(1);
    let bundle = eventually("a bundle", Duration::from_secs(60), async || {
        let log = world.agent.tail();
        let path = log.split('"').find(|part| part.contains("crash-shop-mask-0-0-"));
        path.map(str::to_owned).ok_or(log)
    })
    .await;
    let (code, text) = tested(&plugin, Path::new(&bundle), &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("it traps as it did in the agent: fault: "), "{text}");
    let case = fs::read_to_string(&bundle).unwrap();
    assert!(case.contains("user0@example.org"), "{case}");
    let (_, metrics) = world.agent.get("/metrics").await.unwrap();
    let count = metrics.lines().find(|line| line.starts_with("plugin_repro_bundles_total{"));
    assert!(count.is_some_and(|line| line.contains("written") && line.ends_with(" 1")), "{count:?}");
    assert_eq!(world.agent.stop(), Some(0));
}
