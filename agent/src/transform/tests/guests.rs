//! The examples in other languages do what the bundled mask does. `./x guests` builds them and says where they are.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::{env, fs};

use tempfile::TempDir;

use super::{ENGINE, batch_of, start};
use crate::batch::Batch;
use crate::event::Op;
use crate::plugin::{Cache, Instance, Limits, LoadError, Plugin, Setup, Transform, bundled};
use crate::transform::{View, stored};

/// Every built example: its name and its bytes.
fn guests() -> Vec<(String, Vec<u8>)> {
    let directory = PathBuf::from(env::var_os("WHIMBREL_GUESTS").expect("./x guests sets WHIMBREL_GUESTS"));
    let mut guests: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect();
    guests.sort();
    assert!(!guests.is_empty(), "no guest in {}", directory.display());
    guests
}

/// Compiling an engine of 18 MB takes a while: once is enough.
static CACHE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn guest(name: &str, bytes: &[u8], config: &str) -> Result<Instance<Transform<View>>, LoadError> {
    let cache = Cache::at(CACHE.path().to_owned());
    Arc::new(Plugin::load(&ENGINE, &cache, bytes, Setup::new(name, config))?).start()
}

/// What a mask meets: texts, no texts, and what is no address.
const EMAILS: [&str; 12] = [
    r#""ada@example.org""#,
    r#""ünal@example.org""#,
    r#""漢字@example.org""#,
    r#""😀smile@example.org""#,
    r#""odd@at@example.org""#,
    r#""\"q\"\t@example.org""#,
    r#""@example.org""#,
    r#""ada@""#,
    r#""no address""#,
    r#""""#,
    "null",
    "12.50",
];

/// A batch in which every e-mail meets every other across both images, and rows without the column.
fn replay() -> Batch {
    let image = |email: &str| format!(r#"{{"id":18446744073709551616,"email":{email},"phone":"a@b"}}"#);
    let mut events: Vec<(Op, String, String)> = Vec::new();
    for before in EMAILS {
        for after in EMAILS {
            events.push((Op::Update, image(before), image(after)));
        }
        events.push((Op::Create, "null".to_owned(), image(before)));
        events.push((Op::Delete, image(before), "null".to_owned()));
        events.push((Op::Read, "null".to_owned(), r#"{"id":1}"#.to_owned()));
    }
    let events: Vec<_> =
        events.iter().map(|(op, before, after)| (*op, "public.customers", before.as_str(), after.as_str())).collect();
    batch_of(&events)
}

fn applied(instance: &mut Instance<Transform<View>>, batch: Batch) -> Vec<String> {
    let (view, outcome) = instance.apply(View::new(batch));
    outcome.unwrap();
    let batch = view.into_batch();
    let json = |event| String::from_utf8(stored::event_json(&batch, event)).unwrap();
    batch.events.iter().map(json).collect()
}

fn bundled_mask(columns: &str) -> Instance<Transform<View>> {
    let config = format!(r#"{{"rules":[{{"columns":["{columns}"]}}]}}"#);
    start("mask-fields", bundled::find("mask-fields").unwrap(), Limits::default(), &config).unwrap()
}

#[test]
#[ignore = "needs compilers of other languages; ./x guests has them and runs this"]
fn guests_in_other_languages_do_what_the_bundled_mask_does() {
    for (config, column) in [(r#"{"column":"email"}"#, "email"), ("{}", "email"), (r#"{"column":"phone"}"#, "phone")] {
        let mut bundled = bundled_mask(column);
        let expect = applied(&mut bundled, replay());
        assert!(expect.iter().any(|event| event.contains("***@")), "the replay masks nothing");
        let none = applied(&mut bundled, batch_of(&[]));
        let one = || batch_of(&[(Op::Create, "t", "null", r#"{"email":"ada@example.org","phone":"1"}"#)]);
        let expect_one = applied(&mut bundled, one());
        for (name, bytes) in guests() {
            let mut guest = guest(&name, &bytes, config).unwrap_or_else(|error| {
                panic!("{name} with {config}: {error}: {:?}", std::error::Error::source(&error))
            });
            // The same instance again and again: what it keeps of a call must not reach the next, and not add up.
            for round in 0..20 {
                assert_eq!(applied(&mut guest, replay()), expect, "{name}, round {round}");
                assert_eq!(applied(&mut guest, one()), expect_one, "{name}, round {round}");
                assert_eq!(applied(&mut guest, batch_of(&[])), none, "{name}, round {round}");
            }
            let settled = guest.memory();
            for _ in 0..20 {
                applied(&mut guest, replay());
            }
            assert!(guest.memory() < settled + (8 << 20), "{name} grows: {settled} -> {}", guest.memory());
            println!("{name}: {} bytes, {} bytes of memory", bytes.len(), guest.memory());
        }
    }
}

#[test]
#[ignore = "needs compilers of other languages; ./x guests has them and runs this"]
fn guests_in_other_languages_refuse_what_they_do_not_know() {
    for (name, bytes) in guests() {
        for config in [r#"{"column":"email","colour":"red"}"#, r#"{"column":""}"#, r#"{"column":7}"#] {
            match guest(&name, &bytes, config) {
                Err(LoadError::Config { message, .. }) => {
                    assert!(message.contains("column") || message.contains("colour"), "{name} with {config}: {message}")
                }
                other => panic!("{name} with {config}: {other:?}"),
            }
        }
    }
}
