//! A strict scanner for JSON (RFC 8259) that finds where values are and copies nothing.
//!
//! Owns well-formedness: grammar, escapes, paired surrogates, control characters, nesting. The text must already be known
//! to be UTF-8. Hands out byte ranges; never allocates, never recurses, so no input can exhaust the stack.

use crate::event::CellKind;

/// Deepest nesting of arrays and objects in one document; one bit of a `u128` each.
pub(super) const MAX_DEPTH: u32 = 128;

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    End,
    Value,
    Number,
    Literal,
    Control,
    Escape,
    Surrogate,
    Colon,
    Comma,
    Name,
    Trailing,
    Depth,
    NulName,
}

impl Flaw {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::End => "the text ends too early",
            Self::Value => "a value is expected",
            Self::Number => "a number is malformed",
            Self::Literal => "a literal is malformed",
            Self::Control => "a control character stands unescaped in a string",
            Self::Escape => "an escape is malformed",
            Self::Surrogate => "a surrogate stands alone",
            Self::Colon => "a colon is expected",
            Self::Comma => "a comma or a closing bracket is expected",
            Self::Name => "a field name is expected",
            Self::Trailing => "bytes follow the value",
            Self::Depth => "arrays and objects are nested deeper than 128",
            Self::NulName => "a field name contains NUL",
        }
    }
}

/// A [`Flaw`] and the byte where it was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) flaw: Flaw,
    pub(super) at: usize,
}

/// Where a value is: for strings the inside, for everything else the value as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) kind: CellKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A position in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    pub(super) at: usize,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Sets the high bit of the first byte that ends or breaks a plain run in a string: `"`, `\` or a control character.
/// Bytes after the first may be marked wrongly (the borrow of the subtraction), so only the lowest bit counts.
#[inline]
fn special(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    let is_quote = quote.wrapping_sub(ONES) & !quote;
    let is_slash = slash.wrapping_sub(ONES) & !slash;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_quote | is_slash | is_control) & HIGH
}

