//! Series of the plugin's own. The sink bounds how many there are; here what is no number is dropped.

use super::State;
use crate::plugin::bindings::transform::whimbrel::plugin::host_metrics;

/// The longest name of a series, in bytes; longer ones are cut.
const MAX_NAME: usize = 64;

/// A name as a label value: printable and short.
fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(MAX_NAME).collect()
}

impl<L: Send> host_metrics::Host for State<L> {
    fn add(&mut self, name: String, by: f64) -> wasmtime::Result<()> {
        if let Some(sink) = &self.services.metrics
            && by.is_finite()
            && by >= 0.0
        {
            sink.add(&clean(&name), by);
        }
        Ok(())
    }

    fn set(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        if let Some(sink) = &self.services.metrics
            && value.is_finite()
        {
            sink.set(&clean(&name), value);
        }
        Ok(())
    }

    fn observe(&mut self, name: String, value: f64) -> wasmtime::Result<()> {
        if let Some(sink) = &self.services.metrics
            && value.is_finite()
        {
            sink.observe(&clean(&name), value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_short_and_printable() {
        assert_eq!(super::clean("rows seen\n"), "rows_seen_");
        assert_eq!(super::clean(&"x".repeat(1000)).len(), 64);
    }
}
