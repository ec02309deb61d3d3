//! A planned batch as statements with their parameters, in the order they are sent.
//!
//! Pure; what is encoded here is sent by [`super::write`]. Which tables there are comes from [`super::tables`].

use std::cell::RefCell;

use tokio_postgres::types::{ToSql, Type};

use crate::batch::Batch;
use crate::decode::value::{Loss, read};
use crate::event::{Cell, CellKind};
use crate::target::error::{ErrorKind, TargetError};
use crate::target::losses::Losses;
use crate::target::plan::{DeliveryMode, Layout, RowAction, RowOp, TableWrite, WriteBatch};
use crate::target::sql::{
    CellFrom, WriteColumn, key_cells, origin_bytes, quote, version_bytes, write_columns, write_key_text,
};

use super::encode::{Array, ArrayBuilder, push_value};
use super::state::Names;
use super::statements::{Bound, Shape};
use super::tables::{TargetColumn, TargetTable, guard_column, qualified};
use super::types::Wire;

/// A parameter of a statement.
pub(super) type Param = Box<dyn ToSql + Send + Sync>;

/// What the number of rows a statement touched means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Counts {
    /// Nothing.
    No,
    /// Rows written or deleted.
    Rows,
    /// Rows written; what is missing to this number was skipped by the guard.
    RowsOf(u64),
    /// Rows written; what is missing was counted or will be by the statement before or after it.
    Part,
    /// Must be this number, or the batch fails like this.
    Must(u64, ErrorKind, String),
}

/// A statement to be sent.
pub(super) struct Execution {
    pub sql: String,
    pub types: Vec<Type>,
    pub params: Vec<Param>,
    pub counts: Counts,
    /// What it does, for messages.
    pub doing: String,
}

/// The statements of a batch's rows.
#[derive(Default)]
pub(super) struct Plan {
    /// Write rows.
    pub rows: Vec<Execution>,
    /// Conversions that lost information.
    pub losses: Losses,
    /// at_least_once: remove what a deleted row's version forbids; sent once `rows` are committed.
    pub burials: Vec<Execution>,
}

/// What planning needs to know.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a> {
    pub schema: &'a str,
    pub names: &'a Names,
    pub write: &'a WriteBatch<'a>,
}

/// An operation with its cells at hand.
struct Source<'a> {
    op: &'a RowOp,
    key: &'a [Cell],
    row: &'a [Cell],
}

impl Source<'_> {
    fn cell(&self, from: CellFrom) -> Cell {
        let found = match from {
            CellFrom::Key(i) => self.key.get(i),
            CellFrom::Row(i) => self.row.get(i),
        };
        found.copied().unwrap_or(Cell::bare(CellKind::Absent))
    }
}

/// The operations of one layout, by the statement they need.
#[derive(Default)]
struct Groups<'a> {
    upserts: Vec<Source<'a>>,
    /// By which columns they carry.
    patches: Vec<(Vec<bool>, Vec<Source<'a>>)>,
    appends: Vec<Source<'a>>,
    deletes: Vec<Source<'a>>,
}

/// The rows of one table, grouped, and the columns it must have for them.
pub(super) struct Grouped<'a> {
    pub layout: &'a Layout,
    columns: Vec<WriteColumn>,
    groups: Groups<'a>,
    /// Nothing is written, only deleted: a table that is not there needs not be made.
    pub only_deletes: bool,
}

impl Grouped<'_> {
    /// Key columns, and those that any row has a value for: a column that no row has need not exist.
    pub(super) fn needed(&self) -> Vec<&WriteColumn> {
        if self.only_deletes {
            return self.columns.iter().take(self.layout.key.len()).collect();
        }
        let Groups { upserts, patches, appends, .. } = &self.groups;
        let rows = || upserts.iter().chain(appends).chain(patches.iter().flat_map(|(_, s)| s));
        let carries = |c: &&WriteColumn| {
            matches!(c.from, CellFrom::Key(_))
                || rows().any(|s| !matches!(s.cell(c.from).kind, CellKind::Absent | CellKind::Unavailable))
        };
        self.columns.iter().filter(carries).collect()
    }
}

