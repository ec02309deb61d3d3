//! Guests that misbehave: each is contained, named in a metric and a log line, and leaves batch and state as they were.
//! The sins are tables, by who can commit them; what a trap means for the events around it is here.

mod any_kind;
mod neighbour;
mod one_kind;
mod outside;
mod start;
mod trial;

use std::time::Duration;

use super::{batch_of, chain};
use crate::batch::Batch;
use crate::event::{Op, Reason, Verdict};
use crate::plugin::fixture::guest;
use crate::plugin::{EventBatch, Limits};
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
        let turns = chain.turns();
        let told: Vec<_> =
            turns.iter().map(|turn| (&*turn.plugin, turn.events, turn.calls, turn.traps, turn.cause)).collect();
        assert_eq!(told, [("poisoned", 3, 4, 2, Some("fault"))]);
        assert!(chain.turns().is_empty(), "told once");
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
fn a_view_lends_and_gives_back_the_same_batch() {
    let view = View::new(batch());
    assert_eq!(view.len(), 3);
    assert_eq!(format!("{:?}", view.into_batch()), format!("{:?}", batch()));
}
