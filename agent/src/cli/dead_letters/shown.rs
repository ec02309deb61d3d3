//! Dead letters as text and as JSON. Contents of records only when asked for, and never so that they drive the terminal.

use std::io::Write;

use serde_json::{Value, json};

use crate::batch::unpack_headers;
use crate::pipeline::redrive::Redriven;
use crate::target::StoredDeadLetter;

/// What is shown of a letter's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// Nothing.
    Hidden,
    /// Key, headers and value.
    Shown,
    /// What is stored, and why the rest cannot be read.
    Unreadable(&'a str),
}

pub(super) fn told(out: &mut dyn Write, done: &Redriven) -> std::io::Result<()> {
    for letter in &done.failed {
        let (topic, message) = (escaped(&letter.topic), escaped(&letter.message));
        writeln!(out, "{topic}[{}]@{}  {}  {message}", letter.partition, letter.offset, letter.reason)?;
    }
    let (applied, failed, waiting) = (done.applied, done.failed.len(), done.waiting);
    writeln!(out, "{applied} applied, {failed} failed again, {waiting} wait behind one that failed")
}

pub(super) fn list(out: &mut dyn Write, letters: &[StoredDeadLetter]) -> std::io::Result<()> {
    if letters.is_empty() {
        return writeln!(out, "no dead letters");
    }
    for letter in letters {
        writeln!(
            out,
            "{}[{}]@{}  {}  {}  {}",
            escaped(&letter.topic),
            letter.partition,
            letter.offset,
            escaped(&letter.reason),
            known_table(letter),
            escaped(&letter.message),
        )?;
    }
    Ok(())
}

/// A record that could not be read has no table.
fn known_table(letter: &StoredDeadLetter) -> String {
    if letter.table.is_empty() { "-".into() } else { escaped(&letter.table) }
}

pub(super) fn show(out: &mut dyn Write, letter: &StoredDeadLetter, payload: Payload<'_>) -> std::io::Result<()> {
    writeln!(out, "{}[{}]@{}", escaped(&letter.topic), letter.partition, letter.offset)?;
    writeln!(out, "  reason      {}", escaped(&letter.reason))?;
    writeln!(out, "  message     {}", escaped(&letter.message))?;
    writeln!(out, "  table       {}", known_table(letter))?;
    writeln!(out, "  stored at   {} (milliseconds since 1970)", letter.stored_at_ms)?;
    writeln!(out, "  record time {} (milliseconds since 1970)", letter.record_ts_ms)?;
    match &letter.kafka {
        Some(kafka) => {
            writeln!(out, "  full record {}[{}]@{}", escaped(&kafka.topic), kafka.partition, kafka.offset)?;
        }
        None => writeln!(out, "  size        {} bytes", letter.value.as_ref().map_or(0, Vec::len))?,
    }
    if payload == Payload::Hidden {
        return Ok(());
    }
    writeln!(out, "  key         {}", bytes(letter.key.as_deref()))?;
    for (name, value) in headers(letter) {
        writeln!(out, "  header      {}: {}", escaped(&name), bytes(value.as_deref()))?;
    }
    match payload {
        Payload::Unreadable(why) => writeln!(out, "  value       cannot be read: {}", escaped(why)),
        Payload::Shown | Payload::Hidden => writeln!(out, "  value       {}", bytes(letter.value.as_deref())),
    }
}

