//! Headers of a record, read without trusting their names.
//!
//! The rdkafka crate takes header names for UTF-8 and panics where they are not; a name is outside data, so it is read
//! from librdkafka directly here. A name that is not UTF-8 comes as U+FFFD: such a header means nothing to anybody here.

use std::ffi::{CStr, c_char, c_void};

use rdkafka::Message;
use rdkafka::bindings::{rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_resp_err_t};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage};

/// Headers kept without an allocation; Debezium sends four.
const INLINE: usize = 12;

/// A name and a value.
pub type HeaderOf<'a> = (&'a str, Option<&'a [u8]>);

/// The headers of one record, in order.
#[derive(Debug)]
pub struct HeaderList<'a> {
    few: [HeaderOf<'a>; INLINE],
    count: usize,
    /// All of them, when they are more than fit above.
    many: Vec<HeaderOf<'a>>,
}

impl<'a> HeaderList<'a> {
    /// Reads them.
    #[must_use]
    pub fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let mut list = Self { few: [("", None); INLINE], count: 0, many: Vec::new() };
        let Some(headers) = message.headers() else { return list };
        while let Some(header) = header_at(headers, list.count) {
            match list.few.get_mut(list.count) {
                Some(slot) => *slot = header,
                None => {
                    if list.many.is_empty() {
                        list.many.extend_from_slice(&list.few);
                    }
                    list.many.push(header);
                }
            }
            list.count += 1;
        }
        list
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[HeaderOf<'a>] {
        if self.many.is_empty() { self.few.get(..self.count).unwrap_or_default() } else { &self.many }
    }
}

fn header_at(headers: &BorrowedHeaders, index: usize) -> Option<HeaderOf<'_>> {
    let list = std::ptr::from_ref(headers).cast::<rd_kafka_headers_t>();
    let mut name: *const c_char = std::ptr::null();
    let mut value: *const c_void = std::ptr::null();
    let mut size = 0_usize;
    // SAFETY: a `BorrowedHeaders` is nothing but librdkafka's own list behind a reference (the crate makes it by a cast of
    // that pointer), and lives as long as the message. The call writes the three out-pointers only on success.
    let error = unsafe { rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size) };
    if error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
        return None;
    }
    // SAFETY: librdkafka keeps names NUL-terminated and values `size` bytes long, for as long as the list lives; a null
    // value has a null pointer.
    let (name, value) = unsafe {
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
        (CStr::from_ptr(name), value)
    };
    Some((name.to_str().unwrap_or("\u{fffd}"), value))
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings::{rd_kafka_header_add, rd_kafka_headers_destroy, rd_kafka_headers_new};

    use super::*;

    #[test]
    fn names_that_are_not_utf8_and_null_values_are_read_without_a_panic() {
        // SAFETY: a list of librdkafka's own, filled and destroyed by its own functions, read while it lives.
        unsafe {
            let list = rd_kafka_headers_new(3);
            for (name, value) in [(&b"good\0"[..], &b"1"[..]), (&b"\xff\xfe\0"[..], b"2"), (&b"none\0"[..], b"")] {
                let bytes = if value.is_empty() { std::ptr::null() } else { value.as_ptr().cast() };
                rd_kafka_header_add(list, name.as_ptr().cast(), -1, bytes, value.len().try_into().unwrap());
            }
            let headers = &*list.cast::<BorrowedHeaders>();
            assert_eq!(header_at(headers, 0), Some(("good", Some(&b"1"[..]))));
            assert_eq!(header_at(headers, 1), Some(("\u{fffd}", Some(&b"2"[..]))));
            assert_eq!(header_at(headers, 2), Some(("none", None)));
            assert_eq!(header_at(headers, 3), None);
            rd_kafka_headers_destroy(list);
        }
    }
}
