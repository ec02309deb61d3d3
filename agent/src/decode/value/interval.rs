//! Intervals: a number of microseconds, or an ISO 8601 duration.

use super::{Loss, Typed, Value, ValueError};

const DAY_MICROS: u64 = 86_400_000_000;

/// `interval.handling.mode=numeric`. Debezium counts a month as 30.4375 days, so from a day upwards it cannot be told how
/// many days or months the source had.
pub(super) fn micros(micros: i64) -> Result<Typed<'static>, ValueError> {
    let loss = (micros.unsigned_abs() >= DAY_MICROS).then_some(Loss::IntervalParts);
    Ok(Typed { value: Value::Interval { months: 0, days: 0, micros }, loss })
}

/// `interval.handling.mode=string`: `P1Y2M3DT4H5M6.789S`, each part with its own sign.
pub(super) fn iso(text: &str) -> Result<Typed<'static>, ValueError> {
    let expected = ValueError::Expected("an interval");
    let range = ValueError::OutOfRange("an interval");
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => (-1, body),
        None => (1, text),
    };
    let body = body.strip_prefix('P').ok_or(expected)?;
    let (date, time) = body.split_once('T').map_or((body, None), |(date, time)| (date, Some(time)));
    if date.is_empty() && time.is_none_or(str::is_empty) {
        return Err(expected);
    }
    let (mut months, mut days, mut micros) = (0i64, 0i64, 0i64);
    let add = |sum: &mut i64, number: i64, unit: i64| -> Result<(), ValueError> {
        let part = number.checked_mul(unit).and_then(|part| part.checked_mul(sign)).ok_or(range)?;
        *sum = sum.checked_add(part).ok_or(range)?;
        Ok(())
    };
    let mut rest = date;
    while !rest.is_empty() {
        let (number, unit, tail) = part(rest).ok_or(expected)?;
        let number: i64 = number.parse().map_err(|_| expected)?;
        match unit {
            b'Y' => add(&mut months, number, 12)?,
            b'M' => add(&mut months, number, 1)?,
            b'W' => add(&mut days, number, 7)?,
            b'D' => add(&mut days, number, 1)?,
            _ => return Err(expected),
        }
        rest = tail;
    }
    let mut lossy = false;
    let mut rest = time.unwrap_or_default();
    while !rest.is_empty() {
        let (number, unit, tail) = part(rest).ok_or(expected)?;
        match unit {
            b'H' => add(&mut micros, number.parse().map_err(|_| expected)?, 3_600_000_000)?,
            b'M' => add(&mut micros, number.parse().map_err(|_| expected)?, 60_000_000)?,
            b'S' => {
                let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
                let negative = whole.starts_with('-');
                // "-.5" and "-" are no numbers of Java's.
                add(&mut micros, whole.parse().map_err(|_| expected)?, 1_000_000)?;
                if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(expected);
                }
                let (kept, cut) = fraction.split_at(fraction.len().min(6));
                lossy |= cut.bytes().any(|byte| byte != b'0');
                let unit = kept.bytes().fold(1_000_000, |unit, _| unit / 10);
                let parts: i64 = if kept.is_empty() { 0 } else { kept.parse().map_err(|_| expected)? };
                add(&mut micros, if negative { -parts } else { parts }, unit)?;
            }
            _ => return Err(expected),
        }
        rest = tail;
    }
    Ok(Typed { value: Value::Interval { months, days, micros }, loss: lossy.then_some(Loss::SubMicrosecond) })
}

/// A number, its unit and what follows.
fn part(text: &str) -> Option<(&str, u8, &str)> {
    let at = text.bytes().position(|byte| byte.is_ascii_alphabetic())?;
    let (number, rest) = text.split_at_checked(at)?;
    let (unit, tail) = rest.split_at_checked(1)?;
    Some((number, *unit.as_bytes().first()?, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_their_three_parts() {
        for (text, months, days, micros) in [
            ("P1Y2M3DT4H5M6.789S", 14, 3, 14_706_789_000),
            ("P0Y0M0DT0H0M0S", 0, 0, 0),
            ("P-1Y-2M-3DT-4H-5M-6.789S", -14, -3, -14_706_789_000),
            ("PT-0.5S", 0, 0, -500_000),
            ("P1W", 0, 7, 0),
            ("-P1D", 0, -1, 0),
            ("PT0.000001S", 0, 0, 1),
        ] {
            assert_eq!(iso(text).unwrap(), Value::Interval { months, days, micros }.into(), "{text}");
        }
        for wrong in
            ["", "P", "PT", "1D", "P1", "PD", "P1.5D", "PT1D", "P1H", "PT1.xS", "P99999999999999999999D", "PT.5S"]
        {
            assert!(iso(wrong).is_err(), "{wrong}");
        }
        assert_eq!(iso("PT0.0000001S").unwrap().loss, Some(Loss::SubMicrosecond));
    }

    #[test]
    fn a_year_in_microseconds_has_lost_its_months() {
        // 1 year 2 mons 3 days 04:05:06.789 as the samples have it.
        let typed = micros(37_091_106_789_000).unwrap();
        assert_eq!(typed.loss, Some(Loss::IntervalParts));
        assert_eq!(micros(1_000_000).unwrap().loss, None);
    }
}
