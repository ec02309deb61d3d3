//! New versions under load: what replaces what, between which batches, and what keeps the old one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{ENGINE, batch_of, instruments, text};
use crate::batch::{Batch, Image};
use crate::config::raw;
use crate::event::Op;
use crate::plugin::fixture::{component, module};
use crate::plugin::trust::Trust;
use crate::plugin::{Cache, Sandbox, Services, digest};
use crate::stats::{Compared, Conditions, Instruments, PluginStatus, ReloadOutcome};
use crate::transform::{Chain, ChainError, PromoteError, Reloads, Report, build};

/// A version of the plugin `writer`.
fn version(version: &str, extra: &str, apply: &str) -> Vec<u8> {
    component(&module(extra, apply), &[&manifest("transform", version, "0.1.0")])
}

fn manifest(kind: &str, version: &str, wit: &str) -> String {
    json!({"manifest": 1, "kind": kind, "name": "writer", "version": version, "wit": wit, "config": {}}).to_string()
}

/// Writes this letter into `after.poison` of every row, but another into the first.
fn letters(first: char, letter: char) -> String {
    format!(
        "(local $n i32) (local $i i32)
        (local.set $n (call $len (local.get 0)))
        (loop $l
          (i32.store (i32.add (i32.const 100000) (i32.shl (local.get $i) (i32.const 2))) (local.get $i))
          (i32.store8 (i32.add (i32.const 200000) (local.get $i)) (i32.const {}))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.le_u (local.get $i) (local.get $n))))
        (i32.store8 (i32.const 200000) (i32.const {}))
        (call $set_text_column (local.get 0) (i32.const 2048) (i32.const 12)
          (i32.const 100000) (i32.add (local.get $n) (i32.const 1)) (i32.const 200000) (local.get $n)
          (i32.const 0) (i32.const 0) (i32.const 1024))",
        u32::from(letter),
        u32::from(first)
    )
}

fn writer(letter: char, of: &str) -> Vec<u8> {
    version(of, "", &letters(letter, letter))
}

/// Traps when an event of the batch has a poison.
fn poisoned(of: &str) -> Vec<u8> {
    let apply = "(local $n i32)
        (local.set $n (call $len (local.get 0)))
        (call $text_column (local.get 0) (i32.const 2048) (i32.const 12) (i32.const 3072))
        (if (i32.load (i32.add (i32.load (i32.const 3072)) (i32.shl (local.get $n) (i32.const 2)))) (then (unreachable)))";
    version(of, "", apply)
}

/// Puts the file there as a deployment does: whole, at once.
fn put(path: &Path, bytes: &[u8]) {
    let next = path.with_extension("next");
    fs::write(&next, bytes).unwrap();
    fs::rename(next, path).unwrap();
}

/// A place for plugins, a chain of one, and its reloads.
struct Rig {
    directory: tempfile::TempDir,
    chain: Chain,
    reloads: Reloads,
    instruments: Instruments,
    sandbox: Sandbox,
}

impl Rig {
    fn new(bytes: &[u8], more: serde_json::Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::within(directory, bytes, more)
    }

    fn within(directory: tempfile::TempDir, bytes: &[u8], more: serde_json::Value) -> Self {
        let path = directory.path().join("writer.wasm");
        put(&path, bytes);
        let mut entry = json!({"plugin": path, "limits": {"call": "2s"}});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let entry: raw::Transform = serde_json::from_value(entry).unwrap();
        let cache = Cache::at(directory.path().join("cache"));
        let services = Services::default();
        let sandbox = Sandbox { engine: ENGINE.clone(), cache, services, trust: Trust::default(), repro: None };
        let instruments = instruments();
        let mut chain = build(&sandbox, "shop", &[entry], &instruments).unwrap();
        let mut reloads = Reloads::new(sandbox.clone(), instruments.clone());
        reloads.add(&mut chain);
        Rig { directory, chain, reloads, instruments, sandbox }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("writer.wasm")
    }

