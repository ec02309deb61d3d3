//! How figures are written for people. What is not known is `unknown`.

use std::time::Duration;

pub(super) const UNKNOWN: &str = "unknown";

fn or_unknown<T>(value: Option<T>, say: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), say)
}

#[expect(clippy::cast_precision_loss, reason = "shortened for people")]
pub(super) fn count(value: Option<u64>) -> String {
    or_unknown(value, |value| match value {
        0..100_000 => value.to_string(),
        100_000..1_000_000 => format!("{}k", value / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1}M", value as f64 / 1e6),
        _ => format!("{:.1}G", value as f64 / 1e9),
    })
}

pub(super) fn rate(value: Option<f64>) -> String {
    or_unknown(value, |value| match value {
        _ if value > 0.0 && value < 10.0 => format!("{value:.1}/s"),
        _ if value < 100_000.0 => format!("{value:.0}/s"),
        _ => format!("{:.0}k/s", value / 1_000.0),
    })
}

pub(super) fn span(seconds: Option<f64>) -> String {
    let whole = |seconds: f64| Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs());
    or_unknown(seconds.filter(|seconds| *seconds >= 0.0), |seconds| match seconds {
        0.0 => "0s".to_owned(),
        _ if seconds < 1.0 => format!("{:.0}ms", (seconds * 1_000.0).max(1.0)),
        _ if seconds < 10.0 => format!("{seconds:.1}s"),
        _ if seconds < 120.0 => format!("{seconds:.0}s"),
        _ if seconds < 7_200.0 => format!("{}m{:02}s", whole(seconds) / 60, whole(seconds) % 60),
        _ if seconds < 172_800.0 => format!("{}h{:02}m", whole(seconds) / 3_600, whole(seconds) / 60 % 60),
        _ => format!("{}d{:02}h", whole(seconds) / 86_400, whole(seconds) / 3_600 % 24),
    })
}

/// What one event costs.
pub(super) fn cost(seconds: Option<f64>) -> String {
    or_unknown(seconds, |seconds| match seconds {
        _ if seconds < 1e-6 => format!("{:.0}ns", seconds * 1e9),
        _ if seconds < 1e-3 => format!("{:.1}µs", seconds * 1e6),
        _ => format!("{:.1}ms", seconds * 1e3),
    })
}

pub(super) fn bytes(value: f64) -> String {
    format!("{:.1}MiB", value / f64::from(1 << 20))
}

/// Relative, and the time of day in UTC.
#[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
pub(super) fn since(at_ms: i64, now_ms: i64) -> String {
    let of_day = at_ms.div_euclid(1_000).rem_euclid(86_400);
    let ago = span(Some(((now_ms - at_ms) as f64 / 1_000.0).round().max(0.0)));
    format!("{ago} ago ({:02}:{:02}:{:02}Z)", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_what_is_not_known_is_not_zero() {
        for (said, expect) in [
            (count(None), "unknown"),
            (count(Some(0)), "0"),
            (count(Some(99_999)), "99999"),
            (count(Some(250_000)), "250k"),
            (count(Some(2_500_000)), "2.5M"),
            (rate(None), "unknown"),
            (rate(Some(0.0)), "0/s"),
            (rate(Some(3.25)), "3.2/s"),
            (rate(Some(1_234.0)), "1234/s"),
            (span(None), "unknown"),
            (span(Some(f64::NAN)), "unknown"),
            (span(Some(0.0)), "0s"),
            (span(Some(0.25)), "250ms"),
            (span(Some(61.0)), "61s"),
            (span(Some(433.0)), "7m13s"),
            (span(Some(90_000.0)), "25h00m"),
            (span(Some(1e6)), "11d13h"),
            (cost(Some(1.7e-7)), "170ns"),
            (cost(Some(4.2e-5)), "42.0µs"),
            (since(1_767_225_600_000, 1_767_225_612_000), "12s ago (00:00:00Z)"),
        ] {
            assert_eq!(said, expect);
        }
    }
}
