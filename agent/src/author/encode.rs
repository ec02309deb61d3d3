//! Makes a plugin of what a compiler of any language wrote: encodes a core module as a component, answers WASI inside it,
//! and appends the manifest. Bytes in, bytes out; what comes out is what the agent takes, or an error says why not.

use wasmparser::{Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding};

use super::wit;
use crate::plugin::{Kind, Manifest, Refusal, SECTION};

/// The module name under which compilers import WASI preview 1.
const WASI: &str = "wasi_snapshot_preview1";

/// What answers it.
const WASI_STUB: &str = include_str!("wasi.wat");

/// Where bindings generators leave the world a module was made for.
const WORLD_SECTION: &str = "component-type";

/// Why no plugin can be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The manifest is not JSON of its shape.
    #[error("the manifest cannot be read; it is JSON with at least `manifest`, `kind`, `name`, `version` and `wit`")]
    Manifest(#[source] serde_json::Error),
    /// The manifest names no kind of plugin.
    #[error("the manifest says kind \"{0}\"; there are: transform, rule, channel, migration")]
    Kind(String),
    /// The file is not WebAssembly, or damaged.
    #[error("the file cannot be read as WebAssembly; build it again")]
    NotWasm(#[source] wasmparser::BinaryReaderError),
    /// What wit-component said.
    #[error(
        "the module does not fit the world `{world}`: {reason}; it must export the world's functions and `cabi_realloc`, and import nothing but the world and WASI preview 1"
    )]
    World {
        /// The world it was encoded for.
        world: &'static str,
        /// The encoder's words.
        reason: String,
    },
    /// The agent would not take the result.
    #[error("the agent would refuse the plugin")]
    Refused(#[source] Refusal),
}

/// Makes a plugin of a core module or a component, with this manifest. A module that carries no world is taken for one of
/// its kind's.
///
/// # Errors
/// When the result is nothing the agent would take, or the file holds a manifest already.
pub fn plugin(file: &[u8], manifest: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest).map_err(EncodeError::Manifest)?;
    let Manifest { kind, .. } = serde_json::from_value(manifest.clone()).map_err(EncodeError::Manifest)?;
    let kind = Kind::parse(&kind).ok_or(EncodeError::Kind(kind))?;
    let mut plugin = if shape(file)?.is_module { component(file, kind)? } else { file.to_vec() };
    append_section(&mut plugin, SECTION, manifest.to_string().as_bytes());
    Manifest::any(&plugin).map_err(EncodeError::Refused)?;
    Ok(plugin)
}

/// Encodes a core module as a component whose WASI imports are answered inside it.
///
/// # Errors
/// When the module does not fit its world.
pub fn component(module: &[u8], kind: Kind) -> Result<Vec<u8>, EncodeError> {
    let failed = |reason: String| EncodeError::World { world: kind.world(), reason };
    let mut module = module.to_vec();
    if !shape(&module)?.has_world {
        let (resolve, package) = wit::resolve().map_err(failed)?;
        let world =
            resolve.select_world(&[package], Some(kind.world())).map_err(|error| failed(format!("{error:#}")))?;
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .map_err(|error| failed(format!("{error:#}")))?;
    }
    let stub = wat::parse_str(WASI_STUB).map_err(|error| failed(error.to_string()))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(WASI, &stub))
        .and_then(|encoder| encoder.encode())
        .map_err(|error| failed(format!("{error:#}")))
}

/// What a file is, as far as it matters here.
struct Shape {
    is_module: bool,
    has_world: bool,
}

fn shape(file: &[u8]) -> Result<Shape, EncodeError> {
    let mut shape = Shape { is_module: false, has_world: false };
    for payload in Parser::new(0).parse_all(file) {
        match payload.map_err(EncodeError::NotWasm)? {
            Payload::Version { encoding: Encoding::Component, .. } => return Ok(shape),
            Payload::Version { .. } => shape.is_module = true,
            Payload::CustomSection(section) if section.name().starts_with(WORLD_SECTION) => shape.has_world = true,
            _ => {}
        }
    }
    Ok(shape)
}