    fn status(&self) -> PluginStatus {
        self.instruments.places()[0].status()
    }

    /// Does something with the reloads while the chain, without any batch, looks for new versions as an idle reader does.
    fn meanwhile<R: Send>(&mut self, work: impl FnOnce(&mut Reloads) -> R + Send) -> (R, bool) {
        let (chain, reloads) = (&mut self.chain, &mut self.reloads);
        thread::scope(|scope| {
            let work = scope.spawn(move || work(reloads));
            let mut settled = false;
            while !work.is_finished() {
                settled |= chain.settle();
                thread::sleep(Duration::from_millis(1));
            }
            (work.join().unwrap(), settled)
        })
    }

    fn reload(&mut self) -> Report {
        let (mut reports, _) = self.meanwhile(Reloads::all);
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }
}

/// Events whose ids begin with this one.
fn events(first: u64, count: u64, poison: &str) -> Batch {
    let after: Vec<String> = (first..first + count).map(|id| format!(r#"{{"id":{id},"poison":{poison}}}"#)).collect();
    batch_of(&after.iter().map(|after| (Op::Create, "t", "null", after.as_str())).collect::<Vec<_>>())
}

/// What one batch of events became: one letter.
fn letter(chain: &mut Chain) -> String {
    let mut batch = events(0, 3, r#""x""#);
    chain.apply(&mut batch).unwrap();
    let letters: Vec<_> = (0..3).map(|at| text(&batch, at, Image::After, "poison").unwrap()).collect();
    letters.concat()
}

#[test]
fn two_hundred_replacements_under_load_lose_double_and_mix_nothing() {
    const BATCH: u64 = 50;
    let versions = [writer('a', "1"), writer('b', "2")];
    let rig = Rig::new(&versions[0], json!({}));
    let path = rig.path();
    let place = rig.instruments.places().remove(0);
    let Rig { directory: _kept, mut chain, mut reloads, .. } = rig;
    let (done, batches) = (AtomicBool::new(false), AtomicU64::new(0));
    let letters = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut letters = String::new();
            let mut next = 0;
            while !done.load(Ordering::Acquire) {
                let mut batch = events(next, BATCH, r#""x""#);
                chain.apply(&mut batch).unwrap();
                assert_eq!(batch.events.len() as u64, BATCH);
                let written = text(&batch, 0, Image::After, "poison").unwrap();
                for at in 0..batch.events.len() {
                    let id = text(&batch, at, Image::After, "id").unwrap();
                    assert_eq!(id, (next + at as u64).to_string(), "an event was lost, doubled or moved");
                    assert_eq!(text(&batch, at, Image::After, "poison").unwrap(), written, "a mixture");
                }
                next += BATCH;
                letters.push_str(&written);
                batches.fetch_add(1, Ordering::Release);
            }
            letters
        });
        for swap in 1..=200 {
            put(&path, &versions[swap % 2]);
            let reports = reloads.changed(std::slice::from_ref(&path));
            assert_eq!(reports[0].outcome, Some(ReloadOutcome::Swapped), "{swap}: {reports:?}");
            // The batch at hand is over when the swap is; of the next, one whole is waited for.
            let seen = batches.load(Ordering::Acquire);
            while batches.load(Ordering::Acquire) < seen + 2 {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Release);
        load.join().unwrap()
    });
    let changes = letters.as_bytes().windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(changes, 200, "{letters}");
    let status = place.status();
    assert_eq!((status.swaps, status.edition.digest), (200, digest(&versions[0])));
    assert_eq!(chain.stats().next().unwrap().kept, batches.into_inner() * BATCH);
}

#[test]
fn whatever_cannot_work_keeps_the_old_version_and_says_why() {
    let mut rig = Rig::new(&writer('a', "1"), json!({"on_trap": "dead_letter"}));
    let good = writer('b', "2");
    assert_eq!(letter(&mut rig.chain), "aaa");
    let refused = ReloadOutcome::Refused;
    let spin = "(func $spin (loop $l (br $l))) (start $spin)";
    let cases: Vec<(&str, Option<Vec<u8>>, ReloadOutcome, &str)> = vec![
        ("gone", None, ReloadOutcome::Unreadable, "cannot read plugin"),
        ("empty", Some(Vec::new()), refused, "not a WebAssembly file"),
        ("rubbish", Some(b"\0asm rubbish".to_vec()), refused, "damaged or cut off"),
        ("half", Some(good[..good.len() / 2].to_vec()), refused, "damaged or cut off"),
        (
            "of another kind",
            { Some(component(&module("", ""), &[&manifest("rule", "2", "0.1.0")])) },
            refused,
            "is a rule and stands where a transform belongs",
        ),
        (
            "too new",
            { Some(component(&module("", ""), &[&manifest("transform", "2", "0.9.0")])) },
            refused,
            "update the agent",
        ),
        ("wants what is not granted", Some(counting("2", "")), refused, "add `state: 1MiB` under its `grants`"),
        ("slow to start", Some(version("2", spin, "")), ReloadOutcome::Failed, "deadline"),
        ("traps on the last batch", Some(poisoned("2")), ReloadOutcome::Canary, "trapped: writer: fault"),
    ];
    for (count, (case, bytes, outcome, why)) in cases.into_iter().enumerate() {
        match &bytes {
            Some(bytes) => put(&rig.path(), bytes),
            None => fs::remove_file(rig.path()).unwrap(),
        }
        let report = rig.reload();
        assert_eq!(report.outcome, Some(outcome), "{case}: {report:?}");
        assert!(report.why.as_ref().unwrap().contains(why), "{case}: {report:?}");
        let status = rig.status();
        assert_eq!(status.last_reload.as_ref().unwrap().why, report.why, "{case}");
        assert_eq!((status.swaps, status.edition.version.as_str()), (0, "1"), "{case}");
        assert_eq!(letter(&mut rig.chain), "aaa", "{case}");
        assert_eq!(rig.chain.stats().next().unwrap().traps, 0, "{case}");
        assert_eq!(rig.chain.stats().next().unwrap().calls, 2 + count as u64, "{case}");
    }
    put(&rig.path(), &good);
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Swapped));
    assert_eq!(letter(&mut rig.chain), "bbb");
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Unchanged));
    assert_eq!(rig.status().last_reload.unwrap().why, None);
}

