//! What observing a command costs: its wall clock and processor time, with and without an observer, in turns.
//!
//! With `WHIMBREL_BIN`, the observer is that program (`whimbrel observe`), start and end included; otherwise this bench itself
//! by the library. `--rounds N` (default 9) says how often each is run.
//!
//! - `work`: two seconds of arithmetic, silent.
//! - `lines`: the same, with 20,000 lines of progress in between, as a talkative migration writes.
//! - `flood`: 512 MiB of text and no work at all: the worst that passing through can be asked to do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may die of what it meets")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::observe::{self, Patterns, Settings, Streams};
use whimbrel_migrate::watch::Watchers;

const ROUNDS: usize = 9;
/// Some two seconds on an ordinary core.
const WORK: u64 = 1_600_000_000;
const LINES: u64 = 20_000;
const FLOOD: usize = 512 << 20;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = args.iter().filter_map(|arg| arg.to_str()).collect();
    match words.as_slice() {
        ["--as-command", what] => as_command(what),
        ["--as-observer", ..] => return as_observer(&args[1..]),
        _ => {
            let rounds = words.windows(2).find(|pair| pair[0] == "--rounds").and_then(|pair| pair[1].parse().ok());
            measure(rounds.unwrap_or(ROUNDS));
        }
    }
    ExitCode::SUCCESS
}

/// What is observed.
fn as_command(what: &str) {
    let mut out = std::io::stdout().lock();
    let mut number = 1u64;
    let mut work = |steps: u64| {
        for _ in 0..steps {
            number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    };
    match what {
        "work" => work(WORK),
        "lines" => {
            for line in 1..=LINES {
                work(WORK / LINES);
                writeln!(out, "migrating table orders: {line} of {LINES} rows").unwrap();
            }
        }
        _ => {
            let piece = b"INSERT 0 1 (a line such as a tool writes it)\n".repeat(1_000);
            let mut left = FLOOD;
            while left > 0 {
                out.write_all(&piece[..piece.len().min(left)]).unwrap();
                left = left.saturating_sub(piece.len());
            }
        }
    }
}

/// The library, as the agent uses it.
fn as_observer(command: &[OsString]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let settings = Settings {
        id: "bench".into(),
        database: None,
        interval: observe::DEFAULT_INTERVAL,
        patterns: Patterns::default(),
        streams: Streams::own(true).unwrap(),
        withheld: Vec::new(),
    };
    let (watch, cancel) = (Watchers::new(), CancellationToken::new());
    let run = observe::run(&command[0], &command[1..], settings, &watch, &cancel);
    ExitCode::from(runtime.block_on(run).unwrap().status)
}

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

/// Wall clock and processor time of a command and everything it started.
fn cost(mut command: Command) -> Cost {
    let before = children();
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(File::create("/dev/null").unwrap()).status().unwrap();
    let wall = began.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    Cost { wall, cpu: children() - before }
}

fn children() -> Duration {
    // SAFETY: fills in a structure of plain numbers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::from_micros(time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn measure(rounds: usize) {
    let own = std::env::current_exe().unwrap();
    let program = std::env::var_os("WHIMBREL_BIN");
    println!("observer: {}", program.as_deref().map_or_else(|| "the library".into(), OsStr::to_string_lossy));
    println!(
        "{:>6}  {:>21}  {:>21}  {:>15}  {:>15}",
        "", "bare wall / cpu", "observed wall / cpu", "more wall", "more cpu"
    );
    for what in ["work", "lines", "flood"] {
        let bare = || {
            let mut command = Command::new(&own);
            command.args(["--as-command", what]);
            command
        };
        let observed = || {
            let mut command = match &program {
                Some(program) => {
                    let mut command = Command::new(program);
                    command.args(["observe", "--migration-id", "bench", "--"]).arg(&own);
                    command
                }
                None => {
                    let mut command = Command::new(&own);
                    command.arg("--as-observer").arg(&own);
                    command
                }
            };
            command.args(["--as-command", what]);
            command
        };
        let (mut alone, mut watched) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            alone.push(cost(bare()));
            watched.push(cost(observed()));
        }
        let (alone, watched) = (median(&alone), median(&watched));
        let more = |one: Duration, other: Duration| {
            let (one, other) = (one.as_secs_f64(), other.as_secs_f64());
            format!("{:+.1} ms {:+.2} %", (other - one) * 1e3, (other / one - 1.0) * 100.0)
        };
        let pair = |cost: Cost| format!("{:.3} / {:.3} s", cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
        println!(
            "{what:>6}  {:>21}  {:>21}  {:>15}  {:>15}",
            pair(alone),
            pair(watched),
            more(alone.wall, watched.wall),
            more(alone.cpu, watched.cpu)
        );
    }
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |part: fn(&Cost) -> Duration| {
        let mut parts: Vec<_> = costs.iter().map(part).collect();
        parts.sort_unstable();
        parts[parts.len() / 2]
    };
    Cost { wall: middle(|cost| cost.wall), cpu: middle(|cost| cost.cpu) }
}
