//! The YAML form as written: every key that there is, and no other.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Migration {
    pub(super) name: Option<String>,
    pub(super) transaction: Option<bool>,
    pub(super) steps: Option<Vec<Spanned<Step>>>,
    pub(super) down: Option<Vec<Spanned<Step>>>,
    pub(super) checks: Option<Vec<Spanned<Check>>>,
    pub(super) plugin: Option<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checks {
    pub(super) checks: Vec<Spanned<Check>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugin {
    pub(super) file: String,
    #[serde(default)]
    pub(super) config: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Step {
    Sql(Spanned<String>),
    Backfill(Backfill),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backfill {
    pub(super) table: String,
    pub(super) key: Columns,
    pub(super) set: String,
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    pub(super) batch: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    Count(Count),
    Query(Query),
    Equal(Equal),
    Copy(Copy),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    pub(super) table: String,
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    pub(super) equals: Option<u64>,
    pub(super) at_least: Option<u64>,
    pub(super) at_most: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) equals: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Equal {
    pub(super) left: String,
    pub(super) right: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Copy {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) key: Columns,
    pub(super) columns: Option<Vec<String>>,
}

/// One column, or a list of them.
pub(super) struct Columns(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column or a list of columns")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<String>, E> {
                Ok(vec![name.to_owned()])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Vec<String>, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = names.next_element()? {
                    all.push(name);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Names).map(Self)
    }
}
