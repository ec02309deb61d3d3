//! The words of a MongoDB migration: its steps, and what each is to the server.

use bson::{Bson, Document};

/// What a MongoDB migration does, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// The steps.
    pub steps: Vec<Step>,
}

/// How documents are changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// Update operators.
    Operators(Document),
    /// An aggregation pipeline.
    Pipeline(Vec<Document>),
}

/// A field and its new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Name now.
    pub from: String,
    /// Name then.
    pub to: String,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Changes documents.
    Update {
        /// Where.
        collection: String,
        /// Which.
        filter: Document,
        /// How.
        update: Update,
        /// Documents of a chunk.
        chunk: Option<u64>,
    },
    /// Gives fields new names.
    RenameFields {
        /// Where.
        collection: String,
        /// Which documents.
        filter: Document,
        /// The names.
        fields: Vec<Rename>,
        /// Whether a field that has the new name already is overwritten; otherwise such a document stops the step.
        overwrite: bool,
        /// Documents of a chunk.
        chunk: Option<u64>,
    },
    /// Takes documents out.
    Delete {
        /// Where.
        collection: String,
        /// Which.
        filter: Document,
        /// Documents of a chunk.
        chunk: Option<u64>,
    },
    /// Puts documents in.
    Insert {
        /// Where.
        collection: String,
        /// What.
        documents: Vec<Document>,
    },
    /// Runs an aggregation that writes with `$merge` or `$out`.
    Aggregate {
        /// From where.
        collection: String,
        /// The pipeline.
        pipeline: Vec<Document>,
        /// Documents of a chunk, where each document can be handled without the others.
        chunk: Option<u64>,
    },
    /// Creates an index.
    CreateIndex {
        /// Where.
        collection: String,
        /// Fields and directions.
        keys: Document,
        /// Name.
        name: String,
        /// `unique`, `partialFilterExpression`, …
        options: Document,
    },
    /// Drops an index.
    DropIndex {
        /// Where.
        collection: String,
        /// Name.
        name: String,
    },
    /// Sets the validator.
    Validator {
        /// Where.
        collection: String,
        /// The validator; empty: none.
        validator: Document,
        /// `off`, `strict` or `moderate`.
        level: String,
        /// `error` or `warn`.
        action: String,
    },
    /// Creates a collection.
    CreateCollection {
        /// Name.
        collection: String,
        /// Options of `create`.
        options: Document,
    },
    /// Drops a collection.
    DropCollection {
        /// Name.
        collection: String,
    },
    /// Renames a collection.
    RenameCollection {
        /// Name now.
        from: String,
        /// Name then.
        to: String,
    },
    /// A database command as the server takes it.
    Command(Document),
}

/// Commands the server runs in transactions (manual, "Transactions and Operations").
const IN_TRANSACTIONS: [&str; 7] = ["insert", "update", "delete", "find", "aggregate", "findAndModify", "distinct"];

/// Commands that do nothing when they have been done, or say that they have.
const REPEATABLE: [&str; 6] =
    ["createIndexes", "collMod", "dropIndexes", "drop", "create", "setFeatureCompatibilityVersion"];

impl Step {
    /// The collection it works on.
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Update { collection, .. }
            | Self::RenameFields { collection, .. }
            | Self::Delete { collection, .. }
            | Self::Insert { collection, .. }
            | Self::Aggregate { collection, .. }
            | Self::CreateIndex { collection, .. }
            | Self::DropIndex { collection, .. }
            | Self::Validator { collection, .. }
            | Self::CreateCollection { collection, .. }
            | Self::DropCollection { collection } => Some(collection),
            Self::RenameCollection { from, .. } => Some(from),
            Self::Command(command) => match command.iter().next() {
                Some((_, Bson::String(collection))) => Some(collection),
                _ => None,
            },
        }
    }

    /// What it does, in a few words and without values.
    pub fn what(&self) -> String {
        match self {
            Self::Update { collection, .. } => format!("update {collection}"),
            Self::RenameFields { collection, fields, .. } => {
                let names: Vec<String> = fields.iter().map(|one| format!("{} to {}", one.from, one.to)).collect();
                format!("rename {} in {collection}", names.join(", "))
            }
            Self::Delete { collection, .. } => format!("delete from {collection}"),
            Self::Insert { collection, .. } => format!("insert into {collection}"),
            Self::Aggregate { collection, .. } => format!("aggregate {collection}"),
            Self::CreateIndex { collection, name, .. } => format!("create index {collection}.{name}"),
            Self::DropIndex { collection, name } => format!("drop index {collection}.{name}"),
            Self::Validator { collection, .. } => format!("set validator of {collection}"),
            Self::CreateCollection { collection, .. } => format!("create collection {collection}"),
            Self::DropCollection { collection } => format!("drop collection {collection}"),
            Self::RenameCollection { from, to } => format!("rename collection {from} to {to}"),
            Self::Command(command) => {
                let name = command.keys().next().map_or("nothing", String::as_str);
                self.place().map_or_else(|| name.to_owned(), |place| format!("{name} {place}"))
            }
        }
    }

    /// Whether the server runs it in a transaction.
    pub fn fits_transaction(&self) -> bool {
        match self {
            Self::Update { .. } | Self::RenameFields { .. } | Self::Delete { .. } | Self::Insert { .. } => true,
            Self::Command(command) => {
                let known = command.keys().next().is_some_and(|name| IN_TRANSACTIONS.contains(&name.as_str()));
                known && !writes_by_pipeline(command)
            }
            _ => false,
        }
    }

    /// Whether, begun by a runner that is gone, it may simply be run again.
    pub fn may_be_repeated(&self) -> bool {
        match self {
            Self::Command(command) => {
                let name = command.keys().next().map_or("", String::as_str);
                REPEATABLE.contains(&name) || (name == "aggregate" && writes_by_pipeline(command))
            }
            _ => true,
        }
    }

    /// What of its documents can be done a chunk at a time: which documents, and in what chunks.
    pub(super) const fn chunked(&self) -> Option<(&Document, Option<u64>)> {
        match self {
            Self::Update { filter, chunk, .. }
            | Self::RenameFields { filter, chunk, .. }
            | Self::Delete { filter, chunk, .. } => Some((filter, *chunk)),
            _ => None,
        }
    }
}

/// `$merge` and `$out` are for outside of transactions.
fn writes_by_pipeline(command: &Document) -> bool {
    let stages = command.get_array("pipeline").map_or(&[][..], Vec::as_slice);
    let writes = |stage: &Bson| {
        stage.as_document().is_some_and(|stage| stage.contains_key("$merge") || stage.contains_key("$out"))
    };
    stages.iter().any(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn commands_are_known_by_their_first_word() {
        let cases = [
            (doc! {"insert": "c", "documents": []}, true, false),
            (doc! {"aggregate": "c", "pipeline": [{"$match": {}}]}, true, false),
            (doc! {"aggregate": "c", "pipeline": [{"$out": "d"}]}, false, true),
            (doc! {"createIndexes": "c"}, false, true),
            (doc! {"renameCollection": "a.b", "to": "a.c"}, false, false),
        ];
        for (command, fits, repeatable) in cases {
            let step = Step::Command(command);
            assert_eq!((step.fits_transaction(), step.may_be_repeated()), (fits, repeatable), "{step:?}");
        }
    }
}
