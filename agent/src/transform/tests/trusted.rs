//! Which files the agent takes: the lock file's, signed as the policy says; at the start and in every reload.

use std::fs;
use std::path::PathBuf;

use p256::SecretKey;
use p256::pkcs8::{EncodePublicKey as _, LineEnding};
use serde_json::json;

use super::{ENGINE, instruments};
use crate::config::raw;
use crate::plugin::trust::artifact::COMPONENT;
use crate::plugin::trust::lock::{Lock, Locked};
use crate::plugin::trust::signature::{PrivateKey, Signature};
use crate::plugin::trust::{Signatures, Trust};
use crate::plugin::{Cache, Sandbox, Services, bundled, digest};
use crate::runtime::logging::chain as told;
use crate::stats::ReloadOutcome;
use crate::transform::{Chain, Reloads, build};

/// A folder with a plugin's file, keys, and a lock file.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Desk { folder: tempfile::tempdir().unwrap() };
        desk.put(&mask());
        desk.keys("team", 1);
        desk.keys("stranger", 2);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, bytes: &[u8]) {
        fs::write(self.path("mask.wasm"), bytes).unwrap();
    }

    fn keys(&self, name: &str, seed: u8) {
        let secret = SecretKey::from_slice(&[seed; 32]).unwrap();
        fs::write(self.path(&format!("{name}.key")), secret.to_sec1_pem(LineEnding::LF).unwrap()).unwrap();
        let public = secret.public_key().to_public_key_pem(LineEnding::LF).unwrap();
        fs::write(self.path(&format!("{name}.pub")), public).unwrap();
    }

    /// A lock file that knows this component, signed by these.
    fn lock(&self, component: &[u8], signers: &[&str]) {
        let component = format!("sha256:{}", digest(component));
        let manifest = json!({ "layers": [{ "mediaType": COMPONENT, "digest": component, "size": 1 }] }).to_string();
        let manifest_digest = format!("sha256:{}", digest(manifest.as_bytes()));
        let sign = |signer: &&str| {
            let key = PrivateKey::read(&self.path(&format!("{signer}.key"))).unwrap();
            Signature::new(&key, "example.org/mask", &manifest_digest)
        };
        let mut lock = Lock::default();
        lock.put(Locked {
            reference: "example.org/mask:1".to_owned(),
            file: "mask.wasm".into(),
            name: "mask-fields".to_owned(),
            version: "1".to_owned(),
            kind: "transform".to_owned(),
            component,
            signatures: signers.iter().map(sign).collect(),
            digest: manifest_digest,
            manifest,
        });
        lock.write(&self.path("lock")).unwrap();
    }

    fn sandbox(&self, signatures: Signatures, keys: &[&str]) -> Sandbox {
        let keys = keys.iter().map(|name| self.path(&format!("{name}.pub"))).collect();
        let trust = Trust { lock: Some(self.path("lock")), signatures, keys };
        Sandbox {
            engine: ENGINE.clone(),
            cache: Cache::at(self.path("cache")),
            services: Services::default(),
            trust,
            repro: None,
        }
    }

    fn start(&self, sandbox: &Sandbox) -> Result<Chain, String> {
        let entry = json!({ "plugin": self.path("mask.wasm"), "config": { "rules": [{ "columns": ["email"], "with": "email" }] } });
        let entry: raw::Transform = serde_json::from_value(entry).unwrap();
        build(sandbox, "shop", &[entry], &instruments()).map_err(|error| told(&error))
    }
}

fn mask() -> Vec<u8> {
    bundled::find("mask-fields").unwrap().to_vec()
}

#[test]
fn only_what_the_lock_file_has_and_a_trusted_key_signed_runs() {
    use Signatures::{Off, Require, Warn};
    let desk = Desk::new();
    let verdict = |signatures, keys: &[&str]| {
        desk.start(&desk.sandbox(signatures, keys)).map_or_else(|why| why, |_| "runs".to_owned())
    };
    assert!(verdict(Off, &[]).contains("cannot read the lock file"), "{}", verdict(Off, &[]));

    desk.lock(b"another component", &["team"]);
    for signatures in [Off, Warn, Require] {
        let said = verdict(signatures, &["team"]);
        assert!(said.contains("is not in the lock file") && said.contains("whimbrel plugin pull"), "{said}");
    }
    desk.lock(&mask(), &[]);
    assert_eq!(verdict(Off, &[]), "runs");
    assert_eq!(verdict(Warn, &["team"]), "runs");
    assert!(verdict(Require, &["team"]).contains("it is not signed"), "{}", verdict(Require, &["team"]));

    desk.lock(&mask(), &["stranger", "team"]);
    assert_eq!(verdict(Require, &["team"]), "runs");
    desk.lock(&mask(), &["stranger"]);
    assert_eq!(verdict(Warn, &["team"]), "runs");
    assert!(verdict(Require, &["team"]).contains("none of its 1 signatures"), "{}", verdict(Require, &["team"]));
    assert!(verdict(Require, &["nobody"]).contains("cannot read the key"), "{}", verdict(Require, &["nobody"]));

    desk.lock(&mask(), &["team"]);
    let signed = fs::read_to_string(desk.path("lock")).unwrap();
    fs::write(desk.path("lock"), signed.replace(r#"\"size\":1"#, r#"\"size\":2"#)).unwrap();
    assert!(verdict(Off, &[]).contains("does not hold together"), "{}", verdict(Off, &[]));
}

#[test]
fn a_new_version_is_taken_once_the_lock_file_has_it() {
    let desk = Desk::new();
    desk.lock(&mask(), &["team"]);
    let sandbox = desk.sandbox(Signatures::Require, &["team"]);
    let mut chain = desk.start(&sandbox).unwrap();
    let mut reloads = Reloads::new(sandbox, instruments());
    reloads.add(&mut chain);

    let next: Vec<u8> = {
        let mut bytes = mask();
        let at = bytes.windows(7).position(|window| window == b"***@***").unwrap();
        bytes[at..at + 7].copy_from_slice(b"###@###");
        bytes
    };
    desk.put(&next);
    let report = reloads.all().remove(0);
    assert_eq!(report.outcome, Some(ReloadOutcome::Refused));
    assert!(report.why.as_deref().unwrap().contains("is not in the lock file"), "{report:?}");

    desk.lock(&next, &["team"]);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| reloads.all().remove(0));
        while !work.is_finished() {
            chain.settle();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(work.join().unwrap().outcome, Some(ReloadOutcome::Swapped));
    });
}
