//! A crash leaves a bundle, and the bundle replays to the same crash: with hostile guests, through the command line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use serde_json::{Value, json};

use super::{ENGINE, batch_of};
use crate::batch::Batch;
use crate::cli::{Cli, Command, Exit, plugin};
use crate::config;
use crate::event::{Op, Reason};
use crate::export::prometheus::Scrape;
use crate::plugin::fixture::{MANIFEST, component, guest, module};
use crate::plugin::repro::ReproDir;
use crate::plugin::trust::Trust;
use crate::plugin::{Cache, Sandbox, Services};
use crate::stats::{Instruments, ReloadOutcome};
use crate::transform::{Chain, ChainError, Reloads, build};

const CANARY: &str = "canary-4711-zqxjkv";

/// Does this when an event of its batch has a poison.
fn poisoned(sin: &str) -> String {
    format!(
        "(local $n i32)
        (local.set $n (call $len (local.get 0)))
        (call $text_column (local.get 0) (i32.const 2048) (i32.const 12) (i32.const 3072))
        (if (i32.load (i32.add (i32.load (i32.const 3072)) (i32.shl (local.get $n) (i32.const 2)))) (then {sin}))"
    )
}

/// A chain of one plugin as an agent builds it from a file.
struct Rig {
    directory: tempfile::TempDir,
    chain: Chain,
    reloads: Reloads,
    scrape: Scrape,
    _provider: SdkMeterProvider,
}

impl Rig {
    fn new(bytes: &[u8], entry: &Value, services: Services) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("hostile.wasm"), bytes).unwrap();
        fs::write(path("secret"), CANARY).unwrap();
        let mut transform = json!({"plugin": path("hostile.wasm"), "name": "hostile", "on_trap": "dead_letter"});
        transform.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        let config = json!({
            "plugins": {"repro_dir": path("repro"), "repro_keep": 3},
            "pipelines": [{
                "name": "shop",
                "source": {"kafka": {"brokers": ["127.0.0.1:9092"]}},
                "transform": [transform],
                "target": {"sqlite": {"path": path("shop.db")}},
            }],
        });
        fs::write(path("whimbrel.yaml"), config.to_string()).unwrap();
        let config = config::load(&path("whimbrel.yaml")).unwrap_or_else(|report| panic!("{report}")).config;
        let repro = config.plugins.repro_dir.map(|directory| ReproDir::new(directory, config.plugins.repro_keep));
        let sandbox =
            Sandbox { engine: ENGINE.clone(), cache: Cache::none(), services, trust: Trust::default(), repro };
        let (scrape, reader) = Scrape::new().unwrap();
        let provider = SdkMeterProvider::builder().with_reader(reader).build();
        let instruments = Instruments::new(&provider.meter("whimbrel"), None, 2000, Arc::new(|| 0));
        let mut chain = build(&sandbox, "shop", &config.pipelines[0].transform, &instruments).unwrap();
        let mut reloads = Reloads::new(sandbox, instruments);
        reloads.add(&mut chain);
        Rig { directory, chain, reloads, scrape, _provider: provider }
    }

    fn bundles(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.directory.path().join("repro")) else { return Vec::new() };
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn only_bundle(&self) -> (PathBuf, Value) {
        let bundles = self.bundles();
        assert_eq!(bundles.len(), 1, "{bundles:?}");
        let text = fs::read_to_string(&bundles[0]).unwrap();
        (bundles[0].clone(), serde_json::from_str(&text).unwrap())
    }

    /// How many bundles were written and dropped.
    fn counted(&self) -> (u64, u64) {
        let text = String::from_utf8(self.scrape.text().unwrap()).unwrap();
        let count = |outcome: &str| {
            let own = |line: &&str| line.starts_with("plugin_repro_bundles_total{") && line.contains(outcome);
            text.lines().find(own).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
        };
        (count("written"), count("dropped"))
    }
}

/// What `whimbrel plugin test` says of these cases.
fn tested(plugin: &Path, cases: &Path) -> (Exit, String) {
    let cli = Cli::parse_from([
        Path::new("whimbrel"),
        Path::new("plugin"),
        Path::new("test"),
        plugin,
        Path::new("--case"),
        cases,
    ]);
    let Command::Plugin(args) = cli.command else { panic!("not a plugin command") };
    let mut said = Vec::new();
    let exit = plugin::run(args, &mut said, &mut std::io::stderr()).unwrap();
    (exit, String::from_utf8(said).unwrap())
}

