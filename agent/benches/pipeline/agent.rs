//! The agent as users run it: a process of its own, told by a configuration file, watched from outside.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::process;

/// How often the agent is asked how far it is. Each question costs it some microseconds.
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Longest run.
const LIMIT: Duration = Duration::from_secs(300);

/// A configuration with one pipeline; `pipeline` holds all but its source.
pub(crate) fn config(directory: &Path, topic: &str, name: &str, mut pipeline: Value) -> Value {
    pipeline["name"] = json!(name);
    pipeline["source"] = json!({"kafka": {"brokers": [super::topic::brokers()], "topics": [topic], "group": name}});
    json!({
        "name": "bench",
        "http": {"listen": "127.0.0.1:0"},
        "plugins": {"cache_dir": directory.join("plugins")},
        "pipelines": [pipeline],
    })
}

/// What a run took, from the first events that were seen durable until the last was; those first ones are not counted.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) events: f64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) threads: BTreeMap<String, Duration>,
    /// Time all cores were busy, whoever kept them so.
    busy: Duration,
    /// The most memory it ever had, MiB.
    pub(crate) peak: f64,
}

impl Run {
    pub(crate) fn per_second(&self) -> f64 {
        self.events / self.wall.as_secs_f64()
    }

    pub(crate) fn per_core(&self) -> f64 {
        self.events / self.cpu.as_secs_f64()
    }

    pub(crate) fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.events
    }

    /// Microseconds of CPU per event of the threads whose role begins so.
    pub(crate) fn micros_of(&self, role: &str) -> f64 {
        let all = self.threads.iter().filter(|(name, _)| name.starts_with(role));
        all.map(|(_, time)| time.as_secs_f64()).sum::<f64>() * 1e6 / self.events
    }

    /// One line about it.
    pub(crate) fn print(&self, name: &str) {
        println!(
            "{name:<20} {:6.2} µs CPU/event ({}), {:.0} events/s, {:.1} s with {:.2} cores busy",
            self.micros(),
            self.by_thread(),
            self.per_second(),
            self.wall.as_secs_f64(),
            self.busy.as_secs_f64() / self.wall.as_secs_f64(),
        );
    }

    /// `role µs`, the busiest first.
    fn by_thread(&self) -> String {
        let mut all: Vec<_> = self.threads.keys().map(|role| (self.micros_of(role), role)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let busy: Vec<_> =
            all.iter().filter(|(us, _)| *us >= 0.02).map(|(us, role)| format!("{role} {us:.2}")).collect();
        busy.join(", ")
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: Receiver<(Instant, Value)>,
    seen: Vec<(Instant, Value)>,
    address: String,
    pub(crate) started: Instant,
}

impl Agent {
    /// Starts it and waits until its HTTP endpoint is open.
    pub(crate) fn start(directory: &Path, config: &Value) -> Result<Self> {
        let file = directory.join("agent.yaml");
        // JSON is YAML.
        std::fs::write(&file, serde_json::to_vec_pretty(config)?)?;
        let started = Instant::now();
        // Another build of the agent can be measured in place of this one's.
        let binary = std::env::var_os("WHIMBREL_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_whimbrel").into());
        let mut child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(&file)
            .env("PG_PASSWORD", super::postgres::password())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().context("no pipe")?;
        let (tell, log) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let parsed = serde_json::from_str(&line).unwrap_or_else(|_| json!({"message": line}));
                if tell.send((Instant::now(), parsed)).is_err() {
                    return;
                }
            }
        });
        let mut agent = Self { child, log, seen: Vec::new(), address: String::new(), started };
        let (_, line) = agent.logged("http endpoint is open")?;
        line["address"].as_str().context("no address in the log")?.clone_into(&mut agent.address);
        Ok(agent)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The first log line with this message, waited for, and when it came.
    pub(crate) fn logged(&mut self, message: &str) -> Result<(Instant, Value)> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_it = |line: &&(Instant, Value)| line.1["message"] == message || line.1["fields"]["message"] == message;
        if let Some(line) = self.seen.iter().find(is_it) {
            return Ok(line.clone());
        }
        loop {
            match self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if is_it(&&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("the agent never said `{message}`:\n{}", self.tail()),
                Err(RecvTimeoutError::Disconnected) => bail!("the agent ended before `{message}`:\n{}", self.tail()),
            }
        }
    }

    fn tail(&self) -> String {
        self.seen.iter().rev().take(20).map(|(_, line)| line.to_string()).collect::<Vec<_>>().join("\n")
    }

    /// Events that are durable.
    pub(crate) async fn applied(&self) -> Result<u64> {
        let answer = reqwest::get(format!("http://{}/api/v1/status", self.address)).await?.bytes().await?;
        let status: Value = serde_json::from_slice(&answer)?;
        let events = status["pipelines"][0]["totals"]["events"].as_object().context("no totals in the status")?;
        Ok(events.values().filter_map(Value::as_u64).sum())
    }

    /// Waits for the first events, then until `events` are durable.
    pub(crate) async fn run_to(&mut self, events: u64) -> Result<Run> {
        self.logged("partitions assigned")?;
        let first = self.first().await?;
        let (begun, machine) = (Instant::now(), process::machine()?);
        let (cpu, threads) = (process::cpu(self.pid())?, process::threads(self.pid())?);
        self.reach(events, ASK_EVERY).await?;
        let wall = begun.elapsed();
        let busy = process::machine()?.saturating_sub(machine);
        let cpu = process::cpu(self.pid())?.saturating_sub(cpu);
        let mut now = process::threads(self.pid())?;
        for (role, time) in &mut now {
            *time = time.saturating_sub(threads.get(role).copied().unwrap_or_default());
        }
        let peak = process::mebibytes(self.pid(), "VmHWM")?;
        ensure!(first < events / 5, "{first} of {events} events were durable at the first look: raise them");
        Ok(Run { events: (events - first) as f64, wall, cpu, threads: now, busy, peak })
    }

    /// Waits until anything is durable; says how much is.
    async fn first(&mut self) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let applied = self.applied().await?;
            if applied > 0 {
                return Ok(applied);
            }
            if begun.elapsed() > LIMIT || self.child.try_wait()?.is_some() {
                self.seen.extend(self.log.try_iter());
                bail!("nothing becomes durable:\n{}", self.tail());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits until `events` are durable.
    pub(crate) async fn reach(&mut self, events: u64, ask_every: Duration) -> Result<()> {
        let begun = Instant::now();
        loop {
            let applied = self.applied().await?;
            if applied >= events {
                ensure!(applied == events, "{applied} events were applied, of {events}");
                return Ok(());
            }
            if begun.elapsed() > LIMIT || self.child.try_wait()?.is_some() {
                self.seen.extend(self.log.try_iter());
                bail!("{applied} events of {events} are durable:\n{}", self.tail());
            }
            tokio::time::sleep(ask_every).await;
        }
    }

    /// SIGTERM, and waits until it has ended.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid())?;
        // SAFETY: signals a child of this process that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "the agent does not stop:\n{}", self.tail());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
