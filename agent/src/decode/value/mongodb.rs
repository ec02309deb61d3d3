//! MongoDB documents as JSON that every reader takes.
//!
//! Debezium's connector writes documents by the Java driver's old strict mode, which has no spelling for doubles that are no
//! numbers: `NaN` and `Infinity` stand there bare. Here they become what Extended JSON v2 calls them.

use std::borrow::Cow;

use memchr::memmem;

const BARE: [(&str, &str); 3] = [
    ("NaN", r#"{"$numberDouble": "NaN"}"#),
    ("Infinity", r#"{"$numberDouble": "Infinity"}"#),
    ("-Infinity", r#"{"$numberDouble": "-Infinity"}"#),
];

/// The same document without bare words.
pub(super) fn strict(document: Cow<'_, str>) -> Cow<'_, str> {
    let bytes = document.as_bytes();
    if memmem::find(bytes, b"NaN").is_none() && memmem::find(bytes, b"Infinity").is_none() {
        return document;
    }
    let mut out = String::with_capacity(document.len() + 64);
    let mut rest: &str = &document;
    while let Some(quote) = rest.find('"') {
        let (outside, string) = rest.split_at(quote);
        spell_out(outside, &mut out);
        let (inside, behind) = string.split_at(end_of_string(string));
        out.push_str(inside);
        rest = behind;
    }
    spell_out(rest, &mut out);
    Cow::Owned(out)
}

/// Appends text outside of strings.
fn spell_out(mut text: &str, out: &mut String) {
    let next = |text: &str| {
        let found = BARE.iter().filter_map(|(word, value)| Some((text.find(word)?, *word, *value)));
        // Of `-Infinity` and the `Infinity` in it the first to begin.
        found.min_by_key(|(at, ..)| *at)
    };
    while let Some((at, word, value)) = next(text) {
        let (before, behind) = text.split_at(at);
        out.push_str(before);
        out.push_str(value);
        text = behind.get(word.len()..).unwrap_or_default();
    }
    out.push_str(text);
}

/// Bytes of the string that begins here, quotes included.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_spelled_out_once(text in "(NaN|-?Infinity|[\"\\\\{}:,a-cü-]){0,20}") {
            let once = strict(Cow::Borrowed(&text)).into_owned();
            prop_assert_eq!(strict(Cow::Borrowed(&once)), once.as_str(), "{}", text);
        }
    }

    #[test]
    fn bare_words_become_extended_json_and_texts_stay() {
        for (given, expected) in [
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            (r#"{"a": NaN}"#, r#"{"a": {"$numberDouble": "NaN"}}"#),
            (
                r#"{"NaN": [Infinity,-Infinity,NaN], "b": "NaN \" -Infinity"}"#,
                r#"{"NaN": [{"$numberDouble": "Infinity"},{"$numberDouble": "-Infinity"},{"$numberDouble": "NaN"}], "b": "NaN \" -Infinity"}"#,
            ),
            ("NaN", r#"{"$numberDouble": "NaN"}"#),
            // Cut short: nothing is looked for behind the end.
            (r#"{"NaN\"#, r#"{"NaN\"#),
        ] {
            assert_eq!(strict(Cow::Borrowed(given)), expected, "{given}");
        }
    }
}
