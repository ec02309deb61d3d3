//! Decimal numbers of any precision, exactly.

use super::ValueError;

/// PostgreSQL's `numeric` has at most 131,072 digits before the point: 61 kB unscaled, with the fraction.
const MAX_BYTES: usize = 64 << 10;

/// Largest scale, either way; PostgreSQL's fractions end at 16,383.
const MAX_SCALE: i64 = 150_000;

/// The number `unscaled × 10^-scale`; `unscaled` is big-endian two's complement (Java's `BigInteger`).
pub(super) fn from_unscaled(unscaled: &[u8], scale: i64) -> Result<String, ValueError> {
    if unscaled.is_empty() {
        return Err(ValueError::Expected("a decimal"));
    }
    if unscaled.len() > MAX_BYTES || scale.abs() > MAX_SCALE {
        return Err(ValueError::OutOfRange("a decimal"));
    }
    let negative = unscaled.first().is_some_and(|byte| byte & 0x80 != 0);
    let digits = match small(unscaled) {
        Some(number) => number.unsigned_abs().to_string(),
        None => large(unscaled, negative),
    };
    Ok(place_point(&digits, negative, scale))
}

fn small(unscaled: &[u8]) -> Option<i128> {
    let fill = if unscaled.first()? & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [fill; 16];
    wide.get_mut(16usize.checked_sub(unscaled.len())?..)?.copy_from_slice(unscaled);
    Some(i128::from_be_bytes(wide))
}

/// Schoolbook conversion of the magnitude: divides by 10^9 until nothing is left.
fn large(unscaled: &[u8], negative: bool) -> String {
    const CHUNK: u64 = 1_000_000_000;
    let mut limbs: Vec<u32> = unscaled
        .rchunks(4)
        .rev()
        .map(|chunk| {
            let fill = if negative && chunk.len() < 4 { u32::MAX << (8 * chunk.len()) } else { 0 };
            chunk.iter().fold(0, |limb, byte| limb << 8 | u32::from(*byte)) | fill
        })
        .collect();
    if negative {
        let mut carry = true;
        for limb in limbs.iter_mut().rev() {
            let (sum, over) = (!*limb).overflowing_add(u32::from(carry));
            *limb = sum;
            carry = over;
        }
        if carry {
            limbs.insert(0, 1);
        }
    }
    let mut chunks: Vec<u64> = Vec::new();
    let mut begin = 0;
    while let Some(rest) = limbs.get_mut(begin..)
        && !rest.is_empty()
    {
        let mut remainder = 0;
        for limb in rest.iter_mut() {
            let part = remainder << 32 | u64::from(*limb);
            *limb = (part / CHUNK) as u32;
            remainder = part % CHUNK;
        }
        chunks.push(remainder);
        begin += rest.iter().take_while(|limb| **limb == 0).count();
    }
    let mut digits = String::with_capacity(chunks.len() * 9);
    for chunk in chunks.iter().rev() {
        use std::fmt::Write as _;
        let _ = if digits.is_empty() { write!(digits, "{chunk}") } else { write!(digits, "{chunk:09}") };
    }
    digits
}

fn place_point(digits: &str, negative: bool, scale: i64) -> String {
    let mut out = String::with_capacity(digits.len() + 3 + scale.unsigned_abs() as usize);
    if negative {
        out.push('-');
    }
    match usize::try_from(scale) {
        Ok(scale) => {
            let whole = digits.len().saturating_sub(scale);
            let (front, back) = digits.split_at(whole);
            out.push_str(if front.is_empty() { "0" } else { front });
            if scale > 0 {
                out.push('.');
                out.extend(std::iter::repeat_n('0', scale - back.len()));
                out.push_str(back);
            }
        }
        // A negative scale: hundreds, thousands. Zero stays a single zero.
        Err(_) => {
            out.push_str(digits);
            if digits != "0" {
                out.extend(std::iter::repeat_n('0', scale.unsigned_abs() as usize));
            }
        }
    }
    out
}

