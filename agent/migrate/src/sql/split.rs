//! A text as its statements: where each ends, by the ways of its dialect. It looks for ends, not for meaning; joined, the
//! pieces are the input.

use super::Dialect;
use super::lex::{Kind, Lexer, Token};

/// A part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What it is.
    pub part: Part<'a>,
    /// All of it, with its terminator and what stands before it.
    pub whole: &'a str,
    /// The line of the first thing in it that is no blank, from 1.
    pub line: usize,
}

/// What a part of the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// A statement, without its terminator and without the comments before it.
    Statement(&'a str),
    /// Only blanks and comments.
    Blank,
    /// A line that only a client program understands (`DELIMITER //`, `\d`).
    Client(&'a str),
    /// The rows after PostgreSQL's `COPY … FROM STDIN`.
    Rows,
    /// Something quoted or commented that has no end, and what it is.
    Open(&'static str),
}

/// All pieces of a text.
#[must_use]
pub fn split(text: &str, dialect: Dialect) -> Vec<Piece<'_>> {
    let mut splitter = Splitter { text, dialect, lexer: Lexer::new(text, dialect) };
    let mut pieces = Vec::new();
    while !splitter.lexer.rest().is_empty() {
        let piece = splitter.piece();
        let copies = matches!(piece.part, Part::Statement(statement) if dialect == Dialect::Postgresql && copies_rows(statement));
        pieces.push(piece);
        if copies && !splitter.lexer.rest().is_empty() {
            pieces.push(splitter.rows());
        }
    }
    pieces
}

struct Splitter<'a> {
    text: &'a str,
    dialect: Dialect,
    lexer: Lexer<'a>,
}

impl<'a> Splitter<'a> {
    /// The next piece; the lexer is not at its end.
    fn piece(&mut self) -> Piece<'a> {
        let start = self.lexer.at();
        let mut first: Option<Token<'a>> = None;
        let mut nesting = Nesting::new(self.dialect);
        let mut end = start;
        loop {
            let rest = self.lexer.rest();
            if first.is_none() && self.is_client_line(rest) {
                let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
                let token = self.lexer.cut(length, Kind::Word);
                let words = token.text.trim();
                if self.dialect == Dialect::Mysql
                    && let Some(delimiter) = words.split_whitespace().nth(1)
                {
                    self.lexer.delimiter = delimiter;
                }
                return self.done(start, Part::Client(words), token.line);
            }
            if !rest.is_empty()
                && rest.starts_with(self.lexer.delimiter)
                && (self.lexer.delimiter != ";" || nesting.is_flat())
            {
                let token = self.lexer.cut(self.lexer.delimiter.len(), Kind::Sign);
                let line = first.map_or(token.line, |token| token.line);
                return self.done(start, self.statement(first, end), line);
            }
            let Some(token) = self.lexer.next() else {
                let line = first.map_or(1, |token| token.line);
                return self.done(start, self.statement(first, end), line);
            };
            if token.open {
                let what = match token.kind {
                    Kind::Comment | Kind::Code => "comment",
                    Kind::Name => "quoted name",
                    _ => "string",
                };
                return self.done(start, Part::Open(what), token.line);
            }
            if token.is_blank() {
                continue;
            }
            first.get_or_insert(token);
            end = self.lexer.at();
            nesting.see(&token);
        }
    }

    fn statement(&self, first: Option<Token<'a>>, end: usize) -> Part<'a> {
        first.and_then(|first| self.text.get(first.start..end)).map_or(Part::Blank, Part::Statement)
    }

    fn done(&self, start: usize, part: Part<'a>, line: usize) -> Piece<'a> {
        Piece { part, whole: self.text.get(start..self.lexer.at()).unwrap_or(""), line }
    }

    fn is_client_line(&self, rest: &str) -> bool {
        match self.dialect {
            // PostgreSQL itself has no use for a backslash outside of quotes.
            Dialect::Postgresql => rest.starts_with('\\'),
            Dialect::Mysql => {
                let word = rest.get(..9).is_some_and(|word| word.eq_ignore_ascii_case("delimiter"));
                word && rest.as_bytes().get(9).is_some_and(u8::is_ascii_whitespace) && self.lexer.begins_line()
            }
            Dialect::Sqlite => false,
        }
    }

    /// Up to and with the line `\.`, or all that is left.
    fn rows(&mut self) -> Piece<'a> {
        let (start, rest) = (self.lexer.at(), self.lexer.rest());
        let mut length = 0;
        for line in rest.split_inclusive('\n') {
            length += line.len();
            if line.trim_end() == "\\." {
                break;
            }
        }
        let token = self.lexer.cut(length, Kind::Text);
        self.done(start, Part::Rows, token.line)
    }
}

fn copies_rows(statement: &str) -> bool {
    let mut words = Lexer::new(statement, Dialect::Postgresql).filter(|token| !token.is_blank());
    if !words.next().is_some_and(|first| first.is("COPY")) {
        return false;
    }
    let words: Vec<_> = words.collect();
    words.windows(2).any(|pair| matches!(pair, [from, stdin] if from.is("FROM") && stdin.is("STDIN")))
}

