//! Sins that only guests of one kind can commit: what a batch, findings or a database are abused for.

use super::any_kind::times;
use super::trial::{Ends, Means, trial, trial_of};
use crate::plugin::fixture::component_with;
use crate::plugin::fixture::kinds::{Sin, manifest, text};
use crate::plugin::{Kind, TrapCause};

use TrapCause::{Contract, Deadline, Fault, Memory, Output};

/// Writes `after.poison` with `count` offsets from 3072 on, and text of this length at this address.
fn set(count: u32, address: u32, length: u32) -> String {
    set_with_nulls(count, address, length, 0)
}

fn set_with_nulls(count: u32, address: u32, length: u32, nulls: u32) -> String {
    format!(
        "(call $set_text_column (local.get $batch) (i32.const 2048) (i32.const 12) (i32.const 3072) (i32.const {count})
          (i32.const {address}) (i32.const {length}) (i32.const 2048) (i32.const {nulls}) (i32.const 1536))"
    )
}

fn store(address: u32, value: u32) -> String {
    format!("(i32.store (i32.const {address}) (i32.const {value}))")
}

/// Patches `after.poison` in `count` rows whose numbers stand at 3200; the offsets are all 0.
fn patch(count: u32) -> String {
    format!(
        "(call $patch_text_column (local.get $batch) (i32.const 2048) (i32.const 12) (i32.const 3200) (i32.const {count})
          (i32.const 3072) (i32.const {}) (i32.const 2048) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1536))",
        count + 1
    )
}

/// Gives rows new tables: `values` strings from 3200 on, `rows` indices from 3300 on.
fn tables(values: u32, rows: u32) -> String {
    format!(
        "(call $set_tables (local.get $batch) (i32.const 3200) (i32.const {values}) (i32.const 3300) (i32.const {rows}) (i32.const 1536))"
    )
}

pub(super) fn does(body: &str) -> Sin {
    Sin { body: body.to_owned(), ..Sin::default() }
}

/// The batch has one row. Name, what it does with it, how it ends.
pub(super) fn with_a_batch() -> Vec<(&'static str, String, Ends)> {
    let count = Ends::Trap(Contract, "one value for each row");
    let lie = Ends::Trap(Contract, "offsets descend, leave its text or split a character");
    let row = Ends::Trap(Contract, "a row does not exist");
    let rows = Ends::Trap(Contract, "rows do not ascend or do not exist");
    let written = Ends::Trap(Output, "more in one call");
    let umlaut = |body: String| format!("(i32.store (i32.const 3400) (i32.const 0xbcc3)) {body}");
    let fail = |row: u32| {
        format!(
            "(call $fail (local.get $batch) (i32.const {row}) (i32.const 2064) (i32.const 3) (i32.const 65536) (i32.const 4000) (i32.const 0))"
        )
    };
    let discard = |count: u32| format!("(call $discard (local.get $batch) (i32.const 65536) (i32.const {count}))");
    vec![
        ("answers offsets beyond its text", store(3076, 999) + &set(2, 2048, 3), lie),
        ("answers offsets that descend", store(3072, 3) + &store(3076, 1) + &set(2, 2048, 3), lie),
        ("splits a character", umlaut(store(3076, 1) + &set(2, 3400, 2)), lie),
        ("answers too few values", set(1, 2048, 0), count),
        ("answers too many values", set(3, 2048, 0), count),
        ("answers no offsets at all", set(0, 2048, 0), count),
        ("answers null bits that do not fit", set_with_nulls(2, 2048, 0, 9), Ends::Trap(Contract, "null bits")),
        ("answers a list with a false length", set(0x3fff_ffff, 2048, 0), Ends::Trap(Fault, "")),
        ("answers a text with a false length", set(2, 2048, 0x7fff_ffff), Ends::Trap(Fault, "")),
        ("answers more than it may", "(drop (memory.grow (i32.const 64)))".to_owned() + &set(2, 65536, 2_000_000), {
            Ends::Trap(Output, "output limit")
        }),
        // Other bytes each time, or nothing would be written.
        (
            "writes a column without end",
            {
                let turn = "(i32.store8 (i32.const 65536) (i32.and (local.get $i) (i32.const 63)))";
                store(3076, 100_000) + &times(u32::MAX, &format!("{turn} {}", set(2, 65536, 100_000)))
            },
            written,
        ),
        ("fails an event without end", times(u32::MAX, &fail(0)), written),
        ("discards without end", store(65536, 0) + &times(u32::MAX, &discard(1)), written),
        ("discards a row that does not exist", store(65536, 1) + &discard(1), row),
        ("fails a row that does not exist", fail(1), row),
        ("patches a row that does not exist", store(3200, 5) + &patch(1), rows),
        ("patches a row twice", patch(2), rows),
        (
            "replaces a row that does not exist",
            {
                "(call $set_json (local.get $batch) (i32.const 9) (i32.const 2048) (i32.const 2) (i32.const 1536))"
                    .to_owned()
            },
            row,
        ),
        ("gives too many rows a table", store(3200, 2048) + &store(3204, 3) + &tables(1, 2), {
            Ends::Trap(Contract, "one table for each row")
        }),
        (
            "names a table that it did not give",
            store(3200, 2048) + &store(3204, 3) + &store(3300, 1) + &tables(1, 1),
            { Ends::Trap(Contract, "names no table") },
        ),
        ("forges a handle", "(drop (call $len (i32.const 77)))".to_owned(), Ends::Trap(Fault, "handle")),
        ("gives the batch back twice", "(call $give_back (local.get $batch))".to_owned(), Ends::Trap(Fault, "handle")),
        (
            "uses the batch it gave back",
            "(call $give_back (local.get $batch)) (drop (call $len (local.get $batch)))".to_owned(),
            Ends::Trap(Fault, "handle"),
        ),
    ]
}

