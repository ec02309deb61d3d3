//! An alert on its way to people: texts brought within a receiver's limits, times and words as receivers read them. Escaping
//! is each receiver's own and not here.
//!
//! ```
//! use whimbrel_plugin::Alert;
//! use whimbrel_plugin::notice::{line, rfc3339, shortened};
//!
//! let alert = Alert { title: "pipeline shop\r\nis slow".to_owned(), ..Alert::sample() };
//! let subject = format!("[{}] {}", alert.severity.as_str(), shortened(&line(&alert.title), 10));
//! assert_eq!(subject, "[warning] pipeline …");
//! assert_eq!(rfc3339(alert.since_ms), "2023-11-14T22:13:20.000Z");
//! ```

use crate::channel::{Alert, Status};
use crate::stats::Severity;
use crate::value::Value;
use crate::words;

impl Severity {
    /// The word for it, as in configurations.
    ///
    /// ```
    /// use whimbrel_plugin::Severity;
    ///
    /// assert_eq!([Severity::Info, Severity::Critical].map(Severity::as_str), ["info", "critical"]);
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl Status {
    /// The word for it, as in the agent's API.
    ///
    /// ```
    /// use whimbrel_plugin::Status;
    ///
    /// assert_eq!([Status::Firing, Status::Resolved].map(Status::as_str), ["firing", "resolved"]);
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Firing => "firing",
            Status::Acknowledged => "acknowledged",
            Status::Resolved => "resolved",
        }
    }
}

/// Where a group of alerts stands as a whole: firing as long as one of them fires, and as bad as the worst that is not over.
/// When all are over, as bad as the worst was. None for no alerts.
///
/// ```
/// use whimbrel_plugin::notice::standing;
/// use whimbrel_plugin::{Alert, Severity, Status};
///
/// let over = Alert { status: Status::Resolved, severity: Severity::Critical, ..Alert::sample() };
/// assert_eq!(standing(&[over.clone(), Alert::sample()]), Some((Status::Firing, Severity::Warning)));
/// assert_eq!(standing(&[over]), Some((Status::Resolved, Severity::Critical)));
/// assert_eq!(standing(&[]), None);
/// ```
#[must_use]
pub fn standing(alerts: &[Alert]) -> Option<(Status, Severity)> {
    let worst = |alerts: &mut dyn Iterator<Item = &Alert>| alerts.map(|alert| alert.severity).max();
    let going_on = || alerts.iter().filter(|alert| alert.status != Status::Resolved);
    let Some(severity) = worst(&mut going_on()) else {
        return worst(&mut alerts.iter()).map(|severity| (Status::Resolved, severity));
    };
    let firing = alerts.iter().any(|alert| alert.status == Status::Firing);
    Some((if firing { Status::Firing } else { Status::Acknowledged }, severity))
}

/// One line for a group of alerts: the title of the one, or how many there are and where the first is.
///
/// ```
/// use whimbrel_plugin::notice::headline;
/// use whimbrel_plugin::{Alert, Status};
///
/// let over = Alert { status: Status::Resolved, ..Alert::sample() };
/// assert_eq!(headline(&[Alert::sample()]), "pipeline shop is slow");
/// assert_eq!(headline(&[Alert::sample(), over.clone()]), "2 alerts (1 firing, 1 resolved): pipeline shop is slow, …");
/// assert_eq!(headline(&[over.clone(), over]), "2 alerts (2 resolved): pipeline shop is slow, …");
/// assert_eq!(headline(&[]), "no alerts");
/// ```
#[must_use]
pub fn headline(alerts: &[Alert]) -> String {
    let going_on = alerts.iter().filter(|alert| alert.status != Status::Resolved);
    let worst = going_on.rev().max_by_key(|alert| alert.severity);
    let Some(told) = worst.or(alerts.first()) else { return "no alerts".to_owned() };
    if alerts.len() == 1 {
        return line(&told.title);
    }
    let counted = [Status::Firing, Status::Acknowledged, Status::Resolved].map(|status| {
        let count = alerts.iter().filter(|alert| alert.status == status).count();
        (count > 0).then(|| format!("{count} {}", status.as_str()))
    });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    format!("{} alerts ({}): {}, …", alerts.len(), counted.join(", "), line(&told.title))
}

