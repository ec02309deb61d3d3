//! The YAML form of a MongoDB migration: text to steps, or what is wrong with it.
//!
//! Filters, updates and documents are written as Extended JSON in YAML's clothes.

use std::collections::BTreeMap;

use bson::{Bson, Document, doc};
use serde::Deserialize;
use serde_json::Value;

use super::check::{Check, Query};
use super::renames;
use super::step::{Rename, Script, Step, Update};
use super::value::{to_bson, to_document};
use crate::contents::{Contents, Fault};
use crate::migration::{self, Body, PluginFile};
use crate::sql::Bound;
use crate::verify;

/// Reads a file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str) -> Result<Contents, Vec<Fault>> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| vec![unreadable(&error)])?;
    let mut faults = Vec::new();
    let (up, down) = match file.plugin {
        Some(plugin) => {
            if !file.steps.is_empty() || !file.down.is_empty() {
                let remedy = "keep `plugin`, which has an up and a down of its own, or `steps` and `down`";
                faults.push(Fault::new(None, "`plugin` stands beside steps", remedy));
            }
            let body = Body::Plugin(PluginFile { path: plugin.file.into(), config: plugin.config });
            (body.clone(), Some(body))
        }
        None => {
            let up = script("steps", file.steps, &mut faults);
            if up.steps.is_empty() && faults.is_empty() {
                faults.push(Fault::new(None, "there are no steps", "write at least one under `steps:`"));
            }
            let down = script("down", file.down, &mut faults);
            (Body::Mongodb(up), (!down.steps.is_empty()).then_some(Body::Mongodb(down)))
        }
    };
    let mut checks = Vec::new();
    for (index, written) in file.checks.into_iter().enumerate() {
        match check(written) {
            Ok(check) => checks.push(check),
            Err(message) => faults.push(Fault::new(None, format!("checks[{index}]: {message}"), "")),
        }
    }
    if faults.is_empty() { Ok(Contents { name: file.name, up, down, checks }) } else { Err(faults) }
}

fn unreadable(error: &serde_saphyr::Error) -> Fault {
    let line = error.location().and_then(|at| usize::try_from(at.line()).ok());
    let message = error.to_string();
    // The reader draws the file below its message; the line number says it better here.
    let first = message.lines().next().unwrap_or("it is no YAML").to_owned();
    Fault::new(line, first, "`migrate new --form yaml` makes a file with everything that can be written")
}

