//! Dates, times and timestamps: numbers and ISO 8601 text, years before 1 and past 9999, infinities.
//!
//! PostgreSQL's infinities reach us as extreme numbers (`org.postgresql.PGStatement.DATE_POSITIVE_INFINITY` and what
//! Debezium's conversions make of it) that differ by version and column type. Instead of a list of them, anything outside
//! of what PostgreSQL can store is taken as infinite: dates past 5874897-12-31, timestamps past 294276-12-31, both
//! before 4714-11-24 BC (PostgreSQL documentation, "Date/Time Types"). No other source has such dates.

use super::{Loss, Typed, Value, ValueError};

/// 5874897-12-31.
const LAST_DAY: i64 = 2_145_042_905;
/// 4714-11-24 BC, Julian day 0.
const FIRST_DAY: i64 = -2_440_588;
/// What Debezium makes of `infinity` in microseconds; the last microsecond of 294276 is past 64 bits.
const INFINITE_MICROS: i64 = 9_223_372_036_825_200_000;
/// 294277-01-01.
const MILLIS_PAST_LAST: i64 = 9_224_318_016_000_000;
/// 4714-11-24 BC.
const MILLIS_FIRST: i64 = FIRST_DAY * 86_400_000;

const DAY_MICROS: i64 = 86_400_000_000;

/// A date by its number.
pub(super) const fn days(days: i64) -> Value<'static> {
    if days > LAST_DAY {
        Value::Infinity { negative: false }
    } else if days < FIRST_DAY {
        Value::Infinity { negative: true }
    } else {
        Value::Date { days }
    }
}

/// A time; `None` when the caller's arithmetic overflowed.
pub(super) fn time(micros: Option<i64>) -> Result<Value<'static>, ValueError> {
    let micros = micros.ok_or(ValueError::OutOfRange("a time"))?;
    Ok(Value::Time { micros, offset: None })
}

pub(super) const fn timestamp_micros(micros: i64) -> Value<'static> {
    if micros >= INFINITE_MICROS {
        Value::Infinity { negative: false }
    } else if micros < MILLIS_FIRST * 1000 {
        Value::Infinity { negative: true }
    } else {
        Value::Timestamp { micros, zoned: false }
    }
}

pub(super) fn timestamp_millis(millis: i64) -> Result<Value<'static>, ValueError> {
    if millis >= MILLIS_PAST_LAST {
        Ok(Value::Infinity { negative: false })
    } else if millis < MILLIS_FIRST {
        Ok(Value::Infinity { negative: true })
    } else {
        let micros = millis.checked_mul(1000).ok_or(ValueError::OutOfRange("a timestamp"))?;
        Ok(Value::Timestamp { micros, zoned: false })
    }
}

/// `2024-02-29`, with or without the `Z` that Debezium appends.
pub(super) fn iso_date(text: &str) -> Result<Value<'static>, ValueError> {
    if let Some(infinity) = infinity(text) {
        return Ok(infinity);
    }
    let mut reader = Reader(text.as_bytes());
    let day = reader.date().ok_or(ValueError::Expected("a date"))?;
    let zone = reader.offset();
    if !reader.0.is_empty() || !matches!(zone, None | Some(0)) {
        return Err(ValueError::Expected("a date"));
    }
    Ok(days(day))
}

/// `10:00:00.5Z`. Without `zoned` the `Z` is decoration.
pub(super) fn iso_time(text: &str, zoned: bool) -> Result<Typed<'static>, ValueError> {
    let mut reader = Reader(text.as_bytes());
    let (micros, lossy) = reader.time().ok_or(ValueError::Expected("a time"))?;
    let offset = reader.offset();
    if !reader.0.is_empty() || (zoned && offset.is_none()) {
        return Err(ValueError::Expected("a time"));
    }
    let value = Value::Time { micros, offset: offset.filter(|_| zoned) };
    Ok(Typed { value, loss: lossy.then_some(Loss::SubMicrosecond) })
}

