//! The cases that lie beside the sources of the bundled rules and channels, replayed by the components the agent carries:
//! expectations and budgets.

use std::path::Path;

use super::case::{Case, files};
use super::{faults, replay};
use crate::author::subject::Subject;
use crate::plugin::bundled::BUNDLED;
use crate::plugin::{Engine, Kind};

#[test]
fn the_rules_and_channels_that_are_bundled_do_what_their_cases_say() {
    let engine = Engine::counting().unwrap();
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins");
    for plugin in BUNDLED.iter().filter(|plugin| plugin.kind != Kind::Transform) {
        let subject = Subject::of(plugin.bytes.into()).unwrap();
        let cases = files(&plugins.join(plugin.name).join("tests")).unwrap();
        assert!(cases.len() >= 3, "{} has {} cases", plugin.name, cases.len());
        for file in cases {
            let case = Case::read(&file).unwrap();
            let run = replay(&engine, &subject, &case).unwrap();
            let faults = faults(&case, &run);
            assert!(faults.is_empty(), "{}:\n{}", file.display(), faults.join("\n"));
        }
    }
}
