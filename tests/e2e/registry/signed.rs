//! Signatures: made here and read by OpenSSL, stored where cosign looks, and asked for as the policy says.

use std::fs;

use base64::Engine as _;
use serde_json::json;

use super::{Desk, keys, openssl};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_what_a_trusted_key_signed_is_taken() {
    let desk = Desk::new();
    let (private, public) = keys(desk.folder.path(), "team");
    let (_, stranger) = keys(desk.folder.path(), "stranger");
    let reference = desk.reference("1");
    let lock = || desk.path("whimbrel.lock").exists();

    let out = desk.plugin(&["push", "mask.wasm", &reference]).good();
    assert!(out.contains("not signed"), "{out}");
    let pull = ["pull", &reference, "--out", "plugin.wasm"];
    let with = |more: &[&str]| desk.plugin(&[&pull[..], more].concat());
    with(&["--key", &public]).refused(&["is not taken", "not signed", "--sign-key"]);
    assert!(!lock() && !desk.path("plugin.wasm").exists(), "a refused pull writes nothing");
    let out = with(&["--key", &public, "--signatures", "warn", "--lock", "warned.lock"]).good();
    assert!(out.contains("WARNING: it is not signed"), "{out}");
    with(&["--signatures", "require"]).refused(&["--key"]);

    desk.plugin(&["push", "mask.wasm", &reference, "--sign-key", &private]).good();
    desk.plugin(&["push", "mask.wasm", &reference, "--sign-key", &private]).good();
    with(&["--key", &stranger]).refused(&["none of its 1 signatures", "trusted here"]);
    let out = with(&["--key", &stranger, "--key", &public]).good();
    assert!(out.contains("signed by team.pub"), "{out}");
    desk.plugin(&["verify", "--key", &public]).good();
    desk.plugin(&["verify", &reference, "--key", &public]).good();
    desk.plugin(&["verify", "--key", &stranger]).refused(&["BAD"]);

    // cosign's layout, and a signature that OpenSSL holds for good.
    let (_, digest) = desk.manifest("1").await;
    let (stored, _) = desk.manifest(&format!("{}.sig", digest.replace(':', "-"))).await;
    let layer = &stored["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    let payload = desk.blob(layer["digest"].as_str().unwrap()).await;
    let said: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(said["critical"]["image"]["docker-manifest-digest"], digest.as_str());
    fs::write(desk.path("payload"), payload).unwrap();
    fs::write(desk.path("signature"), base64::engine::general_purpose::STANDARD.decode(signature).unwrap()).unwrap();
    openssl(desk.folder.path(), &["dgst", "-sha256", "-verify", &public, "-signature", "signature", "payload"]);

    // A second signer is added, the first stays.
    let (other, other_public) = keys(desk.folder.path(), "ops");
    desk.plugin(&["push", "mask.wasm", &reference, "--sign-key", &other]).good();
    with(&["--key", &other_public]).good();
    with(&["--key", &public]).good();
}

#[test]
fn a_lock_file_changed_by_hand_is_noticed() {
    let desk = Desk::new();
    let (private, public) = keys(desk.folder.path(), "team");
    let reference = desk.reference("1");
    desk.plugin(&["push", "mask.wasm", &reference, "--sign-key", &private]).good();
    desk.plugin(&["pull", &reference, "--out", "plugin.wasm", "--key", &public]).good();
    let good = desk.lock();
    let cases = [("manifest", json!("{}")), ("digest", json!("sha256:00")), ("component", json!("sha256:00"))];
    for (member, value) in cases {
        let mut lock = good.clone();
        lock["plugins"][0][member] = value;
        fs::write(desk.path("whimbrel.lock"), lock.to_string()).unwrap();
        desk.plugin(&["verify", "--key", &public]).refused(&["BAD"]);
    }
    let mut lock = good.clone();
    lock["plugins"][0]["signatures"][0]["payload"] = json!("{}");
    fs::write(desk.path("whimbrel.lock"), lock.to_string()).unwrap();
    desk.plugin(&["verify", "--key", &public]).refused(&["BAD", "none of its 1 signatures"]);
    fs::write(desk.path("whimbrel.lock"), good.to_string()).unwrap();
    desk.plugin(&["verify", "--key", &public]).good();
}

#[test]
fn a_key_that_cannot_sign_is_refused_before_anything_is_pushed() {
    let desk = Desk::new();
    let folder = desk.folder.path();
    openssl(folder, &["genpkey", "-algorithm", "RSA", "-out", "rsa.key"]);
    let reference = desk.reference("1");
    desk.plugin(&["push", "mask.wasm", &reference, "--sign-key", "rsa.key"]).refused(&["P-256", "openssl ecparam"]);
    desk.plugin(&["push", "mask.wasm", &reference, "--sign-key", "nowhere.key"]).refused(&["nowhere.key"]);
    desk.plugin(&["pull", &reference]).refused(&["no such plugin"]);
}
