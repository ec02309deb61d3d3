//! A command's output on its way to where it belongs. Each stream is carried by a thread of its own, which sleeps until
//! there is something; a copy of the end of it is kept for whoever looks for progress.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::pattern::{Measure, Patterns};

/// What the command reads and where it writes.
pub struct Streams {
    /// What it reads.
    pub stdin: Stdio,
    /// Where its standard output goes; none: to ours, without a way through us.
    pub stdout: Option<File>,
    /// Where its standard error goes.
    pub stderr: Option<File>,
}

impl Streams {
    /// As a shell would have it: our own. What is a terminal the command gets itself, unless its output is to be `read`.
    ///
    /// # Errors
    /// When our own streams are closed.
    pub fn own(read: bool) -> io::Result<Self> {
        let through = |terminal: bool, fd: io::Result<OwnedFd>| match terminal && !read {
            true => Ok(None),
            false => fd.map(|fd| Some(File::from(fd))),
        };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        Ok(Self {
            stdin: Stdio::inherit(),
            stdout: through(stdout.is_terminal(), stdout.as_fd().try_clone_to_owned())?,
            stderr: through(stderr.is_terminal(), stderr.as_fd().try_clone_to_owned())?,
        })
    }
}

/// Bytes of a read, and of the pipe: with the kernel's 64 KiB a command that writes much waits for us more often than
/// not.
const PIECE: usize = 1 << 18;
/// After a piece smaller than this, one that comes at once waits a little: a command that writes line by line would wake us
/// for each of them, and pay for it. What fills the pipe faster is read without a rest.
const SMALL: usize = PIECE / 8;
/// How long it waits. Nobody sees it; ten thousand lines a second become two hundred pieces.
const REST: Duration = Duration::from_millis(4);
/// What is kept to be looked at: progress is in the last lines, and to read more of them costs more than to carry them.
const KEPT: usize = 1 << 14;
/// After the command has ended, who inherited its output may still write; when it has been silent for this long, it is on
/// its own.
const SILENCE: Duration = Duration::from_millis(500);

/// A stream that is passed through.
pub struct Output(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The end of what was passed through since the last look.
    recent: Vec<u8>,
    /// Whether what is kept begins in the middle of a line.
    cut: bool,
    /// Pieces so far.
    pieces: u64,
    /// The thread is in a write: the reader of our output takes its time.
    writing: bool,
    ended: bool,
}

/// Carries what comes out of `from` to `to`.
pub(super) fn pass(from: OwnedFd, to: File) -> io::Result<Output> {
    // SAFETY: sets the size of a pipe that we own; where that is not allowed, it stays as it is.
    unsafe { libc::fcntl(from.as_raw_fd(), libc::F_SETPIPE_SZ, PIECE) };
    let state = Arc::new(Mutex::new(State::default()));
    let output = Output(Arc::clone(&state));
    std::thread::Builder::new().name("observed-output".into()).spawn(move || {
        // What cannot be read or written any more is closed, and the command learns of it as it would from a shell.
        let _ = carry(File::from(from), to, &state);
        lock(&state).ended = true;
    })?;
    Ok(output)
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(mut from: File, mut to: File, state: &Mutex<State>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let piece = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        lock(state).passing(piece);
        let written = to.write_all(piece);
        lock(state).writing = false;
        written?;
        if piece.len() < SMALL {
            std::thread::sleep(REST);
        }
    }
}

impl State {
    fn passing(&mut self, piece: &[u8]) {
        self.writing = true;
        self.pieces += 1;
        let recent = piece.get(piece.len().saturating_sub(KEPT)..).unwrap_or_default();
        let over = (self.recent.len() + recent.len()).saturating_sub(KEPT);
        if over > 0 || recent.len() < piece.len() {
            self.recent.drain(..over.min(self.recent.len()));
            self.cut = true;
        }
        self.recent.extend_from_slice(recent);
    }

    /// Lines since the last look, without one that is not whole yet.
    fn lines(&mut self) -> Vec<u8> {
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let end = match self.ended {
            true => self.recent.len(),
            false => self.recent.iter().rposition(ends).map_or(0, |at| at + 1),
        };
        let mut lines: Vec<u8> = self.recent.drain(..end).collect();
        if std::mem::take(&mut self.cut) {
            let first = lines.iter().position(ends).map_or(lines.len(), |at| at + 1);
            lines.drain(..first);
        }
        lines
    }
}

impl Output {
    /// What the lines since the last look tell.
    pub(super) fn measures(&self, patterns: &Patterns) -> Vec<Measure> {
        let lines = lock(&self.0).lines();
        let text = String::from_utf8_lossy(&lines);
        text.split(['\n', '\r']).filter(|line| !line.is_empty()).filter_map(|line| patterns.read(line)).collect()
    }

    /// Waits until everything has been passed through.
    pub(super) async fn drained(&self) {
        let mut seen = None;
        let mut silent = Duration::ZERO;
        let mut wait = Duration::from_micros(100);
        loop {
            let state = {
                let state = lock(&self.0);
                if state.ended {
                    return;
                }
                (state.pieces, state.writing)
            };
            if state.1 || seen != Some(state) {
                silent = Duration::ZERO;
            } else if silent >= SILENCE {
                return;
            }
            seen = Some(state);
            tokio::time::sleep(wait).await;
            silent += wait;
            wait = (wait * 2).min(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(pieces: &[&[u8]]) -> State {
        let mut state = State::default();
        pieces.iter().for_each(|piece| state.passing(piece));
        state
    }

    #[test]
    fn lines_are_looked_at_when_they_are_whole_and_once() {
        let mut state = state(&[b"1/10\n2/1", b"0\r3/", b"10"]);
        assert_eq!(state.lines(), b"1/10\n2/10\r");
        assert_eq!(state.lines(), b"");
        state.passing(b"\n");
        assert_eq!(state.lines(), b"3/10\n");
        state.passing(b"the last");
        state.ended = true;
        assert_eq!(state.lines(), b"the last");
    }

    #[test]
    fn much_output_costs_only_its_end_and_no_half_line_is_read() {
        let mut state = state(&[&b"9".repeat(KEPT), b"1/10\n", b"2/10\n"]);
        assert_eq!(state.recent.len(), KEPT);
        assert_eq!(state.lines(), b"2/10\n");
        let long: Vec<u8> = b"1/10\n".repeat(KEPT);
        state.passing(&long);
        assert_eq!(state.recent.len(), KEPT);
        assert!(state.lines().starts_with(b"1/10\n"));
    }
}
