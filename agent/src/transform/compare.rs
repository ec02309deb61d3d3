//! Whether two versions of a plugin made the same of an event: verdict, table, and every value with its type. Names what
//! differs and never shows a value. Pure.

use crate::batch::{Batch, Image};
use crate::event::{Cell, CellKind, Event, Row, Verdict};

/// As many parts of one event are named.
const MAX_PARTS: usize = 16;

/// What differs: `verdict`, `table`, or columns such as `after.email`; empty when nothing does.
pub(super) fn differing(old: &Batch, new: &Batch, at: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let (Some(one), Some(other)) = (old.events.get(at), new.events.get(at)) else {
        return vec!["verdict".to_owned()];
    };
    if verdict(old, one) != verdict(new, other) {
        return vec!["verdict".to_owned()];
    }
    // What was made of an event that goes no further does not matter.
    if one.verdict != Verdict::Keep {
        return parts;
    }
    if old.destination(one) != new.destination(other) {
        parts.push("table".to_owned());
    }
    for (name, image) in [("key", Image::Key), ("before", Image::Before), ("after", Image::After)] {
        match (old.image(one, image), new.image(other, image)) {
            (None, None) => {}
            (Some(one), Some(other)) => columns((old, one), (new, other), name, &mut parts),
            _ => parts.push(name.to_owned()),
        }
    }
    parts.truncate(MAX_PARTS);
    parts
}

/// A verdict without its words: those name the plugin.
fn verdict(batch: &Batch, event: &Event) -> (u8, Option<&'static str>) {
    match event.verdict {
        Verdict::Keep => (0, None),
        Verdict::Drop => (1, None),
        Verdict::Fail(_) => (2, batch.failure(event).map(|failure| failure.reason.as_str())),
    }
}

fn columns((old, one): (&Batch, Row), (new, other): (&Batch, Row), image: &str, parts: &mut Vec<String>) {
    let (Some(before), Some(after)) = (old.shape(one), new.shape(other)) else { return };
    let (cells, others) = (old.row(one), new.row(other));
    let mut matched = 0;
    for (place, (column, cell)) in before.columns.iter().zip(cells).enumerate() {
        // Columns mostly stand where they stood.
        let here = after.columns.get(place).is_some_and(|there| there.name == column.name);
        let found = if here { Some(place) } else { after.position(&column.name) };
        let counterpart = found.and_then(|place| Some((after.columns.get(place)?, others.get(place)?)));
        matched += usize::from(counterpart.is_some());
        if counterpart.is_none_or(|(there, twin)| there.ty != column.ty || !equal((old, *cell), (new, *twin))) {
            parts.push(format!("{image}.{}", column.name));
        }
    }
    if matched < after.columns.len() {
        let added = after.columns.iter().filter(|there| before.position(&there.name).is_none());
        parts.extend(added.map(|column| format!("{image}.{}", column.name)));
    }
}

fn equal((old, one): (&Batch, Cell), (new, other): (&Batch, Cell)) -> bool {
    let class = |kind: CellKind| if kind == CellKind::Escaped { CellKind::Text } else { kind };
    if class(one.kind) != class(other.kind) {
        return false;
    }
    // The text as it is written is mostly the same text.
    (one.kind == other.kind && old.bytes(one.span) == new.bytes(other.span)) || old.text(one) == new.text(other)
}
