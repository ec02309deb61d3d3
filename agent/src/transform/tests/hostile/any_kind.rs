//! Sins that a guest of any kind can commit.

use super::trial::{Ends, Evidence, Means, QUOTA, trial};
use crate::plugin::fixture::kinds::Sin;
use crate::plugin::{Kind, TrapCause};

use TrapCause::{Deadline, Fault, Memory, Output, Panic, Stack};

/// Repeats this with `$i` from 0.
pub(super) fn times(count: u32, work: &str) -> String {
    format!(
        "(loop $l {work}
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $l (i32.lt_u (local.get $i) (i32.const {count}))))"
    )
}

/// Writes `$i` as five letters to 3072.
fn letters() -> String {
    let letter = |at: u32| {
        let (place, shift) = (3072 + at, 4 * at);
        format!(
            "(i32.store8 (i32.const {place})
               (i32.add (i32.const 65) (i32.and (i32.shr_u (local.get $i) (i32.const {shift})) (i32.const 15))))"
        )
    };
    (0..5).map(letter).collect()
}

fn does(body: &str) -> Sin {
    Sin { body: body.to_owned(), ..Sin::default() }
}

fn with(extra: &str, body: &str) -> Sin {
    Sin { extra: extra.to_owned(), ..does(body) }
}

/// Sins where the host allocates, once its body has been reached.
fn in_realloc(realloc: &str) -> Sin {
    Sin {
        extra: "(global $armed (mut i32) (i32.const 0))".to_owned(),
        body: "(global.set $armed (i32.const 1)) (call $state_get (i32.const 2064) (i32.const 3) (i32.const 1536))"
            .to_owned(),
        realloc: format!("(if (global.get $armed) (then {realloc}))"),
        ..Sin::default()
    }
}