/// Sets the high bit of the first byte that is no ASCII digit. The carry may mark later ones wrongly, as above.
#[inline]
fn non_digits(word: u64) -> u64 {
    let value = word ^ (ONES * 0x30);
    (value.wrapping_add(ONES * 0x76) | value) & HIGH
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(text: &'a [u8], at: usize) -> Self {
        Self { text, at }
    }

    /// The byte here; 0, which is valid nowhere outside a string, at the end.
    #[inline]
    pub(super) fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.text.get(start..end).unwrap_or_default()
    }

    pub(super) const fn flaw<T>(&self, flaw: Flaw) -> Result<T, Syntax> {
        Err(Syntax { flaw, at: self.at })
    }

    #[cold]
    fn unexpected<T>(&self, flaw: Flaw) -> Result<T, Syntax> {
        self.flaw(if self.at >= self.text.len() { Flaw::End } else { flaw })
    }

    #[inline]
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// Steps over `byte` if it is here.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == byte;
        self.at += usize::from(here);
        here
    }

    /// Begins an object: true when it has a first field.
    #[inline]
    pub(super) fn open_object(&mut self) -> Result<bool, Syntax> {
        if !self.eat(b'{') {
            return self.unexpected(Flaw::Value);
        }
        self.space();
        Ok(!self.eat(b'}'))
    }

    /// After a field: true when another follows.
    #[inline]
    pub(super) fn next_field(&mut self) -> Result<bool, Syntax> {
        self.space();
        if self.eat(b',') {
            self.space();
            Ok(true)
        } else if self.eat(b'}') {
            Ok(false)
        } else {
            self.unexpected(Flaw::Comma)
        }
    }

    /// A field name and its colon.
    #[inline]
    pub(super) fn name(&mut self) -> Result<Raw, Syntax> {
        if self.peek() != b'"' {
            return self.unexpected(Flaw::Name);
        }
        let name = self.string()?;
        if name.kind == CellKind::Escaped && contains_nul(self.slice(name.start, name.end)) {
            return Err(Syntax { flaw: Flaw::NulName, at: name.start });
        }
        self.space();
        if !self.eat(b':') {
            return self.unexpected(Flaw::Colon);
        }
        self.space();
        Ok(name)
    }

    /// Any value, `depth` arrays and objects deep.
    #[inline]
    pub(super) fn value(&mut self, depth: u32) -> Result<Raw, Syntax> {
        match self.peek() {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b'n' => self.literal(b"null", CellKind::Null),
            b't' => self.literal(b"true", CellKind::True),
            b'f' => self.literal(b"false", CellKind::False),
            b'{' | b'[' => self.container(depth),
            _ => self.unexpected(Flaw::Value),
        }
    }

    /// Only white space may follow.
    pub(super) fn finish(&mut self) -> Result<(), Syntax> {
        self.space();
        if self.at < self.text.len() { self.flaw(Flaw::Trailing) } else { Ok(()) }
    }

    #[inline]
    fn literal(&mut self, word: &[u8], kind: CellKind) -> Result<Raw, Syntax> {
        let start = self.at;
        if !self.rest().starts_with(word) {
            return self.flaw(Flaw::Literal);
        }
        self.at += word.len();
        Ok(Raw { kind, start, end: self.at })
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Syntax> {
        if !self.peek().is_ascii_digit() {
            return self.unexpected(Flaw::Number);
        }
        while let Some(chunk) = self.rest().first_chunk::<8>() {
            let others = non_digits(u64::from_le_bytes(*chunk));
            if others != 0 {
                self.at += (others.trailing_zeros() / 8) as usize;
                return Ok(());
            }
            self.at += 8;
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Result<Raw, Syntax> {
        let start = self.at;
        self.eat(b'-');
        if self.eat(b'0') {
            if self.peek().is_ascii_digit() {
                return self.flaw(Flaw::Number);
            }
        } else {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Raw { kind: CellKind::Number, start, end: self.at })
    }

    /// A string; the opening quote is here.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw, Syntax> {
        self.at += 1;
        let start = self.at;
        let mut kind = CellKind::Text;
        loop {
            while let Some(chunk) = self.rest().first_chunk::<8>() {
                let found = special(u64::from_le_bytes(*chunk));
                if found == 0 {
                    self.at += 8;
                    continue;
                }
                self.at += (found.trailing_zeros() / 8) as usize;
                break;
            }
            match self.text.get(self.at) {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Raw { kind, start, end });
                }
                Some(b'\\') => {
                    kind = CellKind::Escaped;
                    self.escape()?;
                }
                Some(0..0x20) => return self.flaw(Flaw::Control),
                Some(_) => self.at += 1,
                None => return self.flaw(Flaw::End),
            }
        }
    }

    #[cold]
    fn hex4(&self, at: usize) -> Option<u32> {
        let digits = self.slice(at, at + 4);
        if digits.len() < 4 {
            return None;
        }
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    }

    fn escape(&mut self) -> Result<(), Syntax> {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => match self.hex4(self.at + 2) {
                Some(0xD800..=0xDBFF) => {
                    if self.slice(self.at + 6, self.at + 8) != b"\\u"
                        || !matches!(self.hex4(self.at + 8), Some(0xDC00..=0xDFFF))
                    {
                        return self.flaw(Flaw::Surrogate);
                    }
                    self.at += 12;
                }
                Some(0xDC00..=0xDFFF) => return self.flaw(Flaw::Surrogate),
                Some(_) => self.at += 6,
                None => return self.flaw(Flaw::Escape),
            },
            Some(_) => return self.flaw(Flaw::Escape),
            None => return self.flaw(Flaw::End),
        }
        Ok(())
    }

    /// An object or array with everything in it. `objects` holds one bit per open bracket, set for objects.
    fn container(&mut self, depth: u32) -> Result<Raw, Syntax> {
        let start = self.at;
        let room = MAX_DEPTH.saturating_sub(depth);
        let mut open = 0u32;
        let mut objects = 0u128;
        loop {
            // At a value.
            let byte = self.peek();
            if matches!(byte, b'{' | b'[') {
                if open >= room {
                    return self.flaw(Flaw::Depth);
                }
                self.at += 1;
                open += 1;
                objects = objects << 1 | u128::from(byte == b'{');
                self.space();
                let empty = if byte == b'{' { self.eat(b'}') } else { self.eat(b']') };
                if !empty {
                    if byte == b'{' {
                        self.name()?;
                    }
                    continue;
                }
                open -= 1;
                objects >>= 1;
            } else {
                self.value(depth)?;
            }
            // After a value: close as many as close here.
            loop {
                if open == 0 {
                    return Ok(Raw { kind: CellKind::Json, start, end: self.at });
                }
                let object = objects & 1 == 1;
                self.space();
                if self.eat(b',') {
                    self.space();
                    if object {
                        self.name()?;
                    }
                    break;
                }
                if !self.eat(if object { b'}' } else { b']' }) {
                    return self.unexpected(Flaw::Comma);
                }
                open -= 1;
                objects >>= 1;
            }
        }
    }
}

