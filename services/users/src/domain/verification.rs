//! A code that was sent to an address, and what comes of a try at it.

use kernel::Timestamp;

/// How many characters a code has.
pub(crate) const CODE_LENGTH: usize = 6;

/// A code as it is stored: never in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredCode {
    pub hash: String,
    pub expires_at: Timestamp,
    pub tries_left: u32,
}

/// What a try leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Try {
    Right,
    /// So many tries are left.
    Wrong(u32),
    /// The code is too old or was tried too often: it is no longer good for anything.
    Dead,
}

impl StoredCode {
    pub(crate) fn attempt(&self, hash: &str, now: Timestamp) -> Try {
        if self.tries_left == 0 || self.expires_at <= now {
            return Try::Dead;
        }
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(self.hash.as_bytes(), hash.as_bytes());
        match same {
            Ok(()) => Try::Right,
            Err(_) => Try::Wrong(self.tries_left - 1),
        }
    }
}

/// What a person typed, as the code would be written: without spaces, in capitals. `None` where it can be no code.
pub(crate) fn normalise(typed: &str) -> Option<String> {
    let code = typed.trim().to_ascii_uppercase();
    let good =
        code.len() == CODE_LENGTH && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    good.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_right_once_wrong_a_few_times_and_then_dead() {
        let now = Timestamp::from_millis(1_000);
        let code =
            StoredCode { hash: "right".to_owned(), expires_at: Timestamp::from_millis(2_000), tries_left: 2 };
        assert_eq!(code.attempt("right", now), Try::Right);
        assert_eq!(code.attempt("wrong", now), Try::Wrong(1));
        assert_eq!(code.attempt("right", code.expires_at), Try::Dead);
        let spent = StoredCode { tries_left: 0, ..code };
        assert_eq!(spent.attempt("right", now), Try::Dead);
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        assert_eq!(normalise(" ab12cd ").as_deref(), Some("AB12CD"));
        for bad in ["", "AB12C", "AB12CDE", "AB-2CD", "ÀB12C", "가나"] {
            assert_eq!(normalise(bad), None, "{bad}");
        }
    }
}
