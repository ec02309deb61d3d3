//! The built program as a child that is waited for, killed or asked.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::support::agent::binary;

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) status: ExitStatus,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ran {
    pub(super) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// `whimbrel migrate VERB` in this directory of migrations; the lease is short, so that the dead are soon outlived.
pub(super) fn migrate(directory: &Path, url: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary());
    command
        .arg("migrate")
        .args(arguments)
        .arg("--directory")
        .arg(directory)
        .env("WHIMBREL_DATABASE", url)
        .envs(environment.iter().copied())
        .env("XDG_CACHE_HOME", std::env::temp_dir().join("whimbrel-test-cache"))
        .current_dir(directory.parent().unwrap())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// `migrate up` with a short lease, as a running child.
pub(super) fn up(directory: &Path, url: &str, environment: &[(&str, &str)]) -> Child {
    migrate(directory, url, &["up", "--lease", "2s", "--wait", "60s", "--chunk", "50"], environment).spawn().unwrap()
}

/// Waits for a child until it ends by itself, or kills it after `patience`. False: it was killed by us.
pub(super) fn ended_within(child: &mut Child, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a child said, once it is over.
pub(super) fn finish(mut child: Child) -> Ran {
    let (mut out, mut err) = (String::new(), String::new());
    let mut stdout = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    out.push_str(&reading.join().unwrap());
    Ran { status: child.wait().unwrap(), out, err }
}
