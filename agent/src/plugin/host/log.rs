//! The log: bounded in length and rate, and harmless to whoever reads it.

use std::fmt::Write as _;
use std::time::Instant;

use super::State;
use crate::plugin::bindings::transform::whimbrel::plugin::host_log;
use crate::plugin::bindings::types;

/// The longest log line or panic message of a guest, in bytes, that is kept.
const MAX_LINE: usize = 4096;

/// Control characters would let a guest forge lines or drive a terminal; length would fill the disk.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_LINE));
    for c in text.chars() {
        if out.len() >= MAX_LINE {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A guest's reason ends in logs and dead letters, so it is bounded like a log line.
pub(in crate::plugin) fn cleaned(reason: types::Failure) -> types::Failure {
    types::Failure { code: clean(&reason.code), message: clean(&reason.message), retryable: reason.retryable }
}

fn word(level: host_log::Level) -> &'static str {
    match level {
        host_log::Level::Trace => "trace",
        host_log::Level::Debug => "debug",
        host_log::Level::Info => "info",
        host_log::Level::Warn => "warn",
        host_log::Level::Error => "error",
    }
}

impl<L: Send> host_log::Host for State<L> {
    fn log(&mut self, level: host_log::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if !self.log.admit(Instant::now()) {
            return Ok(());
        }
        let suppressed = std::mem::take(&mut self.log.suppressed);
        let mut line = clean(&message);
        for (name, value) in fields.iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(line, " {}={}", clean(name), clean(value));
        }
        if let Some(sink) = &self.services.log {
            sink.line(word(level), &line);
            return Ok(());
        }
        let plugin = &*self.plugin;
        match level {
            host_log::Level::Trace => tracing::trace!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Debug => tracing::debug!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Info => tracing::info!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Warn => tracing::warn!(plugin, suppressed, text = line, "plugin log"),
            host_log::Level::Error => tracing::error!(plugin, suppressed, text = line, "plugin log"),
        }
        Ok(())
    }

    fn panicked(&mut self, message: String, file: String, line: u32) -> wasmtime::Result<()> {
        // The first one counts: a panic inside the hook would only hide it.
        if self.panic.is_none() {
            self.panic = Some(format!("{} at {}:{line}", clean(&message), clean(&file)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_neither_forge_another_nor_fill_the_disk() {
        assert_eq!(clean("a\nERROR b\u{1b}[2Jü"), "a\\nERROR b\\u{1b}[2Jü");
        assert!(clean(&"x".repeat(1 << 20)).len() <= MAX_LINE + 3);
        let reason = types::Failure { code: "a\0".to_owned(), message: "y".repeat(1 << 20), retryable: true };
        let reason = cleaned(reason);
        assert_eq!(reason.code, "a\\u{0}");
        assert!(reason.message.len() <= MAX_LINE + 3 && reason.retryable);
    }
}