/// The text in at most so many characters; one that is longer ends in "…".
///
/// ```
/// use whimbrel_plugin::notice::shortened;
///
/// assert_eq!(shortened("lag", 3), "lag");
/// assert_eq!(shortened("🐦🐦🐦🐦", 3), "🐦🐦…");
/// assert_eq!(shortened("lag", 0), "");
/// ```
#[must_use]
pub fn shortened(text: &str, chars: usize) -> String {
    if text.chars().nth(chars).is_none() {
        return text.to_owned();
    }
    match chars.checked_sub(1) {
        Some(kept) => text.chars().take(kept).chain(['…']).collect(),
        None => String::new(),
    }
}

/// The text in at most so many bytes of UTF-8, for receivers that count those; one that is longer ends in "…".
///
/// ```
/// use whimbrel_plugin::notice::shortened_bytes;
///
/// assert_eq!(shortened_bytes("lag", 3), "lag");
/// assert_eq!(shortened_bytes("🐦🐦🐦", 10), "🐦…");
/// assert_eq!(shortened_bytes("long", 2), "");
/// ```
#[must_use]
pub fn shortened_bytes(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    match bytes.checked_sub('…'.len_utf8()) {
        Some(kept) => {
            let mut kept = text.get(..text.floor_char_boundary(kept)).unwrap_or_default().to_owned();
            kept.push('…');
            kept
        }
        None => String::new(),
    }
}

/// The text without what nobody sees but a program may obey: control characters and marks that turn the direction of writing
/// become blanks. Line ends stay, all as `\n`.
///
/// ```
/// use whimbrel_plugin::notice::plain;
///
/// assert_eq!(plain("a\r\nb\u{0}c\u{202e}d"), "a\nb c d");
/// ```
#[must_use]
pub fn plain(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => '\n',
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') => ' ',
            c => c,
        })
        .collect()
}

/// The text as one line, with single blanks between its words.
///
/// ```
/// use whimbrel_plugin::notice::line;
///
/// assert_eq!(line(" a\r\nBcc: b@example.org \u{7}"), "a Bcc: b@example.org");
/// ```
#[must_use]
pub fn line(text: &str) -> String {
    plain(text).split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// A fact beside an alert in words.
///
/// ```
/// use whimbrel_plugin::Value;
/// use whimbrel_plugin::notice::fact;
///
/// assert_eq!(fact(&Value::Float(12_400.0)), "12,400");
/// assert_eq!(fact(&Value::Bytes(vec![1, 2])), "2 bytes");
/// assert_eq!(fact(&Value::Null), "unknown");
/// ```
#[must_use]
pub fn fact(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::Boolean(yes) => yes.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => words::number(*number),
        Value::Text(text) | Value::Tagged(_, text) => text.clone(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// 32 hexadecimal digits that stand for a text: the same in every version, another for another text. FNV-1a of 128 bits, which
/// guards against accidents and not against people who look for two texts with the same.
///
/// ```
/// use whimbrel_plugin::notice::fingerprint;
///
/// assert_eq!(fingerprint("a"), "d228cb696f1a8caf78912b704e4a8964");
/// assert_ne!(fingerprint("a"), fingerprint("b"));
/// ```
#[must_use]
pub fn fingerprint(text: &str) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = text.bytes().fold(OFFSET, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("{hash:032x}")
}

/// A time in milliseconds since 1970 as RFC 3339 has it, in UTC. Times outside the years 1 to 9999 become the first or last
/// moment of those.
///
/// ```
/// use whimbrel_plugin::notice::rfc3339;
///
/// assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
/// assert_eq!(rfc3339(951_827_696_789), "2000-02-29T12:34:56.789Z");
/// assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999Z");
/// assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
/// assert_eq!(rfc3339(i64::MIN), "0001-01-01T00:00:00.000Z");
/// ```
#[must_use]
pub fn rfc3339(since_1970_ms: i64) -> String {
    let all = since_1970_ms.clamp(-62_135_596_800_000, 253_402_300_799_999);
    let (days, of_day) = (all.div_euclid(86_400_000), all.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (seconds, millis) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day since 1970 in the Gregorian calendar; after Howard Hinnant, "chrono-compatible low-level date
/// algorithms". Years begin in March there, so that a leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
