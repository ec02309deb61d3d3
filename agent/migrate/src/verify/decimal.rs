//! Decimal numbers of any length, written one way.

/// Numbers with more zeros than this at one of their ends keep an exponent.
const MOST_ZEROS: i64 = 60;

/// The one way to write a decimal number such as `-001.50`, `+15e-1` or `.5`: no sign but `-`, no zeros that do not count, no
/// exponent unless there would be very many zeros. None: it is no number.
///
/// ```
/// use whimbrel_migrate::verify::decimal::canonical;
/// assert_eq!(canonical("-001.50").as_deref(), Some("-1.5"));
/// assert_eq!(canonical("15e-1"), canonical("1.5"));
/// assert_eq!(canonical("-0.0").as_deref(), Some("0"));
/// assert_eq!(canonical("1,5"), None);
/// ```
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    // The number is `significant` times ten to the power of this.
    let power = i64::from(exponent) - i64::try_from(fraction.len()).ok()?
        + i64::try_from(digits.len() - significant.len()).ok()?;
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".into());
    }
    let length = i64::try_from(significant.len()).ok()?;
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let written = match power {
        0..=MOST_ZEROS => format!("{significant}{}", zeros(power)),
        _ if power < 0 && length + power > 0 => {
            let (whole, fraction) = significant.split_at_checked(usize::try_from(length + power).ok()?)?;
            format!("{whole}.{fraction}")
        }
        _ if power < 0 && length + power >= -MOST_ZEROS => format!("0.{}{significant}", zeros(-(length + power))),
        _ => format!("{significant}e{power}"),
    };
    Some(if negative { format!("-{written}") } else { written })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::canonical;

    #[test]
    fn numbers_are_written_one_way() {
        for (text, expect) in [
            ("0", Some("0")),
            ("-0.00e7", Some("0")),
            ("007", Some("7")),
            ("100", Some("100")),
            ("1e2", Some("100")),
            ("100.0", Some("100")),
            (".5", Some("0.5")),
            ("5.", Some("5")),
            ("12.340", Some("12.34")),
            ("1234e-2", Some("12.34")),
            ("1e-7", Some("0.0000001")),
            ("10e399", Some("1e400")),
            ("1.5e-400", Some("15e-401")),
            ("", None),
            (".", None),
            ("-", None),
            ("1e", None),
            ("1e99999999999", None),
            ("0x10", None),
            ("1 ", None),
            ("１", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expect, "{text}");
        }
    }

    proptest! {
        #[test]
        fn zeros_and_exponents_make_no_difference(number in any::<i64>(), shift in 0i32..30, zeros in 0usize..5) {
            let plain = canonical(&number.to_string()).unwrap();
            prop_assert_eq!(&plain, &number.to_string());
            let padded = format!("{number}.{}", "0".repeat(zeros));
            prop_assert_eq!(canonical(&padded).unwrap(), plain.clone());
            let shifted = format!("{number}{}e-{shift}", "0".repeat(shift as usize));
            prop_assert_eq!(canonical(&shifted).unwrap(), plain);
        }

        #[test]
        fn a_float_reads_back_from_it(number in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            prop_assert_eq!(canonical(&format!("{number:e}")).unwrap().parse::<f64>().unwrap(), number);
        }

        #[test]
        fn the_written_form_is_its_own(text in "[-+]?[0-9]{0,5}[.]?[0-9]{0,5}(e-?[0-9]{1,3})?") {
            if let Some(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Some(once.clone()));
            }
        }
    }
}
