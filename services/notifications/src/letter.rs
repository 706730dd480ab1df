//! The words of a letter, in Korean and English. Pure: data in, subject and text out.

use contracts::orders::{OrderSummary, OrderedLine};
use kernel::{Money, Timestamp};

/// The language of a letter. Whoever asked for neither reads English.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Korean,
    English,
}

impl Language {
    pub(crate) fn of(locale: &str) -> Self {
        if locale == "ko" || locale.starts_with("ko-") { Language::Korean } else { Language::English }
    }

    fn pick(self, korean: &'static str, english: &'static str) -> &'static str {
        match self {
            Language::Korean => korean,
            Language::English => english,
        }
    }
}

/// A letter before it is addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    pub subject: String,
    pub text: String,
}

/// What a letter is about, everything in clear.
pub(crate) enum About<'a> {
    Verification { code: &'a str, expires_at: Timestamp },
    Confirmed { order: &'a OrderSummary },
    Rejected { order: &'a OrderSummary, reason: &'a str },
    Cancelled { order: &'a OrderSummary, reason: &'a str, was_confirmed: bool },
    Fulfilled { order_id: String },
}

/// `1,234,567`, with the decimals of the currency: `129,000원`, `KRW 129,000`, `USD 1,234.50`.
pub(crate) fn amount(money: Money, language: Language) -> String {
    let exponent = money.currency.exponent() as usize;
    let digits = format!("{:0>width$}", money.minor.unsigned_abs(), width = exponent + 1);
    let (whole, fraction) = digits.split_at(digits.len() - exponent);
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if exponent > 0 {
        text.push('.');
        text.push_str(fraction);
    }
    let sign = if money.minor < 0 { "-" } else { "" };
    match language {
        Language::Korean if money.currency == kernel::Currency::KRW => format!("{sign}{text}원"),
        _ => format!("{} {sign}{text}", money.currency),
    }
}

/// Minutes are enough for a reader; the zone is said.
fn moment(at: Timestamp, language: Language) -> String {
    let (zone, name) = match language {
        Language::Korean => ("Asia/Seoul", "한국 시각"),
        Language::English => ("UTC", "UTC"),
    };
    match at.in_zone(zone) {
        Some(zoned) => format!("{} ({name})", zoned.strftime("%Y-%m-%d %H:%M")),
        None => at.to_string(),
    }
}

fn lines(order: &OrderSummary, language: Language) -> String {
    let line = |line: &OrderedLine| {
        let each = amount(line.unit_price, language);
        let total = line.unit_price.times(line.quantity).map(|sum| amount(sum, language)).unwrap_or_default();
        format!("- {} × {}  ({each})  {total}\n", one_line(&line.name), line.quantity)
    };
    order.lines.iter().map(line).collect()
}

fn order_block(order: &OrderSummary, language: Language) -> String {
    format!(
        "{}: {}\n{}: {}\n\n{}\n{}: {}\n",
        language.pick("주문 번호", "Order"),
        order.order_id,
        language.pick("주문 일시", "Placed at"),
        moment(order.placed_at, language),
        lines(order, language),
        language.pick("합계", "Total"),
        amount(order.total, language),
    )
}

fn why_rejected(reason: &str, language: Language) -> &'static str {
    match reason {
        "out_of_stock" => language.pick("재고가 부족합니다.", "The items are out of stock."),
        "payment_declined" => language.pick("결제가 승인되지 않았습니다.", "The payment was declined."),
        "price_changed" => {
            language.pick("상품 가격이 변경되었습니다.", "The price has changed in the meantime.")
        }
        _ => language.pick("주문을 처리할 수 없습니다.", "The order could not be carried out."),
    }
}

fn why_cancelled(reason: &str, language: Language) -> &'static str {
    match reason {
        "by_customer" => {
            language.pick("고객님의 요청으로 취소되었습니다.", "It was cancelled at your request.")
        }
        "timeout" => language.pick("처리 시간이 초과되었습니다.", "It could not be finished in time."),
        _ => language.pick("주문이 취소되었습니다.", "The order was cancelled."),
    }
}

/// Text of others on one line: control characters become spaces, and it ends somewhere.
pub(crate) fn one_line(text: &str) -> String {
    let cleaned: String = text.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
    cleaned.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes the letter. `name` is the recipient's, where it is known.
pub(crate) fn write(about: &About<'_>, name: Option<&str>, language: Language) -> Letter {
    let (subject, middle) = match about {
        About::Verification { code, expires_at } => (
            language.pick("[RTC] 이메일 인증 코드", "[RTC] Your verification code").to_owned(),
            format!(
                "{}\n\n    {code}\n\n{}: {}\n{}\n",
                language.pick("아래 인증 코드를 입력해 주세요.", "Enter this code to verify your address."),
                language.pick("유효 기한", "Valid until"),
                moment(*expires_at, language),
                language.pick(
                    "직접 요청하지 않으셨다면 이 메일을 무시해 주세요.",
                    "If you did not ask for it, ignore this letter.",
                ),
            ),
        ),
        About::Confirmed { order } => (
            format!(
                "{} ({})",
                language.pick("[RTC] 주문이 확정되었습니다", "[RTC] Order confirmed"),
                order.order_id
            ),
            format!(
                "{}\n\n{}",
                language.pick("주문이 확정되었습니다.", "Your order is confirmed."),
                order_block(order, language)
            ),
        ),
        About::Rejected { order, reason } => (
            format!(
                "{} ({})",
                language.pick("[RTC] 주문을 처리하지 못했습니다", "[RTC] Order not accepted"),
                order.order_id
            ),
            format!(
                "{} {}\n{}\n\n{}",
                language.pick("주문을 처리하지 못했습니다.", "Your order could not be accepted."),
                why_rejected(reason, language),
                language.pick("결제된 금액은 없습니다.", "You have not been charged."),
                order_block(order, language)
            ),
        ),
        About::Cancelled { order, reason, was_confirmed } => (
            format!(
                "{} ({})",
                language.pick("[RTC] 주문이 취소되었습니다", "[RTC] Order cancelled"),
                order.order_id
            ),
            format!(
                "{} {}\n{}\n\n{}",
                language.pick("주문이 취소되었습니다.", "Your order is cancelled."),
                why_cancelled(reason, language),
                match was_confirmed {
                    true => language.pick("결제 금액은 환불되었습니다.", "The amount has been refunded."),
                    false => language.pick("결제된 금액은 없습니다.", "You have not been charged."),
                },
                order_block(order, language)
            ),
        ),
        About::Fulfilled { order_id } => (
            format!(
                "{} ({order_id})",
                language.pick("[RTC] 주문 상품이 발송되었습니다", "[RTC] Order fulfilled")
            ),
            format!(
                "{}\n\n{}: {order_id}\n",
                language.pick(
                    "주문하신 상품이 모두 발송되었습니다.",
                    "Everything that you ordered is on its way."
                ),
                language.pick("주문 번호", "Order"),
            ),
        ),
    };
    let greeting = match (name.map(one_line).filter(|name| !name.is_empty()), language) {
        (Some(name), Language::Korean) => format!("{name}님, 안녕하세요."),
        (Some(name), Language::English) => format!("Hello {name},"),
        (None, _) => language.pick("안녕하세요.", "Hello,").to_owned(),
    };
    let closing = language.pick("감사합니다.\nRTC 드림", "Thank you.\nRTC");
    Letter { subject, text: format!("{greeting}\n\n{middle}\n{closing}\n") }
}
