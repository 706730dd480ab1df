//! Words, encodings, addresses, waiting times: no service needed.

use kernel::{Currency, Money};
use testkit::{House, NOON};

use crate::config::Config;
use crate::letter::{About, Language, Letter, amount, write};
use crate::message::{Sender, address_of, compose, parse};

fn from() -> Sender {
    Sender::new("RTC 상점", "shop@rtc.local").unwrap()
}

#[test]
fn an_amount_has_separators_and_the_decimals_of_its_currency() {
    let cases = [
        (0, Currency::KRW, "0원", "KRW 0"),
        (999, Currency::KRW, "999원", "KRW 999"),
        (1_000, Currency::KRW, "1,000원", "KRW 1,000"),
        (-129_000, Currency::KRW, "-129,000원", "KRW -129,000"),
        (i64::MIN, Currency::KRW, "-9,223,372,036,854,775,808원", "KRW -9,223,372,036,854,775,808"),
        (5, Currency::USD, "USD 0.05", "USD 0.05"),
        (123_456_789, Currency::USD, "USD 1,234,567.89", "USD 1,234,567.89"),
    ];
    for (minor, currency, korean, english) in cases {
        assert_eq!(amount(Money::new(minor, currency), Language::Korean), korean);
        assert_eq!(amount(Money::new(minor, currency), Language::English), english);
    }
}

#[test]
fn every_letter_says_what_happened_in_both_languages() {
    let order = super::order(1, House::user(1));
    let id = order.order_id.to_string();
    let abouts = [
        (About::Confirmed { order: &order }, "주문이 확정되었습니다", "Order confirmed"),
        (About::Rejected { order: &order, reason: "out_of_stock" }, "재고가 부족합니다", "out of stock"),
        (
            About::Cancelled { order: &order, reason: "by_customer", was_confirmed: true },
            "환불되었습니다",
            "refunded",
        ),
        (
            About::Cancelled { order: &order, reason: "timeout", was_confirmed: false },
            "결제된 금액은 없습니다",
            "not been charged",
        ),
    ];
    for (about, korean, english) in abouts {
        let letter = write(&about, Some("김하늘"), Language::Korean);
        let whole = format!("{}\n{}", letter.subject, letter.text);
        assert!(letter.subject.contains(&id) && whole.contains(korean), "{whole}");
        for part in
            ["김하늘님", "우전 녹차 × 3", "43,000원", "합계: 129,000원", "2026-03-01 21:00 (한국 시각)"]
        {
            assert!(letter.text.contains(part), "{part} in {}", letter.text);
        }
        let letter = write(&about, None, Language::English);
        let whole = format!("{}\n{}", letter.subject, letter.text);
        assert!(letter.subject.contains(&id) && whole.contains(english), "{whole}");
        for part in ["Hello,", "Total: KRW 129,000", "2026-03-01 12:00 (UTC)"] {
            assert!(letter.text.contains(part), "{part} in {}", letter.text);
        }
    }
    let code = About::Verification { code: "A1B2C3", expires_at: NOON };
    assert!(write(&code, None, Language::Korean).text.contains("A1B2C3"));
    assert!(!write(&code, None, Language::English).subject.contains("A1B2C3"));
    let fulfilled = About::Fulfilled { order_id: id.clone() };
    assert!(write(&fulfilled, None, Language::Korean).text.contains(&id));
    assert_eq!(Language::of("ko-KR"), Language::Korean);
    assert_eq!(Language::of("fr"), Language::English);
}

#[test]
fn a_korean_letter_is_ascii_on_the_wire_and_korean_when_it_is_read() {
    let letter = Letter {
        subject: "[RTC] 아주 긴 제목입니다 ".to_owned() + &"주문이 확정되었습니다 ".repeat(8) + "(끝)",
        text: "안녕하세요.\n합계: 129,000원\n.\nFrom here\n".to_owned(),
    };
    let to = address_of("kim@example.kr").unwrap();
    let bytes = compose(&from(), to, Some("김하늘"), &letter, "one@rtc.local", NOON).unwrap();
    assert!(bytes.is_ascii());
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.split("\r\n").all(|line| line.len() <= 78), "{text}");
    assert!(text.contains("=?utf-8?b?") && text.contains("Date: Sun, 01 Mar 2026 12:00:00 +0000"), "{text}");
    let read = parse(&bytes).unwrap();
    assert_eq!(read.subject, letter.subject);
    assert_eq!(read.text, letter.text);
    assert_eq!(read.message_id, "one@rtc.local");
    assert!(read.to.contains("김하늘") && read.to.contains("<kim@example.kr>"), "{}", read.to);
    assert!(read.from.contains("RTC 상점"));
}

#[test]
fn nothing_in_a_name_or_a_subject_becomes_a_header() {
    let evil = "Kim\r\nBcc: everybody@example.com\r\n\r\n<b>hello</b>\u{85}\u{2028}";
    let letter = Letter { subject: format!("Order {evil}"), text: "text".to_owned() };
    for name in [evil, "Kim\nBcc: x@example.com", "\"quoted\\\" <x@example.com>", "a,b;c:d"] {
        let to = address_of("kim@example.kr").unwrap();
        let bytes = compose(&from(), to, Some(name), &letter, "one@rtc.local", NOON).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let names: Vec<_> = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split_once(':').unwrap().0)
            .collect();
        assert!(!names.iter().any(|name| name.eq_ignore_ascii_case("bcc")), "{head}");
        assert_eq!(names.iter().filter(|name| **name == "To").count(), 1, "{head}");
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head}");
        assert_eq!(parse(&bytes).unwrap().text, "text");
    }
}

#[test]
fn only_addresses_that_servers_take_are_written_to() {
    for good in ["kim@example.kr", "first.last+tag@mail.example.com", " kim@example.kr "] {
        assert!(address_of(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "kim",
        "@example.kr",
        "kim@",
        "kim@example.kr\r\nBcc: x@y.z",
        "kim@example.kr, lee@example.kr",
        "김@example.kr",
        "kim@exämple.kr",
        "a b@example.kr",
        "<kim@example.kr>",
        "kim@example.kr>",
    ] {
        assert!(address_of(bad).is_err(), "{bad:?}");
    }
    assert!(Sender::new("RTC", "nobody").is_err());
}

#[test]
fn waiting_doubles_with_some_chance_up_to_its_bound() {
    let config = Config { backoff_first_ms: 1_000, backoff_max_ms: 60_000, ..Config::default() };
    for (failures, low, high) in
        [(1, 500, 1_000), (2, 1_000, 2_000), (5, 8_000, 16_000), (90, 30_000, 60_000)]
    {
        for random in [0, 1, 499, 500, u64::MAX] {
            let wait = u64::try_from(config.backoff(failures, random).as_millis()).unwrap();
            assert!((low..=high).contains(&wait), "{failures} {random}: {wait}");
        }
    }
    assert_ne!(config.backoff(4, 1), config.backoff(4, 2));
}
