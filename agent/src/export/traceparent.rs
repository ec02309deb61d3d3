//! The `traceparent` header of records: [W3C Trace Context](https://www.w3.org/TR/trace-context/), level 1 and later.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// Reads a header value; `None` for anything the specification tells to ignore.
///
/// ```
/// use whimbrel::export::traceparent::parse;
/// let context = parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
/// assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// assert!(context.is_sampled());
/// ```
#[must_use]
pub fn parse(value: &[u8]) -> Option<SpanContext> {
    let value = std::str::from_utf8(value).ok()?;
    let mut parts = value.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let version = byte(version)?;
    // Version 255 is forbidden; version 0 has exactly four parts; later ones may have more.
    if version == u8::MAX || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let flags = byte(flags)?;
    let trace = u128::from_str_radix(lower_hex(trace, 32)?, 16).ok()?;
    let parent = u64::from_str_radix(lower_hex(parent, 16)?, 16).ok()?;
    let context = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(parent),
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

fn byte(text: &str) -> Option<u8> {
    u8::from_str_radix(lower_hex(text, 2)?, 16).ok()
}

fn lower_hex(text: &str, length: usize) -> Option<&str> {
    let fits = text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_specification_forbids_is_ignored() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert!(!parse(good.as_bytes()).unwrap().is_sampled());
        assert!(parse(good.replacen("00-", "cc-", 1).as_bytes()).is_some(), "a later version");
        assert!(parse(format!("{}-more", good.replacen("00-", "01-", 1)).as_bytes()).is_some());
        for bad in [
            String::new(),
            good.replacen("00-", "ff-", 1),
            good.to_uppercase(),
            format!("{good}-more"),
            good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            good.replace("00f067aa0ba902b7", "+0f067aa0ba902b7"),
            good.trim_end_matches("-00").to_owned(),
        ] {
            assert!(parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(parse(&[0xff, 0xfe]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_any_context_survives_the_round(
            bytes in proptest::collection::vec(any::<u8>(), 0..80), trace in 1_u128.., parent in 1_u64..
        ) {
            let _ = parse(&bytes);
            let context = parse(format!("00-{trace:032x}-{parent:016x}-01").as_bytes()).unwrap();
            prop_assert_eq!(context.trace_id(), TraceId::from(trace));
            prop_assert_eq!(context.span_id(), SpanId::from(parent));
        }
    }
}
