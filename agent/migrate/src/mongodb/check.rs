//! What must hold after a MongoDB migration.

use std::fmt;

use bson::{Bson, Document, doc};
use futures_util::TryStreamExt as _;
use mongodb::{ClientSession, Database};

use super::client::failed;
use super::value;
use crate::error::Result;
use crate::sql::Bound;

/// Something that must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// How many documents there are.
    Count {
        /// Where.
        collection: String,
        /// Which.
        filter: Document,
        /// How many.
        is: Bound,
    },
    /// No document is without the field.
    Present {
        /// Where.
        collection: String,
        /// The field; a path with dots.
        field: String,
    },
    /// Every document fits the JSON schema.
    Schema {
        /// Where.
        collection: String,
        /// As in `$jsonSchema`.
        schema: Document,
    },
    /// An aggregation gives this one value.
    Query {
        /// The query.
        query: Query,
        /// The value.
        equals: Bson,
    },
    /// Two aggregations give the same value.
    Equal {
        /// One.
        left: Query,
        /// The other.
        right: Query,
    },
}

/// An aggregation whose one document's one field, `_id` aside, is a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Where.
    pub collection: String,
    /// The pipeline.
    pub pipeline: Vec<Document>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { collection, filter, is } if filter.is_empty() => write!(f, "{collection} has {is} documents"),
            Self::Count { collection, filter, is } => {
                write!(f, "{collection} has {is} documents with {}", value::to_json(&Bson::Document(filter.clone())))
            }
            Self::Present { collection, field } => write!(f, "no document of {collection} is without {field}"),
            Self::Schema { collection, .. } => write!(f, "every document of {collection} fits the schema"),
            Self::Query { query, equals } => {
                write!(f, "the query of {} gives {}", query.collection, value::to_json(equals))
            }
            Self::Equal { left, right } => {
                write!(f, "the query of {} gives what the query of {} gives", left.collection, right.collection)
            }
        }
    }
}

/// Whether it holds; a sentence if not. In the session's transaction, where there is one.
pub(super) async fn made(database: &Database, session: &mut ClientSession, check: &Check) -> Result<Option<String>> {
    let found = match check {
        Check::Count { collection, filter, is } => {
            let found = count(database, session, collection, filter.clone()).await?;
            (!is.holds(found)).then(|| format!("there are {found}"))
        }
        Check::Present { collection, field } => {
            let missing = count(database, session, collection, doc! {field: {"$exists": false}}).await?;
            (missing > 0).then(|| format!("{missing} are without it"))
        }
        Check::Schema { collection, schema } => {
            let filter = doc! {"$nor": [{"$jsonSchema": schema}]};
            let misfits = count(database, session, collection, filter).await?;
            (misfits > 0).then(|| format!("{misfits} do not"))
        }
        Check::Query { query, equals } => {
            let found = single(database, session, query).await?;
            (!same(&found, equals)).then(|| "it gives something else".to_owned())
        }
        Check::Equal { left, right } => {
            let (left, right) = (single(database, session, left).await?, single(database, session, right).await?);
            (!same(&left, &right)).then(|| "they differ".to_owned())
        }
    };
    Ok(found)
}

async fn count(database: &Database, session: &mut ClientSession, collection: &str, filter: Document) -> Result<u64> {
    let collection = database.collection::<Document>(collection);
    collection.count_documents(filter).session(session).await.map_err(|error| failed(&error))
}

/// The query's one value: `Null` when it gives no document.
async fn single(database: &Database, session: &mut ClientSession, query: &Query) -> Result<Bson> {
    let collection = database.collection::<Document>(&query.collection);
    let cursor = collection.aggregate(query.pipeline.clone()).session(&mut *session).await;
    let mut cursor = cursor.map_err(|error| failed(&error))?;
    let first = cursor.stream(session).try_next().await.map_err(|error| failed(&error))?;
    let Some(mut first) = first else { return Ok(Bson::Null) };
    if first.len() > 1 {
        first.remove("_id");
    }
    Ok(match first.len() {
        1 => first.into_iter().next().map_or(Bson::Null, |(_, value)| value),
        _ => Bson::Document(first),
    })
}

/// Numbers are compared by value, whatever their type.
fn same(one: &Bson, other: &Bson) -> bool {
    match (value::number(Some(one)), value::number(Some(other))) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}
