//! What leaves a running agent as a replay case: no value, no secret, and still something that replays.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{ENGINE, batch_of, instruments};
use crate::author::replay::case::{Case, bless};
use crate::author::replay::{faults, replay};
use crate::author::subject::Subject;
use crate::batch::Batch;
use crate::config;
use crate::config::raw::Record;
use crate::event::Op;
use crate::plugin::trust::Trust;
use crate::plugin::{Cache, Engine, Sandbox, Services};
use crate::transform::{Chain, RecordError, Reloads, Show, build};

const CANARY: &str = "canary-4711-zqxjkv";

/// A chain as an agent builds it from a file, with these options of `mask-fields`.
fn rig(options: &str, record: Record) -> (tempfile::TempDir, Chain, Reloads) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("salt"), CANARY).unwrap();
    let file = directory.path().join("whimbrel.yaml");
    let text = format!(
        "pipelines:
  - name: shop
    source: {{kafka: {{brokers: ['127.0.0.1:9092']}}}}
    target: {{sqlite: {{path: ./shop.db}}}}
    transform: [{{plugin: mask-fields, name: mask, config: {options}}}]
"
    );
    fs::write(&file, text).unwrap();
    let config = config::load(&file).unwrap_or_else(|report| panic!("{report}")).config;
    let sandbox = Sandbox {
        engine: ENGINE.clone(),
        cache: Cache::none(),
        services: Services::default(),
        trust: Trust::default(),
        repro: None,
    };
    let instruments = instruments();
    let mut chain = build(&sandbox, "shop", &config.pipelines[0].transform, &instruments).unwrap();
    let mut reloads = Reloads::new(sandbox, instruments).recording(record);
    reloads.add(&mut chain);
    (directory, chain, reloads)
}

const OPTIONS: &str = "{salt: 'x-${file:salt}-$${y}', rules: [{columns: [email]}, {columns: [iban], with: {keep_last: 4}}, {columns: [name], with: hash}]}";

