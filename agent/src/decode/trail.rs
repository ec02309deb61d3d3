//! Field names that come in the same order each time: compared as they stand on the wire, sixteen bytes at once.
//!
//! Connectors write the fields of an object in one order. A [`Trail`] remembers the order it saw last and what each field
//! meant; a name that is where it was costs one comparison. A name that is not is read, classified and remembered.

use super::json::{Cursor, Syntax};

/// A name with its quotes and colon, as written without white space.
#[derive(Debug, Clone)]
pub(super) struct WireName {
    head: u128,
    mask: u128,
    tail: Box<[u8]>,
    len: usize,
}

impl WireName {
    /// `inside` is the name with its escapes, without quotes.
    pub(super) fn new(inside: &[u8]) -> Self {
        let all = [b"\"", inside, b"\":"].concat();
        let (head, tail) = all.split_at(all.len().min(16));
        let mask = if head.len() == 16 { u128::MAX } else { (1 << (8 * head.len())) - 1 };
        Self { head: u128::from_le_bytes(padded(head)), mask, tail: tail.into(), len: all.len() }
    }

    /// Steps over this name and white space after it, if it is here.
    #[inline]
    pub(super) fn eat(&self, cursor: &mut Cursor<'_>) -> bool {
        let rest = cursor.rest();
        let here = rest.first_chunk::<16>().copied().unwrap_or_else(|| padded(rest));
        let same = (u128::from_le_bytes(here) ^ self.head) & self.mask == 0
            && (self.tail.is_empty() || rest.get(16..).unwrap_or_default().starts_with(&self.tail));
        if same {
            cursor.at += self.len;
            cursor.space();
        }
        same
    }
}

/// Up to sixteen bytes, zeros after them. Short keys such as `{"id":1}` end before sixteen bytes are there.
fn padded(rest: &[u8]) -> [u8; 16] {
    let mut padded = [0; 16];
    padded.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
    padded
}

/// The order fields had last. `F` is what a field means.
#[derive(Debug)]
pub(super) struct Trail<F> {
    steps: Vec<(WireName, F)>,
}

/// Fields remembered of one object; Debezium's have at most thirty.
const MAX_STEPS: usize = 64;

/// Longest name remembered.
const MAX_NAME: usize = 256;

impl<F: Copy> Trail<F> {
    pub(super) const fn new() -> Self {
        Self { steps: Vec::new() }
    }

    /// Reads the name at the cursor, the `step`th of its object, and says what it means.
    #[inline]
    pub(super) fn name(
        &mut self,
        step: usize,
        cursor: &mut Cursor<'_>,
        meaning: impl FnOnce(&[u8]) -> F,
    ) -> Result<F, Syntax> {
        match self.steps.get(step) {
            Some((name, field)) if name.eat(cursor) => Ok(*field),
            _ => self.learn(step, cursor, meaning),
        }
    }

    #[cold]
    fn learn(&mut self, step: usize, cursor: &mut Cursor<'_>, meaning: impl FnOnce(&[u8]) -> F) -> Result<F, Syntax> {
        let name = cursor.name()?;
        let inside = cursor.slice(name.start, name.end);
        let field = meaning(inside);
        self.steps.truncate(step);
        if self.steps.len() == step && step < MAX_STEPS && inside.len() <= MAX_NAME {
            self.steps.push((WireName::new(inside), field));
        }
        Ok(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_eaten_only_when_it_is_whole() {
        for name in ["", "id", "exactly_13_ch", "a_name_longer_than_sixteen_bytes", "esc\\\"aped"] {
            let wire = WireName::new(name.as_bytes());
            let text = format!("\"{name}\": 1");
            let mut cursor = Cursor::new(text.as_bytes(), 0);
            assert!(wire.eat(&mut cursor), "{name}");
            assert_eq!(cursor.peek(), b'1');
            for other in [format!("\"{name}x\":1"), format!("\"x{name}\":1"), format!("\"{name}\" :1")] {
                assert!(!wire.eat(&mut Cursor::new(other.as_bytes(), 0)), "{name} in {other}");
            }
        }
    }

    #[test]
    fn a_trail_follows_a_new_order_at_once() {
        let mut trail = Trail::new();
        for text in [
            "{\"a\":1,\"b\":2,\"c\":3}",
            "{\"b\":1,\"a\":2,\"c\":3,\"d\":4}",
            "{\"a\" :1}",
            "{\"a\":1,\"b\":2,\"c\":3}",
        ] {
            let mut cursor = Cursor::new(text.as_bytes(), 0);
            let mut found = Vec::new();
            let mut more = cursor.open_object().unwrap();
            while more {
                found.push(trail.name(found.len(), &mut cursor, |name| name[0]).unwrap());
                cursor.value(0).unwrap();
                more = cursor.next_field().unwrap();
            }
            let expect: Vec<_> = text.bytes().filter(u8::is_ascii_lowercase).collect();
            assert_eq!(found, expect, "{text}");
        }
    }
}
