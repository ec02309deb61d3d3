//! A mongod of a test's own, for what must not happen to a shared one: failing commands, kills, logins.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;

/// A running mongod; gone with the value.
pub(super) struct Mongod {
    child: Child,
    dir: tempfile::TempDir,
    args: Vec<String>,
    pub(super) port: u16,
    pub(super) replica_set: bool,
}

impl Mongod {
    /// A replica set of one whose `failCommand` failpoint can be set.
    pub(super) async fn replica_set() -> Self {
        let mut mongod = Self::spawn(&["--replSet", "rs0", "--setParameter", "enableTestCommands=1"]);
        mongod.replica_set = true;
        let direct = mongod.direct().await;
        let host = format!("127.0.0.1:{}", mongod.port);
        let members = doc! {"_id": "rs0", "members": [{"_id": 0, "host": host}]};
        direct.database("admin").run_command(doc! {"replSetInitiate": members}).await.unwrap();
        mongod.wait_for_primary().await;
        mongod
    }

    /// One that stands alone.
    pub(super) async fn alone(args: &[&str]) -> Self {
        let mongod = Self::spawn(args);
        mongod.wait_for_primary().await;
        mongod
    }

    fn spawn(extra: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = dir.path().to_str().unwrap();
        let mut args: Vec<String> =
            ["--dbpath", path, "--bind_ip", "127.0.0.1", "--unixSocketPrefix", path, "--wiredTigerCacheSizeGB", "0.25"]
                .map(str::to_owned)
                .to_vec();
        args.extend(["--port".to_owned(), port.to_string()]);
        args.extend(extra.iter().map(|arg| (*arg).to_owned()));
        let child = start(&args);
        Self { child, dir, args, port, replica_set: false }
    }

    pub(super) fn uri(&self) -> String {
        let set = if self.replica_set { "?replicaSet=rs0" } else { "?directConnection=true" };
        format!("mongodb://127.0.0.1:{}/{set}", self.port)
    }

    async fn direct(&self) -> Client {
        Client::with_uri_str(format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)).await.unwrap()
    }

    async fn wait_for_primary(&self) {
        let direct = self.direct().await;
        for _ in 0..600 {
            let hello = direct.database("admin").run_command(doc! {"hello": 1}).await;
            if hello.is_ok_and(|hello: Document| hello.get_bool("isWritablePrimary").unwrap_or(false)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("mongod in {:?} does not take writes", self.dir.path());
    }

    /// Makes commands fail as the server's `failCommand` failpoint can.
    pub(super) async fn fail(&self, mode: bson::Bson, data: Document) {
        let direct = self.direct().await;
        let command = doc! {"configureFailPoint": "failCommand", "mode": mode, "data": data};
        direct.database("admin").run_command(command).await.unwrap();
    }

    /// No more failures.
    pub(super) async fn heal(&self) {
        self.fail("off".into(), doc! {}).await;
    }

    /// As a power cut.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// After [`Mongod::kill`].
    pub(super) async fn restart(&mut self) {
        self.child = start(&self.args);
        self.wait_for_primary().await;
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(args: &[String]) -> Child {
    let home = std::env::var_os("SVC_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache/whimbrel/services"));
    let mongod = home.join("mongod");
    assert!(mongod.exists(), "no mongod at {mongod:?}: fetch the services first, or set SVC_HOME");
    Command::new(mongod).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
