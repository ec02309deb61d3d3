//! A plugin's way through a registry: the artifact is what other tools expect, the lock file keeps what a tag stood for.

use std::fs;

use super::{Desk, changed, mask, sha256};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_plugin_is_one_layer_in_the_standard_type_and_comes_back_as_it_was() {
    let desk = Desk::new();
    let bare = format!("{}/{}", desk.registry, desk.name);
    let out = desk.plugin(&["push", "mask.wasm", &bare]).good();
    assert!(out.contains("pushed: transform mask-fields 0.1.0"), "{out}");
    let (manifest, digest) = desk.manifest("0.1.0").await;
    assert!(out.contains(&format!("{}@{digest}", desk.reference("0.1.0"))), "{out}");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 1, "{manifest}");
    assert_eq!(layers[0]["mediaType"], "application/wasm");
    assert_eq!(layers[0]["digest"], sha256(&mask()));
    assert_eq!(manifest["annotations"]["org.opencontainers.image.version"], "0.1.0");
    let config = desk.blob(manifest["config"]["digest"].as_str().unwrap()).await;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["architecture"], "wasm");
    assert_eq!(config["layerDigests"][0], sha256(&mask()));

    let again = desk.plugin(&["push", "mask.wasm", &bare]).good();
    assert!(again.contains("there already") && again.contains(&digest), "{again}");

    let out = desk.plugin(&["pull", &desk.reference("0.1.0"), "--out", "got/mask.wasm"]).good();
    assert!(out.contains(&digest) && out.contains("got/mask.wasm"), "{out}");
    assert_eq!(fs::read(desk.path("got/mask.wasm")).unwrap(), mask());
    assert_eq!(desk.lock()["plugins"][0]["digest"], digest.as_str());
    desk.plugin(&["pull", &desk.reference("0.1.0"), "--kind", "channel"])
        .refused(&["is a transform", "channel is wanted"]);
    desk.plugin(&["pull", &desk.reference("0.9.0")]).refused(&["no such plugin", "check name and tag"]);
    desk.plugin(&["pull", &bare]).refused(&["does not say which version", ":TAG"]);
    let by_digest = format!("{bare}@{digest}");
    desk.plugin(&["pull", &by_digest, "--out", "other.wasm", "--lock", "other.lock"]).good();
    assert_eq!(fs::read(desk.path("other.wasm")).unwrap(), mask());
}

#[test]
fn the_lock_file_keeps_what_a_tag_stood_for() {
    let desk = Desk::new();
    let reference = desk.reference("1");
    desk.plugin(&["push", "mask.wasm", &reference]).good();
    desk.plugin(&["pull", &reference, "--out", "plugin.wasm"]).good();
    assert!(desk.plugin(&["verify"]).good().starts_with("ok   plugin.wasm: transform mask-fields 0.1.0"));

    let other = changed("***@***", "###@###");
    fs::write(desk.path("other.wasm"), &other).unwrap();
    desk.plugin(&["push", "other.wasm", &reference]).refused(&["is there already", "--force"]);
    desk.plugin(&["push", "other.wasm", &reference, "--force"]).good();
    desk.plugin(&["pull", &reference]).refused(&["another content under the same tag", "--update"]);
    desk.plugin(&["verify", &reference]).refused(&["BAD", "the lock file says"]);
    assert_eq!(fs::read(desk.path("plugin.wasm")).unwrap(), mask(), "a refused pull leaves the file");

    // The file is lost: it comes back by its digest, whatever the tag stands for now.
    fs::remove_file(desk.path("plugin.wasm")).unwrap();
    desk.plugin(&["verify"]).refused(&["BAD  plugin.wasm", "pull it again"]);
    desk.plugin(&["pull"]).good();
    assert_eq!(fs::read(desk.path("plugin.wasm")).unwrap(), mask());

    desk.plugin(&["pull", &reference, "--update"]).good();
    assert_eq!(fs::read(desk.path("plugin.wasm")).unwrap(), other, "to the file of the lock file");
    desk.plugin(&["verify", "plugin.wasm", &reference]).good();

    fs::write(desk.path("plugin.wasm"), mask()).unwrap();
    desk.plugin(&["verify"]).refused(&["BAD  plugin.wasm", "the lock file says"]);
    desk.plugin(&["verify", "plugin.wasm"]).refused(&["is not in the lock file", "whimbrel plugin pull"]);
    desk.plugin(&["verify", "nothing.wasm"]).refused(&["no such file"]);
    fs::write(desk.path("whimbrel.lock"), "nonsense").unwrap();
    desk.plugin(&["pull", &reference]).refused(&["no lock file", "whimbrel.lock"]);
}