/// True when the escaped inside of a string names U+0000. Must not be fooled by an escaped backslash before `u0000`.
fn contains_nul(escaped: &[u8]) -> bool {
    let mut rest = escaped;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let tail = rest.get(at..).unwrap_or_default();
        if tail.starts_with(b"\\u0000") {
            return true;
        }
        rest = tail.get(2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Raw, Flaw> {
        let mut cursor = Cursor::new(text.as_bytes(), 0);
        let all = |cursor: &mut Cursor<'_>| {
            cursor.space();
            let raw = cursor.value(0)?;
            cursor.finish()?;
            Ok::<_, Syntax>(raw)
        };
        all(&mut cursor).map_err(|syntax| syntax.flaw)
    }

    #[test]
    fn flaws_are_told_apart() {
        for (text, flaw) in [
            ("", Flaw::End),
            (" ", Flaw::End),
            ("{", Flaw::End),
            ("{\"a\":1", Flaw::End),
            ("[1,", Flaw::End),
            ("\"abc", Flaw::End),
            ("\"abc\\", Flaw::End),
            ("[1,]", Flaw::Value),
            ("{\"a\":1,}", Flaw::Name),
            ("{a:1}", Flaw::Name),
            ("{\"a\" 1}", Flaw::Colon),
            ("[1 2]", Flaw::Comma),
            ("[1}", Flaw::Comma),
            ("{\"a\":1]", Flaw::Comma),
            ("01", Flaw::Number),
            ("-", Flaw::End),
            ("1.", Flaw::End),
            ("1.x", Flaw::Number),
            ("1e+", Flaw::End),
            ("+1", Flaw::Value),
            (".5", Flaw::Value),
            ("NaN", Flaw::Value),
            ("nul", Flaw::Literal),
            ("truex", Flaw::Trailing),
            ("1 1", Flaw::Trailing),
            ("\"\n\"", Flaw::Control),
            ("\"\\x\"", Flaw::Escape),
            ("\"\\u12g4\"", Flaw::Escape),
            ("\"\\u12", Flaw::Escape),
            ("\"\\ud800\"", Flaw::Surrogate),
            ("\"\\ud800\\u0041\"", Flaw::Surrogate),
            ("\"\\udc00\"", Flaw::Surrogate),
            ("{\"a\\u0000\":1}", Flaw::NulName),
            ("[{\"\\u0000\":1}]", Flaw::NulName),
            ("\u{0}", Flaw::Value),
        ] {
            assert_eq!(check(text), Err(flaw), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_128_and_never_overflows_the_stack() {
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(check(&deep(128)).is_ok());
        assert_eq!(check(&deep(129)), Err(Flaw::Depth));
        assert_eq!(check(&"[".repeat(1_000_000)), Err(Flaw::Depth));
        assert_eq!(check(&"{\"a\":".repeat(1_000_000)), Err(Flaw::Depth));
    }

    #[test]
    fn sound_texts_pass() {
        for text in [
            "0",
            "-0",
            "1e999999",
            "-1.5E-3",
            "12345678901234567890123",
            "\"\"",
            "\"\\ud83e\\udd80\"",
            "{}",
            "[]",
            " { \"a\" : [ 1 , { } , [ ] , null ] , \"a\" : \"\u{7f}\" } ",
            "{\"\\\\u0000\":1}",
            "\"🦀 twelve characters\"",
        ] {
            assert!(check(text).is_ok(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn accepts_what_serde_json_accepts(text in r#"[\[\]{}:,"\\a0-9eE+\-. utrlfsn\x00é]{0,24}"#) {
            let reference = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            let mine = check(&text);
            // serde ignores escapes' meaning when it ignores the value; lone surrogates and NUL in names are refused here only.
            if !matches!(mine, Err(Flaw::Surrogate | Flaw::NulName)) {
                proptest::prop_assert_eq!(mine.is_ok(), reference, "{:?}", mine);
            }
        }
    }
}
