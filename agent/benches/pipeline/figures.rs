//! Figures of several rounds, each beside its target.

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Only to be known.
    Shown,
}

/// A figure: its name, one value a round.
struct Figure {
    name: &'static str,
    unit: &'static str,
    target: Target,
    values: Vec<f64>,
}

/// All figures of a run, in the order they were first added.
#[derive(Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// Adds the value of a round.
    pub(crate) fn add(&mut self, name: &'static str, unit: &'static str, target: Target, value: f64) {
        match self.0.iter_mut().find(|f| f.name == name) {
            Some(figure) => figure.values.push(value),
            None => self.0.push(Figure { name, unit, target, values: vec![value] }),
        }
    }

    /// Prints medians as a table and forgets them.
    pub(crate) fn print(&mut self) {
        println!("\n| figure | median | lowest to highest | target | |\n|---|---|---|---|---|");
        for figure in self.0.drain(..) {
            let mut values = figure.values;
            values.sort_by(f64::total_cmp);
            let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
            let middle = f64::midpoint(at((values.len() - 1) / 2), at(values.len() / 2));
            let (target, verdict) = match figure.target {
                Target::AtLeast(least) => {
                    (format!("≥ {}", number(least)), if middle >= least { "met" } else { "missed" })
                }
                Target::AtMost(most) => (format!("≤ {}", number(most)), if middle <= most { "met" } else { "missed" }),
                Target::Shown => (String::new(), ""),
            };
            println!(
                "| {} | {} {} | {} to {} | {target} | {verdict} |",
                figure.name,
                number(middle),
                figure.unit,
                number(at(0)),
                number(at(values.len() - 1)),
            );
        }
        println!();
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        big if big >= 1000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