#[test]
fn a_slow_version_keeps_no_batch_waiting() {
    let rig = Rig::new(&writer('a', "1"), json!({"limits": {"call": "1s"}}));
    put(&rig.path(), &version("2", "(func $spin (loop $l (br $l))) (start $spin)", ""));
    let Rig { directory: _kept, mut chain, mut reloads, .. } = rig;
    thread::scope(|scope| {
        let begun = Instant::now();
        let reload = scope.spawn(move || reloads.all());
        let mut batches = 0;
        while !reload.is_finished() {
            assert_eq!(letter(&mut chain), "aaa");
            batches += 1;
        }
        let report = &reload.join().unwrap()[0];
        assert_eq!(report.outcome, Some(ReloadOutcome::Failed), "{report:?}");
        assert!(begun.elapsed() >= Duration::from_millis(900), "the start was not slow: {:?}", begun.elapsed());
        // A hundred times less than an idle machine does.
        assert!(batches > 50, "only {batches} batches in {:?}", begun.elapsed());
    });
}

#[test]
fn a_stopped_pipeline_goes_on_with_a_version_that_can_cope_and_with_no_other() {
    let mut rig = Rig::new(&poisoned("1"), json!({"limits": {"call": "2s", "traps": 3}}));
    for attempt in 0..5 {
        let mut batch = events(0, 3, r#""x""#);
        let error = rig.chain.apply(&mut batch).unwrap_err();
        let quarantined = matches!(error, ChainError::Quarantined { .. });
        assert_eq!(quarantined, attempt >= 2, "{attempt}: {error}");
    }
    // The batch that it stopped at is the one to try on.
    put(&rig.path(), &poisoned("2"));
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Canary));
    put(&rig.path(), &writer('b', "3"));
    let (reports, settled) = rig.meanwhile(Reloads::all);
    assert_eq!((reports[0].outcome, settled), (Some(ReloadOutcome::Swapped), true));
    assert_eq!(letter(&mut rig.chain), "bbb");
}

