//! JSON text to BSON bytes in one pass (RFC 8259), without a tree in between. Plain JSON only: types the source declared are
//! undone in `value.rs`, MongoDB's extended JSON in `extended.rs`.

use std::borrow::Cow;
use std::collections::HashSet;

use indexmap::IndexMap;
use memchr::memchr2;

use super::Bad;
use super::plan::VERSION_FIELD;
use super::value::{Loss, Written, number as number_value};
use super::writer::{Tag, Writer, checked_name};
use crate::batch::unescape;
use crate::config::raw::OddFieldNames;

/// Deepest nesting the server stores.
pub(crate) const MAX_DEPTH: usize = 100;

/// Reads JSON and writes BSON.
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
    odd: OddFieldNames,
    extended: bool,
    last_wins: bool,
    dollar: bool,
    loss: Option<Loss>,
    scratch: String,
}

impl<'a> Json<'a> {
    pub(crate) fn new(text: &'a str, odd: OddFieldNames) -> Self {
        Self { text, at: 0, odd, extended: false, last_wins: false, dollar: false, loss: None, scratch: String::new() }
    }

    /// Objects such as `{"$oid": …}` are values (MongoDB Extended JSON v2).
    pub(crate) fn extended(mut self) -> Self {
        self.extended = true;
        self
    }

