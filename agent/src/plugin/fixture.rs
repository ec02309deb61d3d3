//! Guests for tests, written in WebAssembly text so that they can do what no compiler would let them.

pub(crate) mod kinds;

/// The manifest of a well-behaved transform.
pub(crate) const MANIFEST: &str =
    r#"{"manifest":1,"kind":"transform","name":"fixture","version":"0.0.1","wit":"0.1.0","config":{}}"#;

/// A guest whose `apply` has this body, between a start and an end that behave: it gets the batch as local 0 and must
/// leave the stack empty. `extra` stands beside it in the module.
pub(crate) fn guest(extra: &str, apply: &str) -> Vec<u8> {
    component(&module(extra, apply), &[MANIFEST])
}

/// The module's text. Addresses: 1024 is a result area, 2048 a path, 3072 a scratch area, from 65536 on the heap.
pub(crate) fn module(extra: &str, apply: &str) -> String {
    let events = "whimbrel:plugin/events@0.1.0";
    format!(
        r#"(module
          (import "{events}" "[resource-drop]batch" (func $give_back (param i32)))
          (import "{events}" "[method]batch.len" (func $len (param i32) (result i32)))
          (import "{events}" "[method]batch.tables" (func $tables (param i32 i32)))
          (import "{events}" "[method]batch.text-column" (func $text_column (param i32 i32 i32 i32)))
          (import "{events}" "[method]batch.set-text-column" (func $set_text_column (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
          (import "{events}" "[method]batch.text-list" (func $text_list (param i32 i32 i32 i32)))
          (import "{events}" "[method]batch.set-text-list" (func $set_text_list (param i32 i32 i32 i32 i32 i32)))
          (import "{events}" "[method]batch.discard" (func $discard (param i32 i32 i32)))
          (import "whimbrel:plugin/host-log@0.1.0" "log" (func $log (param i32 i32 i32 i32 i32)))
          (import "whimbrel:plugin/host-log@0.1.0" "panicked" (func $panicked (param i32 i32 i32 i32 i32)))
          (memory (export "memory") 4)
          (global $heap (mut i32) (i32.const 65536))
          (data (i32.const 2048) "after.poison")
          {extra}
          (func $allocate (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
          (func (export "whimbrel:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32) (i32.const 1024))
          (func (export "whimbrel:plugin/transform@0.1.0#apply") (param i32) (result i32)
            {apply}
            (global.set $heap (i32.const 65536))
            (call $give_back (local.get 0))
            (i32.store (i32.const 1024) (i32.const 0))
            (i32.const 1024)))"#
    )
}

/// Encodes a module as a component of the transform world and appends these manifests.
pub(crate) fn component(module: &str, manifests: &[&str]) -> Vec<u8> {
    component_of("event-transform", module, manifests)
}

/// Encodes a module as a component of this world and appends these manifests.
pub(crate) fn component_of(world: &str, module: &str, manifests: &[&str]) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    encode(&resolve, world, module, manifests)
}

/// The same for a world that adds something of the guest's own to the transform's.
pub(crate) fn component_with(added: &str, module: &str, manifests: &[&str]) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let package = resolve.push_str("added.wit", added).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    encode(&resolve, world, module, manifests)
}

fn encode(resolve: &wit_parser::Resolve, world: wit_parser::WorldId, module: &str, manifests: &[&str]) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap();
    wit_component::embed_component_metadata(&mut module, resolve, world, wit_component::StringEncoding::UTF8, false)
        .unwrap();
    let mut component =
        wit_component::ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap();
    for manifest in manifests {
        section(&mut component, "whimbrel:manifest", manifest.as_bytes());
    }
    component
}

/// Appends a custom section.
pub(crate) fn section(file: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = vec![u8::try_from(name.len()).unwrap()];
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    file.push(0);
    let mut length = body.len();
    while length >= 0x80 {
        file.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    file.push(length as u8);
    file.extend_from_slice(&body);
}
