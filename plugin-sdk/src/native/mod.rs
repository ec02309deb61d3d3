//! The host in a plain `cargo test`: events as JSON values in memory, with the semantics the agent has. No engine,
//! no limits, no isolation; the agent's own tests check that both hosts agree.

use crate::dictionary::Dictionary;
use crate::failure::Failure;
use crate::json::Json;
use crate::packed::Packed;
use crate::testing::{Event, Verdict};
use crate::value::Value;

mod services;

pub(crate) use services::{
    Bench, Services, log, mail, metric_add, metric_observe, metric_set, now_ms, progress, run, secret, send, sign,
    state_delete, state_get, state_set,
};

/// The events behind a [`crate::Batch`].
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) events: Vec<Event>,
}

/// "after.email" to the image's member name and the column's.
fn split(path: &str) -> Result<(&str, &str), Failure> {
    match path.split_once('.') {
        Some((image @ ("after" | "before" | "key"), column)) if !column.is_empty() => Ok((image, column)),
        _ => Err(Failure::new("path", format!("`{path}` is not after., before. or key. and a column"))),
    }
}

fn text(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Text(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl Host {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn operations(&self) -> Dictionary {
        self.events.iter().map(|event| event.operation.as_str()).collect()
    }

    pub(crate) fn tables(&self) -> Dictionary {
        self.events.iter().map(|event| event.table.as_str()).collect()
    }

    pub(crate) fn set_tables(&mut self, tables: &Dictionary) -> Result<(), Failure> {
        if tables.values().iter().any(String::is_empty) {
            return Err(Failure::new("table", "a table name is empty"));
        }
        assert_eq!(tables.len(), self.len(), "one table name for each event: the agent stops the plugin here");
        for (event, table) in self.events.iter_mut().zip(tables.iter()) {
            table.clone_into(&mut event.table);
        }
        Ok(())
    }

    pub(crate) fn source_times(&self) -> Vec<i64> {
        self.events.iter().map(|event| event.source_time).collect()
    }

    fn cell(&self, row: usize, image: &str, column: &str) -> Option<&Json> {
        self.events.get(row)?.image(image).get(column)
    }

    fn cell_mut(&mut self, row: usize, image: &str, column: &str) -> Option<&mut Json> {
        self.events.get_mut(row)?.image_mut(image).get_mut(column)
    }

    pub(crate) fn text_column(&self, path: &str) -> Packed {
        let mut packed = Packed::default();
        for row in 0..self.len() {
            let value = split(path).ok().and_then(|(image, column)| self.cell(row, image, column)).and_then(text);
            packed.push(value.as_deref());
        }
        packed.finish();
        packed
    }

    pub(crate) fn set_text_column(&mut self, path: &str, values: &Packed) -> Result<(), Failure> {
        assert_eq!(values.len(), self.len(), "one value for each event: the agent stops the plugin here");
        let rows: Vec<u32> = (0..u32::try_from(self.len()).unwrap_or(u32::MAX)).collect();
        self.patch_text_column(path, &rows, values)
    }

    pub(crate) fn patch_text_column(&mut self, path: &str, rows: &[u32], values: &Packed) -> Result<(), Failure> {
        let (image, column) = split(path)?;
        assert_eq!(values.len(), rows.len(), "one value for each row: the agent stops the plugin here");
        assert!(rows.is_sorted_by(|a, b| a < b), "rows must ascend: the agent stops the plugin here");
        assert!(
            rows.last().is_none_or(|last| (*last as usize) < self.len()),
            "no such row: the agent stops the plugin here"
        );
        for (row, new) in rows.iter().zip(values.iter()) {
            if let Some(cell) = self.cell_mut(*row as usize, image, column)
                && text(cell).as_deref() != new
            {
                *cell = new.map_or(Json::Null, Json::from);
            }
        }
        Ok(())
    }

    pub(crate) fn column(&self, path: &str) -> Vec<Value> {
        let cell = |row| split(path).ok().and_then(|(image, column)| self.cell(row, image, column));
        (0..self.len()).map(|row| cell(row).map_or(Value::Null, typed)).collect()
    }

    pub(crate) fn set_column(&mut self, path: &str, values: &[Value]) -> Result<(), Failure> {
        let (image, column) = split(path)?;
        assert_eq!(values.len(), self.len(), "one value for each event: the agent stops the plugin here");
        for (row, value) in values.iter().enumerate() {
            let new = untyped(value)?;
            if let Some(cell) = self.cell_mut(row, image, column) {
                *cell = new;
            }
        }
        Ok(())
    }

    pub(crate) fn json(&self, row: usize) -> Vec<u8> {
        self.events.get(row).map(|event| event.to_json().to_string().into_bytes()).unwrap_or_default()
    }

    pub(crate) fn set_json(&mut self, row: usize, json: &[u8]) -> Result<(), Failure> {
        let text = std::str::from_utf8(json).map_err(|_| Failure::new("json", "not UTF-8"))?;
        let json = Json::parse(text).map_err(|error| Failure::new("json", error.to_string()))?;
        let event = self.events.get_mut(row).ok_or_else(|| Failure::new("row", "there is no such row"))?;
        event.replace(&json).map_err(|reason| Failure::new("json", reason))
    }

    pub(crate) fn drop_rows(&mut self, rows: &[u32]) {
        for row in rows {
            if let Some(event) = self.events.get_mut(*row as usize) {
                event.verdict = Verdict::Drop;
            }
        }
    }

    pub(crate) fn fail(&mut self, row: usize, reason: &Failure) {
        if let Some(event) = self.events.get_mut(row) {
            event.verdict = Verdict::Fail(reason.clone());
        }
    }
}

fn typed(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(text) => match (text.parse(), text.parse()) {
            (Ok(integer), _) => Value::Integer(integer),
            (_, Ok(float)) => Value::Float(float),
            _ => Value::Tagged("decimal".to_owned(), text.clone()),
        },
        Json::Text(text) => Value::Text(text.clone()),
        Json::List(_) | Json::Object(_) => Value::Tagged("json".to_owned(), json.to_string()),
    }
}

fn untyped(value: &Value) -> Result<Json, Failure> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::Integer(value) => Json::Number(value.to_string()),
        Value::Float(value) => Json::Number(value.to_string()),
        Value::Text(text) => Json::Text(text.clone()),
        Value::Bytes(_) => return Err(Failure::new("value", "the test host has no bytes: JSON has none")),
        Value::Tagged(name, text) if name == "json" => {
            Json::parse(text).map_err(|error| Failure::new("value", error.to_string()))?
        }
        Value::Tagged(_, text) => Json::Text(text.clone()),
    })
}
