//! An author's first minutes with the built binary: a crate of each kind that builds and passes its replay at once, and a
//! replay that notices when the code does something else. Compiles guests, so it needs Rust and a crates registry.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::agent::binary;

/// `whimbrel plugin` in a folder.
fn plugin(folder: &Path, words: &[&str]) -> Output {
    Command::new(binary()).arg("plugin").args(words).current_dir(folder).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_new_plugin_of_each_kind_builds_and_passes_its_replay_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // What they have in common is compiled once, and kept for the next run.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors").display().to_string();
    for kind in ["transform", "rule", "channel", "migration"] {
        let name = format!("first-{kind}");
        let made = plugin(folder.path(), &["new", &name, "--kind", kind]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made));
        assert!(folder.path().join(&name).join("sdk").is_dir(), "the SDK comes along");
        let tested = plugin(folder.path(), &["test", &name, "--target-dir", &target]);
        assert_eq!(tested.status.code(), Some(0), "{kind}: {}", text(&tested));
        assert!(text(&tested).contains("1 cases, 0 failed"), "{}", text(&tested));
        let component = format!("{target}/{name}.wasm");
        let checked = plugin(folder.path(), &["check", &component]);
        assert!(text(&checked).contains(&format!("{kind} {name} 0.1.0 would run in this agent")), "{}", text(&checked));
    }
    let case = folder.path().join("first-transform/tests/first.json");
    let wrong = fs::read_to_string(&case).unwrap().replace("\"Ada\"", "\"Eve\"");
    fs::write(&case, wrong).unwrap();
    let tested = plugin(folder.path(), &["test", "first-transform", "--target-dir", &target]);
    assert_eq!(tested.status.code(), Some(1), "{}", text(&tested));
    assert!(text(&tested).contains("expect"), "{}", text(&tested));
}