fn batch() -> Batch {
    let canary = format!(r#"{{"id":3,"note":"it says {CANARY} here","nested":{{"{CANARY}":["{CANARY}"]}}}}"#);
    batch_of(&[
        (
            Op::Create,
            "public.customers",
            "null",
            r#"{"id":17,"email":"ada@example.org","iban":"DE02120300000000202051"}"#,
        ),
        (
            Op::Update,
            "public.customers",
            r#"{"id":18,"email":"old@example.org"}"#,
            r#"{"id":18,"email":null,"name":"Grace Hopper","paid":true,"total":12345678901234567890.123}"#,
        ),
        (Op::Create, "public.notes", "null", &canary),
    ])
}

/// Replays a case with the bundled mask: what comes out, once it was taken as expected and came out again.
fn replayed(directory: &Path, text: &str) -> Value {
    let file = directory.join("case.json");
    fs::write(&file, text).unwrap();
    let (subject, engine) = (Subject::read(Path::new("mask-fields")).unwrap(), Engine::counting().unwrap());
    let run = replay(&engine, &subject, &Case::read(&file).unwrap()).unwrap();
    bless(&file, &run.got).unwrap();
    let case = Case::read(&file).unwrap();
    let again = replay(&engine, &subject, &case).unwrap();
    assert_eq!(faults(&case, &again), Vec::<String>::new());
    run.got
}

#[test]
fn a_recorded_case_shows_no_value_and_no_secret_and_replays() {
    let (directory, mut chain, reloads) = rig(OPTIONS, Record::Redacted);
    let nothing = reloads.recorded("shop", "mask", &Show::Nothing).unwrap_err();
    assert!(matches!(nothing, RecordError::Nothing), "{nothing}");
    chain.apply(&mut batch()).unwrap();
    let text = reloads.recorded("shop", "mask", &Show::Nothing).unwrap();
    for hidden in [CANARY, "canary", "4711", "ada", "example", "0212", "Grace", "Hopper", "123456", "true,"] {
        assert!(!text.contains(hidden), "{hidden} is in\n{text}");
    }
    let case: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(case["config"]["salt"], "x-${file:salt}-${y}");
    let email = |event: usize, image: &str| case["events"][event][image]["email"].clone();
    assert_eq!(
        (email(0, "after"), email(1, "before"), email(1, "after")),
        ("xxx@xxxxxxx.xxx".into(), "xxx@xxxxxxx.xxx".into(), Value::Null)
    );
    assert_eq!(case["events"][1]["operation"], "update");
    assert_eq!(case["events"][1]["after"]["total"].to_string(), "0.0");
    assert!(case.get("expect").is_none(), "the author says what is expected");

    let got = replayed(directory.path(), &text);
    assert_eq!(got["result"], "ok");
    assert_eq!(got["events"][0]["after"]["email"], "x***@xxxxxxx.xxx");
    assert_eq!(got["events"][0]["after"]["iban"], "******************0000");
    assert_eq!(got["events"][1]["after"]["name"].as_str().unwrap().len(), 64);
}

#[test]
fn values_are_shown_where_the_configuration_lets_them_and_somebody_asks() {
    let columns = |names: &[&str]| Show::Columns(names.iter().map(|name| (*name).to_owned()).collect());
    for (record, show, expect) in [
        (Record::Off, Show::Nothing, Err("lets nothing be recorded")),
        (Record::Off, Show::Everything, Err("lets nothing be recorded")),
        (Record::Redacted, Show::Everything, Err("shows no values")),
        (Record::Redacted, columns(&["email"]), Err("shows no values")),
        (Record::Values, Show::Nothing, Ok(vec![])),
        (Record::Values, columns(&["email"]), Ok(vec!["ada@", "old@"])),
        (Record::Values, columns(&["iban", "total"]), Ok(vec!["DE0212030", "12345678901234567890.123"])),
        (
            Record::Values,
            Show::Everything,
            Ok(vec!["ada@", "old@", "DE0212030", "Grace Hopper", "12345678901234567890.123"]),
        ),
    ] {
        let (_directory, mut chain, reloads) = rig(OPTIONS, record);
        chain.apply(&mut batch()).unwrap();
        let got = reloads.recorded("shop", "mask", &show).map_err(|error| error.to_string());
        match (got, expect) {
            (Err(got), Err(expect)) => assert!(got.contains(expect), "{record:?} {show:?}: {got}"),
            (Ok(text), Ok(expect)) => {
                for value in ["ada@", "old@", "DE0212030", "Grace Hopper", "12345678901234567890.123"] {
                    assert_eq!(text.contains(value), expect.contains(&value), "{record:?} {show:?}: {value}\n{text}");
                }
                // Even where a row holds the same text.
                assert!(!text.contains(CANARY), "{text}");
                assert_eq!(text.contains("it says ${file:salt} here"), show == Show::Everything, "{text}");
            }
            (got, expect) => panic!("{record:?} {show:?}: {got:?}, expected {expect:?}"),
        }
    }
    let (_directory, _chain, reloads) = rig(OPTIONS, Record::Values);
    let unknown = reloads.recorded("shop", "other", &Show::Nothing).unwrap_err();
    assert!(matches!(unknown, RecordError::Unknown { .. }), "{unknown}");
}

#[test]
fn a_secret_that_is_written_out_in_the_configuration_is_not_in_the_case() {
    let (_directory, mut chain, reloads) = rig("{salt: written-out, rules: [{columns: [email]}]}", Record::Values);
    chain.apply(&mut batch()).unwrap();
    let text = reloads.recorded("shop", "mask", &Show::Everything).unwrap();
    assert!(!text.contains("written-out"), "{text}");
    assert!(text.contains(r#""salt": "***""#), "{text}");
}

#[test]
fn a_case_has_the_newest_events_of_a_large_batch() {
    let (directory, mut chain, reloads) = rig(OPTIONS, Record::Values);
    for (count, length, expect) in [(300, 10, 100), (100, 100_000, 10), (2, 2_000_000, 1)] {
        let note = "n".repeat(length);
        let rows: Vec<_> = (0..count).map(|id| format!(r#"{{"id":{id},"note":"{note}"}}"#)).collect();
        let events: Vec<_> = rows.iter().map(|row| (Op::Create, "t", "null", row.as_str())).collect();
        // A batch a second is kept.
        std::thread::sleep(std::time::Duration::from_millis(1010));
        chain.apply(&mut batch_of(&events)).unwrap();
        let text = reloads.recorded("shop", "mask", &Show::Everything).unwrap();
        let file = directory.path().join("large.json");
        fs::write(&file, &text).unwrap();
        let events = Case::read(&file).unwrap().events.unwrap();
        assert_eq!(events.len(), expect, "{count} of {length}");
        let last = events.last().unwrap().after.as_ref().unwrap();
        assert_eq!(last["id"].get(), (count - 1).to_string(), "{count} of {length}");
    }
}
