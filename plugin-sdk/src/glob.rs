//! Patterns over names: `*` is any run of characters, `?` any one. Tables are matched by them; no classes, no
//! alternatives, so that a pattern in a configuration means one thing.

use crate::config::{Config, ConfigError};
use crate::json::Json;
use crate::schema::Schema;

/// A pattern over a name.
///
/// ```
/// use whimbrel_plugin::Glob;
///
/// assert!(Glob::new("shop.*.customers").matches("shop.public.customers"));
/// assert!(!Glob::new("shop.?").matches("shop.public"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A pattern; every text is one.
    ///
    /// ```
    /// # use whimbrel_plugin::Glob;
    /// let orders = Glob::new("*.orders");
    /// assert!(orders.matches("shop.public.orders"));
    /// assert_eq!(orders, Glob::from("*.orders"));
    /// ```
    pub fn new(pattern: impl Into<String>) -> Self {
        Glob(pattern.into())
    }

    /// Whether every name fits.
    ///
    /// ```
    /// # use whimbrel_plugin::Glob;
    /// assert!(Glob::new("*").is_any());
    /// assert!(!Glob::new("shop.*").is_any());
    /// ```
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether the whole name fits the pattern.
    ///
    /// ```
    /// # use whimbrel_plugin::Glob;
    /// let tables = Glob::new("shop.orders_20??");
    /// assert!(tables.matches("shop.orders_2024"));
    /// assert!(!tables.matches("shop.orders_2024_old"));
    /// assert!(!tables.matches("Shop.orders_2024"));
    /// ```
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        // Where to go on when a guess at the last star's length fails: one star is enough to remember.
        let mut retry = None;
        let (mut p, mut n) = (0, 0);
        while n < name.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p, n));
                    p += 1;
                }
                Some(b'?') => {
                    p += 1;
                    n += 1;
                    while name.get(n).is_some_and(|byte| byte & 0xc0 == 0x80) {
                        n += 1;
                    }
                }
                Some(byte) if name.get(n) == Some(byte) => {
                    p += 1;
                    n += 1;
                }
                _ => match &mut retry {
                    None => return false,
                    Some((star, from)) => {
                        *from += 1;
                        p = *star + 1;
                        n = *from;
                    }
                },
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
    }
}

impl From<&str> for Glob {
    fn from(pattern: &str) -> Self {
        Glob::new(pattern)
    }
}

impl Config for Glob {
    const SCHEMA: &'static Schema = &Schema::Text { format: "glob" };

    fn read(json: &Json) -> Result<Self, ConfigError> {
        String::read(json).map(Glob)
    }
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn stars_take_as_much_as_the_rest_needs() {
        for (pattern, name, expect) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("*a", "banana", true),
            ("*an", "banana", false),
            ("b*n*a", "banana", true),
            ("*.orders", "shop.public.orders", true),
            ("*.orders", "shop.public.orders_old", false),
            ("a?c", "aüc", true),
            ("a??c", "aüc", false),
            ("**", "x", true),
            ("a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expect, "{pattern} on {name}");
        }
    }
}
