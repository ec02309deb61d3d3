//! SQL as tokens: what is code, what is quoted, what is a comment. It knows each dialect's ways to quote and nothing of
//! grammar; joined, the tokens are the input. Nothing here fails: what has no end is told by [`Token::open`].

use super::Dialect;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// White space.
    Space,
    /// A comment that the server does not look at.
    Comment,
    /// MySQL's `/*! … */`, which the server runs.
    Code,
    /// A keyword, a name, a number.
    Word,
    /// A quoted name.
    Name,
    /// A string.
    Text,
    /// Any other sign.
    Sign,
}

/// A piece of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: Kind,
    /// As written.
    pub text: &'a str,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Its first line, from 1.
    pub line: usize,
    /// It is quoted or commented, and the input ended before it did.
    pub open: bool,
}

impl Token<'_> {
    /// Whether it is this keyword.
    #[must_use]
    pub fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    /// Whether it is one of these keywords.
    #[must_use]
    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    /// Whether it is this sign.
    #[must_use]
    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign && self.text.starts_with(sign)
    }

    /// Whether the server does not look at it.
    #[must_use]
    pub const fn is_blank(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment)
    }
}

/// Reads tokens one after the other.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    text: &'a str,
    dialect: Dialect,
    at: usize,
    line: usize,
    /// Where it begins, a word ends: `END$$` under `DELIMITER $$`.
    pub(super) delimiter: &'a str,
}

impl<'a> Lexer<'a> {
    /// At the beginning of a text.
    #[must_use]
    pub const fn new(text: &'a str, dialect: Dialect) -> Self {
        Self { text, dialect, at: 0, line: 1, delimiter: ";" }
    }

    /// What is still to be read.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Where it is, in bytes.
    #[must_use]
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Whether nothing but blanks stands before this place in its line.
    #[must_use]
    pub fn begins_line(&self) -> bool {
        let before = self.text.get(..self.at).unwrap_or("");
        before.rsplit('\n').next().is_none_or(|line| line.trim().is_empty())
    }

    /// Takes so many bytes as one token, less where that would split a character.
    pub fn cut(&mut self, bytes: usize, kind: Kind) -> Token<'a> {
        let mut end = self.at.saturating_add(bytes).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        let text = self.text.get(self.at..end).unwrap_or("");
        let token = Token { kind, text, start: self.at, line: self.line, open: false };
        self.line += text.bytes().filter(|byte| *byte == b'\n').count();
        self.at = end;
        token
    }

    fn quoted(&mut self, kind: Kind, length: Option<usize>) -> Token<'a> {
        let open = length.is_none();
        Token { open, ..self.cut(length.unwrap_or(usize::MAX), kind) }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        use Dialect::{Mysql, Postgresql, Sqlite};
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let first = *bytes.first()?;
        let second = bytes.get(1).copied();
        let backslash = self.dialect == Mysql;
        Some(match first {
            byte if byte.is_ascii_whitespace() => {
                let length = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                self.cut(length, Kind::Space)
            }
            b'-' if second == Some(b'-') && (!backslash || bytes.get(2).is_none_or(|byte| *byte <= b' ')) => {
                self.cut(line(rest), Kind::Comment)
            }
            b'#' if self.dialect == Mysql => self.cut(line(rest), Kind::Comment),
            b'/' if second == Some(b'*') => {
                let runs = backslash && (rest.starts_with("/*!") || rest.starts_with("/*M!"));
                let kind = if runs { Kind::Code } else { Kind::Comment };
                let end = if self.dialect == Postgresql { nested(bytes) } else { plain(rest) };
                let token = self.quoted(kind, end);
                // SQLite takes the end of the input for the end of a comment.
                Token { open: token.open && self.dialect != Sqlite, ..token }
            }
            b'\'' => self.quoted(Kind::Text, closed(bytes, 1, b'\'', backslash)),
            b'"' if self.dialect == Mysql => self.quoted(Kind::Text, closed(bytes, 1, b'"', true)),
            b'"' => self.quoted(Kind::Name, closed(bytes, 1, b'"', false)),
            b'`' if self.dialect != Postgresql => self.quoted(Kind::Name, closed(bytes, 1, b'`', false)),
            b'[' if self.dialect == Sqlite => self.quoted(Kind::Name, rest.find(']').map(|at| at + 1)),
            b'e' | b'E' if self.dialect == Postgresql && second == Some(b'\'') => {
                self.quoted(Kind::Text, closed(bytes, 2, b'\'', true))
            }
            b'$' if self.dialect == Postgresql => match dollar(rest) {
                Some(tag) => {
                    let body = rest.get(tag.len()..).unwrap_or("");
                    self.quoted(Kind::Text, body.find(tag).map(|at| at + 2 * tag.len()))
                }
                None => self.cut(1, Kind::Sign),
            },
            byte if in_word(byte) => {
                let length = bytes.iter().take_while(|byte| in_word(**byte) || **byte == b'$').count();
                let word = rest.get(..length).unwrap_or("");
                self.cut(word.find(self.delimiter).unwrap_or(length).max(1), Kind::Word)
            }
            _ => self.cut(1, Kind::Sign),
        })
    }
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Up to the end of the line, without it.
fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// The length of what begins with a quote before `from` and ends with one; a doubled quote is none.
fn closed(bytes: &[u8], from: usize, quote: u8, backslash: bool) -> Option<usize> {
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        at += match *byte {
            b'\\' if backslash => 2,
            byte if byte == quote && bytes.get(at + 1) == Some(&quote) => 2,
            byte if byte == quote => return Some(at + 1),
            _ => 1,
        };
    }
    None
}

