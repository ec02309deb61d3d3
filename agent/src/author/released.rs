//! Plugins as they were built for a released contract, run by the agent of today. Tests only.
//!
//! When a version is released, its components are copied to `tests/fixtures/plugins/<version>`, each with a replay case; they
//! stay there as long as the agent takes plugins of that contract. They are never built again: that they are old is their use.
//! `template-KIND.wasm` is what `whimbrel plugin new` made then.

use std::collections::BTreeSet;
use std::path::Path;

use super::replay::case::{self, Case};
use super::replay::{differences, replay};
use super::subject::Subject;
use crate::plugin::{Engine, Kind};

#[test]
fn every_released_plugin_still_does_what_it_did() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/plugins");
    let engine = Engine::new().unwrap();
    let releases = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    for release in releases.collect::<Vec<_>>() {
        let mut kinds = BTreeSet::new();
        for path in case::files(&release).unwrap() {
            let subject = Subject::read(&path.with_extension("wasm")).unwrap();
            assert_eq!(subject.manifest.wit, release.file_name().unwrap().to_str().unwrap(), "{}", path.display());
            let case = Case::read(&path).unwrap();
            let run = replay(&engine, &subject, &case).unwrap();
            let differs = differences(case.expect.as_ref().unwrap(), &run.got);
            assert!(differs.is_empty(), "{}: {differs:#?}", path.display());
            kinds.insert(subject.kind.as_str());
        }
        assert_eq!(kinds.len(), Kind::ALL.len(), "{}: one of each kind", release.display());
    }
}
