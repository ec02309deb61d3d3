//! A registry that speaks only TLS and wants a login.

use std::fs;

use base64::Engine as _;
use serde_json::json;

use super::{Desk, mask};
use crate::support::services::Services;

const PASSWORD: &str = "canary-registry-password";

#[test]
fn a_registry_with_tls_and_login_works_or_says_what_to_mend() {
    let services = Services::start_with(&["registry"], &[("REGISTRY_TLS", "on")]);
    let desk = Desk::at(format!("localhost:{}", services.port("REGISTRY_PORT")));
    let ca = services.directory("tls").join("ca.pem").display().to_string();
    let reference = desk.reference("1");
    let push = |more: &[&str]| desk.plugin(&[&["push", "mask.wasm", &reference][..], more].concat());
    let login = |password: &str| {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("whimbrel:{password}"));
        let config = json!({ "auths": { &desk.registry: { "auth": auth } } });
        fs::create_dir_all(desk.path("docker")).unwrap();
        fs::write(desk.path("docker/config.json"), config.to_string()).unwrap();
    };
    push(&["--ca", &ca]).refused(&["the registry refuses", &format!("docker login {}", desk.registry)]);
    login("canary-wrong");
    push(&["--ca", &ca]).refused(&["the registry refuses"]);
    login(PASSWORD);
    push(&["--ca", "nowhere.pem"]).refused(&["nowhere.pem"]);
    let unknown = services.directory("tls").join("stranger-ca.pem").display().to_string();
    push(&["--ca", &unknown]).refused(&["cannot be reached", "--ca FILE"]);
    let out = push(&["--ca", &ca]).good();
    assert!(out.contains("pushed"), "{out}");
    desk.plugin(&["pull", &reference, "--ca", &ca, "--out", "plugin.wasm"]).good();
    assert_eq!(fs::read(desk.path("plugin.wasm")).unwrap(), mask());
    let lock = desk.lock().to_string();
    assert!(!lock.contains("canary"), "{lock}");

    fs::write(desk.path("docker/config.json"), "nonsense").unwrap();
    let said = push(&["--ca", &ca]);
    assert!(!said.err.contains("canary"), "{}", said.err);
    said.refused(&["login", "cannot be used", "docker login"]);
}
