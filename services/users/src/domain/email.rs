//! E-mail addresses as far as a service can know them without sending mail.
//!
//! Invariant: two spellings that differ in case or surrounding space are one address.

use std::fmt;

/// A trimmed, lower-case address.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Email(String);

impl Email {
    /// One `@`, a local part of 1–64 characters, a domain with a dot, 254 characters in all (RFC 5321 §4.5.3.1).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let (local, domain) = text.split_once('@')?;
        let dotted = |part: &str| part.split('.').all(|label| !label.is_empty());
        let visible = |c: char| !c.is_whitespace() && !c.is_control() && !"<>()[],;:\\\"@".contains(c);
        let good = text.chars().count() <= 254
            && (1..=64).contains(&local.chars().count())
            && local.chars().all(visible)
            && dotted(local)
            && domain.contains('.')
            && dotted(domain)
            && domain.split('.').all(|label| !label.starts_with('-') && !label.ends_with('-'))
            && domain.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '.');
        good.then_some(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_address_are_one() {
        let one = Email::parse(" Kim.Minji@Example.KR ").unwrap();
        assert_eq!(one.as_str(), "kim.minji@example.kr");
        assert_eq!(Email::parse("kim.minji@example.kr").unwrap(), one);
        assert!(Email::parse("minji+rtc@example.co.kr").is_some());
        assert!(Email::parse("김민지@예시.한국").is_some());
    }

    #[test]
    fn what_no_mail_server_takes_is_refused() {
        let long = format!("{}@example.kr", "a".repeat(65));
        for bad in [
            "",
            "@",
            "kim",
            "kim@",
            "@example.kr",
            "kim@example",
            "a@b@example.kr",
            "kim@.kr",
            "kim@example.",
            ".kim@example.kr",
            "k im@example.kr",
            "kim@exa mple.kr",
            "kim\r\nbcc:x@example.kr",
            "<kim>@example.kr",
            "kim@-example.kr",
            "kim@example.kr\0x",
            &long,
        ] {
            assert!(Email::parse(bad).is_none(), "{bad:?}");
        }
    }
}