    /// Writes the whole text as one value; anything behind it but space is an error.
    pub(crate) fn whole(mut self, depth: usize, out: &mut Writer) -> Result<Written, Bad> {
        let start = out.len();
        let mut written = self.value(depth, out);
        if matches!(written, Err(Bad::Twice)) {
            // Rare, so the common way does not pay for it: begin again and look ahead.
            out.truncate(start);
            (self.at, self.last_wins) = (0, true);
            written = self.value(depth, out);
        }
        let tag = written?;
        self.space();
        if self.at == self.text.len() { Ok((tag, self.loss)) } else { Err(Bad::Json) }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        let blank = self.rest().iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += blank;
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.rest().first().copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Bad> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(Bad::Json)
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Bad> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Bad::Json)
        }
    }

    /// Writes the payload of the next value and says what it is.
    pub(crate) fn value(&mut self, depth: usize, out: &mut Writer) -> Result<Tag, Bad> {
        match self.peek().ok_or(Bad::Json)? {
            b'{' => self.object(depth, out),
            b'[' => self.list(depth, out),
            b'"' => {
                let (text, escaped) = self.string()?;
                if escaped {
                    self.scratch.clear();
                    unescape(text.as_bytes(), &mut self.scratch);
                    Ok(out.string(&self.scratch))
                } else {
                    Ok(out.string(text))
                }
            }
            b't' => self.word("true").map(|()| out.boolean(true)),
            b'f' => self.word("false").map(|()| out.boolean(false)),
            b'n' => self.word("null").map(|()| Tag::Null),
            // Debezium's MongoDB connector has no other spelling for them in documents.
            b'N' if self.extended => self.word("NaN").map(|()| out.double(f64::NAN)),
            b'I' if self.extended => self.word("Infinity").map(|()| out.double(f64::INFINITY)),
            b'-' if self.extended && self.rest().starts_with(b"-I") => {
                self.word("-Infinity").map(|()| out.double(f64::NEG_INFINITY))
            }
            b'-' | b'0'..=b'9' => {
                let len = self
                    .rest()
                    .iter()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .count();
                let number = self.text.get(self.at..self.at + len).ok_or(Bad::Json)?;
                self.at += len;
                if self.extended && number.contains(['.', 'e', 'E']) {
                    // A decimal would have been written as one, however many digits this has.
                    return Ok(out.double(number.parse().map_err(|_| Bad::Json)?));
                }
                let (tag, loss) = number_value(number, out)?;
                self.loss = self.loss.or(loss);
                Ok(tag)
            }
            _ => Err(Bad::Json),
        }
    }

    /// The inside of the string that begins here, and whether it holds escapes.
    fn string(&mut self) -> Result<(&'a str, bool), Bad> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let found = memchr2(b'"', b'\\', self.rest()).ok_or(Bad::Json)?;
            self.at += found;
            if self.rest().first() == Some(&b'"') {
                let inside = self.text.get(start..self.at).ok_or(Bad::Json)?;
                self.at += 1;
                return Ok((inside, escaped));
            }
            escaped = true;
            // The byte behind a backslash belongs to the escape, whatever it is.
            self.at += 2;
        }
    }

    fn list(&mut self, depth: usize, out: &mut Writer) -> Result<Tag, Bad> {
        let depth = depth.checked_sub(1).ok_or(Bad::TooDeep)?;
        self.expect(b'[')?;
        let open = out.open();
        if self.peek() == Some(b']') {
            self.at += 1;
            out.close(open);
            return Ok(Tag::Array);
        }
        for index in 0.. {
            let slot = out.item(index);
            let tag = self.value(depth, out)?;
            out.set(slot, tag);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(Bad::Json),
            }
        }
        self.at += 1;
        out.close(open);
        Ok(Tag::Array)
    }

    fn object(&mut self, depth: usize, out: &mut Writer) -> Result<Tag, Bad> {
        let depth = depth.checked_sub(1).ok_or(Bad::TooDeep)?;
        let begun = self.at;
        self.expect(b'{')?;
        if self.extended && self.names_a_type() {
            self.at = begun;
            return super::extended::value(self, depth, out);
        }
        self.document(depth, out)
    }

    /// The object that begins here, as a document.
    fn document(&mut self, depth: usize, out: &mut Writer) -> Result<Tag, Bad> {
        let open = out.open();
        self.fields(depth, false, out)?;
        out.close(open);
        Ok(Tag::Document)
    }

    /// Fields up to and with the closing brace; the opening one is behind us. `spread` leaves out what the document that they
    /// go into has of its own.
    fn fields(&mut self, depth: usize, spread: bool, out: &mut Writer) -> Result<(), Bad> {
        if self.last_wins {
            return self.last_fields(depth, spread, out);
        }
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut names = Names::default();
        loop {
            let (name, escaped) = self.string()?;
            let start = out.len();
            let name = plain(name, escaped);
            let slot = out.element(field_name(&name, self.odd)?.as_bytes());
            if !names.add(start + 1..out.len(), out) {
                return Err(Bad::Twice);
            }
            self.expect(b':')?;
            let tag = self.value(depth, out)?;
            out.set(slot, tag);
            if spread && self.keep_out(&name) {
                names.forget();
                out.truncate(start);
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(Bad::Json),
            }
            self.space();
        }
        self.at += 1;
        Ok(())
    }

    /// [`Json::fields`] for text in which some name comes twice in one object: the last one counts, as in PostgreSQL's `jsonb`.
    fn last_fields(&mut self, depth: usize, spread: bool, out: &mut Writer) -> Result<(), Bad> {
        let mut last: IndexMap<String, &'a str> = IndexMap::new();
        while self.peek() != Some(b'}') {
            let (name, escaped) = self.string()?;
            let name = plain(name, escaped);
            self.expect(b':')?;
            let value = self.slice()?;
            if !(spread && self.keep_out(&name)) {
                last.insert(field_name(&name, self.odd)?.into_owned(), value);
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {}
                _ => return Err(Bad::Json),
            }
            self.space();
        }
        self.at += 1;
        for (name, text) in &last {
            let slot = out.element(name.as_bytes());
            let mut inner = self.inner(text);
            let tag = inner.value(depth, out)?;
            if inner.at != text.len() {
                return Err(Bad::Json);
            }
            self.lost_with(&inner);
            out.set(slot, tag);
        }
        Ok(())
    }

    /// Whether a field of a document that is spread into another is left out; notes names that a replacement cannot hold.
    fn keep_out(&mut self, name: &str) -> bool {
        self.dollar |= name.starts_with('$') && self.odd == OddFieldNames::Keep;
        name == "_id" || name == VERSION_FIELD
    }

    /// Writes the fields of the object that is the whole text, without `_id` and the version, into the document that is
    /// being written. Answers what was lost, and whether a name begins with `$`.
    pub(crate) fn spread(mut self, depth: usize, out: &mut Writer) -> Result<(Option<Loss>, bool), Bad> {
        let start = out.len();
        self.expect(b'{')?;
        let mut written = self.fields(depth, true, out);
        if matches!(written, Err(Bad::Twice)) {
            out.truncate(start);
            (self.at, self.last_wins) = (0, true);
            self.expect(b'{')?;
            written = self.fields(depth, true, out);
        }
        written?;
        self.space();
        if self.at == self.text.len() { Ok((self.loss, self.dollar)) } else { Err(Bad::Json) }
    }

    /// A reader with the same settings for a part of the text.
    pub(super) fn inner<'b>(&self, text: &'b str) -> Json<'b> {
        let Self { odd, extended, last_wins, dollar, .. } = *self;
        Json { text, at: 0, odd, extended, last_wins, dollar, loss: None, scratch: String::new() }
    }

    /// The object that is the whole text, whatever its names look like.
    pub(super) fn plain_object(&mut self, depth: usize, out: &mut Writer) -> Result<Tag, Bad> {
        self.expect(b'{')?;
        self.document(depth, out)
    }

    fn names_a_type(&mut self) -> bool {
        self.space();
        self.rest().starts_with(b"\"$")
    }

    /// Takes over what a part lost.
    pub(super) fn lost_with(&mut self, part: &Json<'_>) {
        self.loss = self.loss.or(part.loss);
    }

    /// The text of the value that begins here; moves behind it. Where it ends is all that is looked at: whoever reads it
    /// finds what is wrong in it.
    pub(super) fn slice(&mut self) -> Result<&'a str, Bad> {
        self.space();
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match self.rest().first().ok_or(Bad::Json)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    open += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    open = open.checked_sub(1).ok_or(Bad::Json)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if open > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let word = |byte: &&u8| {
                        !matches!(byte, b'"' | b'{' | b'[' | b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r')
                    };
                    let len = self.rest().iter().take_while(word).count();
                    if len == 0 {
                        return Err(Bad::Json);
                    }
                    self.at += len;
                }
            }
            if open == 0 {
                return self.text.get(start..self.at).ok_or(Bad::Json);
            }
        }
    }

    /// When the object that is the whole text begins with `_id`, as documents do that a server stored: writes that element.
    pub(crate) fn leading_id(mut self, depth: usize, out: &mut Writer) -> Result<bool, Bad> {
        self.expect(b'{')?;
        if self.peek() != Some(b'"') || self.string()? != ("_id", false) {
            return Ok(false);
        }
        self.expect(b':')?;
        let slot = out.element(b"_id");
        let tag = self.value(depth, out)?;
        out.set(slot, tag);
        Ok(true)
    }
}

