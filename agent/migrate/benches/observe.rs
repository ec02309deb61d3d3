//! What observing a command costs: wall clock of a command with and without an observer, in turns, and the processor time of
//! the observer, which is all that was used but for what the command says it used itself. Clocks of a virtual machine waver by
//! more than an observer costs; its processor time hardly does.
//!
//! With `WHIMBREL_BIN`, the observer is that program (`whimbrel observe`), start and end included; otherwise this bench itself
//! by the library. `--rounds N` (default 9) says how often each is run.
//!
//! - `work`: some seconds of arithmetic, silent.
//! - `lines`: the same, with 20,000 lines of progress in between, as a talkative migration writes.
//! - `flood`: 512 MiB of text and no work at all, which nobody waits for without an observer: how much passes in a second.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench may die of what it meets")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use whimbrel_migrate::observe::{self, Patterns, Settings, Streams};
use whimbrel_migrate::watch::Watchers;

const ROUNDS: usize = 9;
/// Some seconds on an ordinary core.
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
    run_command(what);
    if let Some(left) = std::env::var_os(LEFT) {
        std::fs::write(left, used(libc::RUSAGE_SELF).as_nanos().to_string()).unwrap();
    }
}

fn run_command(what: &str) {
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

/// What one run cost.
#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    /// Processor time of the command.
    command: Duration,
    /// Processor time of who observed it.
    observer: Duration,
}

/// Where a command leaves what it used itself.
const LEFT: &str = "WHIMBREL_BENCH_USED";

fn cost(mut command: Command, left: &Path) -> Cost {
    let before = used(libc::RUSAGE_CHILDREN);
    let began = Instant::now();
    command.env(LEFT, left).stdin(Stdio::null()).stdout(File::create("/dev/null").unwrap());
    let status = command.status().unwrap();
    let wall = began.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    let all = used(libc::RUSAGE_CHILDREN) - before;
    let own = Duration::from_nanos(std::fs::read_to_string(left).unwrap().parse().unwrap());
    Cost { wall, command: own, observer: all.saturating_sub(own) }
}

fn used(who: i32) -> Duration {
    // SAFETY: fills in a structure of plain numbers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec as u32 * 1_000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn measure(rounds: usize) {
    let own = std::env::current_exe().unwrap();
    let program = std::env::var_os("WHIMBREL_BIN");
    let directory = tempfile::tempdir().unwrap();
    let left = directory.path().join("used");
    println!("observer: {}", program.as_deref().map_or_else(|| "the library".into(), OsStr::to_string_lossy));
    println!("medians of {rounds} pairs; the spread of bare runs is half the distance between their quartiles");
    println!("       bare wall (spread)   observed wall, by pair   observer's cpu, of the command's");
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
                    command.args(["observe", "--migration-id", "bench", "--quiet", "--"]).arg(&own);
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
        let pairs: Vec<_> = (0..rounds)
            .map(|round| match round % 2 {
                0 => (cost(bare(), &left), cost(observed(), &left)),
                _ => {
                    let second = cost(observed(), &left);
                    (cost(bare(), &left), second)
                }
            })
            .collect();
        let of = |part: &dyn Fn(&(Cost, Cost)) -> f64| {
            let mut parts: Vec<f64> = pairs.iter().map(part).collect();
            parts.sort_by(f64::total_cmp);
            parts
        };
        let middle = |parts: &[f64]| parts[parts.len() / 2];
        let alone = of(&|pair| pair.0.wall.as_secs_f64());
        let spread = (alone[alone.len() * 3 / 4] - alone[alone.len() / 4]) / 2.0 / middle(&alone) * 100.0;
        let watched = of(&|pair| pair.1.wall.as_secs_f64());
        let slower = of(&|pair| (pair.1.wall.as_secs_f64() / pair.0.wall.as_secs_f64() - 1.0) * 100.0);
        let observer = of(&|pair| pair.1.observer.as_secs_f64() * 1e3);
        let share = of(&|pair| pair.1.observer.as_secs_f64() / pair.1.command.as_secs_f64() * 100.0);
        if what == "flood" {
            println!(" flood {:.1} GiB/s pass through", FLOOD as f64 / f64::from(1 << 30) / middle(&watched));
            continue;
        }
        println!(
            "{what:>6} {:7.3} s ({spread:4.1} %)   {:7.3} s {:+8.2} %     {:7.1} ms {:8.2} %",
            middle(&alone),
            middle(&watched),
            middle(&slower),
            middle(&observer),
            middle(&share)
        );
    }
}