/// How deep a statement is in bodies and parentheses, where a semicolon does not end it.
struct Nesting {
    dialect: Dialect,
    parentheses: usize,
    bodies: usize,
    /// What it begins with decides whether it can have a body.
    head: Vec<String>,
    routine: bool,
    /// The keyword before, in upper case; empty for anything else.
    before: String,
}

/// Words of a statement's head that make it a routine.
const ROUTINES: [&str; 5] = ["PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE"];
/// After `CREATE`, a routine's kind follows within so many words: `OR REPLACE DEFINER = user @ host`.
const HEAD: usize = 12;

impl Nesting {
    const fn new(dialect: Dialect) -> Self {
        Self { dialect, parentheses: 0, bodies: 0, head: Vec::new(), routine: false, before: String::new() }
    }

    fn is_flat(&self) -> bool {
        self.bodies == 0 && (self.parentheses == 0 || self.dialect != Dialect::Postgresql)
    }

    fn see(&mut self, token: &Token<'_>) {
        let word = if token.kind == Kind::Word { token.text.to_ascii_uppercase() } else { String::new() };
        if token.is_sign('(') {
            self.parentheses += 1;
        } else if token.is_sign(')') {
            self.parentheses = self.parentheses.saturating_sub(1);
        }
        if self.head.len() < HEAD {
            self.routine |= self.head.first().is_some_and(|first| first == "CREATE") && ROUTINES.contains(&&*word);
            self.routine |= self.head.join(" ") == "BEGIN NOT" && word == "ATOMIC" && self.dialect == Dialect::Mysql;
            if self.routine && self.head.first().is_some_and(|first| first == "BEGIN") && self.bodies == 0 {
                self.bodies = 1;
            }
            self.head.push(word.clone());
        }
        if self.routine {
            self.body(&word);
        }
        // What stands after a dot is a name: `new.end`.
        self.before = if word.is_empty() { token.text.chars().take(1).collect() } else { word };
    }

    fn body(&mut self, word: &str) {
        let before = self.before.as_str();
        if before == "." {
            return;
        }
        let closes = before == "END" && self.dialect == Dialect::Mysql;
        match word {
            // PostgreSQL's older functions are strings; only BEGIN ATOMIC has statements in it.
            "ATOMIC" if self.dialect == Dialect::Postgresql && before == "BEGIN" => self.bodies += 1,
            "BEGIN" if self.dialect != Dialect::Postgresql => self.bodies += 1,
            "CASE" if !closes && (self.bodies > 0 || self.dialect == Dialect::Mysql) => self.bodies += 1,
            "END" => self.bodies = self.bodies.saturating_sub(1),
            "LOOP" | "WHILE" if self.dialect == Dialect::Mysql && !closes => self.bodies += 1,
            // Elsewhere these are functions, or parts of other statements.
            "IF" | "REPEAT" | "FOR" if self.dialect == Dialect::Mysql && !closes && begins_statement(before) => {
                self.bodies += 1;
            }
            _ => {}
        }
    }
}

