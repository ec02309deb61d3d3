//! What decode may be told: validated form of the `decode:` section.

use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::event::{SourceType, TableRef, words};

/// Debezium's own default of `unavailable.value.placeholder`.
pub const DEFAULT_PLACEHOLDER: &str = "__debezium_unavailable_value";

/// A record ten times the default `max.request.size` of Kafka's producers is a mistake, not data.
pub const DEFAULT_MAX_RECORD: usize = 16 << 20;

/// How records are read.
#[derive(Clone)]
pub struct DecodeConfig {
    /// Debezium's `unavailable.value.placeholder`.
    pub unavailable_placeholder: String,
    /// Largest key plus value, in bytes, that is decoded.
    pub max_record: usize,
    /// Types of columns for topics without an embedded schema; the first match counts.
    pub types: Vec<DeclaredType>,
    /// What becomes of MongoDB updates that came without the document.
    pub updates_without_document: raw::WithoutDocument,
    /// Topics that carry heartbeats although their name does not begin with `__debezium-heartbeat`.
    pub heartbeat_topics: Vec<String>,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            unavailable_placeholder: DEFAULT_PLACEHOLDER.to_owned(),
            max_record: DEFAULT_MAX_RECORD,
            types: Vec::new(),
            updates_without_document: raw::WithoutDocument::default(),
            heartbeat_topics: Vec::new(),
        }
    }
}

impl TryFrom<&raw::Decode> for DecodeConfig {
    type Error = Invalid;

    fn try_from(raw: &raw::Decode) -> Result<Self, Invalid> {
        let defaults = Self::default();
        let unavailable_placeholder = raw.unavailable_placeholder.clone().unwrap_or(defaults.unavailable_placeholder);
        if unavailable_placeholder.is_empty() {
            return Err(Invalid::new(
                "unavailable_placeholder",
                "is empty, so every empty text would count as not sent",
                "leave it out or copy the connector's `unavailable.value.placeholder`",
            ));
        }
        let max_record = raw.max_record.map_or(Ok(defaults.max_record), |size| {
            usize::try_from(size.0).ok().filter(|size| (1..=MAX_RECORD_CEILING).contains(size)).ok_or_else(|| {
                Invalid::new("max_record", "is zero or larger than 1GiB", "write a size such as `16MiB`")
            })
        })?;
        let types = raw
            .types
            .iter()
            .map(|(pattern, words)| {
                DeclaredType::parse(pattern, words).map_err(|invalid| invalid.within(&format!("types.{pattern}")))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            unavailable_placeholder,
            max_record,
            types,
            updates_without_document: raw.updates_without_document,
            heartbeat_topics: Vec::new(),
        })
    }
}

/// Spans are 32 bit and a batch holds many records.
const MAX_RECORD_CEILING: usize = 1 << 30;

/// `owner.table.column: type`, each part a name or `*`.
#[derive(Clone, PartialEq, Eq)]
pub struct DeclaredType {
    owner: Part,
    table: Part,
    column: Part,
    /// The type of the columns that match.
    pub ty: SourceType,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Any,
    Name(String),
}

impl Part {
    fn parse(text: &str) -> Self {
        if text == "*" { Self::Any } else { Self::Name(text.to_owned()) }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
        }
    }
}

impl DeclaredType {
    /// Reads a pattern and the words of its type (see [`words::parse`]).
    ///
    /// # Errors
    /// When the pattern has not three parts or the type is not known.
    pub fn parse(pattern: &str, words: &str) -> Result<Self, Invalid> {
        // The first and the last dot divide: a table's name may hold dots, a schema's or column's rarely does.
        let parts = pattern.split_once('.').and_then(|(owner, rest)| Some((owner, rest.rsplit_once('.')?)));
        let Some((owner, (table, column))) = parts else {
            return Err(Invalid::new("", "is not `schema.table.column`", "write three parts, `*` for any"));
        };
        let Some(ty) = words::parse(words) else {
            return Err(Invalid::new("", format!("`{words}` is not a type"), format!("write one of {}", words::KNOWN)));
        };
        Ok(Self { owner: Part::parse(owner), table: Part::parse(table), column: Part::parse(column), ty })
    }

    /// True when this says what `column` of `table` is.
    #[must_use]
    pub fn matches(&self, table: &TableRef, column: &str) -> bool {
        let owner = if table.schema.is_empty() { &table.db } else { &table.schema };
        self.owner.matches(owner) && self.table.matches(&table.table) && self.column.matches(column)
    }
}

crate::config::opaque::opaque_debug!(DecodeConfig, DeclaredType, Part);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::ByteSize;

    fn raw(types: &[(&str, &str)]) -> raw::Decode {
        raw::Decode {
            types: types.iter().map(|(pattern, words)| ((*pattern).to_owned(), (*words).to_owned())).collect(),
            ..raw::Decode::default()
        }
    }

    #[test]
    fn defaults_are_debeziums() {
        let config = DecodeConfig::try_from(&raw::Decode::default()).unwrap();
        assert_eq!(config.unavailable_placeholder, "__debezium_unavailable_value");
        assert_eq!(config.max_record, 16 * 1024 * 1024);
    }

    #[test]
    fn wrong_settings_name_field_fault_and_remedy() {
        let say = |raw: &raw::Decode| DecodeConfig::try_from(raw).unwrap_err().to_string();
        assert_eq!(
            say(&raw(&[("public.orders", "date")])),
            "types.public.orders: is not `schema.table.column`; write three parts, `*` for any"
        );
        assert!(say(&raw(&[("a.b.c", "varchar")])).starts_with("types.a.b.c: `varchar` is not a type; write one of "));
        let zero = raw::Decode { max_record: Some(ByteSize(0)), ..raw::Decode::default() };
        assert!(say(&zero).starts_with("max_record: "));
        let empty = raw::Decode { unavailable_placeholder: Some(String::new()), ..raw::Decode::default() };
        assert!(say(&empty).starts_with("unavailable_placeholder: "));
    }

    #[test]
    fn stars_match_any_part_and_tables_may_hold_dots() {
        let table =
            |schema: &str, table: &str| TableRef { schema: schema.into(), table: table.into(), ..TableRef::default() };
        let star = DeclaredType::parse("*.*.total", "decimal(2)").unwrap();
        assert!(star.matches(&table("public", "orders"), "total"));
        assert!(!star.matches(&table("public", "orders"), "id"));
        let dotted = DeclaredType::parse("public.a.b.c", "date").unwrap();
        assert!(dotted.matches(&table("public", "a.b"), "c"));
        let database = TableRef { db: "shop".into(), table: "orders".into(), ..TableRef::default() };
        assert!(DeclaredType::parse("shop.orders.*", "text").unwrap().matches(&database, "x"));
    }
}
