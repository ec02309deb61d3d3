//! Guests that misbehave: each is contained, named, and leaves the batch as it was.

use std::time::{Duration, Instant};

use super::{batch_of, chain, start};
use crate::batch::Batch;
use crate::event::{Op, Reason, Verdict};
use crate::plugin::fixture::{MANIFEST, component, guest, module};
use crate::plugin::{CallError, EventBatch, Limits, LoadError, TrapCause};
use crate::transform::{ChainError, TrapPolicy, View};

/// Long enough for an honest start on a crowded machine.
fn limits() -> Limits {
    Limits { call: Duration::from_millis(300), memory: 32 << 20, output: 1 << 20, log_lines: 5, ..Limits::default() }
}

fn batch() -> Batch {
    batch_of(&[
        (Op::Create, "t", "null", r#"{"id":1,"poison":null}"#),
        (Op::Create, "t", "null", r#"{"id":2,"poison":"x"}"#),
        (Op::Create, "t", "null", r#"{"id":3,"poison":null}"#),
    ])
}

/// Writes `after.poison` with `count` offsets from 3072 on, and text of this length at this address.
fn set(count: u32, text: u32, length: u32) -> String {
    format!(
        "(call $set_text_column (local.get 0) (i32.const 2048) (i32.const 12) (i32.const 3072) (i32.const {count})
          (i32.const {text}) (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 1024))"
    )
}

#[test]
fn every_sin_is_contained_and_named() {
    let write_offset = "(i32.store (i32.const 3076) (i32.const 999))";
    let sins: Vec<(&str, TrapCause, Vec<u8>)> = vec![
        ("spins", TrapCause::Deadline, guest("", "(loop $l (br $l))")),
        ("spins in bulk memory operations", TrapCause::Deadline, {
            let fill = "(loop $l (memory.fill (i32.const 65536) (i32.const 0) (i32.const 190000)) (br $l))";
            guest("", fill)
        }),
        ("spins where the host allocates", TrapCause::Deadline, {
            // Only once armed: the configuration is allocated by the same function.
            let text = module(
                "(global $armed (mut i32) (i32.const 0))",
                "(global.set $armed (i32.const 1)) (call $tables (local.get 0) (i32.const 3072))",
            );
            let spinning =
                text.replace("(local $at i32)\n", "(local $at i32) (loop $l (br_if $l (global.get $armed)))\n");
            assert_ne!(text, spinning);
            component(&spinning, &[MANIFEST])
        }),
        ("wants all memory", TrapCause::Memory, {
            guest("", "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)")
        }),
        ("recurses without end", TrapCause::Stack, guest("(func $deep (call $deep) (call $deep))", "(call $deep)")),
        ("reaches the unreachable", TrapCause::Fault, guest("", "(unreachable)")),
        ("divides by zero", TrapCause::Fault, guest("", "(drop (i32.div_u (i32.const 1) (i32.const 0)))")),
        ("reads out of bounds", TrapCause::Fault, guest("", "(drop (i32.load (i32.const 0x7fff0000)))")),
        ("calls a null function", TrapCause::Fault, guest("(table 1 funcref)", "(call_indirect (i32.const 0))")),
        ("panics", TrapCause::Panic, {
            guest(
                r#"(data (i32.const 2100) "index out of bounds") (data (i32.const 2200) "src/lib.rs")"#,
                "(call $panicked (i32.const 2100) (i32.const 19) (i32.const 2200) (i32.const 10) (i32.const 7)) (unreachable)",
            )
        }),
        (
            "answers offsets beyond its text",
            TrapCause::Contract,
            guest("", &format!("{write_offset} {}", set(4, 2048, 3))),
        ),
        ("answers too few values", TrapCause::Contract, guest("", &set(3, 2048, 0))),
        ("answers too many values", TrapCause::Contract, guest("", &set(5, 2048, 0))),
        ("answers no offsets at all", TrapCause::Contract, guest("", &set(0, 2048, 0))),
        ("answers a plain list that is too short", TrapCause::Contract, {
            guest(
                "",
                "(call $set_text_list (local.get 0) (i32.const 2048) (i32.const 12) (i32.const 3072) (i32.const 2) (i32.const 1024))",
            )
        }),
        ("answers a list with a false length", TrapCause::Fault, guest("", &set(0x3fff_ffff, 2048, 0))),
        ("answers a text with a false length", TrapCause::Fault, guest("", &set(4, 2048, 0x7fff_ffff))),
        ("answers text that is not UTF-8", TrapCause::Fault, {
            guest(r#"(data (i32.const 2300) "\ff\fe")"#, &set(4, 2300, 2))
        }),
        ("answers more than it may", TrapCause::Output, {
            let grown = format!("(drop (memory.grow (i32.const 64))) {}", set(4, 65536, 2_000_000));
            guest("", &grown)
        }),
        ("discards a row that does not exist", TrapCause::Contract, {
            guest(
                "",
                "(i32.store (i32.const 3072) (i32.const 3)) (call $discard (local.get 0) (i32.const 3072) (i32.const 1))",
            )
        }),
        ("forges a handle", TrapCause::Fault, guest("", "(drop (call $len (i32.const 77)))")),
        ("keeps the batch", TrapCause::Fault, {
            let text = module("", "");
            component(&text.replace("(call $give_back (local.get 0))", ""), &[MANIFEST])
        }),
    ];
    for (sin, cause, bytes) in sins {
        let mut instance = start("hostile", &bytes, limits(), "{}").unwrap();
        let begun = Instant::now();
        let (view, outcome) = instance.apply(View::new(batch()));
        let took = begun.elapsed();
        let Err(CallError::Trapped(trap)) = outcome else { panic!("{sin}: {outcome:?}") };
        assert_eq!(trap.cause, cause, "{sin}: {trap}");
        assert!(!trap.message.is_empty(), "{sin}");
        assert!(took < Duration::from_secs(5), "{sin} took {took:?}");
        assert_eq!(instance.memory(), 0, "{sin}: the instance is gone");
        // Nothing of it stands, and the next call gets a new instance which sins again.
        assert_eq!(format!("{:?}", view.into_batch()), format!("{:?}", batch()), "{sin}");
        let (_, again) = instance.apply(View::new(batch()));
        assert!(matches!(again, Err(CallError::Trapped(trap)) if trap.cause == cause), "{sin}");
    }
}

#[test]
fn a_panic_is_told_with_its_message_and_source_line() {
    let bytes = guest(
        r#"(data (i32.const 2100) "too \1b[2Jlong") (data (i32.const 2200) "src/lib.rs")"#,
        "(call $panicked (i32.const 2100) (i32.const 12) (i32.const 2200) (i32.const 10) (i32.const 7)) (unreachable)",
    );
    let (_, outcome) = start("hostile", &bytes, limits(), "{}").unwrap().apply(View::new(batch()));
    assert_eq!(outcome.unwrap_err().to_string(), "the plugin trapped: panic: too \\u{1b}[2Jlong at src/lib.rs:7");
}

#[test]
fn a_guest_that_cannot_even_start_is_refused() {
    for (sin, extra, cause) in [
        ("spins at the start", "(func $spin (loop $l (br $l))) (start $spin)", TrapCause::Deadline),
        ("traps at the start", "(func $trap (unreachable)) (start $trap)", TrapCause::Fault),
    ] {
        let error = start("hostile", &guest(extra, ""), limits(), "{}").unwrap_err();
        assert!(matches!(&error, LoadError::Start { trap, .. } if trap.cause == cause), "{sin}: {error}");
    }
    let error = start("hostile", &guest("(memory $more 600)", ""), limits(), "{}");
    assert!(error.is_err(), "a memory that is too large from the beginning");
}

/// Drops every event of the batch first, then traps when one has the poison: what was written must not stand.
const POISONED: &str = "
    (call $text_column (local.get 0) (i32.const 2048) (i32.const 12) (i32.const 3072))
    (call $discard (local.get 0) (i32.const 2500) (i32.const 1))
    (if (i32.load (i32.const 3084)) (then (unreachable)))";

#[test]
fn only_the_poison_event_suffers() {
    let bytes = guest("", POISONED);
    for (policy, poison) in [(TrapPolicy::DeadLetter, None), (TrapPolicy::Pass, Some(Verdict::Keep))] {
        let mut batch = batch();
        let mut chain = chain("poisoned", &bytes, limits(), "{}", policy);
        chain.apply(&mut batch).unwrap();
        // Offered alone, the others are row 0 and get dropped; the poison is as it was before.
        assert_eq!(batch.events[0].verdict, Verdict::Drop);
        assert_eq!(batch.events[2].verdict, Verdict::Drop);
        match poison {
            Some(verdict) => assert_eq!(batch.events[1].verdict, verdict),
            None => {
                let failure = batch.failure(&batch.events[1]).unwrap();
                assert_eq!(failure.reason, Reason::TransformTrapped);
                assert!(failure.message.starts_with("poisoned: fault: "), "{}", failure.message);
            }
        }
        let stats = chain.stats().next().unwrap();
        assert_eq!((stats.calls, stats.traps), (4, 2));
    }
}

#[test]
fn halting_names_the_event_that_did_it() {
    let mut batch = batch();
    let error =
        chain("poisoned", &guest("", POISONED), limits(), "{}", TrapPolicy::Halt).apply(&mut batch).unwrap_err();
    assert!(matches!(&error, ChainError::Halted { offset: 1, .. }), "{error}");
    assert!(error.to_string().starts_with("plugin poisoned trapped on shop/0/1: fault: "), "{error}");
}

#[test]
fn a_plugin_that_traps_on_everything_is_broken_and_not_the_events() {
    let events: Vec<_> = (0..50).map(|_| (Op::Create, "t", "null", r#"{"id":1}"#)).collect();
    let mut batch = batch_of(&events);
    let mut chain = chain("broken", &guest("", "(unreachable)"), limits(), "{}", TrapPolicy::DeadLetter);
    let error = chain.apply(&mut batch).unwrap_err();
    assert!(matches!(error, ChainError::Quarantined { .. }), "{error}");
    assert_eq!(chain.stats().next().unwrap().calls, 6);
}

#[test]
fn a_log_flood_is_cut_and_the_batch_goes_on() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    struct Count(Arc<AtomicU64>);
    impl<S: tracing::Subscriber> Layer<S> for Count {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            if event.metadata().target().contains("plugin::host") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    let lines = Arc::new(AtomicU64::new(0));
    let subscriber = tracing_subscriber::registry().with(Count(Arc::clone(&lines)));
    let flood = "(local $i i32)
        (loop $l
          (call $log (i32.const 2) (i32.const 2048) (i32.const 12) (i32.const 0) (i32.const 0))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $i) (i32.const 10000))))";
    let mut batch = batch();
    tracing::subscriber::with_default(subscriber, || {
        let limits = Limits { call: Duration::from_secs(5), ..limits() };
        chain("flood", &guest("", flood), limits, "{}", TrapPolicy::Halt).apply(&mut batch).unwrap();
    });
    let lines = lines.load(Ordering::Relaxed);
    // A burst of five, and five more for each second that passed.
    assert!((5..=35).contains(&lines), "{lines} lines");
    assert!(batch.events.iter().all(|event| event.verdict == Verdict::Keep));
}

#[test]
fn a_view_lends_and_gives_back_the_same_batch() {
    let view = View::new(batch());
    assert_eq!(view.len(), 3);
    assert_eq!(format!("{:?}", view.into_batch()), format!("{:?}", batch()));
}
