//! Histograms whose first label comes from data: a bounded number of series, and one for what comes after.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use super::family::OVERFLOW;

/// A histogram of seconds.
pub(crate) struct Timings {
    /// Name, exactly as scraped.
    pub(crate) name: &'static str,
    label: &'static str,
    histogram: Histogram<f64>,
    budget: usize,
    names: Mutex<(HashSet<String>, HashSet<String>)>,
}

impl Timings {
    pub(crate) fn new(
        meter: &Meter,
        (name, help): (&'static str, &'static str),
        label: &'static str,
        buckets: &[f64],
        budget: usize,
    ) -> Self {
        let histogram =
            meter.f64_histogram(name).with_description(help).with_unit("s").with_boundaries(buckets.to_vec()).build();
        Self { name, label, histogram, budget, names: Mutex::default() }
    }

    /// One more, of `name`; `more` holds labels whose values are words of the code.
    pub(crate) fn record(&self, name: &str, seconds: f64, more: Option<KeyValue>) {
        let fits = {
            let mut guard = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            let (known, refused) = &mut *guard;
            let fits = known.contains(name) || (known.len() < self.budget && known.insert(name.to_owned()));
            // Refused names are kept to be counted once each, within the same bound.
            if !fits && refused.len() < self.budget {
                refused.insert(name.to_owned());
            }
            fits
        };
        let name = KeyValue::new(self.label, if fits { name.to_owned() } else { OVERFLOW.to_owned() });
        match more {
            Some(more) => self.histogram.record(seconds, &[name, more]),
            None => self.histogram.record(seconds, &[name]),
        }
    }

    /// Names that had to go to the overflow series.
    pub(crate) fn refused(&self) -> u64 {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).1.len() as u64
    }
}
