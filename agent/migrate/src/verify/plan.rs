//! Which columns are compared with which, in what form, and who hashes them.

use super::hash::Nonce;
use super::value::{Class, Form};
use super::{Copy, Way};
use crate::database::System;
use crate::error::{Error, Result};

/// What a side knows of its table.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) system: System,
    /// For errors: "table orders of postgresql at …".
    pub(super) place: String,
    /// The columns; none: each document has its own.
    pub(super) columns: Option<Vec<Column>>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) class: Class,
    /// Two columns of this type, of one kind of database, hold the same values as the same text.
    pub(super) type_name: String,
    /// How text sorts and compares: the same word means the same order.
    pub(super) order: String,
}

/// A column to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) column: Column,
    pub(super) form: Form,
    /// Keys: sort by the bytes of the text, as both sides can.
    pub(super) by_bytes: bool,
}

/// What a side is to do.
#[derive(Clone)]
pub(super) struct Task {
    pub(super) way: Way,
    pub(super) key: Vec<Field>,
    /// Columns beside the key; none: all fields of each document.
    pub(super) columns: Option<Vec<Field>>,
    pub(super) nonce: Nonce,
}

pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) source: Task,
    pub(super) target: Task,
    pub(super) notes: Vec<String>,
}

/// MySQL and MariaDB write and hash alike.
const fn kind(system: System) -> System {
    match system {
        System::Mariadb => System::Mysql,
        other => other,
    }
}

pub(super) fn plan(copy: &Copy, source: &Shape, target: &Shape) -> Result<Plan> {
    let mut notes = Vec::new();
    let key = copy.key.iter().map(|name| pair(name, source, target)).collect::<Result<Vec<_>>>()?;
    for (one, other) in &key {
        key_is_sortable(one, other, source)?;
        key_is_sortable(other, one, target)?;
    }
    let in_key = |name: &str| key.iter().any(|(one, _)| one.name == name);
    let columns = match (copy.columns.is_empty(), &source.columns, &target.columns) {
        (true, None, None) => None,
        (true, Some(one), Some(other)) => {
            let lacks = |columns: &[Column], name: &str| !columns.iter().any(|column| column.name == name);
            let left = one.iter().filter(|column| !in_key(&column.name) && lacks(other, &column.name));
            let right = other
                .iter()
                .filter(|column| !key.iter().any(|(_, k)| k.name == column.name) && lacks(one, &column.name));
            for (columns, side, missing) in [
                (left.map(|c| c.name.as_str()).collect::<Vec<_>>(), source, target),
                (right.map(|c| c.name.as_str()).collect(), target, source),
            ] {
                if !columns.is_empty() {
                    notes.push(format!(
                        "not compared: {} of the {}, which the {} does not have",
                        columns.join(", "),
                        side.place,
                        missing.place
                    ));
                }
            }
            let both = one.iter().filter(|column| !in_key(&column.name) && !lacks(other, &column.name));
            Some(both.map(|column| pair(&column.name, source, target)).collect::<Result<Vec<_>>>()?)
        }
        (true, Some(typed), None) | (true, None, Some(typed)) => {
            let rest =
                typed.iter().filter(|c| !key.iter().any(|(one, other)| one.name == c.name || other.name == c.name));
            Some(rest.map(|column| pair(&column.name, source, target)).collect::<Result<Vec<_>>>()?)
        }
        (false, ..) => {
            let named = copy.columns.iter().map(|name| pair(name, source, target)).collect::<Result<Vec<_>>>()?;
            Some(named.into_iter().filter(|(one, _)| !in_key(&one.name)).collect())
        }
    };
    let same_kind = kind(source.system) == kind(target.system);
    let way = match kind(source.system) {
        _ if !same_kind => Way::Canonical,
        System::Mongodb | System::Sqlite => Way::Exact,
        _ => {
            let all = key.iter().chain(columns.iter().flatten());
            let other = all.filter(|(one, other)| one.type_name != other.type_name).map(|(one, _)| one.name.as_str());
            match other.collect::<Vec<_>>().as_slice() {
                [] => Way::Server,
                names => {
                    notes.push(format!("{} is of another type in the copy: compared by value", names.join(", ")));
                    Way::Canonical
                }
            }
        }
    };
    let nonce = Nonce::new();
    let task = |own: fn(&(Column, Column)) -> (&Column, &Column)| {
        let field = |pair: &(Column, Column)| {
            let (column, other) = own(pair);
            let form = Form::new(column.class, other.class);
            // One kind of database, one type, one collation: both sides sort alike, and may use the index.
            let alike = same_kind && column.order == other.order && column.type_name == other.type_name;
            let by_bytes = column.class == Class::Text && !alike;
            Field { column: column.clone(), form, by_bytes }
        };
        let columns = columns.as_ref().map(|columns| columns.iter().map(field).collect());
        Task { way, key: key.iter().map(field).collect(), columns, nonce }
    };
    Ok(Plan { way, source: task(|(one, other)| (one, other)), target: task(|(one, other)| (other, one)), notes })
}

