//! A question about one column's value. The new image answers, and the old one where there is no new one, so that a
//! delete is judged by the row it deletes.

use whimbrel_plugin::prelude::*;

/// A column and what its text must be. Null meets no condition.
#[derive(Config)]
pub struct Condition {
    /// The column's name.
    column: String,
    /// The whole text.
    equals: Option<String>,
    /// A pattern over the text.
    matches: Option<Glob>,
    #[config(skip)]
    paths: [String; 2],
}

impl Condition {
    /// Checks what the schema cannot say.
    pub(crate) fn prepare(&mut self) -> Result<(), &'static str> {
        if self.column.is_empty() {
            return Err("a column needs a name");
        }
        if self.equals.is_some() == self.matches.is_some() {
            return Err("give one of `equals` and `matches`");
        }
        self.paths = [format!("after.{}", self.column), format!("before.{}", self.column)];
        Ok(())
    }

    /// Which rows meet it.
    pub(crate) fn met(&self, batch: &Batch) -> Vec<bool> {
        let [after, before] = self.paths.each_ref().map(|path| batch.text_column(path));
        let operations = batch.operations();
        (0..batch.len())
            .map(|row| {
                let text = if operations.get(row) == Some("delete") { before.get(row) } else { after.get(row) };
                text.is_some_and(|text| self.fits(text))
            })
            .collect()
    }

    fn fits(&self, text: &str) -> bool {
        self.equals.as_ref().is_none_or(|wanted| wanted == text)
            && self.matches.as_ref().is_none_or(|glob| glob.matches(text))
    }
}
