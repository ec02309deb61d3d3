//! Table mapping: from a destination name and the shape of its rows to the [`Layout`] a target writes. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::invalid::Invalid;
use crate::config::raw;
use crate::event::{Shape, TableRef};
use crate::target::{KeyColumn, Layout, LayoutColumn};

/// Layouts kept; past that the cache starts over. A schema has hundreds of tables, rarely thousands of versions.
const MAX_CACHED: usize = 8_192;

/// A pattern with `*` for any run of characters.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(first) = parts.next() else { return text.is_empty() };
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut last: Option<&str> = None;
        for part in parts {
            if let Some(middle) = last {
                let Some(at) = rest.find(middle) else { return false };
                rest = rest.get(at + middle.len()..).unwrap_or_default();
            }
            last = Some(part);
        }
        last.map_or(rest.is_empty(), |tail| rest.ends_with(tail))
    }
}

/// How the tables that match are mapped.
#[derive(Clone)]
struct Rule {
    from: Glob,
    to: String,
    skip: bool,
    key: Vec<String>,
    columns: HashMap<String, Option<String>>,
    create: bool,
    truncate: bool,
}

/// The mapping of a pipeline.
#[derive(Clone)]
pub struct Mapping {
    rules: Vec<Rule>,
}

impl TryFrom<&[raw::TableMapping]> for Mapping {
    type Error = Invalid;

    fn try_from(raw: &[raw::TableMapping]) -> Result<Self, Invalid> {
        let mut rules = Vec::with_capacity(raw.len());
        for (at, mapping) in raw.iter().enumerate() {
            let field = |name: &str| format!("[{at}].{name}");
            if mapping.from.is_empty() {
                return Err(Invalid::new(field("from"), "empty", "write `schema.table`, or `*` for all"));
            }
            let to = mapping.to.clone().unwrap_or_else(|| "{table}".into());
            let bare = to.replace("{table}", "").replace("{schema}", "").replace("{db}", "");
            if to.is_empty() || bare.contains(['{', '}', '\0']) {
                return Err(Invalid::new(
                    field("to"),
                    "not a table name or template",
                    "the placeholders are {db}, {schema} and {table}",
                ));
            }
            let mut new_names: Vec<&str> = mapping.columns.values().flatten().map(String::as_str).collect();
            new_names.sort_unstable();
            if let Some([twice, _]) = new_names.array_windows::<2>().find(|[a, b]| a == b) {
                return Err(Invalid::new(
                    field("columns"),
                    format!("two columns are called `{twice}`"),
                    "name them apart",
                ));
            }
            rules.push(Rule {
                from: Glob(mapping.from.clone()),
                to,
                skip: mapping.skip,
                key: mapping.key.clone(),
                columns: mapping.columns.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
                create: mapping.create,
                truncate: mapping.truncate,
            });
        }
        Ok(Self { rules })
    }
}

/// Where the key of a row comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The record key, all of its cells.
    Record,
    /// These cells of the row.
    Row(Vec<usize>),
    /// There is none.
    None,
    /// The mapping names a column that the row does not have.
    Missing(String),
}

/// What a table of one shape becomes.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// The target side.
    pub layout: Arc<Layout>,
    /// The key.
    pub key: KeySource,
    /// Follow truncates.
    pub truncate: bool,
}

/// Makes layouts and remembers them.
#[derive(Debug)]
pub struct Mapper {
    mapping: Mapping,
    cache: HashMap<CacheKey, Remembered>,
}

/// What a combination of shapes becomes, and the shapes, so that their addresses stay taken.
type Remembered = (Option<Mapped>, [Option<Arc<Shape>>; 2]);

/// Shapes by address: they are kept alive by the cache entry.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    destination: Arc<str>,
    db: String,
    row: usize,
    key: usize,
}

fn address(shape: Option<&Arc<Shape>>) -> usize {
    shape.map_or(0, |s| Arc::as_ptr(s).addr())
}

impl Mapper {
    /// A mapper without memory.
    #[must_use]
    pub fn new(mapping: Mapping) -> Self {
        Self { mapping, cache: HashMap::new() }
    }

