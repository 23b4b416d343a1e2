//! One-time passwords that follow the clock (TOTP, RFC 6238), as authenticators make them: SHA-1, six digits, steps of 30 seconds.

use aws_lc_rs::hmac;

/// Seconds of a step.
pub(crate) const STEP: i64 = 30;

/// The code of a step: the truncated HMAC-SHA1 of the step's number (RFC 4226 §5.3). Nobody has to find collisions of SHA-1 to be kept
/// out here, and authenticators know no other.
pub(crate) fn one_time_code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes.last().copied().unwrap_or_default() & 15);
    let number = bytes.iter().skip(at).take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_standard() {
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(one_time_code(b"12345678901234567890", seconds / STEP), code, "{seconds}");
        }
    }
}
