use whimbrel_plugin::prelude::*;

/// Warns when the last rate is low.
#[derive(Config)]
struct Slow { #[config(default = 1.0)] least: f64 }

#[rule]
impl Rule for Slow {
    fn evaluate(&mut self, window: &Window, _cx: &Context) -> Result<Vec<Finding>, Failure> {
        let low = window.named("rate").filter(|rate| rate.last().is_some_and(|point| point.value < self.least));
        Ok(low.map(|_| Finding::new("rate", "low_throughput", Severity::Warning, "almost nothing moves")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whimbrel_plugin::testing::context;

    #[test]
    fn a_low_rate_is_found_and_a_good_one_is_not() {
        let mut plugin: Slow = whimbrel_plugin::config::parse("{}").unwrap();
        let mut found = |value| {
            let points = vec![Point { at_ms: 0, value }];
            let rate = Series { name: "rate".to_owned(), points, ..Series::default() };
            let window = Window { series: vec![rate], ..Window::default() };
            plugin.evaluate(&window, &context()).unwrap().len()
        };
        assert_eq!((found(0.5), found(5.0)), (1, 0));
    }
}