#[test]
fn a_version_that_fails_every_event_is_not_taken() {
    // Takes every row out by answering with an error for the whole call.
    let refuses = module("", "").replace("(i32.store (i32.const 1024) (i32.const 0))", REFUSAL);
    let refuses = component(&refuses, &[&manifest("transform", "2", "0.1.0")]);
    let mut rig = Rig::new(&writer('a', "1"), json!({}));
    assert_eq!(letter(&mut rig.chain), "aaa");
    put(&rig.path(), &refuses);
    let report = rig.reload();
    assert_eq!(report.outcome, Some(ReloadOutcome::Canary));
    assert!(report.why.as_ref().unwrap().contains("failed all 3 events"), "{report:?}");
}

/// An error whose code and message are "after.poison".
const REFUSAL: &str = "(i32.store (i32.const 1024) (i32.const 1))
    (i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 12))
    (i32.store (i32.const 1036) (i32.const 2048)) (i32.store (i32.const 1040) (i32.const 12))
    (i32.store (i32.const 1044) (i32.const 0))";

/// Counts its calls in one byte of state.
fn counting(of: &str, then: &str) -> Vec<u8> {
    let count = format!(
        r#"(call $state_get (i32.const 2048) (i32.const 12) (i32.const 3072))
        (i32.store8 (i32.const 3200) (i32.add (i32.const 1)
          (if (result i32) (i32.load8_u (i32.const 3072))
            (then (i32.load8_u (i32.load (i32.const 3076)))) (else (i32.const 0)))))
        (call $state_set (i32.const 2048) (i32.const 12) (i32.const 3200) (i32.const 1) (i32.const 3104))
        {then}"#
    );
    let imports = r#"(import "whimbrel:plugin/host-state@0.1.0" "get" (func $state_get (param i32 i32 i32)))
        (import "whimbrel:plugin/host-state@0.1.0" "set" (func $state_set (param i32 i32 i32 i32 i32)))
        (memory (export "memory") 4)"#;
    let module = module("", &count).replace(r#"(memory (export "memory") 4)"#, imports);
    component(&module, &[&manifest("transform", of, "0.1.0")])
}

#[test]
fn state_goes_on_with_the_next_version_and_a_trial_leaves_no_trace_in_it() {
    let mut rig = Rig::new(&counting("1", ""), json!({"grants": {"state": "1KiB"}}));
    let store = rig.sandbox.services.store.clone();
    let counted = || store.load("shop/writer").unwrap().get("after.poison").map(|value| value[0]);
    for calls in 1..=3 {
        letter(&mut rig.chain);
        assert_eq!(counted(), Some(calls));
    }
    put(&rig.path(), &counting("2", "(unreachable)"));
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Canary));
    assert_eq!(counted(), Some(3));
    put(&rig.path(), &counting("3", ""));
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Swapped));
    assert_eq!(counted(), Some(3));
    letter(&mut rig.chain);
    assert_eq!(counted(), Some(4));
}

#[test]
fn a_version_waits_for_a_pipeline_that_is_busy() {
    let rig = Rig::new(&writer('a', "1"), json!({}));
    put(&rig.path(), &writer('b', "2"));
    let Rig { directory: _kept, mut chain, mut reloads, instruments, .. } = rig;
    let report = reloads.all().remove(0);
    assert_eq!((report.is_good(), report.outcome), (true, None));
    assert_eq!(instruments.places()[0].status().edition.version, "1");
    assert_eq!(letter(&mut chain), "bbb");
    assert_eq!(instruments.places()[0].status().edition.version, "2");
    assert_eq!(reloads.all().remove(0).outcome, Some(ReloadOutcome::Unchanged));
}

