//! Counts conversions that lost information, per column.

use super::Lossy;

/// What was lost in a batch so far.
#[derive(Debug, Default)]
pub struct Losses(Vec<Lossy>);

impl Losses {
    /// Counts one.
    pub fn add(&mut self, table: &str, column: &str, what: &'static str, event: u32) {
        let same = |l: &&mut Lossy| l.what == what && l.column == column && l.table == table;
        match self.0.iter_mut().find(same) {
            Some(known) => {
                known.count += 1;
                known.event = known.event.min(event);
            }
            None => self.0.push(Lossy { table: table.to_owned(), column: column.to_owned(), count: 1, what, event }),
        }
    }

    /// All of them.
    #[must_use]
    pub fn into_inner(self) -> Vec<Lossy> {
        self.0
    }
}