    /// What rows with these shapes become; `None` when the mapping skips the table.
    pub fn map(
        &mut self,
        destination: &Arc<str>,
        table: &TableRef,
        row: Option<&Arc<Shape>>,
        key: Option<&Arc<Shape>>,
    ) -> Option<Mapped> {
        let cache_key = CacheKey {
            destination: Arc::clone(destination),
            db: table.db.clone(),
            row: address(row),
            key: address(key),
        };
        if let Some((mapped, _)) = self.cache.get(&cache_key) {
            return mapped.clone();
        }
        if self.cache.len() >= MAX_CACHED {
            self.cache.clear();
        }
        let mapped = self.build(destination, table, row, key);
        self.cache.insert(cache_key, (mapped.clone(), [row.cloned(), key.cloned()]));
        mapped
    }

    fn build(
        &self,
        destination: &str,
        table: &TableRef,
        row: Option<&Arc<Shape>>,
        key: Option<&Arc<Shape>>,
    ) -> Option<Mapped> {
        let rule = self.mapping.rules.iter().find(|r| r.from.matches(destination));
        if rule.is_some_and(|r| r.skip) {
            return None;
        }
        let (owner, name) = destination.rsplit_once('.').unwrap_or(("", destination));
        let to = rule.map_or("{table}", |r| r.to.as_str());
        let schema = if table.schema.is_empty() { "" } else { owner };
        let target = to.replace("{table}", name).replace("{schema}", schema).replace("{db}", &table.db);
        let rename = |column: &str| match rule.and_then(|r| r.columns.get(column)) {
            Some(new) => new.clone(),
            None => Some(column.to_owned()),
        };
        let row_columns = row.map_or(&[][..], |s| &s.columns);
        let declared = rule.map_or(&[][..], |r| &r.key);
        let (source, key_names): (KeySource, Vec<&str>) = if !declared.is_empty() {
            let mut cells = Vec::with_capacity(declared.len());
            let mut source = None;
            for name in declared {
                match row.and_then(|s| s.position(name)) {
                    Some(at) => cells.push(at),
                    None => source = Some(KeySource::Missing(name.clone())),
                }
            }
            (source.unwrap_or(KeySource::Row(cells)), declared.iter().map(String::as_str).collect())
        } else if let Some(shape) = key {
            (KeySource::Record, shape.columns.iter().map(|c| &*c.name).collect())
        } else {
            (KeySource::None, Vec::new())
        };
        let key_columns = key_names
            .iter()
            .map(|name| {
                // The row's schema is the better witness of a type: keys often travel without one.
                let in_row = row_columns.iter().find(|c| *c.name == **name);
                let in_key = key.and_then(|s| s.columns.iter().find(|c| *c.name == **name));
                let ty = match (in_key, in_row) {
                    (Some(k), Some(r)) if k.ty == crate::event::SourceType::Unknown => r.ty.clone(),
                    (Some(k), _) => k.ty.clone(),
                    (None, Some(r)) => r.ty.clone(),
                    (None, None) => crate::event::SourceType::Unknown,
                };
                KeyColumn { name: Arc::from(rename(name).unwrap_or_else(|| (*name).to_owned())), ty }
            })
            .collect();
        let columns = row_columns
            .iter()
            .map(|column| {
                let new = rename(&column.name);
                LayoutColumn {
                    write: new.is_some(),
                    name: new.map_or_else(|| Arc::clone(&column.name), Arc::from),
                    ty: column.ty.clone(),
                    nullable: column.nullable,
                    key: key_names.iter().position(|k| **k == *column.name),
                }
            })
            .collect();
        Some(Mapped {
            layout: Arc::new(Layout {
                table: Arc::from(target),
                columns,
                key: key_columns,
                create: rule.is_some_and(|r| r.create),
            }),
            key: source,
            truncate: rule.is_some_and(|r| r.truncate),
        })
    }
}

