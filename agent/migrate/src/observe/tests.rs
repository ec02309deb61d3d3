//! Commands, observed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::*;
use crate::database::{Attempt, Prediction, Sample, System};
use crate::error::{Error, Kind, Result};
use crate::ledger::Entry;
use crate::migration::{Body, Check, Options};
use crate::watch::BlockedSession;

/// What was told, a line each.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Watch for Told {
    fn tell(&self, event: &Event<'_>) {
        let line = match event {
            Event::Started { id, name, system, .. } => format!("started {id} {name} {system:?}"),
            Event::Measured { phase, done, total, .. } => format!("measured {phase} {done} {total:?}"),
            Event::Committed { place, count, progress, .. } => {
                format!("committed {place} {count} of {}", progress.total().done)
            }
            Event::Blocked { sessions, .. } => format!("blocked {}", sessions.len()),
            Event::Ended { error, .. } => format!("ended {:?}", error.map(|(code, _)| code)),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// A database that has as many rows more at each look, or none to look at.
#[derive(Default)]
struct Fake {
    looks: AtomicU64,
    broken: bool,
    slow: Duration,
}

#[async_trait]
impl Database for Fake {
    fn system(&self) -> System {
        System::Postgresql
    }

    fn address(&self) -> String {
        "nowhere".into()
    }

    async fn sample(&self) -> Result<Sample> {
        let look = self.looks.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.slow).await;
        if self.broken {
            return Err(Error::new(Kind::Connection, "connection", "nobody there"));
        }
        let word = String::new;
        let waits = BlockedSession {
            waiting: 2,
            blocked_by: 1,
            by_us: true,
            waiting_ms: 1,
            what: word(),
            user: word(),
            application: word(),
        };
        Ok(Sample {
            rows: vec![("orders".into(), 1_000 + look * 10), ("still".into(), 7)],
            blocked: if look == 1 { vec![waits] } else { Vec::new() },
            progress: vec![("CREATE INDEX orders".into(), look.min(2), Some(9))],
        })
    }

    async fn ledger(&self) -> Result<Vec<Entry>> {
        unreachable!("who observes has no ledger")
    }
    async fn holder(&self) -> Result<Option<String>> {
        unreachable!("who observes takes no lock")
    }
    async fn lock(&self, _: &str, _: Duration) -> Result<Attempt> {
        unreachable!("who observes takes no lock")
    }
    async fn predict(&self, _: &Body, _: &Options) -> Result<Vec<Prediction>> {
        unreachable!("who observes knows no steps")
    }
    async fn check(&self, _: &Check) -> Result<Option<String>> {
        unreachable!("who observes checks nothing")
    }
}

struct Run {
    observed: Observed,
    told: Vec<String>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn settings(stdout: File, stderr: File) -> Settings {
    Settings {
        id: "7".into(),
        database: None,
        interval: Duration::from_millis(20),
        patterns: Patterns::default(),
        streams: Streams { stdin: Stdio::null(), stdout: Some(stdout), stderr: Some(stderr) },
        withheld: Vec::new(),
    }
}

async fn observe(command: &str, args: &[&str], change: impl FnOnce(&mut Settings), cancel: CancellationToken) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let mut settings = settings(File::create(&out).unwrap(), File::create(&err).unwrap());
    change(&mut settings);
    let told = Told::default();
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let observed = run(OsStr::new(command), &args, settings, &told, &cancel).await.unwrap();
    let told = told.0.into_inner().unwrap();
    Run { observed, told, stdout: std::fs::read(out).unwrap(), stderr: std::fs::read(err).unwrap() }
}

async fn shell(script: &str, change: impl FnOnce(&mut Settings)) -> Run {
    observe("/bin/sh", &["-c", script], change, CancellationToken::new()).await
}

fn in_database(fake: Fake) -> (Arc<Fake>, impl FnOnce(&mut Settings)) {
    let fake = Arc::new(fake);
    let database = Arc::clone(&fake);
    (fake, move |settings: &mut Settings| settings.database = Some(database))
}

#[tokio::test]
async fn the_exit_status_is_the_commands() {
    for (script, status, signal, code) in [
        ("exit 0", 0, None, "None"),
        ("exit 1", 1, None, "Some(\"exit_1\")"),
        ("exit 255", 255, None, "Some(\"exit_255\")"),
        ("kill -KILL $$", 137, Some(9), "Some(\"signal_9\")"),
        ("kill -TERM $$", 143, Some(15), "Some(\"signal_15\")"),
    ] {
        let run = shell(script, |_| ()).await;
        assert_eq!((run.observed.status, run.observed.signal), (status, signal), "{script}");
        assert_eq!(run.told, ["started 7 sh None".to_owned(), format!("ended {code}")], "{script}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_has_the_shells_status_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("no program");
    std::fs::write(&file, "no program").unwrap();
    let cases = [
        ("no-such-command-anywhere", 127, "not_found"),
        ("/no/such/command", 127, "not_found"),
        (file.to_str().unwrap(), 126, "not_executable"),
        ("/", 126, "not_executable"),
    ];
    for (command, status, code) in cases {
        let run = observe(command, &[], |_| (), CancellationToken::new()).await;
        assert_eq!(run.observed.status, status, "{command}");
        assert_eq!(run.told.last().unwrap(), &format!("ended Some(\"{code}\")"), "{command}");
        assert!(run.observed.error.unwrap().contains("cannot be started"), "{command}");
    }
}

#[tokio::test]
async fn ten_megabytes_of_bytes_come_through_unchanged_and_apart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bytes");
    let mut number = 1u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 56) as u8
    })
    .take(10 << 20)
    .collect();
    std::fs::write(&file, &bytes).unwrap();
    let run = shell(&format!("cat {0}; head -c 100000 {0} >&2", file.display()), |_| ()).await;
    assert!(run.stdout == bytes && run.stderr == bytes[..100_000]);
}

