//! Percent-encoding of parts of a URL, RFC 3986 section 2.1.

use percent_encoding::percent_decode_str;

/// Why a text is not percent-encoded UTF-8. It shows nothing of the text, which may be a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    #[error("a % is not followed by two hexadecimal digits")]
    Digits,
    #[error("what is percent-encoded is not UTF-8")]
    Utf8,
}

/// `%40` is `@`; a `+` stays one.
///
/// # Errors
/// A `%` that was meant as itself (it is `%25`), and bytes that are no UTF-8.
pub fn decoded(text: &str) -> Result<String, PercentError> {
    let is_pair = |pair: &[u8]| pair.iter().all(u8::is_ascii_hexdigit);
    if !text.split('%').skip(1).all(|after| after.as_bytes().get(..2).is_some_and(is_pair)) {
        return Err(PercentError::Digits);
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| PercentError::Utf8)?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_digits_is_a_byte() {
        for (text, meant) in
            [("", ""), ("plain+text", "plain+text"), ("p%40ss", "p@ss"), ("%C3%a4", "ä"), ("100%25", "100%")]
        {
            assert_eq!(decoded(text).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn half_a_pair_is_refused_and_so_is_what_is_no_text() {
        for text in ["%", "a%4", "%zz", "%+1", "%4%40", "%ä"] {
            assert_eq!(decoded(text), Err(PercentError::Digits), "{text}");
        }
        assert_eq!(decoded("%ff"), Err(PercentError::Utf8));
    }
}
