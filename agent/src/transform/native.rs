//! The e-mail mask of the bundled plugin as plain Rust over the batch: what the sandbox is measured against. Not part
//! of any pipeline.

use crate::batch::{Batch, Image};
use crate::event::Verdict;

/// Masks one column of both images in every kept event, as `mask-fields` does with the method `email`.
pub fn mask_email(batch: &mut Batch, column: &str) {
    let mut masked = String::new();
    let mut last = None;
    for at in 0..batch.events.len() {
        for image in [Image::Before, Image::After] {
            let Some(event) = batch.events.get(at).filter(|event| event.verdict == Verdict::Keep) else { continue };
            let Some(row) = batch.image(event, image) else { continue };
            let position = match last {
                Some((shape, position)) if shape == row.shape => position,
                _ => batch.shape(row).and_then(|shape| shape.position(column)),
            };
            last = Some((row.shape, position));
            let Some(position) = position else { continue };
            let Some(cell) = batch.row(row).get(position).copied() else { continue };
            let Some(text) = batch.text(cell) else { continue };
            masked.clear();
            match text.rsplit_once('@').and_then(|(local, domain)| Some((local.chars().next()?, domain))) {
                Some((first, domain)) if !domain.is_empty() => {
                    masked.push(first);
                    masked.push_str("***@");
                    masked.push_str(domain);
                }
                _ => masked.push_str("***"),
            }
            batch.set_text(row, position, &masked);
        }
    }
}