impl<'a> Planner<'a> {
    /// Groups the operations on a table by the statement they need; `None` when there are none.
    pub(super) fn group(self, table: &'a TableWrite) -> Option<Grouped<'a>> {
        let layout = &*table.layout;
        let columns = write_columns(layout);
        let groups = group(self.write.batch, layout, &columns, &table.ops);
        let only_deletes = groups.deletes.len() == table.ops.len();
        (!table.ops.is_empty()).then_some(Grouped { layout, columns, groups, only_deletes })
    }

    /// Adds the statements of a table's rows.
    pub(super) fn rows(self, grouped: &Grouped<'_>, found: &TargetTable, plan: &mut Plan) -> Result<(), TargetError> {
        let Grouped { layout, columns, groups, .. } = grouped;
        let Plan { rows, losses, burials } = plan;
        let bind = Bind { planner: self, layout, found, columns, losses: RefCell::new(losses) };
        bind.groups(groups, rows, burials)
    }

    /// Adds what at_least_once keeps of deleted rows, before they are deleted.
    pub(super) fn versions_of_deleted(self, grouped: &Grouped<'_>, plan: &mut Plan) {
        if self.write.mode == DeliveryMode::AtLeastOnce && !grouped.groups.deletes.is_empty() {
            plan.rows.push(self.tombstones(grouped.layout, &grouped.groups.deletes));
        }
    }

    /// Adds the statement that empties a table.
    pub(super) fn truncate(self, layout: &Layout, plan: &mut Plan) {
        plan.rows.push(Execution {
            sql: format!("TRUNCATE TABLE {}", qualified(self.schema, &layout.table)),
            types: Vec::new(),
            params: Vec::new(),
            counts: Counts::No,
            doing: format!("cannot empty the table `{}`", layout.table),
        });
    }

    fn tombstones(self, layout: &Layout, deletes: &[Source<'_>]) -> Execution {
        let mut versions = ArrayBuilder::new(Wire::Bytea.element(), deletes.len());
        for source in deletes {
            versions.push(&version_bytes(source.op.version));
        }
        Execution {
            sql: format!(
                r#"INSERT INTO {} AS t SELECT $1, u.k, u.v, $4 FROM UNNEST($2, $3) AS u(k, v)
                   ON CONFLICT ("table", key) DO UPDATE SET version = GREATEST(t.version, EXCLUDED.version),
                   stored_at_ms = EXCLUDED.stored_at_ms"#,
                self.names.tombstones
            ),
            types: vec![Type::TEXT, Type::TEXT_ARRAY, Type::BYTEA_ARRAY, Type::INT8],
            params: vec![
                Box::new(qualified(self.schema, &layout.table)),
                Box::new(key_texts(self.write.batch, deletes.iter())),
                Box::new(versions.finish()),
                Box::new(self.write.now_ms),
            ],
            counts: Counts::No,
            doing: "cannot store the versions of deleted rows".into(),
        }
    }
}

fn key_texts<'a, 's: 'a>(batch: &Batch, sources: impl Iterator<Item = &'a Source<'s>>) -> Array {
    let mut keys = ArrayBuilder::new(Wire::Text.element(), sources.size_hint().0);
    for source in sources {
        keys.with(|out| write_key_text(batch, source.key, out));
    }
    keys.finish()
}

fn group<'a>(batch: &'a Batch, layout: &Layout, columns: &[WriteColumn], ops: &'a [RowOp]) -> Groups<'a> {
    let mut groups = Groups::default();
    for op in ops {
        let row = match op.action {
            RowAction::Upsert(row) | RowAction::Patch(row) | RowAction::Append(row) => batch.row(row),
            RowAction::Delete => &[],
        };
        let source = Source { op, key: key_cells(batch, layout, op.key), row };
        match op.action {
            RowAction::Append(_) => groups.appends.push(source),
            RowAction::Delete => groups.deletes.push(source),
            // A value that was not sent must never overwrite one that is there.
            RowAction::Upsert(_) if source.row.iter().all(|cell| cell.kind != CellKind::Unavailable) => {
                groups.upserts.push(source);
            }
            RowAction::Upsert(_) | RowAction::Patch(_) => {
                let carried: Vec<bool> = columns
                    .iter()
                    .map(|c| !matches!(source.cell(c.from).kind, CellKind::Absent | CellKind::Unavailable))
                    .collect();
                match groups.patches.iter_mut().find(|(mask, _)| *mask == carried) {
                    Some((_, sources)) => sources.push(source),
                    None => groups.patches.push((carried, vec![source])),
                }
            }
        }
    }
    groups
}

/// One layout meets its table.
struct Bind<'a> {
    planner: Planner<'a>,
    layout: &'a Layout,
    found: &'a TargetTable,
    columns: &'a [WriteColumn],
    losses: RefCell<&'a mut Losses>,
}

