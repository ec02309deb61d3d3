//! Texts that Slack shows as they are. Its control characters are `&`, `<` and `>` ("Formatting text for app surfaces",
//! "Escaping text"): without them no text can mention, link or hide anything.

use whimbrel_plugin::notice::plain;

/// Words behind an "@" that call a whole channel where a workspace links names.
const CALLS: [&str; 4] = ["here", "channel", "everyone", "group"];

/// The text, harmless, in at most so many characters; no escape is cut in half.
pub(crate) fn defused(text: &str, chars: usize) -> String {
    let text = plain(text);
    let (mut out, mut used) = (String::with_capacity(text.len()), 0);
    // Where it ends when one character more would be too many: a place for the "…".
    let mut last = 0;
    for (at, c) in text.char_indices() {
        let mut one = [0; 4];
        let piece: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            // Nothing one sees, but no name any more.
            '@' if calls(text.get(at + 1..).unwrap_or_default()) => "@\u{200b}",
            c => c.encode_utf8(&mut one),
        };
        let length = piece.chars().count();
        if used + length > chars {
            out.truncate(last);
            if chars > 0 {
                out.push('…');
            }
            return out;
        }
        out.push_str(piece);
        used += length;
        if used < chars {
            last = out.len();
        }
    }
    out
}

fn calls(behind: &str) -> bool {
    CALLS.iter().any(|call| behind.get(..call.len()).is_some_and(|start| start.eq_ignore_ascii_case(call)))
}

/// Whether the operator wrote what calls people, and nothing else.
pub(crate) fn is_mention(text: &str) -> bool {
    let id = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let Some(inner) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) else { return false };
    matches!(inner, "!here" | "!channel" | "!everyone")
        || inner.strip_prefix('@').is_some_and(id)
        || inner.strip_prefix("!subteam^").is_some_and(id)
}
