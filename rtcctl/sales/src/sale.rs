//! One line of a sales file, checked, and the transaction that the platform is told.
//!
//! Invariants: the amount is quantity × price exactly or the line is refused, nothing is rounded; times without a zone
//! are British local time, which is what the shop's till wrote.

use jiff::civil;
use jiff::tz::TimeZone;
use kernel::{Currency, Money, MoneyError, Timestamp};
use serde::Serialize;

use super::header::Columns;
use super::records::Record;
use super::{Fault, Refused, shown};

/// The longest invoice number and stock code, in bytes. Each different one is remembered while a replay runs.
const CODE_LIMIT: usize = 64;

fn unfit(code: &str) -> Option<&'static str> {
    match code.len() {
        0 => Some("empty"),
        1..=CODE_LIMIT => None,
        _ => Some("longer than 64 bytes"),
    }
}

/// A transaction as `POST /api/v1/transactions` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transaction {
    pub external_id: String,
    pub occurred_at: Timestamp,
    #[serde(flatten)]
    pub amount: Money,
    pub description: String,
    pub category: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer_ref: Option<String>,
    pub sku: String,
    pub quantity: i64,
    pub invoice: String,
}

/// A transaction and where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    pub line: u64,
    pub transaction: Transaction,
}

/// What a line is read by: its columns, the currency of its prices, the zone of its times.
#[derive(Debug, Clone)]
pub struct Reading {
    pub columns: Columns,
    pub currency: Currency,
    pub zone: TimeZone,
    /// Files that separate by `;` come from places that write 2,55.
    pub decimal_comma: bool,
}

impl Reading {
    /// The text of a record's invoice column, if it has one that can be read.
    pub fn invoice<'a>(&self, record: &'a Record) -> Option<&'a str> {
        let text = std::str::from_utf8(record.field(self.columns.invoice)?).ok()?.trim();
        (!text.is_empty() && text.len() <= CODE_LIMIT).then_some(text)
    }

    /// Checks a record; `position` is its place among the lines of its invoice, from 1.
    pub fn sale(&self, record: &Record, position: u32) -> Result<Sale, Refused> {
        let refused = |fault: Fault, detail: String| Refused::new(record.line, fault, detail);
        let text = |index: usize| -> Result<&str, Refused> {
            let bytes = record.field(index).unwrap_or_default();
            let text = std::str::from_utf8(bytes)
                .map_err(|_| refused(Fault::BadEncoding, format!("not UTF-8: {}", shown(bytes))))?;
            if bytes.contains(&0) {
                return Err(refused(Fault::NulByte, format!("a NUL byte: {}", shown(bytes))));
            }
            Ok(text.trim())
        };
        let optional = |index: Option<usize>| index.map_or(Ok(""), text);

        for index in 0..record.len() {
            text(index)?;
        }
        let invoice = text(self.columns.invoice)?;
        if let Some(why) = unfit(invoice) {
            return Err(refused(Fault::NoInvoice, format!("the invoice number is {why}")));
        }
        let stock_code = text(self.columns.stock_code)?;
        if let Some(why) = unfit(stock_code) {
            return Err(refused(Fault::NoStockCode, format!("the stock code is {why}")));
        }
        let quantity_text = text(self.columns.quantity)?;
        let quantity: i64 = quantity_text.parse().map_err(|_| {
            refused(Fault::BadQuantity, format!("not a whole number: {}", shown(quantity_text.as_bytes())))
        })?;
        let price = text(self.columns.price)?;
        let point = if self.decimal_comma { price.replacen(',', ".", 1) } else { price.to_owned() };
        let amount = exact_amount(&point, quantity, self.currency).map_err(|(fault, why)| {
            refused(fault, format!("{quantity} × {}: {why}", shown(price.as_bytes())))
        })?;
        let date = text(self.columns.date)?;
        let occurred_at = local_time(date, &self.zone).ok_or_else(|| {
            refused(Fault::BadDate, format!("not a date and time: {}", shown(date.as_bytes())))
        })?;
        let customer = optional(self.columns.customer)?;
        // The set was written by a tool that makes a float of a column with gaps.
        let customer = customer.strip_suffix(".0").unwrap_or(customer);
        let country = optional(self.columns.country)?;
        let description = optional(self.columns.description)?;
        let transaction = Transaction {
            external_id: format!("{invoice}#{position}"),
            occurred_at,
            amount,
            description: if description.is_empty() { stock_code } else { description }.to_owned(),
            category: if country.is_empty() { "unknown" } else { country }.to_owned(),
            customer_ref: (!customer.is_empty()).then(|| customer.to_owned()),
            sku: stock_code.to_owned(),
            quantity,
            invoice: invoice.to_owned(),
        };
        Ok(Sale { line: record.line, transaction })
    }
}