impl Bind<'_> {
    fn groups(
        &self,
        groups: &Groups<'_>,
        rows: &mut Vec<Execution>,
        burials: &mut Vec<Execution>,
    ) -> Result<(), TargetError> {
        let doing = format!("cannot write to the table `{}`", self.layout.table);
        if !groups.upserts.is_empty() {
            let (columns, params) = self.encode(&groups.upserts, |_| true)?;
            rows.push(execution(
                self.shape(&columns).upsert(),
                &columns,
                params,
                self.all(groups.upserts.len()),
                &doing,
            ));
        }
        for (mask, sources) in &groups.patches {
            let (columns, params) = self.encode(sources, |i| mask.get(i).copied().unwrap_or(false))?;
            let shape = self.shape(&columns);
            // Two statements over the same rows: together they account for all, so the shortfall is counted once.
            if let Some(sql) = shape.update() {
                rows.push(execution(sql, &columns, params.clone(), Counts::Part, &doing));
            }
            rows.push(execution(shape.insert_missing(), &columns, params, self.all(sources.len()), &doing));
        }
        if !groups.appends.is_empty() {
            let (columns, params) = self.encode(&groups.appends, |_| true)?;
            rows.push(execution(
                self.shape(&columns).append(),
                &columns,
                params,
                self.all(groups.appends.len()),
                &doing,
            ));
        }
        if !groups.deletes.is_empty() {
            let width = self.layout.key.len();
            let (columns, params) = self.encode(&groups.deletes, |i| i < width)?;
            let doing = format!("cannot delete from the table `{}`", self.layout.table);
            rows.push(execution(self.shape(&columns).delete(), &columns, params, Counts::Rows, &doing));
        }
        if self.guarded() && !self.layout.key.is_empty() {
            burials.push(self.burial(groups)?);
        }
        Ok(())
    }

    fn guarded(&self) -> bool {
        self.planner.write.mode == DeliveryMode::AtLeastOnce
    }

    fn all(&self, n: usize) -> Counts {
        if self.guarded() { Counts::RowsOf(n as u64) } else { Counts::Rows }
    }

    fn shape<'s>(&'s self, columns: &'s [Bound]) -> Shape<'s> {
        Shape { table: &self.found.name, columns, width: self.layout.key.len(), guarded: self.guarded() }
    }

    /// The columns among `chosen` that the table has, and their values; the guard's comes last.
    fn encode(
        &self,
        sources: &[Source<'_>],
        chosen: impl Fn(usize) -> bool,
    ) -> Result<(Vec<Bound>, Vec<Array>), TargetError> {
        let mut bound = Vec::with_capacity(self.columns.len() + 1);
        let mut arrays = Vec::with_capacity(self.columns.len() + 1);
        for (_, column) in self.columns.iter().enumerate().filter(|(i, _)| chosen(*i)) {
            let Some(target) = self.found.columns.get(&*column.name).filter(|c| !c.generated) else { continue };
            let column_bound = self.bound(column, target);
            let mut array = ArrayBuilder::new(column_bound.wire.element(), sources.len());
            self.push(&mut array, sources.iter(), column, &column_bound)?;
            arrays.push(array.finish());
            bound.push(column_bound);
        }
        if let Some(name) = guard_column(self.layout, self.planner.write.mode) {
            let mut guard = ArrayBuilder::new(Wire::Bytea.element(), sources.len());
            for source in sources {
                if self.layout.key.is_empty() {
                    guard.push(&self.origin(source));
                } else {
                    guard.push(&version_bytes(source.op.version));
                }
            }
            arrays.push(guard.finish());
            bound.push(Bound { name: quote(name), wire: Wire::Bytea, cast: String::new() });
        }
        Ok((bound, arrays))
    }

    fn origin(&self, source: &Source<'_>) -> Vec<u8> {
        let batch = self.planner.write.batch;
        let event = batch.events.get(source.op.event as usize);
        event.map(|e| origin_bytes(batch.topic(e), e.origin.partition, e.origin.offset)).unwrap_or_default()
    }

    /// Appends what the column holds in these operations.
    fn push<'s, 'b: 's>(
        &self,
        array: &mut ArrayBuilder,
        sources: impl Iterator<Item = &'s Source<'b>>,
        column: &WriteColumn,
        bound: &Bound,
    ) -> Result<(), TargetError> {
        for source in sources {
            let unfit = |what: &str| {
                let message = format!("the value for the column `{}` of `{}` {what}", column.name, self.layout.table);
                TargetError::new(ErrorKind::BadValue, message).at_event(source.op.event)
            };
            let typed = read(self.planner.write.batch, source.cell(column.from), &column.ty)
                .map_err(|e| unfit(&e.to_string()))?;
            let lost = push_value(array, &typed.value, bound.wire, &bound.cast).map_err(unfit)?;
            if let Some(what) = typed.loss.map(Loss::as_str).or(lost) {
                self.losses.borrow_mut().add(&self.layout.table, &column.name, what, source.op.event);
            }
        }
        Ok(())
    }

    fn bound(&self, column: &WriteColumn, target: &TargetColumn) -> Bound {
        let wire = Wire::choose(&column.ty, target.oid);
        Bound { name: quote(&column.name), wire, cast: target.cast.clone() }
    }

    fn burial(&self, groups: &Groups<'_>) -> Result<Execution, TargetError> {
        let rows = || {
            let patched = groups.patches.iter().flat_map(|(_, sources)| sources);
            groups.upserts.iter().chain(patched).chain(&groups.deletes)
        };
        let (mut bound, mut params) = (Vec::new(), Vec::<Param>::new());
        for column in self.columns.iter().take(self.layout.key.len()) {
            let Some(target) = self.found.columns.get(&*column.name) else { continue };
            let column_bound = self.bound(column, target);
            let mut array = ArrayBuilder::new(column_bound.wire.element(), 0);
            self.push(&mut array, rows(), column, &column_bound)?;
            params.push(Box::new(array.finish()));
            bound.push(column_bound);
        }
        params.push(Box::new(key_texts(self.planner.write.batch, rows())));
        params.push(Box::new(self.found.name.clone()));
        let mut types: Vec<Type> = bound.iter().map(|c| c.wire.array()).collect();
        types.extend([Type::TEXT_ARRAY, Type::TEXT]);
        Ok(Execution {
            sql: self.shape(&bound).bury(&self.planner.names.tombstones),
            types,
            params,
            counts: Counts::No,
            doing: format!("cannot delete from the table `{}`", self.layout.table),
        })
    }
}

fn execution(sql: String, columns: &[Bound], params: Vec<Array>, counts: Counts, doing: &str) -> Execution {
    Execution {
        sql,
        types: columns.iter().map(|c| c.wire.array()).collect(),
        params: params.into_iter().map(|array| Box::new(array) as Param).collect(),
        counts,
        doing: doing.to_owned(),
    }
}
