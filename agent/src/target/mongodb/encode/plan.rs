//! What is worked out once per layout: where its rows go and under which names, already as BSON wants them.

use std::collections::HashMap;
use std::sync::Arc;

use super::json::{field_name, is_odd};
use crate::config::raw::OddFieldNames;
use crate::event::SourceType;
use crate::target::mongodb::config::Settings;
use crate::target::{DeliveryMode, ErrorKind, Layout, TargetError};

/// Field of at_least_once documents that holds the version: `{v: <28 bytes>}`.
pub(crate) const VERSION_FIELD: &str = "_whimbrel";

/// More layouts than a pipeline has at a time; past that, the cache begins anew (schema changes leave old ones behind).
const MOST_PLANS: usize = 1024;

/// A layout made ready.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Held so that its address stays its own while the plan is cached.
    layout: Arc<Layout>,
    /// Collection.
    pub collection: Arc<str>,
    /// One per cell.
    pub fields: Vec<Option<Field>>,
    /// Names and types of the key, in order.
    pub key: Vec<Field>,
    /// Some field cannot be addressed by path.
    pub odd: bool,
    /// The row is one MongoDB document: its fields become the document's own.
    pub spread: bool,
}

/// A field of the document.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name after the policy; holds no NUL.
    pub name: Box<str>,
    /// What the source says.
    pub ty: SourceType,
}

impl Plan {
    fn new(layout: &Arc<Layout>, settings: &Settings) -> Result<Self, TargetError> {
        let table = &layout.table;
        collection_name(table)?;
        // The key's own names are reserved in `_id`, whatever the policy for other fields.
        let mut key = Vec::with_capacity(layout.key.len());
        for column in &layout.key {
            let name = name(table, &column.name, settings.odd_field_names)?;
            if name.starts_with('$') && layout.key.len() > 1 {
                let hint = "set odd_field_names to replace, or rename the column in the table's mapping";
                return Err(mismatch(
                    table,
                    &column.name,
                    &format!("begins with `$`, which MongoDB refuses in `_id`: {hint}"),
                ));
            }
            key.push(Field { name: name.into(), ty: column.ty.clone() });
        }
        let mut fields = Vec::with_capacity(layout.columns.len());
        let mut seen = std::collections::HashSet::new();
        for column in &layout.columns {
            if !column.write || (column.key.is_some() && (!settings.key_fields || &*column.name == "_id")) {
                fields.push(None);
                continue;
            }
            let name = name(table, &column.name, settings.odd_field_names)?;
            if name == "_id" {
                return Err(mismatch(
                    table,
                    &column.name,
                    "is not the key, but MongoDB keeps the key there: map it to another name",
                ));
            }
            if name == VERSION_FIELD && settings.mode == DeliveryMode::AtLeastOnce {
                return Err(mismatch(
                    table,
                    &column.name,
                    "is where at_least_once keeps the version: map it to another name",
                ));
            }
            if !seen.insert(name.clone()) {
                return Err(mismatch(
                    table,
                    &column.name,
                    "would write the same field as another column: map one to another name",
                ));
            }
            fields.push(Some(Field { name: name.into(), ty: column.ty.clone() }));
        }
        let odd = fields.iter().flatten().any(|field| is_odd(&field.name));
        let mut written = fields.iter().flatten();
        let spread =
            matches!((written.next(), written.next()), (Some(only), None) if only.ty == SourceType::MongoDocument);
        Ok(Self { layout: Arc::clone(layout), collection: Arc::clone(table), fields, key, odd, spread })
    }
}

/// Plans by layout.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    by_address: HashMap<usize, Arc<Plan>>,
}

impl Plans {
    /// The plan of a layout, made at first sight.
    ///
    /// # Errors
    /// [`ErrorKind::SchemaMismatch`] when the layout cannot become documents.
    pub(crate) fn get(&mut self, layout: &Arc<Layout>, settings: &Settings) -> Result<Arc<Plan>, TargetError> {
        let address = Arc::as_ptr(layout) as usize;
        if let Some(plan) = self.by_address.get(&address)
            && Arc::ptr_eq(&plan.layout, layout)
        {
            return Ok(Arc::clone(plan));
        }
        if self.by_address.len() >= MOST_PLANS {
            self.by_address.clear();
        }
        let plan = Arc::new(Plan::new(layout, settings)?);
        self.by_address.insert(address, Arc::clone(&plan));
        Ok(plan)
    }
}

fn name(table: &str, column: &str, odd: OddFieldNames) -> Result<String, TargetError> {
    field_name(column, odd).map(std::borrow::Cow::into_owned).map_err(|bad| mismatch(table, column, &bad.to_string()))
}

fn mismatch(table: &str, column: &str, what: &str) -> TargetError {
    TargetError::new(ErrorKind::SchemaMismatch, format!("column `{}` of `{table}`: {what}", column.escape_debug()))
}

fn collection_name(name: &str) -> Result<(), TargetError> {
    // The server's limit is 255 bytes for database, dot and collection together.
    let bad = name.is_empty() || name.len() > 190 || name.contains(['$', '\0']) || name.starts_with("system.");
    if bad || name.starts_with('.') || name.ends_with('.') {
        return Err(TargetError::new(
            ErrorKind::SchemaMismatch,
            format!("`{}` is not a collection name MongoDB takes: map the table to another", name.escape_debug()),
        ));
    }
    Ok(())
}