#[tokio::test]
async fn standard_input_reaches_the_command() {
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"yes\0please").unwrap();
    std::io::Seek::rewind(&mut input).unwrap();
    let run = shell("cat", |settings| settings.streams.stdin = input.into()).await;
    assert_eq!(run.stdout, b"yes\0please");
}

#[tokio::test]
async fn a_question_without_a_line_end_is_seen_before_it_is_answered() {
    let (mut shown, out) = std::io::pipe().unwrap();
    let (input, mut answer) = std::io::pipe().unwrap();
    let person = std::thread::spawn(move || {
        let mut question = [0; 6];
        shown.read_exact(&mut question).unwrap();
        answer.write_all(b"y\n").unwrap();
        let mut rest = String::new();
        shown.read_to_string(&mut rest).unwrap();
        (question, rest)
    });
    let run = shell("printf 'sure? '; read answer; echo $answer", |settings| {
        settings.streams.stdin = Stdio::from(input);
        settings.streams.stdout = Some(File::from(OwnedFd::from(out)));
    })
    .await;
    assert_eq!(run.observed.status, 0);
    assert_eq!(person.join().unwrap(), (*b"sure? ", "y\n".to_owned()));
}

#[tokio::test]
async fn progress_is_read_from_both_streams_and_told_when_it_changes() {
    let script =
        "echo 'table orders: 1/4'; echo 'table orders: 1/4' >&2; sleep 0.6; printf '50%%\\r'; sleep 0.6; printf '4/4'";
    let run = shell(script, |_| ()).await;
    let expect = [
        "started 7 sh None",
        "measured orders 1 Some(4)",
        "measured output 5000 Some(10000)",
        "measured output 4 Some(4)",
        "ended None",
    ];
    assert_eq!(run.told, expect);
    assert_eq!(run.observed.measured, Some(Measure { table: None, done: 4, total: Some(4) }));
    assert_eq!(run.stdout, b"table orders: 1/4\n50%\r4/4");
}

