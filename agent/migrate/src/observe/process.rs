//! The command as a process: started, signalled, waited for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal as listen};

use super::output::Streams;

/// How it ended.
pub(super) struct Ended {
    /// Whether there was a process.
    pub(super) ran: bool,
    pub(super) status: u8,
    pub(super) signal: Option<i32>,
    /// Code and sentence, if it did not end well.
    pub(super) error: Option<(String, String)>,
}

impl Ended {
    pub(super) fn of(status: ExitStatus) -> Self {
        if let Some(signal) = status.signal() {
            let status = u8::try_from(128 + signal).unwrap_or(u8::MAX);
            let error = (format!("signal_{signal}"), format!("the command was ended by signal {signal}"));
            return Self { ran: true, status, signal: Some(signal), error: Some(error) };
        }
        let status = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
        let error =
            (status != 0).then(|| (format!("exit_{status}"), format!("the command ended with status {status}")));
        Self { ran: true, status, signal: None, error }
    }

    /// As shells have it: 127 if there is no such command, 126 if there is but it cannot be run.
    fn not_started(command: &OsStr, error: &io::Error) -> Self {
        let missing = error.kind() == io::ErrorKind::NotFound && !std::path::Path::new(command).is_file();
        let (status, code) = if missing { (127, "not_found") } else { (126, "not_executable") };
        let sentence = format!("the command {} cannot be started: {error}", command.display());
        Self { ran: false, status, signal: None, error: Some((code.into(), sentence)) }
    }
}

/// Streams that are passed through, and where to.
type Piped = Vec<(OwnedFd, std::fs::File)>;

pub(super) fn start(
    command: &OsStr,
    args: &[OsString],
    withheld: &[OsString],
    streams: Streams,
) -> Result<(Child, Piped), Ended> {
    let stdio = |through: bool| if through { Stdio::piped() } else { Stdio::inherit() };
    let mut prepared = Command::new(command);
    prepared
        .args(args)
        .stdin(streams.stdin)
        .stdout(stdio(streams.stdout.is_some()))
        .stderr(stdio(streams.stderr.is_some()));
    for name in withheld {
        prepared.env_remove(name);
    }
    let start = || -> io::Result<(Child, Piped)> {
        let mut child = prepared.spawn()?;
        let mut piped = Piped::new();
        if let Some((from, to)) = child.stdout.take().zip(streams.stdout) {
            piped.push((from.into_owned_fd()?, to));
        }
        if let Some((from, to)) = child.stderr.take().zip(streams.stderr) {
            piped.push((from.into_owned_fd()?, to));
        }
        Ok((child, piped))
    };
    start().map_err(|error| Ended::not_started(command, &error))
}

/// Sends a signal to the command, if it still runs.
pub(super) fn signal(child: &Child, signal: i32) {
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) else { return };
    // SAFETY: the process has not been waited for, or it would have no id: nobody else has its number.
    unsafe { libc::kill(pid, signal) };
}

/// The signals that are passed on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    quit: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    /// The next one that the command has not got yet.
    pub(super) async fn next(&mut self) -> i32 {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => return libc::SIGTERM,
                _ = self.interrupt.recv() => libc::SIGINT,
                _ = self.hangup.recv() => libc::SIGHUP,
                _ = self.quit.recv() => libc::SIGQUIT,
            };
            if !in_foreground() {
                return signal;
            }
        }
    }
}

/// Whether a terminal sends its signals to our process group, which is the command's too: passed on, Ctrl-C would reach it
/// twice, and the second means "at once" to many.
fn in_foreground() -> bool {
    use std::os::fd::AsRawFd as _;
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    // SAFETY: both only ask, of a descriptor that is open.
    unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) == libc::getpgrp() }
}
