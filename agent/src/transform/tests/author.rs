//! An author's crate, from source to verdict: built the way the bundled ones are, loaded, called. Every function of the
//! SDK crosses the boundary once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::{env, fs};

use super::{batch_of, start, text};
use crate::batch::{Batch, Image};
use crate::event::{Op, Verdict};
use crate::plugin::{CallError, Kind, Limits, Manifest, TrapCause};
use crate::transform::View;

const SOURCE: &str = r#"
use whimbrel_plugin::prelude::*;
use whimbrel_plugin::{Packed, Value};

/// Does one thing at a time.
#[derive(Config)]
struct Author {
    /// Which thing.
    does: Thing,
    #[config(default = "email")]
    column: String,
}

#[derive(Config)]
enum Thing { Mask, Panic, Refuse, Columns, Values, Json, Fail, Tables, Log }

#[transform]
impl Transform for Author {
    fn apply(&mut self, batch: &mut Batch, cx: &Context) -> Result<(), Failure> {
        let path = format!("after.{}", self.column);
        match self.does {
            Thing::Mask => batch.map_text(&path, |email| email.replace(|c: char| c != '@', "*")),
            Thing::Panic => panic!("row {} is odd", batch.len()),
            Thing::Refuse => Err(Failure::new("mood", "not today")),
            Thing::Columns => {
                let column: Packed = (0..batch.len()).map(|row| (row != 1).then_some("set")).collect();
                batch.set_text_column(&path, &column)?;
                batch.patch_text_column("before.email", &[1], &[Some("patched")].into_iter().collect())
            }
            Thing::Values => {
                let mut values = batch.column("after.id");
                assert_eq!(values, [Value::Integer(1), Value::Integer(2), Value::Null]);
                values[0] = Value::Tagged("json".into(), "[true]".into());
                values[1] = Value::Float(0.5);
                batch.set_column("after.id", &values)
            }
            Thing::Json => {
                let event = String::from_utf8(batch.json(1)).expect("it is text");
                batch.set_json(1, event.replace("new@", "json@").as_bytes())
            }
            Thing::Fail => {
                batch.fail(1, &Failure::new("value", "not this one"));
                Ok(batch.drop_rows(&[0, 2]))
            }
            Thing::Tables => {
                assert_eq!(batch.operations().iter().collect::<Vec<_>>(), ["create", "update", "delete"]);
                assert_eq!(batch.source_times()[2], 1_700_000_000_002);
                let mut tables = batch.tables();
                tables.rename(|table| table.strip_prefix("public.").map(str::to_owned));
                batch.set_tables(&tables)
            }
            Thing::Log => Ok(cx.log(Level::Info, "hello", &[("rows", "3")])),
        }
    }
}
"#;

/// Where the build script puts guests: what it compiled is used again.
fn target_dir() -> PathBuf {
    let out = Path::new(env!("OUT_DIR"));
    let build = out.ancestors().find(|path| path.ends_with("build")).unwrap();
    build.parent().unwrap().parent().unwrap().join("plugins")
}

static COMPONENT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let crate_dir = tempfile::tempdir().unwrap();
    fs::create_dir(crate_dir.path().join("src")).unwrap();
    fs::write(crate_dir.path().join("src/lib.rs"), SOURCE).unwrap();
    fs::copy(root.join("Cargo.lock"), crate_dir.path().join("Cargo.lock")).unwrap();
    let manifest = format!(
        "[package]\nname = \"author\"\nversion = \"1.2.3\"\nedition = \"2024\"\ndescription = \"An author's first\"\n[lib]\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\nwhimbrel-plugin = {{ path = {:?} }}\n\
         [profile.plugin]\ninherits = \"release\"\nopt-level = 3\nlto = true\ncodegen-units = 1\npanic = \"abort\"\nstrip = \"debuginfo\"\n[workspace]\n",
        root.join("plugin-sdk")
    );
    fs::write(crate_dir.path().join("Cargo.toml"), manifest).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_PKG")
            || name.starts_with("CARGO_MANIFEST")
            || name.starts_with("RUSTC")
            || name == "RUSTFLAGS"
            || name == "CARGO_ENCODED_RUSTFLAGS"
        {
            cargo.env_remove(name);
        }
    }
    cargo
        .current_dir(crate_dir.path())
        .args(["build", "--offline", "--profile", "plugin", "--target", "wasm32-unknown-unknown", "--target-dir"])
        .arg(target_dir());
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let module = fs::read(target_dir().join("wasm32-unknown-unknown/plugin/author.wasm")).unwrap();
    wit_component::ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
});

