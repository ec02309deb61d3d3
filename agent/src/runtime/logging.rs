//! The form of log lines: fields first, then the constant message; no control character reaches a terminal or a file raw.
//!
//! Two forms, one rule: whatever a field holds, a line stays one line and shows no escape sequence. The formatters are
//! ours because the usual ones print `Display` values as they are, and values come from brokers and databases.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// An error and its causes in one line. What a message already says of its cause is not said twice.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.contains(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        cause = error.source();
    }
    line
}

/// Lines for people: `2026-01-01T00:00:00.000000Z  INFO whimbrel::export: address=127.0.0.1:9464 http endpoint is open`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Human;

/// One JSON object a line: `timestamp`, `level`, `target`, the fields, `message`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;

impl<S, N> FormatEvent<S, N> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        SystemTime.format_time(&mut writer)?;
        write!(writer, " {:>5} {}:", event.metadata().level().as_str(), event.metadata().target())?;
        let fields = Fields::of(event);
        for (name, value) in &fields.named {
            write!(writer, " {}=", Escaped(name))?;
            match value {
                Value::String(text) if needs_quotes(text) => write!(writer, "\"{}\"", Quoted(text))?,
                Value::String(text) => write!(writer, "{}", Escaped(text))?,
                other => write!(writer, "{other}")?,
            }
        }
        writeln!(writer, " {}", Escaped(&fields.message))
    }
}

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let fields = Fields::of(event);
        let mut line = Map::new();
        line.insert("timestamp".into(), time.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("target".into(), event.metadata().target().into());
        for (name, value) in fields.named {
            line.entry(name).or_insert(value);
        }
        line.insert("message".into(), fields.message.into());
        let json = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writer.write_str(&harmless_json(&json))?;
        writer.write_char('\n')
    }
}

/// JSON escapes C0 itself; the rest that terminals and people trip over becomes \u escapes too.
#[must_use]
pub fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hostile(c) {
            // Writing to a String cannot fail.
            let _ = write_utf16_escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` in one line and without control characters, for a terminal.
#[must_use]
pub fn escaped(text: &str) -> String {
    Escaped(text).to_string()
}

fn write_utf16_escape(writer: &mut impl fmt::Write, c: char) -> fmt::Result {
    for unit in c.encode_utf16(&mut [0; 2]) {
        write!(writer, "\\u{unit:04x}")?;
    }
    Ok(())
}

#[derive(Default)]
struct Fields {
    message: String,
    named: Vec<(String, Value)>,
}

impl Fields {
    fn of(event: &Event<'_>) -> Self {
        let mut fields = Self::default();
        event.record(&mut fields);
        fields
    }

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            ("message", other) => self.message = other.to_string(),
            (name, value) => self.named.push((name.trim_start_matches("r#").to_owned(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format!("{value:?}").into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, value.into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, value.into());
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number);
        self.push(field, number);
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, chain(value).into());
    }
}

/// Control characters (C0, DEL, C1), line separators, and the marks that turn the reading direction.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{feff}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains([' ', '"', '='])
}

struct Escaped<'a>(&'a str);
struct Quoted<'a>(&'a str);

fn escape(f: &mut fmt::Formatter<'_>, text: &str, quoted: bool) -> fmt::Result {
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '"' | '\\' if quoted => write!(f, "\\{c}")?,
            c if is_hostile(c) => write_utf16_escape(f, c)?,
            c => f.write_char(c)?,
        }
    }
    Ok(())
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, false)
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(f, self.0, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::prelude::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Link>>);

    #[test]
    fn a_chain_names_each_cause_once() {
        let link = |text, cause: Option<Link>| Link(text, cause.map(Box::new));
        for (error, line) in [
            (link("alone", None), "alone"),
            (link("cannot write", Some(link("disk", Some(link("full", None))))), "cannot write: disk: full"),
            (link("cannot write: disk (full)", Some(link("disk", None))), "cannot write: disk (full)"),
            (link("a: b", Some(link("b", Some(link("c", None))))), "a: b: c"),
        ] {
            assert_eq!(chain(&error), line);
        }
    }

    const EVIL: &str = "a\nERROR forged\u{1b}[31m\u{9b}31m\u{202e}\u{2028}\0z";

    fn lines(json: bool) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let make = move || writer.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(make);
        let log = || {
            tracing::warn!(text = EVIL, shown = %EVIL, debug = ?EVIL, count = 3, ratio = 0.5, ok = true, "it broke");
            let cause = io::Error::other("cause\nforged");
            tracing::error!(error = &cause as &(dyn std::error::Error + 'static), plain = "word", "{EVIL}");
        };
        if json {
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.event_format(Json)), log);
        } else {
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer.event_format(Human)), log);
        }
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn in_both_forms_an_event_is_one_line_without_control_characters() {
        for json in [false, true] {
            let text = lines(json);
            assert_eq!(text.lines().count(), 2, "{text}");
            assert!(!text.chars().any(|c| c != '\n' && is_hostile(c)), "{text:?}");
        }
    }

    #[test]
    fn fields_come_before_the_message() {
        let human = lines(false);
        let first = human.lines().next().unwrap();
        assert!(first.contains(" WARN whimbrel::runtime::logging::tests: text=\"a\\nERROR forged"), "{first}");
        assert!(first.ends_with("count=3 ratio=0.5 ok=true it broke"), "{first}");
        let json = lines(true);
        let first: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(first["text"], EVIL);
        assert_eq!(first["shown"], EVIL);
        assert_eq!((&first["count"], &first["ok"]), (&3.into(), &true.into()));
        assert_eq!(first.as_object().unwrap().keys().next_back().unwrap(), "message");
        let second: Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&second["error"], &second["plain"]), (&"cause\nforged".into(), &"word".into()));
    }
}