/// Both sides must put a key at the same place among the others.
fn key_is_sortable(own: &Column, other: &Column, shape: &Shape) -> Result<()> {
    let wrong = match (own.class, other.class) {
        (Class::Document, Class::Bytes) | (Class::Bytes, Class::Document) => {
            "MongoDB sorts binary data by its length first"
        }
        (Class::Json, _) => "JSON and lists have no order that all databases share",
        (Class::Loose, Class::Time) => "SQLite sorts times as the text or number that they are kept as",
        _ => return Ok(()),
    };
    Err(Error::refused(
        format!("`{}` of the {} cannot be the key of this comparison: {wrong}", own.name, shape.place),
        "name another unique key",
    ))
}

fn pair(name: &str, source: &Shape, target: &Shape) -> Result<(Column, Column)> {
    let (one, other) = name.split_once('=').unwrap_or((name, name));
    Ok((column(one.trim(), source)?, column(other.trim(), target)?))
}

fn column(name: &str, shape: &Shape) -> Result<Column> {
    let Some(columns) = &shape.columns else {
        let word = String::new();
        return Ok(Column { name: name.into(), class: Class::Document, type_name: word.clone(), order: word });
    };
    columns.iter().find(|column| column.name == name).cloned().ok_or_else(|| {
        let known = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        Error::refused(
            format!("the {} has no column `{name}`", shape.place),
            format!("it has {known}; write `name=other` where the copy has another name for it"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(system: System, columns: &[(&str, Class, &str)]) -> Shape {
        let column = |(name, class, type_name): &(&str, Class, &str)| Column {
            name: (*name).into(),
            class: *class,
            type_name: (*type_name).into(),
            order: "C".into(),
        };
        Shape {
            system,
            place: format!("table of {}", system.as_str()),
            columns: Some(columns.iter().map(column).collect()),
        }
    }

    fn copy(key: &[&str], columns: &[&str]) -> Copy {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Copy { from: "a".into(), to: "b".into(), key: list(key), columns: list(columns) }
    }

    fn names(task: &Task) -> String {
        let fields = task.key.iter().chain(task.columns.iter().flatten());
        fields.map(|field| field.column.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn servers_of_one_kind_hash_by_themselves_unless_a_type_differs() {
        let one = shape(
            System::Postgresql,
            &[("id", Class::Number, "int8"), ("a", Class::Text, "text"), ("x", Class::Text, "text")],
        );
        let same = shape(
            System::Postgresql,
            &[("id", Class::Number, "int8"), ("a", Class::Text, "text"), ("y", Class::Text, "text")],
        );
        let found = plan(&copy(&["id"], &[]), &one, &same).unwrap();
        assert_eq!((found.way, names(&found.source), found.notes.len()), (Way::Server, "id a".into(), 2));
        assert!(
            found.notes[0].contains("not compared: x") && found.notes[1].contains("not compared: y"),
            "{:?}",
            found.notes
        );

        let other = shape(System::Postgresql, &[("id", Class::Number, "int4"), ("a", Class::Text, "text")]);
        assert_eq!(plan(&copy(&["id"], &["a"]), &one, &other).unwrap().way, Way::Canonical);
        let mariadb = shape(System::Mariadb, &[("id", Class::Number, "int8"), ("a", Class::Text, "text")]);
        assert_eq!(plan(&copy(&["id"], &[]), &one, &mariadb).unwrap().way, Way::Canonical);
    }

    #[test]
    fn the_typed_side_says_what_is_read_from_documents() {
        let one = shape(System::Postgresql, &[("id", Class::Text, "text"), ("a", Class::Time, "timestamp")]);
        let documents = Shape { system: System::Mongodb, place: "collection".into(), columns: None };
        let found = plan(&copy(&["id=_id"], &[]), &one, &documents).unwrap();
        assert_eq!(
            (found.way, names(&found.source), names(&found.target)),
            (Way::Canonical, "id a".into(), "_id a".into())
        );
        assert!(found.source.key[0].by_bytes);
        let whole = plan(&copy(&["_id"], &[]), &documents, &documents).unwrap();
        assert!(whole.way == Way::Exact && whole.source.columns.is_none());
    }

    #[test]
    fn a_column_that_is_not_there_is_refused_with_those_that_are() {
        let one = shape(System::Sqlite, &[("id", Class::Loose, "")]);
        let error = plan(&copy(&["id"], &["total"]), &one, &one).err().unwrap().to_string();
        assert!(error.contains("no column `total`") && error.contains("it has id"), "{error}");
    }
}