fn plain(text: &str, escaped: bool) -> Cow<'_, str> {
    if !escaped {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    unescape(text.as_bytes(), &mut plain);
    Cow::Owned(plain)
}

/// The names of one object so far, as positions in the output: few by comparison, many by hash.
#[derive(Default)]
struct Names {
    few: Vec<std::ops::Range<usize>>,
    many: HashSet<Box<[u8]>>,
}

impl Names {
    const FEW: usize = 16;

    /// Adds a name; false when it was there.
    fn add(&mut self, name: std::ops::Range<usize>, out: &Writer) -> bool {
        let all = out.since(0);
        let at = |range: &std::ops::Range<usize>| all.get(range.clone()).unwrap_or_default();
        if self.many.is_empty() {
            if self.few.iter().any(|known| at(known) == at(&name)) {
                return false;
            }
            self.few.push(name);
            if self.few.len() > Self::FEW {
                self.many = self.few.iter().map(|known| Box::from(at(known))).collect();
            }
            return true;
        }
        self.many.insert(Box::from(at(&name)))
    }

    /// The newest name's field is taken out of the output again. It may then come twice unnoticed, and is taken out twice.
    fn forget(&mut self) {
        self.few.pop();
    }
}

/// Applies the policy to a field name. A NUL is refused whatever the policy.
pub(crate) fn field_name(name: &str, odd: OddFieldNames) -> Result<Cow<'_, str>, Bad> {
    if !checked_name(name.as_bytes()) {
        return Err(Bad::NulInName);
    }
    if !is_odd(name) {
        return Ok(Cow::Borrowed(name));
    }
    match odd {
        OddFieldNames::Keep => Ok(Cow::Borrowed(name)),
        OddFieldNames::Replace => Ok(Cow::Owned(name.replace('$', "\u{ff04}").replace('.', "\u{ff0e}"))),
        OddFieldNames::Reject => Err(Bad::OddName),
    }
}

/// Whether MongoDB cannot address the name: `$` in front, or a dot.
pub(crate) fn is_odd(name: &str) -> bool {
    name.starts_with('$') || memchr::memchr(b'.', name.as_bytes()).is_some()
}