/// `2024-02-29T23:59:59.999999Z`. Without `zoned` the `Z` is decoration.
pub(super) fn iso_timestamp(text: &str, zoned: bool) -> Result<Typed<'static>, ValueError> {
    if let Some(infinity) = infinity(text) {
        return Ok(infinity.into());
    }
    let expected = || ValueError::Expected("a timestamp");
    let mut reader = Reader(text.as_bytes());
    let day = reader.date().ok_or_else(expected)?;
    if !reader.eat(b'T') && !reader.eat(b' ') {
        return Err(expected());
    }
    let (micros, lossy) = reader.time().ok_or_else(expected)?;
    let offset = reader.offset();
    if !reader.0.is_empty() || (zoned && offset.is_none()) {
        return Err(expected());
    }
    // Years that PostgreSQL cannot store are what isostring makes of infinities.
    if !(FIRST_DAY..=MILLIS_PAST_LAST / 86_400_000).contains(&day) {
        return Ok(Value::Infinity { negative: day < 0 }.into());
    }
    let offset = i64::from(offset.unwrap_or(0)) * 1_000_000;
    let micros = day.checked_mul(DAY_MICROS).and_then(|day| day.checked_add(micros)?.checked_sub(offset));
    let micros = micros.ok_or(ValueError::OutOfRange("a timestamp"))?;
    let value = Value::Timestamp { micros, zoned };
    Ok(Typed { value, loss: lossy.then_some(Loss::SubMicrosecond) })
}