#[tokio::test]
async fn rows_locks_and_progress_come_from_the_database() {
    let (fake, observed) = in_database(Fake::default());
    let run = shell("sleep 0.3", observed).await;
    let told = |word: &str| run.told.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!(run.told[0], "started 7 sh Some(Postgresql)");
    assert_eq!(
        run.told[1..5],
        [
            "committed orders 10 of 10",
            "measured CREATE INDEX orders 1 Some(9)",
            "blocked 1",
            "committed orders 10 of 20"
        ]
    );
    assert_eq!((told("blocked 0"), told("measured")), (1, 2));
    let looks = fake.looks.load(Ordering::SeqCst);
    // The first look is what there was before; the last one comes after the command.
    assert_eq!(run.observed.progress.total().done, (looks - 1) * 10);
    assert!((4..=20).contains(&looks) && run.observed.samples == looks && run.observed.samples_failed == 0, "{looks}");
}

#[tokio::test]
async fn a_database_that_is_broken_or_slow_does_not_hold_up_the_command() {
    let (fake, observed) = in_database(Fake { broken: true, ..Fake::default() });
    let broken = shell("sleep 0.3; exit 3", observed).await;
    assert_eq!((broken.observed.status, broken.told.len()), (3, 2));
    let looks = fake.looks.load(Ordering::SeqCst);
    // Each failure doubles the wait: at 0, 40, 120 and 280 ms, and at the end.
    assert!((2..=6).contains(&looks) && broken.observed.samples_failed == looks, "{looks}");

    let (fake, observed) = in_database(Fake { slow: Duration::from_secs(100), ..Fake::default() });
    let began = Instant::now();
    let slow = shell("echo done", observed).await;
    assert_eq!(
        (slow.observed.status, slow.stdout.as_slice(), fake.looks.load(Ordering::SeqCst)),
        (0, b"done\n".as_slice(), 1)
    );
    assert!(slow.observed.duration_ms < 1_000 && began.elapsed() < FIRST_SAMPLE + LAST_SAMPLE + Duration::from_secs(1));

    // A look of 40 ms is followed by a rest of 800 ms.
    let (fake, observed) = in_database(Fake { slow: Duration::from_millis(40), ..Fake::default() });
    shell("sleep 0.7", observed).await;
    assert_eq!(fake.looks.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn asked_to_end_the_command_is_told_and_has_the_last_word() {
    let cancel = CancellationToken::new();
    let asked = cancel.clone();
    let script = "trap 'echo cleaning; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let args = ["-c", script];
    let (run, ()) = tokio::join!(observe("/bin/sh", &args, |_| (), cancel), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        asked.cancel();
    });
    assert_eq!((run.observed.status, run.stdout.as_slice()), (9, b"ready\ncleaning\n".as_slice()));
}

#[tokio::test]
async fn nothing_stays_behind_and_who_inherits_the_output_is_not_waited_for() {
    let began = Instant::now();
    let run = shell("echo $$; sleep 5 & exec true", |_| ()).await;
    let pid: u32 = String::from_utf8(run.stdout).unwrap().trim().parse().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the command was waited for");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_reader_that_has_gone_is_news_to_the_command_too() {
    let (shown, out) = std::io::pipe().unwrap();
    drop(shown);
    let run = shell("exec yes", |settings| settings.streams.stdout = Some(File::from(OwnedFd::from(out)))).await;
    assert_eq!((run.observed.status, run.observed.signal), (141, Some(libc::SIGPIPE)));
}

#[tokio::test]
async fn withheld_variables_do_not_reach_the_command() {
    let run = shell("echo ${PATH:+path} ${HOME:+home}", |settings| settings.withheld = vec!["HOME".into()]).await;
    assert_eq!(run.stdout, b"path\n");
}