/// A JSON number, or any decimal text of that grammar, in plain notation: `1.5E3` is `1500`, `-1e-2` is `-0.01`.
///
/// # Errors
/// When it is not a number, or its exponent would make it absurdly long.
pub fn plain(number: &str) -> Result<String, ValueError> {
    let expected = || ValueError::Expected("a decimal");
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            // Digits alone are left when the exponent is beyond 64 bits: absurd as well.
            let parsed = exponent.strip_prefix('+').unwrap_or(exponent).parse::<i64>();
            (mantissa, parsed.map_err(|_| ValueError::OutOfRange("a decimal"))?)
        }
        None => (number, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    let places = i64::try_from(fraction.len()).map_err(|_| expected())?;
    let scale = places.checked_sub(exponent).filter(|scale| scale.abs() <= MAX_SCALE);
    let scale = scale.ok_or(ValueError::OutOfRange("a decimal"))?;
    let trimmed = digits.trim_start_matches('0');
    let digits = if trimmed.is_empty() { "0" } else { trimmed };
    Ok(place_point(digits, negative && digits != "0", scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscaled_numbers_get_their_point() {
        for (bytes, scale, expect) in [
            (&[0x00][..], 0, "0"),
            (&[0x00], 2, "0.00"),
            (&[0x04, 0xd2], 2, "12.34"),
            (&[0xff], 2, "-0.01"),
            (&[0xff], 20, "-0.00000000000000000001"),
            (&[0x80], 0, "-128"),
            (&[0x7f], -2, "12700"),
            (&[0x00], -2, "0"),
            (&[0xff, 0x38], 2, "-2.00"),
            (&[0x00; 40], 1, "0.0"),
        ] {
            assert_eq!(from_unscaled(bytes, scale).unwrap(), expect);
        }
        assert!(from_unscaled(&[], 0).is_err());
        assert!(from_unscaled(&[1], i64::MIN + 1).is_err());
        assert!(from_unscaled(&vec![1; MAX_BYTES + 1], 0).is_err());
    }

    #[test]
    fn numbers_past_128_bits_are_exact() {
        // 2^200, -2^199 and -2^200, computed with bc.
        let mut power = vec![0; 26];
        power[0] = 1;
        assert_eq!(from_unscaled(&power, 0).unwrap(), "1606938044258990275541962092341162602522202993782792835301376");
        let mut minimum = vec![0; 25];
        minimum[0] = 0x80;
        assert_eq!(
            from_unscaled(&minimum, 0).unwrap(),
            "-803469022129495137770981046170581301261101496891396417650688"
        );
        let mut negative = vec![0; 26];
        negative[0] = 0xff;
        assert_eq!(
            from_unscaled(&negative, 3).unwrap(),
            "-1606938044258990275541962092341162602522202993782792835301.376"
        );
    }

    #[test]
    fn exponents_are_written_out() {
        for (number, expect) in [
            ("1.2345678901234569E27", "1234567890123456900000000000"),
            ("-1.0E-20", "-0.000000000000000000010"),
            ("1e3", "1000"),
            ("0e5", "0"),
            ("-0.0", "0.0"),
            ("0012.50", "12.50"),
            ("12345678901234567890.123", "12345678901234567890.123"),
        ] {
            assert_eq!(plain(number).unwrap(), expect, "{number}");
        }
        for wrong in ["", "-", ".5", "1.e", "NaN", "1e", "1e999999", "1e99999999999999999999", "0x10", "1_0"] {
            assert!(plain(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn both_conversions_agree(number: i128, scale in -5i64..40) {
            let bytes = number.to_be_bytes();
            let mut wide = vec![if number < 0 { 0xff } else { 0 }; 5];
            wide.extend_from_slice(&bytes);
            proptest::prop_assert_eq!(from_unscaled(&bytes, scale)?, from_unscaled(&wide, scale)?);
            proptest::prop_assert_eq!(from_unscaled(&bytes, 0)?, number.to_string());
        }
    }
}