#[test]
fn every_sin_against_a_batch_is_contained_and_named() {
    for (name, body, ends) in with_a_batch() {
        trial(Kind::Transform, name, &does(&body), Means::default(), ends);
    }
}

#[test]
fn a_batch_that_is_kept_ends_the_call() {
    let give = "(call $give_back (local.get 0))";
    let whole = text(Kind::Transform, &Sin::default());
    let keeping = whole.replace(give, &format!("(if (i64.ne (call $now) (i64.const 0)) (then {give}))"));
    assert_ne!(whole, keeping);
    let bytes = crate::plugin::fixture::component(&keeping, &[&manifest(Kind::Transform)]);
    trial_of(Kind::Transform, "keeps the batch", &bytes, Means::default(), Ends::Trap(Fault, "borrow"));
}

#[test]
fn handles_without_end_are_memory_without_end() {
    let added = "package bomb:bomb;
        interface bombs { resource bomb; }
        world bomb { include whimbrel:plugin/event-transform@0.1.0; export bombs; }";
    let light = r#"(import "[export]bomb:bomb/bombs" "[resource-new]bomb" (func $light (param i32) (result i32)))"#;
    let sin = does("(loop $l (drop (call $light (i32.const 1))) (br $l))");
    let module = text(Kind::Transform, &sin).replacen("(module", &format!("(module {light}"), 1);
    let bytes = component_with(added, &module, &[&manifest(Kind::Transform)]);
    trial_of(Kind::Transform, "hoards handles", &bytes, Means::default(), Ends::Trap(Memory, "handles"));
}

#[test]
fn events_as_json_are_read_to_a_depth_and_no_further() {
    // 200,000 brackets that never close: refused as data, and the stack of the agent is not the guest's to use up.
    let sin = does(
        "(memory.fill (i32.const 65536) (i32.const 91) (i32.const 190000))
         (call $set_json (local.get $batch) (i32.const 0) (i32.const 65536) (i32.const 190000) (i32.const 1536))
         (memory.copy (i32.const 1024) (i32.const 1536) (i32.const 24))",
    );
    trial(Kind::Transform, "nests without end", &sin, Means::default(), Ends::Refused("json"));
}

#[test]
fn findings_are_bounded_like_everything_a_guest_hands_over() {
    let answer = |length: u32| store(1028, 65536) + &store(1032, length);
    for (name, body, ends) in [
        ("finds a list of false length", answer(0x0fff_ffff), Ends::Trap(Fault, "")),
        ("finds too much", "(drop (memory.grow (i32.const 400)))".to_owned() + &answer(200_000), {
            Ends::Trap(Output, "output limit")
        }),
    ] {
        trial(Kind::Rule, name, &does(&body), Means::default(), ends);
    }
}

#[test]
fn a_database_that_takes_longer_than_the_call_may_ends_it() {
    let sin = does("(call $run (i32.const 2048) (i32.const 12) (i32.const 1536))");
    let means = Means { database: std::time::Duration::from_millis(200), ..Means::hasty() };
    trial(Kind::Migration, "sleeps in the host", &sin, means, Ends::Trap(Deadline, "longer than its budget"));
}
