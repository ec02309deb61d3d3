//! Files that hold both ways: marker lines say where each begins, and which lines are one statement however many semicolons
//! are in it. The marker lines themselves are each convention's.

use crate::contents::Fault;
use crate::sql::{Dialect, Script, Statement, Step, script};

/// What a marker line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Marker {
    /// The change follows.
    Up {
        /// In a transaction.
        transaction: bool,
    },
    /// How it is undone follows.
    Down {
        /// In a transaction.
        transaction: bool,
    },
    /// One statement follows.
    StatementBegin,
    /// It ends.
    StatementEnd,
    /// Neither way is in a transaction.
    NoTransaction,
    /// It begins as a marker does, and is none; what would be right.
    Wrong(&'static str),
}

/// Both ways.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sections {
    /// The change.
    pub(super) up: Script,
    /// How it is undone.
    pub(super) down: Option<Script>,
}

/// Lines that belong together, with an empty line for each that stands before them: so they keep their numbers.
#[derive(Debug)]
struct Piece {
    text: String,
    /// It is one statement.
    whole: bool,
    line: usize,
}

#[derive(Debug)]
struct Section {
    pieces: Vec<Piece>,
    transaction: bool,
}

/// Reads a file of both ways; none: it has no marker and is of another convention.
pub(super) fn read(
    text: &str,
    dialect: Dialect,
    marker: impl Fn(&str) -> Option<Marker>,
) -> Option<Result<Sections, Vec<Fault>>> {
    if !text.lines().any(|line| matches!(marker(line), Some(Marker::Up { .. } | Marker::Down { .. }))) {
        return None;
    }
    let mut faults = Vec::new();
    let (up, down) = cut(text, marker, &mut faults);
    let mut script = |section: Section| match section.script(dialect) {
        Ok(script) => Some(script),
        Err(more) => {
            faults.extend(more);
            None
        }
    };
    let (had_up, up, down) = (up.is_some(), up.and_then(&mut script), down.and_then(&mut script));
    if !had_up {
        faults.push(Fault::new(
            None,
            "it says how to undo a change, and not the change",
            "write the section of the way up",
        ));
    }
    Some(match up {
        Some(up) if faults.is_empty() => Ok(Sections { up, down }),
        _ => {
            faults.sort_by_key(|fault| fault.line);
            Err(faults)
        }
    })
}

fn cut(
    text: &str,
    marker: impl Fn(&str) -> Option<Marker>,
    faults: &mut Vec<Fault>,
) -> (Option<Section>, Option<Section>) {
    let (mut up, mut down): (Option<Section>, Option<Section>) = (None, None);
    let mut transactions = true;
    let mut upwards = true;
    let mut statement: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let current = if upwards { &mut up } else { &mut down };
        let mut fault = |message: &str, remedy: &str| faults.push(Fault::new(Some(number), message, remedy));
        match marker(line) {
            Some(Marker::Up { transaction }) | Some(Marker::Down { transaction }) => {
                upwards = matches!(marker(line), Some(Marker::Up { .. }));
                if statement.take().is_some() {
                    fault("the statement before it has no end", "write StatementEnd before it");
                }
                let section = if upwards { &mut up } else { &mut down };
                if section.is_some() {
                    fault("this section is there a second time", "put the two together");
                }
                section.get_or_insert(Section { pieces: Vec::new(), transaction });
            }
            Some(Marker::StatementBegin) => {
                if statement.replace(number).is_some() {
                    fault("a statement begins within a statement", "write StatementEnd before it");
                }
                match current {
                    Some(section) => {
                        section.pieces.push(Piece { text: "\n".repeat(number), whole: true, line: number + 1 })
                    }
                    None => fault("a statement begins before any section", "write the section's marker before it"),
                }
            }
            Some(Marker::StatementEnd) => {
                if statement.take().is_none() {
                    fault("a statement ends that has not begun", "write StatementBegin before it");
                }
            }
            Some(Marker::NoTransaction) => transactions = false,
            Some(Marker::Wrong(remedy)) => fault("this line is no marker of its convention", remedy),
            None => match current {
                Some(section) => section.add(line, number, statement.is_some()),
                None if !is_comment(line) => {
                    fault(
                        "it stands before any section, and belongs to no way",
                        "put it behind the marker of a section",
                    );
                }
                None => {}
            },
        }
    }
    if let Some(line) = statement {
        faults.push(Fault::new(Some(line), "this statement has no end", "write StatementEnd behind it"));
    }
    for section in [&mut up, &mut down].into_iter().flatten() {
        section.transaction &= transactions;
    }
    (up, down)
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim();
    line.is_empty() || line.starts_with("--")
}

impl Section {
    fn add(&mut self, line: &str, number: usize, in_statement: bool) {
        match self.pieces.last_mut() {
            Some(piece) if piece.whole == in_statement => piece.text.push_str(line),
            _ => self.pieces.push(Piece { text: "\n".repeat(number - 1) + line, whole: in_statement, line: number }),
        }
        if let Some(piece) = self.pieces.last_mut() {
            piece.text.push('\n');
        }
    }

    fn script(self, dialect: Dialect) -> Result<Script, Vec<Fault>> {
        let (mut steps, mut faults, mut transaction) = (Vec::new(), Vec::new(), self.transaction);
        for piece in self.pieces {
            if piece.whole {
                let text = piece.text.trim().trim_end_matches(';').trim_end();
                // What ends in END needs its semicolon nowhere, and PL/SQL's is within the statement.
                if !text.is_empty() {
                    steps.push(Step::Statement(Statement { text: text.to_owned(), line: piece.line }));
                }
                continue;
            }
            match script::parse(&piece.text, dialect) {
                Ok(script) => {
                    transaction &= script.transaction;
                    steps.extend(script.steps);
                }
                Err(more) => faults.extend(more),
            }
        }
        if faults.is_empty() { Ok(Script { steps, transaction }) } else { Err(faults) }
    }
}
