//! Plugins into a real OCI registry and back, by the built binary: push, pull, verify, the lock file, signatures, logins, and
//! everything a registry may hold that is no plugin.

mod foreign;
mod login;
mod signed;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use whimbrel::plugin::{bundled, digest};

use crate::support::agent::binary;
use crate::support::{port, unique};

/// A folder to work in, with the plugin's file, and a repository of its own in the registry.
struct Desk {
    folder: tempfile::TempDir,
    registry: String,
    name: String,
    environment: Vec<(&'static str, String)>,
}

/// What a command did.
struct Said {
    status: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn good(self) -> String {
        assert_eq!(self.status, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// It failed, and said all of this.
    fn refused(self, parts: &[&str]) {
        assert_eq!(self.status, Some(1), "{}{}", self.out, self.err);
        let said = format!("{}{}", self.out, self.err);
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }
}

impl Desk {
    /// At the open registry that all tests share.
    fn new() -> Self {
        Self::at(format!("127.0.0.1:{}", port("REGISTRY_PORT")))
    }

    fn at(registry: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mask.wasm"), mask()).unwrap();
        let environment = vec![("DOCKER_CONFIG", folder.path().join("docker").display().to_string())];
        Desk { folder, registry, name: format!("team/{}", unique("mask")), environment }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `registry/name:tag`.
    fn reference(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.registry, self.name)
    }

    /// `whimbrel plugin` with these words, in the folder.
    fn plugin(&self, words: &[&str]) -> Said {
        let mut command = Command::new(binary());
        command.arg("plugin").args(words).current_dir(self.folder.path()).envs(self.environment.iter().cloned());
        let done = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { status: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
    }

    fn lock(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("whimbrel.lock")).unwrap()).unwrap()
    }

    async fn manifest(&self, tag: &str) -> (Value, String) {
        let url = format!("http://{}/v2/{}/manifests/{tag}", self.registry, self.name);
        let request = client().get(url).header("accept", "application/vnd.oci.image.manifest.v1+json");
        let text = request.send().await.unwrap().error_for_status().unwrap().text().await.unwrap();
        (serde_json::from_str(&text).unwrap(), sha256(text.as_bytes()))
    }

    async fn blob(&self, digest: &str) -> Vec<u8> {
        let url = format!("http://{}/v2/{}/blobs/{digest}", self.registry, self.name);
        client().get(url).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }

    /// Puts a blob into the registry as it is.
    async fn put_blob(&self, bytes: &[u8]) -> String {
        let client = client();
        let url = format!("http://{}/v2/{}/blobs/uploads/", self.registry, self.name);
        let begun = client.post(url).send().await.unwrap().error_for_status().unwrap();
        let location = begun.headers()["location"].to_str().unwrap().to_owned();
        let digest = sha256(bytes);
        let url = format!("{location}&digest={digest}");
        client.put(url).body(bytes.to_vec()).send().await.unwrap().error_for_status().unwrap();
        digest
    }

    /// Puts a manifest into the registry as it is.
    async fn put_manifest(&self, tag: &str, manifest: &Value) {
        let url = format!("http://{}/v2/{}/manifests/{tag}", self.registry, self.name);
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let request = client().put(url).header("content-type", media_type).body(manifest.to_string());
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

fn client() -> reqwest::Client {
    whimbrel::runtime::tls::install();
    reqwest::Client::new()
}

/// The bundled mask.
fn mask() -> Vec<u8> {
    bundled::find("mask-fields").unwrap().to_vec()
}

/// The bundled mask with a text of it changed to another of the same length.
fn changed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = mask();
    let found: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!found.is_empty(), "`{from}` has to be found to be changed");
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", digest(bytes))
}

/// A pair of keys, made by OpenSSL.
fn keys(folder: &Path, name: &str) -> (String, String) {
    let (private, public) = (format!("{name}.key"), format!("{name}.pub"));
    openssl(folder, &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private]);
    openssl(folder, &["pkey", "-in", &private, "-pubout", "-out", &public]);
    (private, public)
}

fn openssl(folder: &Path, words: &[&str]) -> String {
    let done = Command::new("openssl").args(words).current_dir(folder).output().unwrap();
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {words:?}: {err}");
    String::from_utf8(done.stdout).unwrap()
}
