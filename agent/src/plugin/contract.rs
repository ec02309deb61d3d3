//! The contract as released and as it is now: `wit/` may only grow in ways that old plugins do not notice. Tests only.
//!
//! When a version is released, its files are copied to `tests/fixtures/wit/<version>` and stay there.

use std::fs;
use std::path::{Path, PathBuf};

use wit_component::semver_check;
use wit_parser::Resolve;

use super::manifest::Kind;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The worlds of two versions in one set of packages. The old one is renumbered: only so can both be there.
fn check(old: &Path, new: &Path, kind: Kind) -> Result<(), String> {
    let renumbered = tempfile::tempdir().unwrap();
    let mut files = 0;
    for entry in fs::read_dir(old).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().replace("whimbrel:plugin@0.1.", "whimbrel:plugin@0.0.");
        fs::write(renumbered.path().join(path.file_name().unwrap()), text).unwrap();
        files += 1;
    }
    assert!(files > 0, "no WIT files in {}", old.display());
    let mut resolve = Resolve::default();
    let (old, _) = resolve.push_path(renumbered.path()).unwrap();
    let (new, _) = resolve.push_path(new).unwrap();
    let old = resolve.select_world(&[old], Some(kind.world())).unwrap();
    let new = resolve.select_world(&[new], Some(kind.world())).unwrap();
    semver_check(resolve, old, new).map_err(|error| format!("{error:#}"))
}

#[test]
fn plugins_built_for_any_released_contract_fit_the_one_of_today() {
    let mut releases = 0;
    for release in fs::read_dir(root().join("tests/fixtures/wit")).unwrap() {
        let release = release.unwrap().path();
        releases += 1;
        for kind in Kind::ALL {
            check(&release, &root().join("wit"), kind)
                .unwrap_or_else(|error| panic!("{kind} of {}: {error}", release.display()));
        }
    }
    assert!(releases > 0, "no released contract is kept");
}

/// What the check above must catch, and what it must let pass.
#[test]
fn a_change_that_breaks_old_plugins_is_caught_and_one_that_does_not_passes() {
    let cases: [(&str, &str, &str, bool); 6] = [
        ("a new host function", "host.wit", "now-ms: func() -> s64;", true),
        ("a new field", "types.wit", "retryable: bool,", false),
        ("a new case", "types.wit", "enum severity { info, warning, critical }", false),
        ("a new parameter", "host.wit", "delete: func(key: string);", false),
        ("another export", "rule.wit", "evaluate: func(window: window) -> result<list<finding>, failure>;", false),
        ("a function taken away", "host.wit", "now-ms: func() -> s64;", false),
    ];
    let replacements = [
        "now-ms: func() -> s64;\n  monotonic-ns: func() -> u64;",
        "retryable: bool,\n    extra: u32,",
        "enum severity { info, warning, critical, fatal }",
        "delete: func(key: string, soft: bool);",
        "evaluate: func(window: window) -> result<list<finding>, failure>;\n  reset: func();",
        "monotonic-ns: func() -> u64;",
    ];
    for ((case, file, old, compatible), new) in cases.into_iter().zip(replacements) {
        let changed = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(root().join("wit")).unwrap() {
            let path = entry.unwrap().path();
            let mut text = fs::read_to_string(&path).unwrap();
            if path.file_name().unwrap() == file {
                assert!(text.contains(old), "{case}: {file} does not say `{old}`");
                text = text.replace(old, new);
            }
            fs::write(changed.path().join(path.file_name().unwrap()), text).unwrap();
        }
        let result = check(&root().join("wit"), changed.path(), Kind::Rule);
        assert_eq!(result.is_ok(), compatible, "{case}: {result:?}");
    }
}