/// Whether a statement of a body can begin after this.
fn begins_statement(before: &str) -> bool {
    matches!(before, ";" | ":" | "BEGIN" | "THEN" | "ELSE" | "DO" | "LOOP" | "REPEAT" | "ROW")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Dialect::{Mysql, Postgresql, Sqlite};
    use proptest::prelude::*;

    /// Dialect, text, and its statements with their lines.
    type Case = (Dialect, &'static str, &'static [(usize, &'static str)]);

    fn statements(text: &'static str, dialect: Dialect) -> Vec<(usize, &'static str)> {
        let pieces = split(text, dialect);
        assert_eq!(pieces.iter().map(|piece| piece.whole).collect::<String>(), text);
        let statement = |piece: Piece<'static>| match piece.part {
            Part::Statement(statement) => Some((piece.line, statement)),
            _ => None,
        };
        pieces.into_iter().filter_map(statement).collect()
    }

    #[test]
    fn statements_end_where_their_dialect_says() {
        let cases: &[Case] = &[
            (Postgresql, "a;b", &[(1, "a"), (1, "b")]),
            (Postgresql, "-- x;\n/* ; */ a ; ;\n\nb -- y\n", &[(2, "a"), (4, "b")]),
            (Postgresql, "a ';' \";\" $$;$$ E'\\';';b", &[(1, "a ';' \";\" $$;$$ E'\\';'"), (1, "b")]),
            (
                Postgresql,
                "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; b",
                &[
                    (1, "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"),
                    (1, "b"),
                ],
            ),
            (
                Postgresql,
                "CREATE RULE r AS ON INSERT TO t DO (a; b); c",
                &[(1, "CREATE RULE r AS ON INSERT TO t DO (a; b)"), (1, "c")],
            ),
            (Postgresql, "BEGIN; a; COMMIT;", &[(1, "BEGIN"), (1, "a"), (1, "COMMIT")]),
            (
                Postgresql,
                "CREATE TRIGGER t EXECUTE FUNCTION f(); SELECT CASE a WHEN 1 THEN 2 END; c",
                &[(1, "CREATE TRIGGER t EXECUTE FUNCTION f()"), (1, "SELECT CASE a WHEN 1 THEN 2 END"), (1, "c")],
            ),
            (
                Mysql,
                "DELIMITER $$\nCREATE PROCEDURE p() BEGIN a; END$$\nDELIMITER ;",
                &[(2, "CREATE PROCEDURE p() BEGIN a; END")],
            ),
            (
                Mysql,
                "DELIMITER //\nCREATE PROCEDURE p() BEGIN a; b; END//\nDELIMITER ;\nc;d",
                &[(2, "CREATE PROCEDURE p() BEGIN a; b; END"), (4, "c"), (4, "d")],
            ),
            (
                Mysql,
                "CREATE DEFINER=`r`@`%` PROCEDURE p() BEGIN IF a THEN b; END IF; WHILE x DO y; END WHILE; CASE z WHEN 1 THEN q; END CASE; SET @a = IF(b, 1, CASE c WHEN 1 THEN 2 END); END; d",
                &[
                    (
                        1,
                        "CREATE DEFINER=`r`@`%` PROCEDURE p() BEGIN IF a THEN b; END IF; WHILE x DO y; END WHILE; CASE z WHEN 1 THEN q; END CASE; SET @a = IF(b, 1, CASE c WHEN 1 THEN 2 END); END",
                    ),
                    (1, "d"),
                ],
            ),
            (
                Mysql,
                "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW IF NEW.a THEN SET NEW.b = 1; END IF; c",
                &[
                    (1, "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW IF NEW.a THEN SET NEW.b = 1; END IF"),
                    (1, "c"),
                ],
            ),
            (
                Mysql,
                "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.b = NEW.end; c",
                &[(1, "CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET NEW.b = NEW.end"), (1, "c")],
            ),
            (
                Mysql,
                "DROP PROCEDURE IF EXISTS p; BEGIN NOT ATOMIC a; b; END; c",
                &[(1, "DROP PROCEDURE IF EXISTS p"), (1, "BEGIN NOT ATOMIC a; b; END"), (1, "c")],
            ),
            (Mysql, "/*!40101 SET NAMES utf8; */; # x;\na;", &[(1, "/*!40101 SET NAMES utf8; */"), (2, "a")]),
            (Mysql, "START TRANSACTION; a; COMMIT", &[(1, "START TRANSACTION"), (1, "a"), (1, "COMMIT")]),
            (
                Sqlite,
                "CREATE TEMP TRIGGER t AFTER INSERT ON x BEGIN UPDATE x SET a = CASE WHEN 1 THEN 2 END; DELETE FROM y; END; BEGIN; b",
                &[
                    (
                        1,
                        "CREATE TEMP TRIGGER t AFTER INSERT ON x BEGIN UPDATE x SET a = CASE WHEN 1 THEN 2 END; DELETE FROM y; END",
                    ),
                    (1, "BEGIN"),
                    (1, "b"),
                ],
            ),
            (Sqlite, "", &[]),
            (Sqlite, " -- nothing", &[]),
        ];
        for (dialect, text, expected) in cases {
            assert_eq!(statements(text, *dialect), *expected, "{dialect:?}");
        }
    }

    #[test]
    fn what_only_a_client_understands_stands_apart() {
        let parts: Vec<_> = split("\\set x 1\na;\nCOPY t FROM stdin;\n1\tO'Neil\n\\.\nb;", Postgresql)
            .into_iter()
            .map(|piece| (piece.line, piece.part))
            .collect();
        let expected = [
            (1, Part::Client("\\set x 1")),
            (2, Part::Statement("a")),
            (3, Part::Statement("COPY t FROM stdin")),
            (3, Part::Rows),
            (6, Part::Statement("b")),
        ];
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_has_no_end_is_told_where_it_begins() {
        let parts: Vec<_> =
            split("a;\nb '\nc;", Postgresql).into_iter().map(|piece| (piece.line, piece.part)).collect();
        assert_eq!(parts, [(1, Part::Statement("a")), (2, Part::Open("string"))]);
    }

    proptest! {
        #[test]
        fn joined_the_pieces_are_the_input(
            text in r"([a-zé$'`*/#;\\!() \n-]|\PC|BEGIN |END |CREATE TRIGGER |DELIMITER |COPY t FROM STDIN;|\$a\$|\n){0,60}",
            dialect in 0..3_usize,
        ) {
            let dialect = [Postgresql, Mysql, Sqlite][dialect];
            let pieces = split(&text, dialect);
            let joined: String = pieces.iter().map(|piece| piece.whole).collect();
            prop_assert_eq!(&joined, &text);
            for piece in pieces {
                prop_assert!(!piece.whole.is_empty());
                prop_assert!(piece.line >= 1 && piece.line <= 1 + text.matches('\n').count());
            }
        }
    }
}
