//! What a registry may hold and the agent must not take, each refused with the sentence that mends it, and nothing written.

use serde_json::{Value, json};

use super::{Desk, changed, mask, sha256};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const WASM: &str = "application/wasm";

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

fn manifest(layers: &[Value]) -> Value {
    let config = descriptor("application/vnd.wasm.config.v0+json", b"{}");
    json!({ "schemaVersion": 2, "mediaType": OCI, "config": config, "layers": layers })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_no_plugin_is_refused_with_the_sentence_that_mends_it() {
    let desk = Desk::new();
    let whole = mask();
    let half = &whole[..whole.len() / 2];
    let newer = changed(r#""wit":"0.1.0""#, r#""wit":"0.9.0""#);
    let module = b"\0asm\x01\0\0\0".to_vec();
    let component = b"\0asm\x0d\0\x01\0".to_vec();
    let text = b"#!/bin/sh\n".to_vec();
    for bytes in [b"{}".as_slice(), half, &newer, &module, &component, &text, &whole] {
        desk.put_blob(bytes).await;
    }
    let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
    let cases: [(&str, Value, &[&str]); 8] = [
        ("truncated", manifest(&[descriptor(WASM, half)]), &["is not taken", "damaged"]),
        ("newer", manifest(&[descriptor(WASM, &newer)]), &["0.9.0", "update the agent"]),
        ("module", manifest(&[descriptor(WASM, &module)]), &["core module", "whimbrel plugin embed"]),
        ("stranger", manifest(&[descriptor(WASM, &component)]), &["says nothing about itself"]),
        ("script", manifest(&[descriptor(WASM, &text)]), &["not a WebAssembly file"]),
        ("image", manifest(&[descriptor(tar, &whole)]), &["no component but", tar, "whimbrel plugin push"]),
        ("two", manifest(&[descriptor(WASM, &whole), descriptor(tar, &text)]), &["2 layers", "a plugin is one"]),
        ("lies", manifest(&[json!({ "mediaType": WASM, "digest": sha256(&whole), "size": 12 })]), &["another content"]),
    ];
    for (tag, manifest, parts) in &cases {
        desk.put_manifest(tag, manifest).await;
        desk.plugin(&["pull", &desk.reference(tag), "--out", "plugin.wasm"]).refused(parts);
        desk.plugin(&["verify", &desk.reference(tag)]).refused(parts);
    }
    let entry = descriptor(OCI, cases[0].1.to_string().as_bytes());
    desk.put_manifest("index", &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] })).await;
    desk.plugin(&["pull", &desk.reference("index"), "--out", "plugin.wasm"]).refused(&["index of several", "digest"]);
    assert!(!desk.path("plugin.wasm").exists() && !desk.path("whimbrel.lock").exists());
}

#[test]
fn what_is_no_plugin_is_not_pushed_either() {
    let desk = Desk::new();
    std::fs::write(desk.path("half.wasm"), &mask()[..1000]).unwrap();
    desk.plugin(&["push", "half.wasm", &desk.reference("1")]).refused(&["half.wasm", "damaged"]);
    let nowhere = desk.plugin(&["push", "nowhere.wasm", &desk.reference("1")]);
    assert_eq!(nowhere.status, Some(2), "{}", nowhere.err);
    for odd in ["mask", "team/mask:1", "LOCALHOST:5000/Mask", ""] {
        desk.plugin(&["push", "mask.wasm", odd]).refused(&["HOST[:PORT]/NAME"]);
    }
    desk.plugin(&["push", "mask.wasm", "127.0.0.1:9/team/mask:1"]).refused(&["cannot be reached", "--plain-http"]);
}
