//! Debezium's stand-ins for values that a change did not touch (PostgreSQL TOAST), in every form they take in JSON.
//!
//! The connector puts the configured text in place of the value and encodes it as the column's type asks: base64 or hex
//! for bytea, an array of one for text[] and bytea[], its bytes as numbers for int[] and bigint[], a map from itself to
//! itself for hstore, and for uuid[] the name-based UUID of it
//! (`io.debezium.connector.postgresql.UnchangedToastedPlaceholder`).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::config::DEFAULT_PLACEHOLDER;
use crate::event::CellKind;

/// `UUID.nameUUIDFromBytes` of the default placeholder. For another placeholder it is not recognised: that would take
/// MD5, for one column type of one custom setting.
const DEFAULT_UUID: &str = "b68a35a7-17ad-35b3-af2a-ae46edb4545a";

/// All forms of one placeholder.
#[derive(Debug)]
pub(super) struct Placeholders {
    texts: Vec<Vec<u8>>,
    jsons: Vec<Vec<u8>>,
    lengths: u128,
}

impl Placeholders {
    pub(super) fn new(placeholder: &str) -> Self {
        let bytes = placeholder.as_bytes();
        let base64 = STANDARD.encode(bytes);
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut quoted = Vec::new();
        crate::batch::write_json_string(bytes, &mut quoted);
        let inside = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_vec();
        let mut numbers = b"[".to_vec();
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 {
                numbers.push(b',');
            }
            // Java's bytes are signed.
            numbers.extend_from_slice(byte.cast_signed().to_string().as_bytes());
        }
        numbers.push(b']');
        let mut jsons = vec![
            [b"[", quoted.as_slice(), b"]"].concat(),
            [b"{", quoted.as_slice(), b":", quoted.as_slice(), b"}"].concat(),
            format!("[\"{base64}\"]").into_bytes(),
            numbers,
        ];
        if placeholder == DEFAULT_PLACEHOLDER {
            jsons.push(format!("[\"{DEFAULT_UUID}\"]").into_bytes());
        }
        // hstore as JSON text: the map inside a string.
        let mut map = Vec::new();
        crate::batch::write_json_string(&[b"{", quoted.as_slice(), b":", quoted.as_slice(), b"}"].concat(), &mut map);
        let map = map.get(1..map.len().saturating_sub(1)).unwrap_or_default().to_vec();
        let texts = vec![inside, base64.into_bytes(), URL_SAFE.encode(bytes).into_bytes(), hex.into_bytes(), map];
        let lengths = texts.iter().fold(0, |lengths, text| lengths | bit(text.len()));
        Self { texts, jsons, lengths }
    }

    /// True when a value, the inside of a string or JSON as written, is a placeholder. Nearly always answered by the
    /// length alone.
    #[inline]
    pub(super) fn is(&self, kind: CellKind, value: &[u8]) -> bool {
        match kind {
            CellKind::Text | CellKind::Escaped => {
                self.lengths & bit(value.len()) != 0 && self.texts.iter().any(|text| text == value)
            }
            CellKind::Json => self.jsons.iter().any(|json| json == value),
            _ => false,
        }
    }
}

#[inline]
fn bit(length: usize) -> u128 {
    1 << (length & 127)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_placeholder_is_known() {
        let known = Placeholders::new(DEFAULT_PLACEHOLDER);
        for text in [
            "__debezium_unavailable_value",
            "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
            "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565",
        ] {
            assert!(known.is(CellKind::Text, text.as_bytes()), "{text}");
        }
        for json in [
            "[\"__debezium_unavailable_value\"]",
            "[\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"]",
            "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
            "{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}",
            "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]",
        ] {
            assert!(known.is(CellKind::Json, json.as_bytes()), "{json}");
        }
        assert!(known.is(CellKind::Escaped, br#"{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}"#));
        for other in ["", "__debezium_unavailable_valuE", "__debezium_unavailable_value "] {
            assert!(!known.is(CellKind::Text, other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_placeholder_of_ones_own_is_known() {
        let known = Placeholders::new("n/a \"ü\"");
        assert!(known.is(CellKind::Escaped, "n/a \\\"ü\\\"".as_bytes()));
        assert!(!known.is(CellKind::Text, DEFAULT_PLACEHOLDER.as_bytes()));
    }
}