fn script(section: &str, written: Vec<RawStep>, faults: &mut Vec<Fault>) -> Script {
    let mut steps = Vec::new();
    for (index, step) in written.into_iter().enumerate() {
        match step.read() {
            Ok(step) => steps.push(step),
            Err(message) => faults.push(Fault::new(None, format!("{section}[{index}]: {message}"), "")),
        }
    }
    for (index, message) in renames::faults(&steps) {
        faults.push(Fault::new(
            None,
            format!("{section}[{index}]: {message}"),
            "rename over a third name, or not at all",
        ));
    }
    Script { steps }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    steps: Vec<RawStep>,
    #[serde(default)]
    down: Vec<RawStep>,
    #[serde(default)]
    checks: Vec<RawCheck>,
    #[serde(default)]
    plugin: Option<RawPlugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlugin {
    file: String,
    #[serde(default)]
    config: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RawStep {
    Update {
        collection: String,
        filter: Value,
        update: Value,
        #[serde(default)]
        chunk: Option<u64>,
    },
    RenameField {
        collection: String,
        #[serde(default)]
        filter: Option<Value>,
        fields: BTreeMap<String, String>,
        #[serde(default)]
        overwrite: bool,
        #[serde(default)]
        chunk: Option<u64>,
    },
    Delete {
        collection: String,
        filter: Value,
        #[serde(default)]
        chunk: Option<u64>,
    },
    Insert {
        collection: String,
        documents: Vec<Value>,
    },
    Aggregate {
        collection: String,
        pipeline: Vec<Value>,
        #[serde(default)]
        chunk: Option<u64>,
    },
    CreateIndex {
        collection: String,
        keys: Value,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        options: Option<Value>,
    },
    DropIndex {
        collection: String,
        name: String,
    },
    Validator {
        collection: String,
        #[serde(default)]
        schema: Option<Value>,
        #[serde(default)]
        expression: Option<Value>,
        #[serde(default)]
        level: Option<String>,
        #[serde(default)]
        action: Option<String>,
    },
    CreateCollection {
        collection: String,
        #[serde(default)]
        options: Option<Value>,
    },
    DropCollection {
        collection: String,
    },
    RenameCollection {
        from: String,
        to: String,
    },
    Command(Value),
}

impl RawStep {
    fn read(self) -> Result<Step, String> {
        match self {
            Self::Update { collection, filter, update, chunk } => Ok(Step::Update {
                filter: named("filter", to_document(&filter))?,
                update: named("update", read_update(&update))?,
                chunk: named("chunk", some_documents(chunk))?,
                collection: name(collection)?,
            }),
            Self::RenameField { collection, filter, fields, overwrite, chunk } => {
                if fields.is_empty() {
                    return Err("`fields` names none".to_owned());
                }
                if let Some(field) = fields.iter().flat_map(|(from, to)| [from, to]).find(|one| !is_field(one)) {
                    return Err(format!("`{field}` is not a field that can be renamed"));
                }
                let pairs = fields.into_iter().map(|(from, to)| Rename { from, to });
                Ok(Step::RenameFields {
                    filter: named("filter", to_document(&filter.unwrap_or(Value::Object(Default::default()))))?,
                    fields: pairs.collect(),
                    overwrite,
                    chunk: named("chunk", some_documents(chunk))?,
                    collection: name(collection)?,
                })
            }
            Self::Delete { collection, filter, chunk } => Ok(Step::Delete {
                filter: named("filter", to_document(&filter))?,
                chunk: named("chunk", some_documents(chunk))?,
                collection: name(collection)?,
            }),
            Self::Insert { collection, documents } => {
                if documents.is_empty() {
                    return Err("`documents` has none".to_owned());
                }
                let documents = named("documents", documents.iter().map(to_document).collect())?;
                Ok(Step::Insert { collection: name(collection)?, documents })
            }
            Self::Aggregate { collection, pipeline, chunk } => {
                let pipeline: Vec<Document> = named("pipeline", pipeline.iter().map(to_document).collect())?;
                let last = pipeline.last().and_then(|stage| stage.keys().next()).map(String::as_str);
                match last {
                    Some("$merge") => {}
                    Some("$out") if chunk.is_none() => {}
                    Some("$out") => {
                        return Err("`$out` replaces the collection, so it cannot be done in chunks".to_owned());
                    }
                    _ => return Err("the last stage must be `$merge` or `$out`: nothing would be written".to_owned()),
                }
                Ok(Step::Aggregate { collection: name(collection)?, pipeline, chunk: some_documents(chunk)? })
            }
            Self::CreateIndex { collection, keys, name: named_so, options } => {
                let keys = named("keys", to_document(&keys))?;
                if keys.is_empty() {
                    return Err("`keys` names no field".to_owned());
                }
                let options = named("options", to_document(&options.unwrap_or(Value::Object(Default::default()))))?;
                let name_of_keys =
                    || keys.iter().map(|(field, way)| format!("{field}_{}", plain(way))).collect::<Vec<_>>().join("_");
                let index = named_so.unwrap_or_else(name_of_keys);
                Ok(Step::CreateIndex { collection: name(collection)?, name: index, keys, options })
            }
            Self::DropIndex { collection, name: index } if index == "*" || index == "_id_" => {
                Err(format!("`{index}` of {collection} is not to be dropped: name one index"))
            }
            Self::DropIndex { collection, name: index } => {
                Ok(Step::DropIndex { collection: name(collection)?, name: index })
            }
            Self::Validator { collection, schema, expression, level, action } => {
                let validator = match (schema, expression) {
                    (Some(schema), None) => doc! {"$jsonSchema": named("schema", to_document(&schema))?},
                    (None, Some(expression)) => named("expression", to_document(&expression))?,
                    (None, None) => Document::new(),
                    (Some(_), Some(_)) => return Err("write `schema` or `expression`, not both".to_owned()),
                };
                let level = word("level", level, &["strict", "moderate", "off"])?;
                let action = word("action", action, &["error", "warn"])?;
                Ok(Step::Validator { collection: name(collection)?, validator, level, action })
            }
            Self::CreateCollection { collection, options } => Ok(Step::CreateCollection {
                collection: name(collection)?,
                options: named("options", to_document(&options.unwrap_or(Value::Object(Default::default()))))?,
            }),
            Self::DropCollection { collection } => Ok(Step::DropCollection { collection: name(collection)? }),
            Self::RenameCollection { from, to } => Ok(Step::RenameCollection { from: name(from)?, to: name(to)? }),
            Self::Command(command) => super::commands::command(&command),
        }
    }
}

fn named<T>(field: &str, read: Result<T, String>) -> Result<T, String> {
    read.map_err(|message| format!("`{field}`: {message}"))
}

fn read_update(update: &Value) -> Result<Update, String> {
    match to_bson(update)? {
        Bson::Document(operators) if operators.is_empty() => Err("it changes nothing".to_owned()),
        Bson::Document(operators) => match operators.keys().find(|key| !key.starts_with('$')) {
            Some(key) => Err(format!("`{key}` is no operator; to set a field write `$set: {{{key}: …}}`")),
            None => Ok(Update::Operators(operators)),
        },
        Bson::Array(stages) => {
            let stage = |stage| match stage {
                Bson::Document(stage) => Ok(stage),
                _ => Err("each stage of the pipeline must be a document".to_owned()),
            };
            let stages = stages.into_iter().map(stage).collect::<Result<Vec<_>, String>>()?;
            if stages.is_empty() { Err("it changes nothing".to_owned()) } else { Ok(Update::Pipeline(stages)) }
        }
        _ => Err("write update operators or a list of pipeline stages".to_owned()),
    }
}

fn some_documents(chunk: Option<u64>) -> Result<Option<u64>, String> {
    match chunk {
        Some(0) => Err("a chunk of no documents would never end".to_owned()),
        other => Ok(other),
    }
}

fn name(collection: String) -> Result<String, String> {
    match collection.is_empty() || collection.contains(['$', '\0']) || collection.starts_with("system.") {
        true => Err(format!("`{}` is not a collection that can be changed", collection.escape_debug())),
        false => Ok(collection),
    }
}

fn is_field(name: &str) -> bool {
    !name.is_empty() && name != "_id" && !name.starts_with('$') && !name.split('.').any(str::is_empty)
}

fn word(field: &str, written: Option<String>, known: &[&str]) -> Result<String, String> {
    let default = known.first().copied().unwrap_or_default();
    match written {
        None => Ok(default.to_owned()),
        Some(word) if known.contains(&word.as_str()) => Ok(word),
        Some(word) => Err(format!("`{field}`: `{word}` is none of {}", known.join(", "))),
    }
}

fn plain(way: &Bson) -> String {
    match way {
        Bson::String(text) => text.clone(),
        Bson::Int32(number) => number.to_string(),
        Bson::Int64(number) => number.to_string(),
        other => other.to_string(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum RawCheck {
    Count {
        collection: String,
        #[serde(default)]
        filter: Option<Value>,
        #[serde(default)]
        equals: Option<u64>,
        #[serde(default)]
        at_least: Option<u64>,
        #[serde(default)]
        at_most: Option<u64>,
    },
    NoDocumentWithout {
        collection: String,
        field: String,
    },
    Schema {
        collection: String,
        schema: Value,
    },
    Query {
        collection: String,
        pipeline: Vec<Value>,
        equals: Value,
    },
    Equal {
        left: RawQuery,
        right: RawQuery,
    },
    Copy {
        from: String,
        to: String,
        #[serde(default)]
        key: Vec<String>,
        #[serde(default)]
        columns: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawQuery {
    collection: String,
    pipeline: Vec<Value>,
}

impl RawQuery {
    fn read(self) -> Result<Query, String> {
        let pipeline = named("pipeline", self.pipeline.iter().map(to_document).collect())?;
        Ok(Query { collection: name(self.collection)?, pipeline })
    }
}

fn check(written: RawCheck) -> Result<migration::Check, String> {
    let check = match written {
        RawCheck::Count { collection, filter, equals, at_least, at_most } => {
            let is = match (equals, at_least, at_most) {
                (Some(exactly), None, None) => Bound { at_least: exactly, at_most: Some(exactly) },
                (None, least, most) if least.is_some() || most.is_some() => {
                    Bound { at_least: least.unwrap_or(0), at_most: most }
                }
                _ => return Err("write `equals`, or `at_least` and `at_most`".to_owned()),
            };
            let filter = named("filter", to_document(&filter.unwrap_or(Value::Object(Default::default()))))?;
            Check::Count { collection: name(collection)?, filter, is }
        }
        RawCheck::NoDocumentWithout { collection, field } => Check::Present { collection: name(collection)?, field },
        RawCheck::Schema { collection, schema } => {
            Check::Schema { collection: name(collection)?, schema: named("schema", to_document(&schema))? }
        }
        RawCheck::Query { collection, pipeline, equals } => {
            let query = RawQuery { collection, pipeline }.read()?;
            Check::Query { query, equals: named("equals", to_bson(&equals))? }
        }
        RawCheck::Equal { left, right } => Check::Equal { left: left.read()?, right: right.read()? },
        RawCheck::Copy { from, to, key, columns } => {
            let key = if key.is_empty() { vec!["_id".to_owned()] } else { key };
            return Ok(migration::Check::Copy(verify::Copy { from, to, key, columns }));
        }
    };
    Ok(migration::Check::Mongodb(check))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
name: totals
steps:
  - create_collection: {collection: archive, options: {capped: true, size: 4096}}
  - update:
      collection: orders
      filter: {total: {$exists: false}}
      update:
        - $set: {total: {$multiply: [$price, $quantity]}}
      chunk: 500
  - update: {collection: orders, filter: {}, update: {$set: {checked: {$date: "2026-01-31T00:00:00Z"}}}}
  - rename_field: {collection: orders, fields: {qty: quantity}}
  - delete: {collection: carts, filter: {stale: true}}
  - insert: {collection: units, documents: [{_id: 1, name: kg}]}
  - aggregate: {collection: orders, pipeline: [{$group: {_id: $customer}}, {$merge: customers}]}
  - create_index: {collection: orders, keys: {customer: 1, at: -1}, options: {unique: true}}
  - drop_index: {collection: orders, name: old_1}
  - validator: {collection: orders, schema: {required: [total]}, level: moderate}
  - rename_collection: {from: a, to: b}
  - drop_collection: {collection: junk}
  - command: {collMod: orders, changeStreamPreAndPostImages: {enabled: true}}
down:
  - drop_index: {collection: orders, name: customer_1_at_-1}
checks:
  - count: {collection: orders, at_least: 1}
  - no_document_without: {collection: orders, field: total}
  - schema: {collection: orders, schema: {required: [total]}}
  - query: {collection: orders, pipeline: [{$count: n}], equals: 3}
  - equal:
      left: {collection: a, pipeline: [{$count: n}]}
      right: {collection: b, pipeline: [{$count: n}]}
  - copy: {from: a, to: b}
"#;

    #[test]
    fn everything_that_can_be_written_is_understood() {
        let contents = parse(WHOLE).unwrap();
        let (Body::Mongodb(up), Some(Body::Mongodb(down))) = (&contents.up, &contents.down) else { panic!() };
        assert_eq!((up.steps.len(), down.steps.len(), contents.checks.len()), (13, 1, 6));
        assert!(up.steps.iter().any(|step| step.what() == "create index orders.customer_1_at_-1"));
        assert!(up.steps.iter().any(|step| step.what() == "rename qty to quantity in orders"));
        assert_eq!(contents.name.as_deref(), Some("totals"));
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once_with_its_place() {
        let text = "steps:\n  - update: {collection: c, filter: {}, update: {total: 1}}\n  - drop_index: {collection: c, name: '*'}\n\
                    checks:\n  - count: {collection: c}\n";
        let faults = parse(text).unwrap_err();
        let told: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("steps[0]") && told[0].contains("$set: {total"), "{told:?}");
        assert!(told[2].starts_with("checks[0]"));
    }

    #[test]
    fn each_of_these_is_refused() {
        for (text, word) in [
            ("steps: []", "no steps"),
            ("", "no steps"),
            ("steps:\n  - updat: {}", "updat"),
            ("steps:\n  - update: {collection: c, filter: {}, update: {$set: {a: 1}}, chunks: 3}", "chunks"),
            ("steps:\n  - update: {collection: c, filter: {}, update: {$set: {a: 1}}, chunk: 0}", "never end"),
            ("steps:\n  - update: {collection: 'system.users', filter: {}, update: {$set: {a: 1}}}", "system.users"),
            ("steps:\n  - rename_field: {collection: c, fields: {a: b, b: a}}", "step"),
            ("steps:\n  - rename_field: {collection: c, fields: {_id: b}}", "_id"),
            ("steps:\n  - rename_collection: {from: a, to: b}\n  - rename_collection: {from: b, to: a}", "circle"),
            ("steps:\n  - aggregate: {collection: c, pipeline: [{$match: {}}]}", "nothing would be written"),
            ("steps:\n  - insert: {collection: c, documents: [{_id: {$oid: zz}}]}", "$oid"),
            ("steps: [", "line"),
            ("plugin: {file: x.wasm}\nsteps:\n  - drop_collection: {collection: c}", "beside"),
        ] {
            let faults = parse(text).unwrap_err();
            let told = faults.iter().map(|f| format!("{:?} {}", f.line.map(|_| "line"), f.message)).collect::<String>();
            assert!(told.contains(word), "{text}: {told}");
        }
    }

    #[test]
    fn a_fault_of_yaml_names_its_line() {
        assert_eq!(parse("name: x\nsteps:\n  - nonsense: {}\n").unwrap_err()[0].line, Some(3));
    }
}
