//! Checksums of migrations: SHA-256 over what is in their files, however a checkout of Git has written the ends of lines.

use sha2::{Digest, Sha256};

/// The checksum of a text and of what it takes in besides (a plugin's bytes), as lower-case hex.
///
/// ```
/// use whimbrel_migrate::catalog::checksum::of_text;
/// assert_eq!(of_text("a\r\nb", &[]), of_text("\u{feff}a\nb", &[]));
/// assert_ne!(of_text("a", &[]), of_text("a", &[b""]));
/// ```
#[must_use]
pub fn of_text(text: &str, besides: &[&[u8]]) -> String {
    let mut sum = Sha256::new();
    sum.update(text.trim_start_matches('\u{feff}').replace("\r\n", "\n"));
    for bytes in besides {
        // A text has no NUL: what follows one cannot be taken for text.
        sum.update(b"\0");
        sum.update(Sha256::digest(bytes));
    }
    hex(&sum.finalize())
}

/// The checksum of a file that is no text.
#[must_use]
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_the_text_with_plain_line_ends() {
        // `printf 'a\nb\n' | sha256sum`
        let expected = "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2";
        assert_eq!(of_text("a\nb\n", &[]), expected);
        assert_eq!(of_text("a\r\nb\r\n", &[]), expected);
        assert_eq!(of_bytes(b"a\nb\n"), expected);
        assert_ne!(of_text("a\n\nb\n", &[]), expected, "an empty line is a change");
        assert_ne!(of_bytes(b"a\r\nb\r\n"), expected, "bytes are taken as they are");
    }

    #[test]
    fn what_is_taken_in_besides_counts_in_its_order() {
        let sums = [of_text("a", &[]), of_text("a", &[b"x"]), of_text("a", &[b"x", b"y"]), of_text("a", &[b"y", b"x"])];
        let distinct: std::collections::HashSet<_> = sums.iter().collect();
        assert_eq!(distinct.len(), sums.len());
    }
}