pub(super) fn facts(letter: &StoredDeadLetter, payload: Payload<'_>) -> Value {
    let mut facts = json!({
        "topic": letter.topic, "partition": letter.partition, "offset": letter.offset,
        "reason": letter.reason, "message": letter.message, "table": letter.table,
        "stored_at_ms": letter.stored_at_ms, "record_ts_ms": letter.record_ts_ms,
        "full_record": letter.kafka.as_ref().map(|kafka| {
            json!({"topic": kafka.topic, "partition": kafka.partition, "offset": kafka.offset})
        }),
    });
    if payload != Payload::Hidden
        && let Some(facts) = facts.as_object_mut()
    {
        // Bytes that are no text come as base64, so that nothing is lost or changed.
        let content = |bytes: Option<&[u8]>| match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => Value::Null,
            Some((_, Ok(text))) => json!(text),
            Some((bytes, Err(_))) => {
                json!({"base64": base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)})
            }
        };
        facts.insert("key".into(), content(letter.key.as_deref()));
        facts.insert("value".into(), content(letter.value.as_deref()));
        let all = headers(letter).into_iter().map(|(name, value)| json!([name, content(value.as_deref())]));
        facts.insert("headers".into(), all.collect());
        if let Payload::Unreadable(why) = payload {
            facts.insert("value_error".into(), json!(why));
        }
    }
    facts
}

pub(super) fn write_json(out: &mut dyn Write, letters: Vec<Value>) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &letters)?;
    writeln!(out)?;
    Ok(())
}

fn headers(letter: &StoredDeadLetter) -> Vec<(String, Option<Vec<u8>>)> {
    unpack_headers(&letter.headers).map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec))).collect()
}

/// Text with control characters escaped: a record must not be able to drive the terminal.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Also the invisible characters that turn the direction of text around.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Bytes as text; what is no UTF-8 as `\xNN`.
fn bytes(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".into() };
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escaped(chunk.valid()));
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;

    fn letter() -> StoredDeadLetter {
        let mut batch = Batch::default();
        let span = batch.push_headers([("trace\u{7}", Some(&b"1"[..])), ("none", None)]);
        StoredDeadLetter {
            topic: "shop.public.orders".into(),
            partition: 2,
            offset: 7,
            table: "public.orders".into(),
            reason: "malformed".into(),
            message: "value is not \u{1b}[31mJSON".into(),
            stored_at_ms: 5,
            record_ts_ms: 4,
            key: Some(b"{\"id\":1}".to_vec()),
            value: Some(b"secret\x1b]0;title\x07\xff\xe2\x80\xae".to_vec()),
            headers: batch.bytes(span).to_vec(),
            kafka: None,
        }
    }

    fn shown(payload: Payload<'_>) -> String {
        let mut out = Vec::new();
        show(&mut out, &letter(), payload).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn contents_are_shown_only_when_asked_for() {
        assert!(!shown(Payload::Hidden).contains("secret") && !shown(Payload::Hidden).contains("id"));
        assert!(shown(Payload::Shown).contains("secret") && shown(Payload::Shown).contains(r#"{"id":1}"#));
        assert!(!facts(&letter(), Payload::Hidden).to_string().contains("secret"));
    }

    #[test]
    fn no_record_can_drive_the_terminal() {
        let mut listed = Vec::new();
        list(&mut listed, &[letter()]).unwrap();
        for text in [shown(Payload::Shown), shown(Payload::Hidden), String::from_utf8(listed).unwrap()] {
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
            assert!(!text.contains('\u{202e}'));
        }
        assert!(shown(Payload::Shown).contains(r"\u{1b}]0;title\u{7}\xff\u{202e}"), "{}", shown(Payload::Shown));
        assert!(shown(Payload::Shown).contains("header      none: null"));
    }

    #[test]
    fn a_record_that_cannot_be_had_is_told_where_its_value_would_stand() {
        let why = "topic is gone\u{7}";
        assert!(shown(Payload::Unreadable(why)).contains(r"value       cannot be read: topic is gone\u{7}"));
        assert_eq!(facts(&letter(), Payload::Unreadable(why))["value_error"], why);
    }

    #[test]
    fn json_keeps_bytes_that_are_no_text() {
        let facts = facts(&letter(), Payload::Shown);
        assert_eq!(facts["key"], "{\"id\":1}");
        assert_eq!(facts["value"]["base64"], "c2VjcmV0G10wO3RpdGxlB//igK4=");
        assert_eq!(facts["headers"][0][1], "1");
    }
}
