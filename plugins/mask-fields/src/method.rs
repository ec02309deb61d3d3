//! The ways to hide a text. Each is a pure function of text and salt.

use whimbrel_plugin::RowText;
use whimbrel_plugin::prelude::*;

use crate::hash::Sha256;

/// How to hide a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Config)]
pub enum Method {
    /// Keeps the first character and the domain: `a***@example.org`. What is no address becomes `***`.
    Email,
    /// Becomes `***`, whatever it was.
    Redact,
    /// Becomes the SHA-256 of salt and text, 64 hex digits: equal texts stay equal, so joins and counts still work.
    Hash,
    /// Keeps the last characters and puts a star for each of the others. A text that is not longer is all stars.
    KeepLast(u32),
}

impl Method {
    /// Appends the hidden form of a text.
    pub fn apply(self, text: &str, salt: &str, new: &mut RowText) {
        match self {
            Method::Email => email(text, new),
            Method::Redact => new.push_str("***"),
            Method::Hash => hash(text, salt, new),
            Method::KeepLast(kept) => keep_last(text, kept as usize, new),
        }
    }
}

fn email(text: &str, new: &mut RowText) {
    let parts = text.rsplit_once('@').and_then(|(local, domain)| Some((local.chars().next()?, domain)));
    match parts {
        Some((first, domain)) if !domain.is_empty() => {
            new.push(first);
            new.push_str("***@");
            new.push_str(domain);
        }
        _ => new.push_str("***"),
    }
}

fn hash(text: &str, salt: &str, new: &mut RowText) {
    let mut sha = Sha256::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    sha.update(&(salt.len() as u64).to_be_bytes());
    sha.update(salt.as_bytes());
    sha.update(text.as_bytes());
    for byte in sha.finish() {
        for digit in [byte >> 4, byte & 15] {
            new.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
        }
    }
}

fn keep_last(text: &str, kept: usize, new: &mut RowText) {
    let count = text.chars().count();
    let hidden = if count > kept { count - kept } else { count };
    for _ in 0..hidden {
        new.push('*');
    }
    let start = text.char_indices().nth(hidden).map_or(text.len(), |(at, _)| at);
    new.push_str(text.get(start..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use whimbrel_plugin::testing::Event;

    use super::*;

    fn applied(method: Method, text: &str) -> String {
        let mut batch = Batch::of([Event::new("create", "t", "null", "null", &format!(r#"{{"c":"{text}"}}"#))]);
        batch
            .edit_text("after.c", |_, text, new| {
                method.apply(text, "salt", new);
                Edit::Replace
            })
            .unwrap();
        batch.text_column("after.c").get(0).unwrap().to_owned()
    }

    #[test]
    fn every_method_on_every_kind_of_text() {
        for (method, text, expect) in [
            (Method::Email, "ada@example.org", "a***@example.org"),
            (Method::Email, "ünal@example.org", "ü***@example.org"),
            (Method::Email, "odd@at@example.org", "o***@example.org"),
            (Method::Email, "@example.org", "***"),
            (Method::Email, "ada@", "***"),
            (Method::Email, "ada", "***"),
            (Method::Email, "", "***"),
            (Method::Redact, "secret", "***"),
            (Method::Redact, "", "***"),
            (Method::KeepLast(4), "DE123456", "****3456"),
            (Method::KeepLast(4), "3456", "****"),
            (Method::KeepLast(4), "56", "**"),
            (Method::KeepLast(0), "abc", "***"),
            (Method::KeepLast(2), "äöü", "*öü"),
            // The salted form of sha256 of the eight-byte length, "salt" and the text, computed elsewhere.
            (Method::Hash, "ada@example.org", "0cae063af755b2a654c3c4a01ab95cd00efb5069e748a7c561e95c232042ac08"),
        ] {
            assert_eq!(applied(method, text), expect, "{method:?} on {text:?}");
        }
    }
}