crate::config::opaque::opaque_debug!(Glob, Rule, Mapping);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Column, SourceType};

    fn shape(names: &[&str]) -> Arc<Shape> {
        let columns =
            names.iter().map(|n| Column { name: Arc::from(*n), ty: SourceType::Unknown, nullable: true }).collect();
        Arc::new(Shape { columns })
    }

    fn mapper(json: serde_json::Value) -> Mapper {
        let raw: Vec<raw::TableMapping> = serde_json::from_value(json).unwrap();
        Mapper::new(Mapping::try_from(raw.as_slice()).unwrap())
    }

    fn table() -> TableRef {
        TableRef { db: "shop".into(), schema: "public".into(), table: "orders".into(), ..TableRef::default() }
    }

    #[test]
    fn globs_match_the_whole_name() {
        for (glob, text, expect) in [
            ("public.orders", "public.orders", true),
            ("public.orders", "public.orders2", false),
            ("public.*", "public.orders", true),
            ("*", "", true),
            ("*.orders", "a.orders", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a*a", "a", false),
            ("*b*b*", "abab", true),
        ] {
            assert_eq!(Glob(glob.into()).matches(text), expect, "{glob} on {text}");
        }
    }

    #[test]
    fn tables_keep_their_name_and_columns_unless_told_otherwise() {
        let mut mapper = mapper(serde_json::json!([
            {"from": "public.secret*", "skip": true},
            {"from": "public.orders", "to": "{db}_{schema}_{table}", "columns": {"note": "remark", "junk": null}},
        ]));
        let row = shape(&["id", "note", "junk"]);
        let key = shape(&["id"]);
        let mapped = mapper.map(&"public.orders".into(), &table(), Some(&row), Some(&key)).unwrap();
        assert_eq!(&*mapped.layout.table, "shop_public_orders");
        let names: Vec<_> = mapped.layout.columns.iter().map(|c| (&*c.name, c.write, c.key)).collect();
        assert_eq!(names, [("id", true, Some(0)), ("remark", true, None), ("junk", false, None)]);
        assert_eq!(mapped.key, KeySource::Record);
        assert!(mapper.map(&"public.secrets".into(), &table(), Some(&row), Some(&key)).is_none());
        let plain = mapper.map(&"public.other".into(), &table(), Some(&row), None).unwrap();
        assert_eq!(&*plain.layout.table, "other");
        assert_eq!(plain.key, KeySource::None);
    }

    #[test]
    fn the_same_shape_gives_the_same_layout() {
        let mut mapper = mapper(serde_json::json!([]));
        let (row, key) = (shape(&["id"]), shape(&["id"]));
        let a = mapper.map(&"public.orders".into(), &table(), Some(&row), Some(&key)).unwrap();
        let b = mapper.map(&"public.orders".into(), &table(), Some(&row), Some(&key)).unwrap();
        assert!(Arc::ptr_eq(&a.layout, &b.layout));
    }

    #[test]
    fn declared_keys_come_from_the_row() {
        let mut mapper = mapper(serde_json::json!([{"from": "*", "key": ["b", "a"]}]));
        let mapped = mapper.map(&"public.t".into(), &table(), Some(&shape(&["a", "b"])), None).unwrap();
        assert_eq!(mapped.key, KeySource::Row(vec![1, 0]));
        let missing = mapper.map(&"public.t".into(), &table(), Some(&shape(&["a"])), None).unwrap();
        assert_eq!(missing.key, KeySource::Missing("b".into()));
    }

    #[test]
    fn bad_mappings_name_their_field() {
        for (json, path) in [
            (serde_json::json!([{"from": ""}]), "[0].from"),
            (serde_json::json!([{"from": "*", "to": "{nope}"}]), "[0].to"),
            (serde_json::json!([{"from": "*"}, {"from": "*", "columns": {"a": "x", "b": "x"}}]), "[1].columns"),
        ] {
            let raw: Vec<raw::TableMapping> = serde_json::from_value(json).unwrap();
            assert_eq!(Mapping::try_from(raw.as_slice()).unwrap_err().path, path);
        }
    }
}