fn events(poison: &str) -> Batch {
    batch_of(&[
        (Op::Create, "public.t", "null", r#"{"id":1,"poison":null,"big":12345678901234567890.5}"#),
        (
            Op::Update,
            "public.t",
            r#"{"id":2}"#,
            &format!(r#"{{"id":2,"poison":{poison},"big":12345678901234567890.5}}"#),
        ),
        (Op::Create, "public.t", "null", r#"{"id":3,"poison":null}"#),
    ])
}

#[test]
fn a_crash_leaves_a_bundle_of_the_poison_alone_and_replays_to_the_same_crash() {
    for (sin, entry, expect) in [
        ("(unreachable)", json!({}), "fault: "),
        ("(loop $l (br $l))", json!({"limits": {"call": "300ms"}}), "deadline: the call took longer than its budget"),
        // Within the default limit of a replay: it is the case's own that makes it trap.
        (
            "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then (unreachable)))",
            json!({"limits": {"memory": "2MiB"}}),
            "memory: it wanted more memory than its limit",
        ),
        (
            "(call $panicked (i32.const 2048) (i32.const 12) (i32.const 2048) (i32.const 5) (i32.const 7)) (unreachable)",
            json!({}),
            "panic: after.poison at after:7",
        ),
    ] {
        let mut rig = Rig::new(&guest("", &poisoned(sin)), &entry, Services::default());
        let mut batch = events(r#""Grace""#);
        rig.chain.apply(&mut batch).unwrap();
        assert_eq!(batch.failure(&batch.events[1]).unwrap().reason, Reason::TransformTrapped, "{sin}");
        let (path, bundle) = rig.only_bundle();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bundle["events"].as_array().unwrap().len(), 1, "{sin}");
        assert_eq!(
            (&bundle["events"][0]["operation"], &bundle["events"][0]["before"]),
            (&json!("update"), &json!({"id": 2}))
        );
        assert!(fs::read_to_string(&path).unwrap().contains(r#""big": 12345678901234567890.5"#), "{sin}");
        let trap = &bundle["trap"];
        assert_eq!((&trap["topic"], &trap["partition"], &trap["offset"]), (&json!("shop"), &json!(0), &json!(1)));
        assert_eq!(
            (&trap["pipeline"], &trap["plugin"], &trap["version"]),
            (&json!("shop"), &json!("hostile"), &json!("0.0.1"))
        );
        assert_eq!(trap["digest"], crate::plugin::digest(&guest("", &poisoned(sin))));
        let told = format!("{}: {}", trap["cause"].as_str().unwrap(), trap["message"].as_str().unwrap());
        assert!(told.starts_with(expect), "{sin}: {told}");
        assert_eq!(rig.counted(), (1, 0), "{sin}");

        let wasm = rig.directory.path().join("hostile.wasm");
        let (exit, said) = tested(&wasm, &rig.directory.path().join("repro"));
        assert_eq!(exit, Exit::Runtime, "{said}");
        assert!(said.contains(&format!("it traps as it did in the agent: {told}\n")), "{sin}: {said}");
        fs::write(&wasm, guest("", "")).unwrap();
        let (exit, said) = tested(&wasm, &path);
        assert_eq!(exit, Exit::Runtime, "{said}");
        assert!(said.contains("it does not trap as it did in the agent"), "{sin}: {said}");
        fs::write(&wasm, guest("", "(i32.store (i32.const -4) (i32.const 0))")).unwrap();
        let (_, said) = tested(&wasm, &path);
        assert!(said.contains("it traps otherwise than in the agent: fault: "), "{sin}: {said}");
    }
}

/// Tells its configuration when it panics, and counts its calls in a byte of state.
fn telltale() -> Vec<u8> {
    let apply = poisoned(
        "(call $state_get (i32.const 2048) (i32.const 12) (i32.const 3072))
        (if (i32.eqz (i32.load8_u (i32.const 3072))) (then (call $give_back (i32.const -1))))
        (call $panicked (global.get $config) (global.get $length) (i32.const 2048) (i32.const 5) (i32.const 7))
        (unreachable)",
    );
    let imports = r#"(import "whimbrel:plugin/host-state@0.1.0" "get" (func $state_get (param i32 i32 i32)))
        (global $config (mut i32) (i32.const 0)) (global $length (mut i32) (i32.const 0))
        (memory (export "memory") 4)"#;
    let configure = r#"(param i32 i32) (result i32) (global.set $config (local.get 0)) (global.set $length (local.get 1)) (i32.const 1024)"#;
    let module = module("", &apply)
        .replace(r#"(memory (export "memory") 4)"#, imports)
        // What it was configured with stays where it is.
        .replace("(global.set $heap (i32.const 65536))", "(global.set $heap (i32.const 131072))")
        .replace("(param i32 i32) (result i32) (i32.const 1024)", configure);
    component(&module, &[MANIFEST])
}

#[test]
fn a_bundle_has_state_clock_and_grants_and_no_secret() {
    let services = Services { clock: Arc::new(|| 1_234_567), ..Services::default() };
    let note = format!("it says {CANARY}");
    let bytes = [&[0xff], CANARY.as_bytes()].concat();
    let kept = [("after.poison", &b"\x01\xff"[..]), ("note", note.as_bytes()), ("bytes", &bytes)];
    let changes = kept.map(|(key, value)| (key.to_owned(), Some(value.to_vec())));
    services.store.save("shop/hostile", &changes.into()).unwrap();
    let entry = json!({
        "config": {"url": "tcp://u:${file:secret}@host/", "password": "written-out", "plain": 1},
        "grants": {"state": "1KiB"},
    });
    let mut rig = Rig::new(&telltale(), &entry, services);
    rig.chain.apply(&mut events(&format!(r#""a row has {CANARY} too""#))).unwrap();
    let (path, bundle) = rig.only_bundle();
    let text = fs::read_to_string(&path).unwrap();
    for hidden in ["canary", "4711", "zqxjkv", "written-out"] {
        assert!(!text.contains(hidden), "{hidden} is in\n{text}");
    }
    assert_eq!(bundle["config"], json!({"url": "tcp://u:${file:secret}@host/", "password": "***", "plain": 1}));
    assert_eq!(bundle["state"], json!({"after.poison": {"base64": "Af8="}, "note": "it says ${file:secret}"}));
    assert_eq!((&bundle["now_ms"], &bundle["grants"]["state"]), (&json!(1_234_567), &json!(1024)));
    assert_eq!(bundle["events"][0]["after"]["poison"], "a row has ${file:secret} too");
    let message = bundle["trap"]["message"].as_str().unwrap();
    assert!(message.contains("tcp://u:***@host/"), "{message}");
    // The reference stands where the stars are. Without its state it would have trapped otherwise.
    let (_, said) = tested(&rig.directory.path().join("hostile.wasm"), &path);
    assert!(said.contains("it traps as it did in the agent: panic: "), "{said}");
}

#[test]
fn the_same_event_leaves_one_bundle_and_only_the_newest_are_kept() {
    let entry = json!({"on_trap": "halt", "limits": {"traps": 100}});
    let mut rig = Rig::new(&guest("", &poisoned("(unreachable)")), &entry, Services::default());
    for _ in 0..3 {
        let error = rig.chain.apply(&mut events(r#""x""#)).unwrap_err();
        assert!(matches!(error, ChainError::Halted { offset: 1, .. }), "{error}");
    }
    assert_eq!((rig.bundles().len(), rig.counted()), (1, (3, 0)));
    for offset in 10..15 {
        let mut batch = events(r#""x""#);
        batch.events[1].origin.offset = offset;
        rig.chain.apply(&mut batch).unwrap_err();
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let names: Vec<_> =
        rig.bundles().iter().map(|path| path.file_name().unwrap().to_string_lossy()[..24].to_owned()).collect();
    assert_eq!(names, ["crash-shop-hostile-0-12-", "crash-shop-hostile-0-13-", "crash-shop-hostile-0-14-"]);
}

#[test]
fn what_cannot_be_written_is_counted_and_changes_nothing_for_the_pipeline() {
    let bytes = guest("", &poisoned("(unreachable)"));
    let large = format!(r#""{}""#, "x".repeat(2 << 20));
    for (poison, blocked) in [(large.as_str(), false), (r#""x""#, true)] {
        let mut rig = Rig::new(&bytes, &json!({}), Services::default());
        if blocked {
            fs::write(rig.directory.path().join("repro"), "a file in the way").unwrap();
        }
        let mut batch = events(poison);
        rig.chain.apply(&mut batch).unwrap();
        assert_eq!(batch.failure(&batch.events[1]).unwrap().reason, Reason::TransformTrapped);
        assert_eq!((rig.bundles(), rig.counted()), (Vec::new(), (0, 1)));
    }
}

#[test]
fn a_crash_over_many_events_that_none_of_them_causes_leaves_all_of_them() {
    let many = "(if (i32.gt_u (call $len (local.get 0)) (i32.const 1)) (then (unreachable)))";
    let mut rig = Rig::new(&guest("", many), &json!({}), Services::default());
    rig.chain.apply(&mut events(r#""x""#)).unwrap();
    let (path, bundle) = rig.only_bundle();
    assert_eq!((bundle["events"].as_array().unwrap().len(), rig.counted()), (3, (1, 0)));
    assert!(bundle["description"].as_str().unwrap().contains("shop/0/0 and what follows"), "{bundle}");
    let (_, said) = tested(&rig.directory.path().join("hostile.wasm"), &path);
    assert!(said.contains("it traps as it did in the agent: fault: "), "{said}");
}

#[test]
fn a_version_that_is_only_tried_leaves_none() {
    let mut rig = Rig::new(&guest("", ""), &json!({}), Services::default());
    rig.chain.apply(&mut events(r#""x""#)).unwrap();
    fs::write(rig.directory.path().join("hostile.wasm"), guest("", &poisoned("(unreachable)"))).unwrap();
    assert_eq!(rig.reloads.all()[0].outcome, Some(ReloadOutcome::Canary));
    assert_eq!((rig.bundles(), rig.counted()), (Vec::new(), (0, 0)));
}