fn apply(does: &str) -> (Batch, Result<(), CallError>) {
    let batch = batch_of(&[
        (Op::Create, "public.a", "null", r#"{"id":1,"email":"ada@x"}"#),
        (Op::Update, "public.a", r#"{"id":2,"email":"old@x"}"#, r#"{"id":2,"email":"new@x"}"#),
        (Op::Delete, "b", r#"{"id":3,"email":"gone@x"}"#, "null"),
    ]);
    let mut instance = start("author", &COMPONENT, Limits::default(), &format!(r#"{{"does":"{does}"}}"#)).unwrap();
    let (view, outcome) = instance.apply(View::new(batch));
    (view.into_batch(), outcome)
}

fn email(batch: &Batch, event: usize, image: Image) -> Option<String> {
    text(batch, event, image, "email")
}

#[test]
fn the_manifest_holds_what_the_source_says() {
    let manifest = Manifest::of(&COMPONENT, Kind::Transform).unwrap();
    assert_eq!(
        (manifest.name.as_str(), manifest.version.as_str(), manifest.description.as_str()),
        ("author", "1.2.3", "An author's first")
    );
    let things: Vec<_> = ["mask", "panic", "refuse", "columns", "values", "json", "fail", "tables", "log"]
        .iter()
        .map(|name| serde_json::json!({ "const": name }))
        .collect();
    let expect = serde_json::json!({
        "type": "object",
        "description": "Does one thing at a time.",
        "properties": {
            "does": {
                "description": "Which thing.",
                "oneOf": things,
            },
            "column": { "type": "string", "default": "email" },
        },
        "required": ["does"],
        "additionalProperties": false,
    });
    assert_eq!(manifest.config, expect);
}

#[test]
fn every_function_of_the_sdk_crosses_the_boundary() {
    let ok = |does| {
        let (batch, outcome) = apply(does);
        outcome.unwrap_or_else(|error| panic!("{does}: {error}"));
        batch
    };
    let batch = ok("mask");
    assert_eq!(email(&batch, 0, Image::After).as_deref(), Some("***@*"));
    assert_eq!(email(&batch, 1, Image::Before).as_deref(), Some("old@x"));

    let batch = ok("columns");
    assert_eq!(email(&batch, 0, Image::After).as_deref(), Some("set"));
    assert_eq!(email(&batch, 1, Image::After), None);
    assert_eq!(email(&batch, 1, Image::Before).as_deref(), Some("patched"));
    assert_eq!(email(&batch, 2, Image::Before).as_deref(), Some("gone@x"));

    let batch = ok("values");
    assert_eq!(text(&batch, 0, Image::After, "id").as_deref(), Some("[true]"));
    assert_eq!(text(&batch, 1, Image::After, "id").as_deref(), Some("0.5"));

    assert_eq!(email(&ok("json"), 1, Image::After).as_deref(), Some("json@x"));

    let batch = ok("fail");
    assert_eq!(batch.failure(&batch.events[1]).unwrap().message, "value: not this one");
    assert_eq!([batch.events[0].verdict, batch.events[2].verdict], [Verdict::Drop; 2]);

    let batch = ok("tables");
    assert_eq!(batch.events.iter().map(|event| batch.destination(event)).collect::<Vec<_>>(), ["a", "a", "b"]);
    ok("log");
}

#[test]
fn a_panic_says_what_and_where_and_an_error_is_only_data() {
    let line = SOURCE.lines().position(|line| line.contains("Thing::Panic =>")).unwrap() + 1;
    let (_, outcome) = apply("panic");
    let Err(CallError::Trapped(trap)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        (trap.cause, trap.message.as_str()),
        (TrapCause::Panic, format!("row 3 is odd at src/lib.rs:{line}").as_str())
    );

    let (_, outcome) = apply("refuse");
    assert_eq!(outcome.unwrap_err().to_string(), "the plugin refused: mood: not today");
}
