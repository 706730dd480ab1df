//! Which passwords are taken (ASVS 6.2): length, no rules of composition, none of those that everybody tries first.

/// Lower-case, one a line; only those that are long enough to be chosen here.
const REFUSED: &str = include_str!("refused_passwords.txt");

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    TooShort,
    TooLong,
    WellKnown,
}

impl Weakness {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Weakness::TooShort => "too_short",
            Weakness::TooLong => "too_long",
            Weakness::WellKnown => "well_known",
        }
    }

    pub(crate) fn detail(self) -> &'static str {
        match self {
            Weakness::TooShort => "a password has at least 10 characters",
            Weakness::TooLong => "a password has at most 128 characters",
            Weakness::WellKnown => "this password is among the first that are tried: choose another",
        }
    }
}

/// `email` is the account's own address, which is no secret either.
pub(crate) fn check(password: &str, email: Option<&str>) -> Result<(), Weakness> {
    match password.chars().count() {
        ..10 => return Err(Weakness::TooShort),
        129.. => return Err(Weakness::TooLong),
        _ => {}
    }
    let lower = password.to_lowercase();
    let first = lower.chars().next();
    let is_one_character = lower.chars().all(|c| Some(c) == first);
    if is_one_character || email == Some(lower.as_str()) || REFUSED.lines().any(|known| known == lower) {
        return Err(Weakness::WellKnown);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_counted_in_characters() {
        assert_eq!(check("123-456-7", None), Err(Weakness::TooShort));
        assert_eq!(check("가나다라마바사아자차", None), Ok(()));
        assert_eq!(check(&"가나".repeat(64), None), Ok(()));
        assert_eq!(check(&"ab".repeat(65), None), Err(Weakness::TooLong));
    }

    #[test]
    fn what_everybody_tries_first_is_refused_in_any_case() {
        for known in ["1234567890", "PassWord123", "qwertyuiop", "aaaaaaaaaaaa", "kim@example.kr"] {
            assert_eq!(check(known, Some("kim@example.kr")), Err(Weakness::WellKnown), "{known}");
        }
        assert_eq!(check("demo shopper 2026", Some("kim@example.kr")), Ok(()));
    }

    #[test]
    fn the_list_holds_what_could_be_chosen_and_nothing_twice() {
        let mut lines: Vec<&str> = REFUSED.lines().collect();
        assert!(lines.len() >= 100);
        for line in &lines {
            assert!((10..=128).contains(&line.chars().count()) && *line == line.to_lowercase(), "{line:?}");
        }
        lines.sort_unstable();
        let count = lines.len();
        lines.dedup();
        assert_eq!(lines.len(), count);
    }
}
