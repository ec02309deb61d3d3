//! Text columns in the layout that crosses the boundary: one buffer of text, one list of offsets, one bit a row
//! for null. Built here, read here; where the text comes from is the batch's business.

/// A text column: row i is a slice of one long text.
///
/// ```
/// use whimbrel_plugin::Packed;
///
/// let column: Packed = [Some("ada"), None, Some("")].into_iter().collect();
/// assert_eq!(column.len(), 3);
/// assert_eq!(column.get(0), Some("ada"));
/// assert_eq!(column.get(1), None);
/// assert_eq!(column.iter().flatten().count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    pub(crate) offsets: Vec<u32>,
    pub(crate) data: String,
    /// Empty until the first null: most columns have none.
    pub(crate) nulls: Vec<u8>,
}

impl Default for Packed {
    fn default() -> Self {
        Packed::with_capacity(0, 0)
    }
}

impl Packed {
    /// An empty column with room for so many rows and bytes of text.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// let mut domains = Packed::with_capacity(2, 32);
    /// domains.push(Some("example.org"));
    /// domains.push(None);
    /// assert_eq!(domains.iter().collect::<Vec<_>>(), [Some("example.org"), None]);
    /// ```
    #[must_use]
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Packed { offsets, data: String::with_capacity(bytes), nulls: Vec::new() }
    }

    /// How many rows it has, nulls included.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// let names: Packed = [Some("ada"), None].into_iter().collect();
    /// assert_eq!(names.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether it has no row.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// assert!(Packed::default().is_empty());
    /// let nulls: Packed = [None].into_iter().collect();
    /// assert!(!nulls.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of text it holds.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// let names: Packed = [Some("ada"), None, Some("grace")].into_iter().collect();
    /// assert_eq!(names.text_len(), 8);
    /// ```
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.data.len()
    }

    /// The text of one row; `None` for null and beyond the last row.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// let names: Packed = [Some("ada"), None, Some("")].into_iter().collect();
    /// assert_eq!(names.get(0), Some("ada"));
    /// assert_eq!(names.get(1), None);
    /// assert_eq!(names.get(2), Some(""));
    /// assert_eq!(names.get(3), None);
    /// ```
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        if self.nulls.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0) {
            return None;
        }
        let start = *self.offsets.get(row)? as usize;
        let end = *self.offsets.get(row + 1)? as usize;
        self.data.get(start..end)
    }

    /// All rows in order.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// let names: Packed = [Some("ada"), None, Some("grace")].into_iter().collect();
    /// let longest = names.iter().flatten().max_by_key(|name| name.len());
    /// assert_eq!(longest, Some("grace"));
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// Adds a row.
    ///
    /// ```
    /// # use whimbrel_plugin::Packed;
    /// let mut full_names = Packed::default();
    /// full_names.push(Some("Ada Lovelace"));
    /// full_names.push(None);
    /// assert_eq!((full_names.len(), full_names.get(1)), (2, None));
    /// ```
    pub fn push(&mut self, text: Option<&str>) {
        self.data.push_str(text.unwrap_or_default());
        self.close(text.is_none());
    }

    /// Ends the row whose text was appended to `data`.
    pub(crate) fn close(&mut self, null: bool) {
        let row = self.len();
        // The agent refuses batches with more than 4 GiB of text in a column long before this saturates.
        self.offsets.push(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
        if null {
            self.nulls.resize(row / 8 + 1, 0);
            if let Some(byte) = self.nulls.get_mut(row / 8) {
                *byte |= 1 << (row % 8);
            }
        }
    }

    /// Fills the null bits up to the last row, as the contract wants them.
    pub(crate) fn finish(&mut self) {
        if !self.nulls.is_empty() {
            self.nulls.resize(self.len().div_ceil(8), 0);
        }
    }
}

impl<'a> FromIterator<Option<&'a str>> for Packed {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(rows: I) -> Self {
        let mut packed = Packed::default();
        for row in rows {
            packed.push(row);
        }
        packed.finish();
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_found_at_every_bit() {
        for null in 0..20 {
            let column: Packed = (0..20).map(|row| (row != null).then_some("x")).collect();
            assert_eq!(column.nulls.len(), 3);
            for row in 0..20 {
                assert_eq!(column.get(row).is_none(), row == null, "row {row}, null {null}");
            }
        }
        assert_eq!(Packed::from_iter([Some("a"); 9]).nulls, []);
    }
}
