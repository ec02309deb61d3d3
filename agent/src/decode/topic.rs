//! What decode remembers of a topic: its tables, layouts and embedded schemas, and the form its records had last.
//!
//! Nothing here changes what a record means; forgetting all of it costs time only.

use std::sync::Arc;

use super::config::DecodeConfig;
use super::envelope::Trails;
use super::error::Part;
use super::frame::Schemas;
use super::layout::Layouts;
use super::source::SourceId;
use crate::batch::unescape;
use crate::event::{Shape, TableRef};

/// Prefix of the topics Debezium sends heartbeats to (`topic.heartbeat.prefix`).
const HEARTBEAT_PREFIX: &str = "__debezium-heartbeat";

/// Tables remembered for each topic; past it all are forgotten.
const MAX_TABLES: usize = 4096;

/// Bytes of tables' names remembered for each topic.
const MAX_TABLE_BYTES: usize = 4 << 20;

/// What is remembered of a topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    /// Heartbeats are expected here.
    pub(super) heartbeat: bool,
    /// The last record was an unwrapped row.
    pub(super) unwrapped: bool,
    pub(super) key_schemas: Schemas,
    pub(super) value_schemas: Schemas,
    pub(super) layouts: Layouts,
    /// Layout of the last key, row image and unwrapped row.
    pub(super) key_hint: usize,
    pub(super) image_hint: usize,
    pub(super) unwrapped_hint: usize,
    pub(super) trails: Trails,
    pub(super) tables: Tables,
    singles: Vec<(&'static str, Arc<Shape>)>,
}

impl Topic {
    pub(super) fn new(name: &Arc<str>, config: &DecodeConfig) -> Self {
        Self {
            name: Arc::clone(name),
            heartbeat: name.starts_with(HEARTBEAT_PREFIX) || config.heartbeat_topics.iter().any(|t| **t == **name),
            unwrapped: false,
            key_schemas: Schemas::new(Part::Key),
            value_schemas: Schemas::new(Part::Value),
            layouts: Layouts::default(),
            key_hint: usize::MAX,
            image_hint: usize::MAX,
            unwrapped_hint: usize::MAX,
            trails: Trails::new(),
            tables: Tables::default(),
            singles: Vec::new(),
        }
    }

    /// The shape with the one column `name`, made once.
    pub(super) fn single(&mut self, name: &'static str, make: impl FnOnce() -> Shape) -> Arc<Shape> {
        if let Some((_, shape)) = self.singles.iter().find(|(own, _)| *own == name) {
            return Arc::clone(shape);
        }
        let shape = Arc::new(make());
        self.singles.push((name, Arc::clone(&shape)));
        shape
    }
}

/// The tables seen in a topic.
#[derive(Debug, Default)]
pub(super) struct Tables {
    known: Vec<Table>,
    last: usize,
    bytes: usize,
}

/// A table and its first destination.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// The five parts as on the wire, and where each ends.
    wire: Box<[u8]>,
    ends: [usize; 5],
    pub(super) reference: Arc<TableRef>,
    pub(super) destination: Arc<str>,
}

impl Tables {
    /// The table of this identity; the same `Arc`s each time.
    pub(super) fn get(&mut self, id: &SourceId<'_>) -> (Arc<TableRef>, Arc<str>) {
        let found = match self.known.get(self.last) {
            Some(table) if table.is(id) => Some(self.last),
            _ => self.known.iter().position(|table| table.is(id)),
        };
        self.last = found.unwrap_or_else(|| {
            let table = Table::new(id);
            self.bytes += table.wire.len();
            if self.known.len() >= MAX_TABLES || self.bytes > MAX_TABLE_BYTES {
                self.known.clear();
                self.bytes = table.wire.len();
            }
            self.known.push(table);
            self.known.len() - 1
        });
        match self.known.get(self.last) {
            Some(table) => (Arc::clone(&table.reference), Arc::clone(&table.destination)),
            None => (Arc::default(), Arc::from("")),
        }
    }
}

impl Table {
    fn new(id: &SourceId<'_>) -> Self {
        let text = |raw: &[u8]| {
            let mut out = String::new();
            unescape(raw, &mut out);
            out
        };
        let reference = Arc::new(TableRef {
            connector: text(id.connector),
            source: text(id.name),
            db: text(id.db),
            schema: text(id.schema),
            table: text(id.table),
        });
        let mut wire = Vec::new();
        let ends = parts(id).map(|part| {
            wire.extend_from_slice(part);
            wire.len()
        });
        // A logical decoding message belongs to no table.
        let destination = if reference.table.is_empty() { String::new() } else { reference.qualified() }.into();
        Self { wire: wire.into(), ends, reference, destination }
    }

    #[inline]
    fn is(&self, id: &SourceId<'_>) -> bool {
        let mut start = 0;
        parts(id).iter().zip(self.ends).all(|(part, end)| {
            let own = self.wire.get(start..end).unwrap_or_default();
            start = end;
            own == *part
        })
    }
}

const fn parts<'a>(id: &SourceId<'a>) -> [&'a [u8]; 5] {
    [id.table, id.schema, id.db, id.name, id.connector]
}
