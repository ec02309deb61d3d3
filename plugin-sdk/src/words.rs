//! Figures as a person reads them in an alert: spans of time and plain numbers, short and always the same.
//!
//! ```
//! use whimbrel_plugin::words::{number, span};
//!
//! let title = format!("{} events/s for {}", number(12_400.0), span(90_000));
//! assert_eq!(title, "12,400 events/s for 1 min 30 s");
//! ```

/// A span of time in its two largest units.
///
/// ```
/// use whimbrel_plugin::words::span;
///
/// assert_eq!(span(250), "250 ms");
/// assert_eq!(span(45_000), "45 s");
/// assert_eq!(span(2 * 3_600_000 + 5 * 60_000), "2 h 5 min");
/// assert_eq!(span(3 * 86_400_000), "3 d");
/// assert_eq!(span(-1), "0 ms", "no span is shorter than none");
/// ```
#[must_use]
pub fn span(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    if milliseconds < 1_000 {
        return format!("{milliseconds} ms");
    }
    let seconds = milliseconds / 1_000;
    let (larger, unit, rest, smaller) = match seconds {
        0..60 => (seconds, "s", 0, ""),
        60..3_600 => (seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    if rest == 0 { format!("{larger} {unit}") } else { format!("{larger} {unit} {rest} {smaller}") }
}

/// A number to three significant digits or to the whole, whichever is more, with commas between thousands.
///
/// ```
/// use whimbrel_plugin::words::number;
///
/// assert_eq!(number(1_234_567.8), "1,234,568");
/// assert_eq!(number(12.345), "12.3");
/// assert_eq!(number(0.012_345), "0.0123");
/// assert_eq!(number(-3.0), "-3");
/// assert_eq!(number(1e300), "above a thousand million million");
/// assert_eq!(number(f64::NAN), "unknown");
/// ```
#[must_use]
pub fn number(value: f64) -> String {
    // Beyond these bounds a figure tells a person nothing, and would fill the line with digits.
    const LEAST: f64 = 1e-6;
    const MOST: f64 = 1e15;
    let size = value.abs();
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    if size >= MOST {
        return format!("{} thousand million million", if value < 0.0 { "below minus a" } else { "above a" });
    }
    if size < LEAST {
        return "0".to_owned();
    }
    if size < 100.0 {
        let decimals = [10.0, 1.0, 0.1, 0.01, 0.001, 0.000_1].iter().take_while(|bound| size < **bound).count() + 1;
        let text = format!("{value:.decimals$}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let digits = format!("{size:.0}");
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 { format!("-{grouped}") } else { grouped }
}
