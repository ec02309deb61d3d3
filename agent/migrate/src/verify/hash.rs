//! The keyed hash of a row that is hashed here.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::bisect::RowHash;

/// The key of one comparison: new each time, and known to nobody else.
#[derive(Clone, Copy)]
pub(super) struct Nonce([u8; 32]);

impl Nonce {
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    /// For a server that hashes.
    pub(super) fn hex(self) -> String {
        self.0.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    pub(super) fn hasher(self) -> Hasher {
        // Keys of HMAC may have any length.
        Hasher { keyed: Hmac::new_from_slice(&self.0).ok(), row: Vec::new() }
    }
}

/// Hashes row after row.
#[derive(Clone)]
pub(super) struct Hasher {
    keyed: Option<Hmac<Sha256>>,
    row: Vec<u8>,
}

impl Hasher {
    /// The bytes of the row, to be appended to.
    pub(super) const fn row(&mut self) -> &mut Vec<u8> {
        &mut self.row
    }

    /// The row's hash; the next row begins.
    pub(super) fn finish(&mut self) -> RowHash {
        let mut hash = RowHash::default();
        if let Some(mut keyed) = self.keyed.clone() {
            keyed.update(&self.row);
            for (slot, byte) in hash.iter_mut().zip(keyed.finalize().into_bytes()) {
                *slot = byte;
            }
        }
        self.row.clear();
        hash
    }
}
