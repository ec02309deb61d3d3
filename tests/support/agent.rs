//! The built agent as a process: started with a configuration, killed, stopped, asked.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a change may take to arrive. Seconds when the machine is idle; tests share two cores with others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("WHIMBREL_BIN").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.parent().and_then(Path::parent).unwrap().join("whimbrel")
        },
        PathBuf::from,
    )
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// Starts `whimbrel run` with this configuration; `environment` arms failpoints and faults.
    pub(crate) fn start(
        directory: &Path,
        name: &str,
        config: &serde_json::Value,
        environment: &[(&str, &str)],
    ) -> Self {
        // reqwest wants a TLS provider even for plain HTTP, and some tests ask the agent by themselves.
        whimbrel::runtime::tls::install();
        // JSON is YAML.
        let file = directory.join(format!("{name}.yaml"));
        std::fs::write(&file, serde_json::to_vec_pretty(config).unwrap()).unwrap();
        let log = directory.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(binary())
            .arg("run")
            .arg("--config")
            .arg(&file)
            .envs(environment.iter().copied())
            .env("XDG_CACHE_HOME", std::env::temp_dir().join("whimbrel-test-cache"))
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|e| {
                panic!("{} does not start: {e}; build it with --features failpoints", binary().display())
            });
        Self { child, log }
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: signals a child of this process that has not been waited for.
        unsafe { libc::kill(pid, signal) };
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Freezes it.
    pub(crate) fn freeze(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Thaws it.
    pub(crate) fn thaw(&self) {
        self.signal(libc::SIGCONT);
    }

    /// SIGTERM; gives its exit status.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(libc::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the agent does not stop:\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for `check`; fails with what it said last and the end of the log, at once if the agent ends.
    pub(crate) async fn until<T>(&mut self, what: &str, mut check: impl AsyncFnMut(&Self) -> Result<T, String>) -> T {
        let begin = Instant::now();
        loop {
            match check(self).await {
                Ok(value) => return value,
                Err(why) => {
                    let ended = self.ended();
                    assert!(
                        !ended && begin.elapsed() < PATIENCE,
                        "{what}: {why}\nafter {:?}; the agent {}:\n{}",
                        begin.elapsed(),
                        if ended { "has ended" } else { "runs" },
                        self.tail()
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Resident memory.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a living process has VmRSS");
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes << 10
    }

    /// True when the process has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// All it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for messages.
    pub(crate) fn tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// Where it serves HTTP, from its log.
    pub(crate) fn address(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.log).ok()?;
        let line = text.lines().rev().find(|l| l.contains("http endpoint is open"))?;
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        line["address"].as_str().map(str::to_owned)
    }

    /// GET of one of its pages: status and body.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let address = self.address().ok_or("no address in the log yet")?;
        let response = reqwest::get(format!("http://{address}{path}")).await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.map_err(|e| e.to_string())?))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.thaw();
            self.kill();
        }
    }
}