/// Name, guest, how it ends.
pub(super) fn sins() -> Vec<(&'static str, Sin, Ends)> {
    let over = "longer than its budget";
    let much = "more memory than its limit";
    let bounds = "out of bounds";
    let table = "(table 1 funcref)";
    vec![
        ("spins", does("(loop $l (br $l))"), Ends::Trap(Deadline, over)),
        (
            "spins in bulk memory operations",
            does("(loop $l (memory.fill (i32.const 65536) (i32.const 0) (i32.const 190000)) (br $l))"),
            Ends::Trap(Deadline, over),
        ),
        ("spins in host calls", does("(loop $l (drop (call $now)) (br $l))"), Ends::Trap(Deadline, over)),
        ("spins where the host allocates", in_realloc("(loop $l (br $l))"), Ends::Trap(Deadline, over)),
        (
            "wants all memory, step by step",
            does("(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)"),
            Ends::Trap(Memory, much),
        ),
        ("wants all memory at once", does("(drop (memory.grow (i32.const 60000))) (unreachable)"), Ends::Trap(Memory, much)),
        (
            "grows a table without end",
            with(
                "(table $t 1 funcref)",
                "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 9000)) (i32.const -1)))) (unreachable)",
            ),
            Ends::Trap(Memory, much),
        ),
        ("recurses without end", with("(func $deep (call $deep) (call $deep))", "(call $deep)"), Ends::Trap(Stack, "stack")),
        (
            "recurses through a table",
            with("(table 1 funcref) (elem (i32.const 0) $deep) (func $deep (call_indirect (i32.const 0)))", "(call $deep)"),
            Ends::Trap(Stack, "stack"),
        ),
        ("reaches the unreachable", does("(unreachable)"), Ends::Trap(Fault, "unreachable")),
        ("divides by zero", does("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), Ends::Trap(Fault, "divide by zero")),
        (
            "divides beyond the largest integer",
            does("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"),
            Ends::Trap(Fault, "overflow"),
        ),
        ("makes an integer of NaN", does("(drop (i32.trunc_f64_s (f64.const nan)))"), Ends::Trap(Fault, "integer")),
        ("reads out of bounds", does("(drop (i32.load (i32.const 0x7fff0000)))"), Ends::Trap(Fault, bounds)),
        (
            "copies out of bounds",
            does("(memory.copy (i32.const 0) (i32.const 0) (i32.const 0x7fffffff))"),
            Ends::Trap(Fault, bounds),
        ),
        ("calls a null function", with(table, "(call_indirect (i32.const 0))"), Ends::Trap(Fault, "uninitialized")),
        ("calls beyond its table", with(table, "(call_indirect (i32.const 7))"), Ends::Trap(Fault, bounds)),
        (
            "calls a function of another type",
            with("(table 1 funcref) (elem (i32.const 0) $takes) (func $takes (param i64))", "(call_indirect (i32.const 0))"),
            Ends::Trap(Fault, "type mismatch"),
        ),
        (
            "panics",
            with(
                r#"(data (i32.const 3072) "too \1b[2Jlong") (data (i32.const 3200) "src/lib.rs")"#,
                "(call $panicked (i32.const 3072) (i32.const 12) (i32.const 3200) (i32.const 10) (i32.const 7)) (unreachable)",
            ),
            Ends::Trap(Panic, "too \\u{1b}[2Jlong at src/lib.rs:7"),
        ),
        (
            "panics with a book",
            does(
                "(drop (memory.grow (i32.const 16)))
                 (call $panicked (i32.const 65536) (i32.const 900000) (i32.const 2048) (i32.const 12) (i32.const 7)) (unreachable)",
            ),
            Ends::Trap(Panic, "…"),
        ),
        (
            "hands over a string of a gigabyte",
            does(
                "(call $state_set (i32.const 2064) (i32.const 3) (i32.const 65536) (i32.const 0x40000000) (i32.const 1536))",
            ),
            Ends::Trap(Fault, ""),
        ),
        (
            "hands over more than it may",
            does(
                "(drop (memory.grow (i32.const 64)))
                 (call $state_set (i32.const 2064) (i32.const 3) (i32.const 65536) (i32.const 2000000) (i32.const 1536))",
            ),
            Ends::Trap(Output, "output limit"),
        ),
        (
            "hands over text that is not UTF-8",
            with(
                r#"(data (i32.const 3072) "\ff\fe")"#,
                "(call $state_set (i32.const 3072) (i32.const 2) (i32.const 2048) (i32.const 3) (i32.const 1536))",
            ),
            Ends::Trap(Fault, ""),
        ),
        ("answers with a pointer to nowhere", does("(global.set $answer (i32.const 0x7ffffff0))"), Ends::Trap(Fault, "")),
        ("answers with a crooked pointer", does("(global.set $answer (i32.const 1025))"), Ends::Trap(Fault, "align")),
        ("answers with a case that is none", does("(i32.store (i32.const 1024) (i32.const 7))"), Ends::Trap(Fault, "")),
        (
            "answers with a text of false length",
            does(
                "(i32.store (i32.const 1024) (i32.const 1))
                 (i32.store (i32.const 1028) (i32.const 65536)) (i32.store (i32.const 1032) (i32.const 0x40000000))",
            ),
            Ends::Trap(Fault, ""),
        ),
        (
            "answers with a book",
            does(
                "(drop (memory.grow (i32.const 64))) (i32.store (i32.const 1024) (i32.const 1))
                 (i32.store (i32.const 1028) (i32.const 65536)) (i32.store (i32.const 1032) (i32.const 2000000))",
            ),
            Ends::Trap(Output, "output limit"),
        ),
        ("allocates nowhere", in_realloc("(return (i32.const 0x7ffffff0))"), Ends::Trap(Fault, "")),
        ("calls the host while the host calls it", in_realloc("(drop (call $now))"), Ends::Trap(Fault, "")),
        ("refuses", does("(i32.store (i32.const 1024) (i32.const 1))"), Ends::Refused("")),
        (
            "traps again when it is started anew",
            Sin {
                body: "(unreachable)".to_owned(),
                configure: "(if (i64.eqz (call $now)) (then (unreachable)))".to_owned(),
                ..Sin::default()
            },
            Ends::Trap(Fault, "unreachable"),
        ),
    ]
}

fn each(name: &str, sin: &Sin, means: impl Fn() -> Means, ends: Ends, look: impl Fn(Kind, &Evidence)) {
    for kind in Kind::ALL {
        look(kind, &trial(kind, name, sin, means(), ends));
    }
}

#[test]
fn every_sin_of_any_kind_is_contained_and_named() {
    for (name, sin, ends) in sins() {
        let means = || if matches!(ends, Ends::Trap(Deadline, _)) { Means::hasty() } else { Means::default() };
        each(name, &sin, means, ends, |_, _| ());
    }
}

#[test]
fn a_log_is_bounded_in_length_and_rate_and_forges_nothing() {
    let say = "(call $log (i32.const 2) (i32.const 3072) (i32.const 14) (i32.const 0) (i32.const 0))";
    let forged = with(r#"(data (i32.const 3072) "x\0aERROR \1b[2Jok")"#, say);
    each("forges log lines", &forged, Means::default, Ends::Well, |kind, evidence| {
        let line = evidence.lines.iter().find(|line| line.contains("plugin log")).unwrap();
        assert!(line.contains("text=x\\nERROR \\u{1b}[2J") && !line.contains(['\n', '\u{1b}']), "{kind}: {line}");
    });
    let flood = does(&times(10_000, say));
    each("floods the log", &flood, Means::default, Ends::Well, |kind, evidence| {
        let lines = evidence.lines.iter().filter(|line| line.contains("plugin log")).count();
        // A burst of five, and five more for each second that passed.
        assert!((5..=30).contains(&lines), "{kind}: {lines} lines");
    });
    let book = does(
        "(drop (memory.grow (i32.const 200)))
         (call $log (i32.const 2) (i32.const 65536) (i32.const 10000000) (i32.const 0) (i32.const 0))",
    );
    let patient = || {
        let mut means = Means::default();
        means.limits.output = 16 << 20;
        means
    };
    each("logs a book", &book, patient, Ends::Well, |kind, evidence| {
        let longest = evidence.lines.iter().map(String::len).max().unwrap();
        assert!((4_000..6_000).contains(&longest), "{kind}: {longest} bytes");
    });
}

#[test]
fn state_ends_at_its_quota_however_it_is_filled() {
    let fill = |count, length: u32| {
        let set = format!(
            "(call $state_set (i32.const 3072) (i32.const 5) (i32.const 65536) (i32.const {length}) (i32.const 1536))"
        );
        // What the host answers is thrown away each time.
        does(&times(count, &format!("(global.set $heap (i32.const 65536)) {} {set}", letters())))
    };
    each("fills its state", &fill(200, 60_000), Means::default, Ends::Well, |kind, evidence| {
        assert!((900_000..=QUOTA).contains(&evidence.kept), "{kind}: {} bytes", evidence.kept);
    });
    each("keeps 100,000 keys", &fill(100_000, 0), Means::default, Ends::Well, |kind, evidence| {
        assert!((10_000..=QUOTA / 64).contains(&evidence.entries), "{kind}: {} entries", evidence.entries);
    });
}

#[test]
fn series_of_its_own_are_bounded_and_numbers() {
    let add = "(call $add (i32.const 3072) (i32.const 5) (f64.const 1))";
    let flood = does(&times(20_000, &format!("{} {add}", letters())));
    let series =
        |evidence: &Evidence| evidence.scrape.lines().filter(|line| line.starts_with("plugin_custom_total{")).count();
    each("floods the metrics", &flood, Means::default, Ends::Well, |kind, evidence| {
        assert_eq!(series(evidence), 101, "{kind}: a hundred, and one for the rest");
    });
    let wrong = ["nan", "inf", "-inf", "-1"]
        .map(|number| format!("(call $add (i32.const 2048) (i32.const 12) (f64.const {number}))"))
        .concat();
    each("counts what is no number", &does(&wrong), Means::default, Ends::Well, |kind, evidence| {
        assert_eq!(series(evidence), 0, "{kind}");
    });
}
