//! BSON bytes, written front to back into one buffer (bsonspec.org, version 1.1). Knows the format, not the data: no
//! events, no cells. Names must be checked by the caller ([`checked_name`]), for a NUL in one would end it early and make the
//! rest of the document something else.

/// Type byte of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Double = 0x01,
    String = 0x02,
    Document = 0x03,
    Array = 0x04,
    Binary = 0x05,
    ObjectId = 0x07,
    Boolean = 0x08,
    DateTime = 0x09,
    Null = 0x0A,
    Regex = 0x0B,
    Code = 0x0D,
    CodeWithScope = 0x0F,
    Int32 = 0x10,
    Timestamp = 0x11,
    Int64 = 0x12,
    Decimal128 = 0x13,
    MinKey = 0xFF,
    MaxKey = 0x7F,
}

/// Where an element's type byte stands until its value is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot(usize);

/// Where a document or array began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open(usize);

/// A name that holds no NUL.
#[must_use]
pub(crate) fn checked_name(name: &[u8]) -> bool {
    memchr::memchr(0, name).is_none()
}

/// The buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    pub(crate) fn since(&self, start: usize) -> &[u8] {
        self.bytes.get(start..).unwrap_or_default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Begins a document or an array whose type byte and name are already there.
    pub(crate) fn open(&mut self) -> Open {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        Open(start)
    }

    /// Ends it: the closing NUL, and the length in front. Lengths past `i32` cannot come up: statements are bounded far
    /// below by the caller, who compares [`Writer::len`] with the server's limit.
    pub(crate) fn close(&mut self, open: Open) {
        self.bytes.push(0);
        let len = i32::try_from(self.bytes.len() - open.0).unwrap_or(i32::MAX);
        if let Some(slot) = self.bytes.get_mut(open.0..open.0 + 4) {
            slot.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// Begins an element whose type is not known yet.
    pub(crate) fn element(&mut self, name: &[u8]) -> Slot {
        let slot = Slot(self.bytes.len());
        self.bytes.push(0);
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        slot
    }

    /// Begins the element of an array.
    pub(crate) fn item(&mut self, index: usize) -> Slot {
        self.element(itoa::Buffer::new().format(index).as_bytes())
    }

    /// Says what the element is.
    pub(crate) fn set(&mut self, slot: Slot, tag: Tag) {
        if let Some(byte) = self.bytes.get_mut(slot.0) {
            *byte = tag as u8;
        }
    }

    /// Begins an element of known type.
    pub(crate) fn tagged(&mut self, tag: Tag, name: &[u8]) {
        self.bytes.push(tag as u8);
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }

    /// Begins a sub-document.
    pub(crate) fn document(&mut self, name: &[u8]) -> Open {
        self.tagged(Tag::Document, name);
        self.open()
    }

    /// Begins an array.
    pub(crate) fn array(&mut self, name: &[u8]) -> Open {
        self.tagged(Tag::Array, name);
        self.open()
    }

    pub(crate) fn boolean(&mut self, value: bool) -> Tag {
        self.bytes.push(u8::from(value));
        Tag::Boolean
    }

    pub(crate) fn int32(&mut self, value: i32) -> Tag {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Tag::Int32
    }

    pub(crate) fn int64(&mut self, value: i64) -> Tag {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Tag::Int64
    }

    pub(crate) fn double(&mut self, value: f64) -> Tag {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Tag::Double
    }

    pub(crate) fn datetime(&mut self, millis: i64) -> Tag {
        self.bytes.extend_from_slice(&millis.to_le_bytes());
        Tag::DateTime
    }

    pub(crate) fn timestamp(&mut self, seconds: u32, increment: u32) -> Tag {
        self.bytes.extend_from_slice(&increment.to_le_bytes());
        self.bytes.extend_from_slice(&seconds.to_le_bytes());
        Tag::Timestamp
    }

    pub(crate) fn string(&mut self, value: &str) -> Tag {
        self.bytes.extend_from_slice(&length(value.len() + 1));
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        Tag::String
    }

    pub(crate) fn binary(&mut self, subtype: u8, value: &[u8]) -> Tag {
        self.bytes.extend_from_slice(&length(value.len()));
        self.bytes.push(subtype);
        self.bytes.extend_from_slice(value);
        Tag::Binary
    }

    /// Bytes that stand in the buffer already, once more.
    pub(crate) fn repeat(&mut self, range: std::ops::Range<usize>) {
        if range.start <= range.end && range.end <= self.bytes.len() {
            self.bytes.extend_from_within(range);
        }
    }

    /// Bytes that are already BSON.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

fn length(len: usize) -> [u8; 4] {
    i32::try_from(len).unwrap_or(i32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    #[test]
    fn what_is_written_reads_back_as_bson() {
        let mut w = Writer::default();
        let top = w.open();
        let slot = w.element(b"a");
        let tag = w.int32(-5);
        w.set(slot, tag);
        let inner = w.document(b"d");
        w.tagged(Tag::String, b"s");
        w.string("x\0y");
        w.close(inner);
        let list = w.array(b"l");
        for (i, v) in [true, false].into_iter().enumerate() {
            let slot = w.item(i);
            let tag = w.boolean(v);
            w.set(slot, tag);
        }
        w.close(list);
        w.tagged(Tag::Timestamp, b"t");
        w.timestamp(7, 9);
        w.close(top);
        let back = Document::from_reader(&w.into_bytes()[..]).unwrap();
        let time = bson::Timestamp { time: 7, increment: 9 };
        assert_eq!(back, doc! {"a": -5, "d": {"s": "x\0y"}, "l": [true, false], "t": time});
    }
}
