//! Servers of a test's own, for faults that would disturb its neighbours: killed, restarted, and gone at the end.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::setting;

/// A set of servers with a data directory and ports of its own.
pub(crate) struct Services {
    directory: tempfile::TempDir,
    ports: Vec<(&'static str, u16)>,
    names: Vec<&'static str>,
    settings: Vec<(&'static str, &'static str)>,
}

const PORTS: [&str; 14] = [
    "KAFKA_PORT",
    "KAFKA_CONTROLLER_PORT",
    "KAFKA_SASL_PORT",
    "KAFKA_MTLS_PORT",
    "KAFKA_EXPIRED_PORT",
    "PG_PORT",
    "MONGO_PORT",
    "MARIADB_PORT",
    "REGISTRY_PORT",
    "ALERTMANAGER_PORT",
    "SMTP_PORT",
    "SMTP_TLS_PORT",
    "SMTP_PLAIN_PORT",
    "SMTP_EXPIRED_PORT",
];

impl Services {
    /// Starts these (`kafka`, `postgres`, `mongo`, `mariadb`, `registry`, `alertmanager`, `smtp`).
    pub(crate) fn start(names: &[&'static str]) -> Self {
        Self::start_with(names, &[])
    }

    /// Starts these with settings of their scripts.
    pub(crate) fn start_with(names: &[&'static str], settings: &[(&'static str, &'static str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // As root, PostgreSQL runs as another user, who must be able to pass.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let ports = PORTS.into_iter().zip(free_ports(PORTS.len())).collect();
        let services = Self { directory, ports, names: names.to_vec(), settings: settings.to_vec() };
        for name in names {
            services.call(name, "start");
        }
        services
    }

    /// The port called so.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Where a service keeps its data.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A verb of one of them, such as `start`, `kill`, `pause` or `resume`, with what else the script takes.
    pub(crate) fn call(&self, name: &str, verb: &str) {
        let done = self.command(name, verb).output().unwrap_or_else(|e| panic!("{name}.sh: {e}"));
        assert!(
            done.status.success(),
            "{name}.sh {verb}: {}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }

    fn command(&self, name: &str, verb: &str) -> Command {
        let mut command = Command::new(PathBuf::from(setting("WHIMBREL_SERVICES")).join(format!("{name}.sh")));
        command.args(verb.split(' ')).env("SVC_DATA", self.directory.path()).stdin(Stdio::null());
        command.envs(self.ports.iter().map(|(name, port)| (*name, port.to_string())));
        command.envs(self.settings.iter().copied());
        command
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for name in &self.names {
            // Dropping while panicking: nothing more can be done than to try.
            let _ = self.command(name, "wipe").output();
        }
    }
}

/// Ports nobody listens on now, below the range the kernel hands out to clients. No two calls give the same: the servers
/// of tests that start together listen only later.
fn free_ports(count: usize) -> Vec<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let start = 28_000 + u16::try_from(std::process::id() % 2_000).unwrap();
    let next = || Some(start + GIVEN.fetch_add(1, Ordering::Relaxed));
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::from_fn(next).filter(free).take(count).collect()
}