fn plain(rest: &str) -> Option<usize> {
    rest.get(2..)?.find("*/").map(|at| at + 4)
}

fn nested(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (2, 1_usize);
    while depth > 0 {
        at += match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                2
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                2
            }
            _ => 1,
        };
    }
    Some(at)
}

/// The `$tag$` at the beginning.
fn dollar(rest: &str) -> Option<&str> {
    let length = rest.get(1..)?.find('$')?;
    let tag = rest.get(1..=length)?;
    let named = tag.bytes().all(in_word) && !tag.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    if named { rest.get(..length + 2) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str, dialect: Dialect) -> Vec<(Kind, &str)> {
        Lexer::new(text, dialect).filter(|token| token.kind != Kind::Space).map(|t| (t.kind, t.text)).collect()
    }

    #[test]
    fn each_dialect_quotes_in_its_own_way() {
        use Dialect::{Mysql, Postgresql, Sqlite};
        let cases: &[(Dialect, &str, Kind)] = &[
            (Postgresql, "'a''b;'", Kind::Text),
            (Postgresql, r"'a\'", Kind::Text),
            (Postgresql, r"E'a\';'", Kind::Text),
            (Postgresql, "\"a\"\";\"", Kind::Name),
            (Postgresql, "$$a;$b$;$$", Kind::Text),
            (Postgresql, "$été$;$$;$été$", Kind::Text),
            (Postgresql, "/* a /* ; */ */", Kind::Comment),
            (Postgresql, "-- a;", Kind::Comment),
            (Postgresql, "a$b$c", Kind::Word),
            (Mysql, r"'a\';'", Kind::Text),
            (Mysql, r#""a\";""#, Kind::Text),
            (Mysql, "`a``;`", Kind::Name),
            (Mysql, "# a;", Kind::Comment),
            (Mysql, "-- a;", Kind::Comment),
            (Mysql, "--", Kind::Comment),
            (Mysql, "/* a /* ; */", Kind::Comment),
            (Mysql, "/*!50003 a; */", Kind::Code),
            (Mysql, "/*M!100100 a; */", Kind::Code),
            (Sqlite, "[a;]", Kind::Name),
            (Sqlite, "`a;`", Kind::Name),
            (Sqlite, "/* a", Kind::Comment),
        ];
        for (dialect, text, kind) in cases {
            assert_eq!(kinds(text, *dialect), [(*kind, *text)], "{dialect:?}");
            assert!(Lexer::new(text, *dialect).all(|token| !token.open), "{text}");
        }
        assert_eq!(kinds("1--1", Mysql).len(), 4, "two minus signs without a blank are no comment in MySQL");
        assert_eq!(kinds("a$1", Sqlite), [(Kind::Word, "a$1")]);
        assert_eq!(kinds("$1", Postgresql), [(Kind::Sign, "$"), (Kind::Word, "1")]);
    }

    #[test]
    fn what_has_no_end_is_told_with_its_line() {
        for (text, dialect) in [
            ("\n'a", Dialect::Postgresql),
            ("\nE'a\\'", Dialect::Postgresql),
            ("\n$a$ b $$", Dialect::Postgresql),
            ("\n/* /* */", Dialect::Postgresql),
            ("\n`a", Dialect::Mysql),
            ("\n[a", Dialect::Sqlite),
            ("\n'a\\", Dialect::Mysql),
        ] {
            let open = Lexer::new(text, dialect).find(|token| token.open).expect(text);
            assert_eq!(open.line, 2, "{text}");
        }
    }

    proptest! {
        #[test]
        fn joined_the_tokens_are_the_input(text in r"([a-zé$'`\[\]*/#;\\! \n-]|\PC|BEGIN|END|E'|\$a\$){0,60}", dialect in 0..3_usize) {
            let dialect = [Dialect::Postgresql, Dialect::Mysql, Dialect::Sqlite][dialect];
            let tokens: Vec<_> = Lexer::new(&text, dialect).collect();
            let joined: String = tokens.iter().map(|token| token.text).collect();
            prop_assert_eq!(&joined, &text);
            for token in tokens {
                prop_assert!(!token.text.is_empty());
                prop_assert_eq!(token.line, 1 + text[..token.start].matches('\n').count());
            }
        }
    }
}
