//! One mask over every crossing that was considered: the benchmark's guest. It keeps the e-mail addresses of customers
//! in Germany to itself, so each design reads two columns and writes one. Empty outside the sandbox.
#![cfg(target_arch = "wasm32")]
#![expect(missing_docs, reason = "generated code; the WIT file documents it")]

#[cfg(feature = "bump")]
mod bump;

use std::cell::Cell;
use std::mem::ManuallyDrop;

use bench::crossing::host::{Column, Value, bind};

wit_bindgen::generate!({ path: "../wit", world: "crossing" });

const EMAIL: &str = "after.email";
const COUNTRY: &str = "after.country";

thread_local! {
    /// What `bind` gave for the two paths.
    static BOUND: Cell<Option<(u32, u32)>> = const { Cell::new(None) };
}

fn bound() -> (u32, u32) {
    BOUND.get().unwrap_or_else(|| {
        let handles = (bind(EMAIL), bind(COUNTRY));
        BOUND.set(Some(handles));
        handles
    })
}

/// The generated code wants a list of owned strings; a plugin would keep one from its start.
fn lend(text: &'static str) -> ManuallyDrop<String> {
    // SAFETY: never freed, never written.
    ManuallyDrop::new(unsafe { String::from_raw_parts(text.as_ptr().cast_mut(), text.len(), text.len()) })
}

/// Appends the masked address.
fn mask(email: &str, country: &str, out: &mut String) {
    match email.rsplit_once('@').and_then(|(local, domain)| Some((local.chars().next()?, domain))) {
        _ if country != "DE" => out.push_str(email),
        Some((first, domain)) if !domain.is_empty() => {
            out.push(first);
            out.push_str("***@");
            out.push_str(domain);
        }
        _ => out.push_str("***"),
    }
}

fn masked(email: &str, country: &str) -> String {
    let mut out = String::with_capacity(email.len() + 4);
    mask(email, country, &mut out);
    out
}

fn text(column: &Packed, row: usize) -> Option<&str> {
    if column.nulls.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0) {
        return None;
    }
    let (start, end) = (*column.offsets.get(row)?, *column.offsets.get(row + 1)?);
    column.data.get(start as usize..end as usize)
}

fn mask_column(email: &Packed, country: &Packed) -> Packed {
    let rows = email.offsets.len().saturating_sub(1);
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0);
    let mut out = Packed { offsets, data: String::with_capacity(email.data.len()), nulls: email.nulls.clone() };
    for row in 0..rows {
        if let Some(email) = text(email, row) {
            mask(email, text(country, row).unwrap_or_default(), &mut out.data);
        }
        out.offsets.push(out.data.len() as u32);
    }
    out
}

fn text_of(row: &[Column], name: &str) -> Option<String> {
    row.iter().find(|column| column.name == name).and_then(|column| match &column.value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    })
}

struct Mask;
export!(Mask);

impl Guest for Mask {
    fn nothing() {}

    fn may_fail() -> Result<(), Failure> {
        Ok(())
    }

    fn lent(_batch: &Batch) {}

    fn length(batch: &Batch) -> u32 {
        batch.len()
    }

    fn typed(mut events: Vec<Event>) -> Vec<Event> {
        for row in events.iter_mut().filter_map(|event| event.after.as_mut()) {
            let country = text_of(row, "country").unwrap_or_default();
            let email = row.iter_mut().find(|column| column.name == "email");
            if let Some(Value::Text(email)) = email.map(|column| &mut column.value) {
                *email = masked(email, &country);
            }
        }
        events
    }

    fn json(events: Vec<String>) -> Vec<String> {
        let one = |json: String| {
            let Ok(mut event) = serde_json::from_str::<serde_json::Value>(&json) else { return json };
            let after = event.get_mut("after");
            let country = after.as_ref().and_then(|row| row.get("country")?.as_str()).unwrap_or_default().to_owned();
            if let Some(serde_json::Value::String(email)) = after.and_then(|row| row.get_mut("email")) {
                *email = masked(email, &country);
            }
            event.to_string()
        };
        events.into_iter().map(one).collect()
    }

    fn cells(batch: &Batch) {
        for row in 0..batch.len() {
            if let Some(email) = batch.cell(EMAIL, row) {
                let country = batch.cell(COUNTRY, row).unwrap_or_default();
                batch.set_cell(EMAIL, row, Some(&masked(&email, &country)));
            }
        }
    }

    fn lists(batch: &Batch) {
        let emails = batch.text_list(EMAIL);
        let countries = batch.text_list(COUNTRY);
        let masked: Vec<Option<String>> = emails
            .iter()
            .zip(&countries)
            .map(|(email, country)| email.as_deref().map(|email| masked(email, country.as_deref().unwrap_or_default())))
            .collect();
        batch.set_text_list(EMAIL, &masked);
    }

    fn columns(batch: &Batch) {
        let email = batch.text_column(EMAIL);
        let country = batch.text_column(COUNTRY);
        batch.set_text_column(EMAIL, &mask_column(&email, &country));
    }

    fn columns_at_once(batch: &Batch) {
        let paths = [lend(EMAIL), lend(COUNTRY)];
        // SAFETY: the same layout, and the call only reads.
        let paths = unsafe { &*(&raw const paths).cast::<[String; 2]>() };
        if let [email, country] = batch.text_columns(paths).as_slice() {
            batch.set_text_column(EMAIL, &mask_column(email, country));
        }
    }

    fn bound(batch: &Batch) {
        let (email_at, country_at) = bound();
        let email = batch.bound_column(email_at);
        let country = batch.bound_column(country_at);
        batch.set_bound_column(email_at, &mask_column(&email, &country));
    }

    fn bound_at_once(batch: &Batch) {
        let (email_at, country_at) = bound();
        if let [email, country] = batch.bound_columns(&[email_at, country_at]).as_slice() {
            batch.set_bound_column(email_at, &mask_column(email, country));
        }
    }

    fn projection(columns: Vec<Packed>) -> Packed {
        match columns.as_slice() {
            [email, country] => mask_column(email, country),
            _ => Packed { offsets: Vec::new(), data: String::new(), nulls: Vec::new() },
        }
    }
}