/// A rig with a version in the shadow.
fn shadowed(at_work: &[u8], shadow: &[u8], more: &serde_json::Value) -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shadow.wasm");
    put(&path, shadow);
    let mut entry = json!({"plugin": path});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Rig::within(directory, at_work, json!({ "shadow": entry }))
}

fn compared(rig: &Rig) -> Compared {
    rig.status().shadow.unwrap().events
}

/// Feeds batches of three events, each when the one before has been compared.
fn feed(rig: &mut Rig, batches: u64) {
    let before = compared(rig);
    for fed in 1..=batches {
        assert_eq!(letter(&mut rig.chain), "aaa");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let Compared { same, differs, error, skipped } = compared(rig);
            let all = same + differs + error + skipped - before.same - before.differs - before.error - before.skipped;
            if all == fed * 3 {
                break;
            }
            assert!(Instant::now() < deadline, "{:?}", rig.status());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_shadow_is_compared_event_by_event_and_changes_nothing() {
    let at_work = writer('a', "1");
    for (case, shadow, expect, parts) in [
        ("the same", writer('a', "2"), Compared { same: 30, ..Compared::default() }, None),
        (
            "another first row",
            version("2", "", &letters('b', 'a')),
            Compared { same: 20, differs: 10, ..Compared::default() },
            Some(("after.poison", 10)),
        ),
        ("all others", writer('b', "2"), Compared { differs: 30, ..Compared::default() }, Some(("after.poison", 30))),
        (
            "a dropped row",
            version("2", "", "(call $discard (local.get 0) (i32.const 2500) (i32.const 1))"),
            Compared { differs: 30, ..Compared::default() },
            Some(("verdict", 10)),
        ),
        ("traps", version("2", "", "(unreachable)"), Compared { error: 30, ..Compared::default() }, None),
    ] {
        let mut rig = shadowed(&at_work, &shadow, &json!({}));
        feed(&mut rig, 10);
        let status = rig.status();
        let seen = status.shadow.unwrap();
        assert_eq!(seen.events, expect, "{case}");
        assert_eq!(seen.edition.version, "2", "{case}");
        if let Some((part, count)) = parts {
            assert_eq!(seen.parts.get(part), Some(&count), "{case}: {:?}", seen.parts);
            assert_eq!(seen.examples.len() as u64, expect.differs.min(20), "{case}");
            assert_eq!(seen.examples[0].topic, "shop", "{case}");
        }
        assert!(!format!("{seen:?}").contains("\"x\""), "{case}: a value is shown");
        assert_eq!(rig.chain.stats().next().unwrap().traps, 0, "{case}");
    }
}

#[test]
fn a_shadow_that_lags_misses_batches_and_every_event_is_accounted_for() {
    // Spins 30 ms or so for each batch: its own budget lets it, and nobody waits.
    let slow = version(
        "2",
        "",
        "(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 30000000))))",
    );
    let mut rig = shadowed(&writer('a', "1"), &slow, &json!({"limits": {"call": "2s"}}));
    for _ in 0..100 {
        assert_eq!(letter(&mut rig.chain), "aaa");
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let seen = loop {
        let seen = compared(&rig);
        if seen.same + seen.differs + seen.error + seen.skipped == 300 {
            break seen;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
        thread::sleep(Duration::from_millis(5));
    };
    assert!(seen.skipped > 0 && seen.differs > 0, "{seen:?}");
}

#[test]
fn a_sample_sees_its_share() {
    let mut rig = shadowed(&writer('a', "1"), &writer('a', "2"), &json!({"sample": 0.5}));
    for _ in 0..5 {
        assert_eq!(letter(&mut rig.chain), "aaa");
        feed(&mut rig, 1);
    }
    assert_eq!(compared(&rig), Compared { same: 15, ..Compared::default() });
}

#[test]
fn a_shadow_is_promoted_on_conditions_and_stays_promoted() {
    let mut rig = shadowed(&writer('a', "1"), &version("2", "", &letters('b', 'a')), &json!({}));
    let promote = |rig: &mut Rig, plugin: &'static str, min_events, max_differs| {
        rig.meanwhile(move |reloads| reloads.promote("shop", plugin, Conditions { min_events, max_differs })).0
    };
    feed(&mut rig, 4);
    assert!(matches!(promote(&mut rig, "other", 0, None), Err(PromoteError::Unknown { .. })));
    assert!(matches!(promote(&mut rig, "writer", 13, None), Err(PromoteError::TooFew { compared: 12, wanted: 13 })));
    assert!(matches!(
        promote(&mut rig, "writer", 12, Some(3)),
        Err(PromoteError::Differs { differs: 4, error: 0, admitted: 3 })
    ));
    assert_eq!(rig.status().swaps, 0);
    let promoted = promote(&mut rig, "writer", 12, Some(4)).unwrap();
    assert!(promoted.at_work);
    assert!(promoted.then.contains("shadow.wasm, and remove `shadow`"), "{}", promoted.then);
    assert_eq!(letter(&mut rig.chain), "baa");
    let status = rig.status();
    assert_eq!((status.promoted, status.edition.version.as_str(), status.shadow), (true, "2", None));
    assert!(matches!(promote(&mut rig, "writer", 0, None), Err(PromoteError::NoShadow)));
    // The file of the version before is still there; a look at it does not bring that back.
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Unchanged));
    assert_eq!(letter(&mut rig.chain), "baa");
    put(&rig.path(), &writer('c', "3"));
    assert_eq!(rig.reload().outcome, Some(ReloadOutcome::Swapped));
    assert_eq!((letter(&mut rig.chain).as_str(), rig.status().promoted), ("ccc", false));
}

#[test]
fn a_shadow_with_errors_is_promoted_only_by_number_and_never_past_the_trial() {
    let mut rig = shadowed(&writer('a', "1"), &poisoned("2"), &json!({}));
    feed(&mut rig, 2);
    let wanted = |max_differs| Conditions { min_events: 1, max_differs };
    let (refused, _) = rig.meanwhile(|reloads| reloads.promote("shop", "writer", wanted(None)));
    assert!(matches!(refused, Err(PromoteError::Errors(6))), "{refused:?}");
    let (refused, _) = rig.meanwhile(|reloads| reloads.promote("shop", "writer", wanted(Some(100))));
    assert!(matches!(refused, Err(PromoteError::Reload(_))), "{refused:?}");
    assert_eq!(letter(&mut rig.chain), "aaa");
}

#[test]
fn a_new_file_in_the_shadow_is_compared_anew_and_a_broken_one_is_told_of() {
    let mut rig = shadowed(&writer('a', "1"), &writer('b', "2"), &json!({}));
    feed(&mut rig, 2);
    let path = rig.directory.path().join("shadow.wasm");
    put(&path, b"\0asm rubbish");
    assert_eq!(rig.reloads.changed(std::slice::from_ref(&path)), []);
    let seen = rig.status().shadow.unwrap();
    assert!(seen.why.unwrap().contains("damaged"));
    assert_eq!((seen.events.differs, seen.edition.version.as_str()), (6, "2"), "the one before goes on");
    put(&path, &writer('a', "3"));
    assert_eq!(rig.reloads.changed(&[path]), []);
    feed(&mut rig, 1);
    let seen = rig.status().shadow.unwrap();
    assert_eq!(seen.events, Compared { same: 3, ..Compared::default() });
    assert_eq!((seen.edition.version.as_str(), seen.why), ("3", None));
}