/// `quantity` × `price`. A price finer than the currency's minor unit is good when the product is a whole number of
/// minor units: 1000 × 0.005 GBP is 5.00 GBP, 1 × 0.005 GBP is refused.
fn exact_amount(price: &str, quantity: i64, currency: Currency) -> Result<Money, (Fault, String)> {
    let of_amount = |error: MoneyError| (Fault::BadAmount, error.to_string());
    let error = match Money::parse_decimal(price, currency) {
        Ok(unit) => return unit.times(quantity).map_err(of_amount),
        Err(error) => error,
    };
    let fault = || match error {
        MoneyError::Overflow => (Fault::BadAmount, error.to_string()),
        _ => (Fault::BadPrice, format!("not a decimal amount of {currency}")),
    };
    let Some((whole, fraction)) = price.split_once('.') else { return Err(fault()) };
    let digits = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    let only_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 9 || digits.len() > 18 || !only_digits(fraction) || !only_digits(digits) {
        return Err(fault());
    }
    let scaled: i128 = format!("{whole}{fraction}").parse().map_err(|_| fault())?;
    let product = (scaled * i128::from(quantity)).unsigned_abs();
    let negative = (scaled < 0) != (quantity < 0);
    let scale = 10_u128.pow(fraction.len() as u32);
    let sign = if negative { "-" } else { "" };
    let written = format!("{sign}{}.{:0width$}", product / scale, product % scale, width = fraction.len());
    Money::parse_decimal(&written, currency).map_err(|error| match error {
        MoneyError::BadAmount(..) => {
            (Fault::BadAmount, format!("not a whole number of minor units of {currency}"))
        }
        other => of_amount(other),
    })
}

/// Reads `2010-12-01 08:26[:00]` (also with a `T`), RFC 3339 with an offset, and the American `12/1/2010 8:26` of the
/// original file. An hour that the clocks skip or repeat is read as before the change.
fn local_time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if text.len() > 40 || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let (date, time) = text.split_once([' ', 'T'])?;
    let numbers = |text: &str, by: char, at_least: usize| -> Option<[i16; 3]> {
        let mut parts = [0_i16; 3];
        let mut count = 0;
        for part in text.split(by) {
            let slot = parts.get_mut(count)?;
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *slot = part.parse().ok()?;
            count += 1;
        }
        (count >= at_least).then_some(parts)
    };
    let (year, month, day) = if date.contains('/') {
        let [month, day, year] = numbers(date, '/', 3)?;
        (year, month, day)
    } else {
        let [year, month, day] = numbers(date, '-', 3)?;
        (year, month, day)
    };
    let whole_seconds = match time.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => time,
    };
    let [hour, minute, second] = numbers(whole_seconds, ':', 2)?;
    let small = |number: i16| i8::try_from(number).ok();
    let date = civil::Date::new(year, small(month)?, small(day)?).ok()?;
    let time = civil::Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    let at = zone.to_ambiguous_timestamp(date.to_datetime(time)).compatible().ok()?;
    Some(Timestamp::from_millis(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn london() -> TimeZone {
        TimeZone::get("Europe/London").unwrap()
    }

    fn gbp(price: &str, quantity: i64) -> Result<i64, Fault> {
        exact_amount(price, quantity, Currency::GBP).map(|money| money.minor).map_err(|(fault, _)| fault)
    }

    #[test]
    fn an_amount_is_exact_or_refused() {
        assert_eq!(gbp("2.55", 6), Ok(1_530));
        assert_eq!(gbp("2.5", -6), Ok(-1_500));
        assert_eq!(gbp("-11062.06", 1), Ok(-1_106_206));
        assert_eq!(gbp("-11062.06", -1), Ok(1_106_206));
        assert_eq!(gbp("0.0", 56), Ok(0));
        assert_eq!(gbp("0.005", 1_000), Ok(500));
        assert_eq!(gbp("-0.005", 1_000), Ok(-500));
        assert_eq!(gbp("0.005", -2), Ok(-1));
        assert_eq!(gbp("0.005", 1), Err(Fault::BadAmount));
        assert_eq!(gbp("0.005", 0), Ok(0));
        assert_eq!(gbp("99999999999999999.99", 1), Err(Fault::BadAmount));
        assert_eq!(gbp("9999999999999.99", 1_000_000_000_000), Err(Fault::BadAmount));
        for bad in ["", "x", "1,5", "1e3", "--1", "1.2.3", "1.-5", "+-1.005", "£1", "0x10", "1.0000000000001"]
        {
            assert_eq!(gbp(bad, 1), Err(Fault::BadPrice), "{bad:?}");
        }
    }

    #[test]
    fn times_are_british_in_winter_in_summer_and_at_the_change_of_the_clocks() {
        let read = |text: &str| local_time(text, &london()).map(|at| at.to_string());
        assert_eq!(read("2010-12-01 08:26:00").as_deref(), Some("2010-12-01T08:26:00.000Z"));
        assert_eq!(read("2010-12-01T08:26").as_deref(), Some("2010-12-01T08:26:00.000Z"));
        assert_eq!(read("12/1/2010 8:26").as_deref(), Some("2010-12-01T08:26:00.000Z"));
        assert_eq!(read("2011-07-01 08:26:00").as_deref(), Some("2011-07-01T07:26:00.000Z"));
        assert_eq!(read("2011-07-01T08:26:00+09:00").as_deref(), Some("2011-06-30T23:26:00.000Z"));
        // 01:30 does not exist on 2011-03-27 and exists twice on 2011-10-30.
        assert_eq!(read("2011-03-27 01:30:00").as_deref(), Some("2011-03-27T01:30:00.000Z"));
        assert_eq!(read("2011-10-30 01:30:00").as_deref(), Some("2011-10-30T00:30:00.000Z"));
        for bad in [
            "",
            "yesterday",
            "2010-13-01 08:26",
            "2010-12-01",
            "2010-12-01 25:00",
            "13/1/2010 8:26",
            "1/1 8:26",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