/// Appends a custom section: id 0, length, name, data (WebAssembly core specification, binary format, 5.5).
fn append_section(file: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::with_capacity(name.len() + data.len() + 5);
    append_length(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    file.push(0);
    append_length(file, body.len());
    file.extend_from_slice(&body);
}

/// Unsigned LEB128.
fn append_length(file: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        file.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    file.push((length & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::fixture::{MANIFEST, module};

    /// The fixture guest, built as a compiler for WASI would: it asks for everything a runtime asks for at its start, and
    /// traps where an answer is not as promised.
    fn wasi_module(extra: &str, start: &str) -> Vec<u8> {
        let imports = r#"(module
          (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))"#;
        let start = format!(
            r#"{extra} (func $must_be (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then (unreachable))))
               (func (export "_initialize") {start})"#
        );
        let text = module(&start, "").replacen("(module", imports, 1);
        wat::parse_str(text).unwrap()
    }

    const ASKS_FOR_EVERYTHING: &str = r#"
        (i64.store (i32.const 4000) (i64.const -1))
        (call $must_be (call $args_sizes_get (i32.const 4000) (i32.const 4004)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4000)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4004)) (i32.const 0))
        (call $must_be (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 4000)) (i32.const 0))
        (call $must_be (i32.wrap_i64 (i64.load (i32.const 4000))) (i32.const 1000000000))
        (i64.store (i32.const 4000) (i64.const -1))
        (call $must_be (call $random_get (i32.const 4000) (i32.const 4)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4000)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4004)) (i32.const -1))
        ;; Two vectors of 5 and 7 bytes: swallowed, all 12 of them. Descriptor 3 does not exist.
        (i32.store (i32.const 4004) (i32.const 5))
        (i32.store (i32.const 4012) (i32.const 7))
        (call $must_be (call $fd_write (i32.const 2) (i32.const 4000) (i32.const 2) (i32.const 4016)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4016)) (i32.const 12))
        (call $must_be (call $fd_write (i32.const 3) (i32.const 4000) (i32.const 2) (i32.const 4016)) (i32.const 8))
        (call $must_be (call $fd_write (i32.const 0) (i32.const 4000) (i32.const 2) (i32.const 4016)) (i32.const 8))
        (call $must_be (call $fd_read (i32.const 0) (i32.const 4000) (i32.const 2) (i32.const 4016)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4016)) (i32.const 0))
        (call $must_be (call $fd_prestat_get (i32.const 3) (i32.const 4000)) (i32.const 8))
        ;; Two subscriptions with user data 11 and 12, the second for reading (1): both have happened.
        (i64.store (i32.const 4000) (i64.const 11))
        (i32.store8 (i32.const 4008) (i32.const 0))
        (i64.store (i32.const 4048) (i64.const 12))
        (i32.store8 (i32.const 4056) (i32.const 1))
        (call $must_be (call $poll_oneoff (i32.const 4000) (i32.const 4100) (i32.const 2) (i32.const 4200)) (i32.const 0))
        (call $must_be (i32.load (i32.const 4200)) (i32.const 2))
        (call $must_be (i32.load (i32.const 4100)) (i32.const 11))
        (call $must_be (i32.load (i32.const 4132)) (i32.const 12))
        (call $must_be (i32.load8_u (i32.const 4142)) (i32.const 1))"#;

    fn started(start: &str) -> Result<(), String> {
        use crate::plugin::{Cache, Engine, Plugin, Setup, Transform};
        use crate::transform::View;
        let bytes = plugin(&wasi_module("", start), MANIFEST.as_bytes()).unwrap();
        let engine = Engine::new().unwrap();
        let plugin =
            Plugin::<Transform<View>>::load(&engine, &Cache::none(), &bytes, Setup::new("guest", "{}")).unwrap();
        std::sync::Arc::new(plugin).start().map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn wasi_is_answered_inside_the_component_and_the_same_way_each_time() {
        started(ASKS_FOR_EVERYTHING).unwrap();
        // The guest above can fail: one answer that is not as promised, and leaving the process, end it.
        for start in [
            "(call $must_be (call $fd_prestat_get (i32.const 3) (i32.const 4000)) (i32.const 0))",
            "(call $proc_exit (i32.const 0))",
        ] {
            assert!(started(start).is_err(), "{start}");
        }
    }

    #[test]
    fn the_stub_answers_every_function_of_preview_1() {
        let stub = wat::parse_str(WASI_STUB).unwrap();
        let mut exports = 0;
        for payload in Parser::new(0).parse_all(&stub) {
            if let Payload::ExportSection(section) = payload.unwrap() {
                exports += section.count();
            }
        }
        // 45 of wasi_snapshot_preview1.witx, and sock_accept, which was added to it.
        assert_eq!(exports, 46);
    }

    #[test]
    fn what_cannot_become_a_plugin_is_refused_with_the_sentence_that_mends_it() {
        let module = wasi_module("", "");
        let plain = wat::parse_str(module_text()).unwrap();
        let component = component(&plain, Kind::Transform).unwrap();
        let whole = plugin(&module, MANIFEST.as_bytes()).unwrap();
        let foreign = wat::parse_str(r#"(module (import "env" "now" (func)) (memory (export "memory") 1))"#).unwrap();
        let wasi = br#"(component (import "wasi:cli/environment@0.2.0" (instance)))"#;
        let wasi = wat::parse_bytes(wasi).unwrap();
        let rule = MANIFEST.replace("transform", "rule");
        let cases: [(&str, &[u8], &str, &str); 9] = [
            ("a module", &module, MANIFEST, ""),
            ("a component", &component, MANIFEST, ""),
            ("text", b"print()", MANIFEST, "the file cannot be read as WebAssembly; build it again"),
            ("no JSON", &module, "{", "the manifest cannot be read; it is JSON"),
            ("no name", &module, r#"{"manifest":1,"kind":"transform"}"#, "the manifest cannot be read; it is JSON"),
            (
                "no kind",
                &module,
                &MANIFEST.replace("transform", "sink"),
                "the manifest says kind \"sink\"; there are: transform",
            ),
            ("another kind", &plain, &rule, "the module does not fit the world `anomaly-rule`"),
            ("foreign imports", &foreign, MANIFEST, "the module does not fit the world `event-transform`"),
            ("twice", &whole, MANIFEST, "the agent would refuse the plugin"),
        ];
        for (case, file, manifest, expect) in cases {
            let said = plugin(file, manifest.as_bytes()).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(if expect.is_empty() { said.is_empty() } else { said.starts_with(expect) }, "{case}: {said}");
        }
        let Err(EncodeError::Refused(refusal)) = plugin(&wasi, MANIFEST.as_bytes()) else { panic!("taken") };
        assert!(refusal.to_string().contains("imports `wasi:cli/environment@0.2.0`"), "{refusal}");
    }

    fn module_text() -> String {
        module("", "")
    }
}