fn infinity(text: &str) -> Option<Value<'static>> {
    match text {
        "infinity" => Some(Value::Infinity { negative: false }),
        "-infinity" => Some(Value::Infinity { negative: true }),
        _ => None,
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly two digits, at most `max`.
    fn two(&mut self, max: i64) -> Option<i64> {
        let (digits, rest) = self.0.split_first_chunk::<2>()?;
        let number =
            std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?.parse().ok()?;
        self.0 = rest;
        (number <= max).then_some(number)
    }

    /// `[+-]YYYY-MM-DD`, four to nine digits in the year; year 0 is 1 BC.
    fn date(&mut self) -> Option<i64> {
        let negative = self.eat(b'-');
        let signed = negative || self.eat(b'+');
        let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(4..=9).contains(&length) || (length > 4 && !signed) {
            return None;
        }
        let (digits, rest) = self.0.split_at_checked(length)?;
        let year: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let year = if negative { -year } else { year };
        self.0 = rest;
        let month = if self.eat(b'-') { self.two(12)? } else { return None };
        let day = if self.eat(b'-') { self.two(31)? } else { return None };
        let days = days_from_civil(year, month, day);
        // Refuses 30 February, month 0 and day 0: they come back as another day.
        (civil_from_days(days) == (year, month, day)).then_some(days)
    }

    /// `HH:MM[:SS[.fraction]]` in microseconds, and whether digits were cut off. 24:00 is the end of the day.
    fn time(&mut self) -> Option<(i64, bool)> {
        let hour = self.two(24)?;
        let minute = if self.eat(b':') { self.two(59)? } else { return None };
        let second = if self.eat(b':') { self.two(59)? } else { 0 };
        let mut micros = 0;
        let mut lossy = false;
        if self.eat(b'.') {
            let length = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, rest) = self.0.split_at_checked(length).filter(|_| length > 0)?;
            let mut unit = 100_000;
            for digit in digits {
                let digit = i64::from(digit - b'0');
                micros += digit * unit;
                lossy |= unit == 0 && digit != 0;
                unit /= 10;
            }
            self.0 = rest;
        }
        let total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
        (total <= DAY_MICROS).then_some((total, lossy))
    }

    /// `Z`, `±HH`, `±HH:MM` or `±HH:MM:SS`, in seconds east; `None` when there is no zone.
    fn offset(&mut self) -> Option<i32> {
        if self.eat(b'Z') {
            return Some(0);
        }
        let mut probe = Reader(self.0);
        let negative = probe.eat(b'-');
        if !negative && !probe.eat(b'+') {
            return None;
        }
        let hours = probe.two(18)?;
        let minutes = if probe.eat(b':') { probe.two(59)? } else { 0 };
        let seconds = if probe.eat(b':') { probe.two(59)? } else { 0 };
        self.0 = probe.0;
        let offset = i32::try_from((hours * 60 + minutes) * 60 + seconds).ok()?;
        Some(if negative { -offset } else { offset })
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar; H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = (month + 9) % 12;
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01; year 0 is 1 BC. The inverse, `civil_from_days`, of the same paper.
#[must_use]
pub const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(text: &str) -> Option<i64> {
        match iso_timestamp(text, true).ok()?.value {
            Value::Timestamp { micros, .. } => Some(micros),
            _ => None,
        }
    }

    #[test]
    fn dates_are_counted_by_the_proleptic_gregorian_calendar() {
        for (text, expect) in [
            ("1970-01-01", 0),
            ("1969-12-31Z", -1),
            ("2024-02-29Z", 19782),
            ("0001-01-01", -719_162),
            ("0000-12-31", -719_163),
            ("-0043-03-15Z", -735_160),
            ("-4713-11-24", FIRST_DAY),
            ("+10000-01-01", 2_932_897),
            ("+5874897-12-31", LAST_DAY),
        ] {
            assert_eq!(iso_date(text), Ok(Value::Date { days: expect }), "{text}");
        }
        for wrong in [
            "",
            "2023-02-29",
            "2024-00-01",
            "2024-01-00",
            "2024-13-01",
            "10000-01-01",
            "2024-1-1",
            "2024-01-01x",
            "2024-01-01+02:00",
            "-",
            "+",
            "99999999999-01-01",
        ] {
            assert!(iso_date(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn timestamps_keep_every_microsecond() {
        for (text, expect) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2024-02-29T21:59:59.999999Z", 1_709_243_999_999_999),
            ("2024-02-29T23:59:59.999999+02:00", 1_709_243_999_999_999),
            ("2024-02-29T21:59:59.9999990Z", 1_709_243_999_999_999),
            ("0001-01-01T00:00:00.000000Z", -62_135_596_800_000_000),
            ("2024-02-29T24:00:00Z", 1_709_251_200_000_000),
            ("2024-02-29 00:00-00:30", 1_709_166_600_000_000),
        ] {
            assert_eq!(timestamp(text), Some(expect), "{text}");
        }
        for wrong in [
            "",
            "2024-02-29",
            "2024-02-29T",
            "2024-02-29T25:00:00Z",
            "2024-02-29T24:00:01Z",
            "2024-02-29T10:60:00Z",
            "2024-02-29T10:00:60Z",
            "2024-02-29T10:00:00",
            "2024-02-29T10:00:00.Z",
            "2024-02-29T10:00:00Zx",
            "Infinity",
        ] {
            assert!(iso_timestamp(wrong, true).is_err(), "{wrong}");
        }
        assert_eq!(iso_timestamp("2024-02-29T10:00:00.1234567Z", true).unwrap().loss, Some(Loss::SubMicrosecond));
    }

    #[test]
    fn infinities_are_known_in_every_form() {
        let negative = |negative| Value::Infinity { negative };
        assert_eq!(days(2_146_033_979), negative(false));
        assert_eq!(days(-2_147_483_648), negative(true));
        assert_eq!(iso_date("+5877611-06-21Z"), Ok(negative(false)));
        assert_eq!(iso_date("-5877611-06-22Z"), Ok(negative(true)));
        assert_eq!(timestamp_micros(i64::MAX), negative(false));
        assert_eq!(timestamp_micros(9_223_372_036_825_200_000), negative(false));
        assert_eq!(timestamp_micros(-9_223_372_036_832_400_000), negative(true));
        assert_eq!(timestamp_micros(i64::MIN), negative(true));
        assert_eq!(timestamp_millis(9_223_372_036_825_200_000), Ok(negative(false)));
        assert_eq!(timestamp_millis(-9_223_372_036_832_400_000), Ok(negative(true)));
        for (text, expect) in [
            ("infinity", negative(false)),
            ("-infinity", negative(true)),
            ("+292278994-08-16T23:00:00Z", negative(false)),
            ("-292275055-05-16T23:00:00Z", negative(true)),
        ] {
            assert_eq!(iso_timestamp(text, false).unwrap().value, expect, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn days_and_dates_are_inverse(day in -3_000_000_000i64..3_000_000_000) {
            let (year, month, date) = civil_from_days(day);
            proptest::prop_assert_eq!(days_from_civil(year, month, date), day);
            proptest::prop_assert!((1..=12).contains(&month) && (1..=31).contains(&date));
        }

        #[test]
        fn no_text_breaks_the_readers(text in r"[-+0-9:.TZ ]{0,40}") {
            let _ = (iso_date(&text), iso_time(&text, true), iso_timestamp(&text, false));
        }
    }
}
