//! Text with few different values, such as table names: each value once, and an index a row.

/// Row i is `values[indices[i]]`.
///
/// ```
/// use whimbrel_plugin::Dictionary;
///
/// let mut tables: Dictionary = ["shop.orders", "shop.orders", "shop.items"].into_iter().collect();
/// assert_eq!(tables.values().len(), 2);
/// tables.rename(|table| table.strip_prefix("shop.").map(str::to_owned));
/// assert_eq!(tables.get(2), Some("items"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    pub(crate) values: Vec<String>,
    pub(crate) indices: Vec<u32>,
}

impl Dictionary {
    /// How many rows it has.
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// let tables: Dictionary = ["orders", "orders", "items"].into_iter().collect();
    /// assert_eq!(tables.len(), 3);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether it has no row.
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// assert!(Dictionary::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// The value of one row; `None` beyond the last.
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// let tables: Dictionary = ["orders", "items"].into_iter().collect();
    /// assert_eq!(tables.get(1), Some("items"));
    /// assert_eq!(tables.get(2), None);
    /// ```
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        self.values.get(self.index(row)?).map(String::as_str)
    }

    /// The place of one row's value in [`Dictionary::values`].
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// let tables: Dictionary = ["orders", "items", "orders"].into_iter().collect();
    /// let wanted: Vec<bool> = tables.values().iter().map(|table| table.starts_with("ord")).collect();
    /// let rows: Vec<usize> = (0..tables.len()).filter(|row| tables.index(*row).is_some_and(|at| wanted[at])).collect();
    /// assert_eq!(rows, [0, 2]);
    /// ```
    #[must_use]
    pub fn index(&self, row: usize) -> Option<usize> {
        self.indices.get(row).map(|index| *index as usize)
    }

    /// The different values. Decide once per value, then look at the rows.
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// let tables: Dictionary = ["orders", "items", "orders"].into_iter().collect();
    /// assert_eq!(tables.values(), ["orders", "items"]);
    /// ```
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// All rows in order.
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// let operations: Dictionary = ["create", "delete", "create"].into_iter().collect();
    /// assert_eq!(operations.iter().filter(|operation| *operation == "create").count(), 2);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.get(row).unwrap_or_default())
    }

    /// Gives values a new text where the closure has one; answers whether it had any.
    ///
    /// ```
    /// # use whimbrel_plugin::Dictionary;
    /// let mut tables: Dictionary = ["public.orders", "audit.log", "public.orders"].into_iter().collect();
    /// assert!(tables.rename(|table| Some(format!("shop.{}", table.strip_prefix("public.")?))));
    /// assert_eq!(tables.iter().collect::<Vec<_>>(), ["shop.orders", "audit.log", "shop.orders"]);
    /// assert!(!tables.rename(|_| None));
    /// ```
    pub fn rename(&mut self, mut to: impl FnMut(&str) -> Option<String>) -> bool {
        let mut renamed = false;
        for value in &mut self.values {
            if let Some(new) = to(value) {
                *value = new;
                renamed = true;
            }
        }
        renamed
    }
}

impl<'a> FromIterator<&'a str> for Dictionary {
    fn from_iter<I: IntoIterator<Item = &'a str>>(rows: I) -> Self {
        let mut dictionary = Dictionary::default();
        for row in rows {
            let known = dictionary.values.iter().position(|value| value == row);
            let index = known.unwrap_or_else(|| {
                dictionary.values.push(row.to_owned());
                dictionary.values.len() - 1
            });
            dictionary.indices.push(u32::try_from(index).unwrap_or(u32::MAX));
        }
        dictionary
    }
}
