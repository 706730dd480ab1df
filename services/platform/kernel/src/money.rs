//! Money in whole minor units with checked arithmetic (R5). There are no floats in it, and none may come near it.
//!
//! Invariant: two amounts meet only in one currency, and an overflow is an error, never a wrapped number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An ISO 4217 code. `KRW` and `JPY` have no minor unit, the others that we know two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const KRW: Currency = Currency(*b"KRW");
    pub const USD: Currency = Currency(*b"USD");
    pub const GBP: Currency = Currency(*b"GBP");
    pub const EUR: Currency = Currency(*b"EUR");
    /// ISO 4217's code for "no currency": where a column must have one and no money is meant.
    pub const NONE: Currency = Currency(*b"XXX");

    /// What the platform trades and banks in. Others are read (sales from outside come in any), not taken.
    pub const TRADED: [Currency; 9] = [
        Currency::KRW,
        Currency::USD,
        Currency::EUR,
        Currency::GBP,
        Currency(*b"JPY"),
        Currency(*b"CNY"),
        Currency(*b"VND"),
        Currency(*b"SGD"),
        Currency(*b"AUD"),
    ];

    pub fn is_traded(self) -> bool {
        Self::TRADED.contains(&self)
    }

    /// The traded codes, for a message: `KRW, USD, …`.
    pub fn traded_codes() -> String {
        Self::TRADED.map(|currency| currency.to_string()).join(", ")
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// How many decimals the minor unit is away from the major one (ISO 4217).
    pub const fn exponent(self) -> u32 {
        match &self.0 {
            b"KRW" | b"JPY" | b"VND" | b"CLP" => 0,
            b"KWD" | b"BHD" | b"OMR" | b"JOD" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::BadCurrency(text.to_owned())),
        }
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Currency {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217 code" })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("the amount leaves the range of 64-bit minor units")]
    Overflow,
    #[error("{0} and {1} cannot be added")]
    CurrencyMismatch(Currency, Currency),
    #[error("not a currency code of three capital letters: {0:?}")]
    BadCurrency(String),
    #[error("not a decimal amount of {1}: {0:?}")]
    BadAmount(String, Currency),
}

impl From<MoneyError> for crate::Error {
    fn from(error: MoneyError) -> Self {
        crate::Error::invalid("money_invalid", error.to_string())
    }
}

/// An amount in minor units of one currency. JSON: `{"amount": 129000, "currency": "KRW"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// Minor units (won, cent, penny).
    #[serde(rename = "amount")]
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    pub fn plus(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Money { minor, ..self })
    }

    pub fn minus(self, other: Money) -> Result<Money, MoneyError> {
        self.same_currency(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Money { minor, ..self })
    }

    pub fn times(self, quantity: i64) -> Result<Money, MoneyError> {
        let minor = self.minor.checked_mul(quantity).ok_or(MoneyError::Overflow)?;
        Ok(Money { minor, ..self })
    }

    /// `basis_points` of 10 000, rounded half up (half away from zero for a negative amount), once.
    pub fn basis_points(self, basis_points: i64) -> Result<Money, MoneyError> {
        let product = i128::from(self.minor) * i128::from(basis_points);
        let half = if product < 0 { -5_000 } else { 5_000 };
        let minor = i64::try_from((product + half) / 10_000).map_err(|_| MoneyError::Overflow)?;
        Ok(Money { minor, ..self })
    }

    /// Reads a decimal text such as `2.55` exactly. More decimals than the currency has are refused unless zero.
    pub fn parse_decimal(text: &str, currency: Currency) -> Result<Money, MoneyError> {
        let refused = || MoneyError::BadAmount(text.to_owned(), currency);
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(refused());
        }
        let exponent = currency.exponent() as usize;
        if fraction.len() > exponent && fraction[exponent..].bytes().any(|byte| byte != b'0') {
            return Err(refused());
        }
        let kept = &fraction[..fraction.len().min(exponent)];
        let joined = format!("{whole}{kept:0<exponent$}");
        let minor: i64 =
            if joined.is_empty() { 0 } else { joined.parse().map_err(|_| MoneyError::Overflow)? };
        Ok(Money { minor: sign * minor, currency })
    }

    fn same_currency(self, other: Money) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::CurrencyMismatch(self.currency, other.currency))
    }
}

impl fmt::Display for Money {
    /// `129,000 KRW`, `280,766.48 GBP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10_u64.pow(self.currency.exponent());
        let absolute = self.minor.unsigned_abs();
        let digits = (absolute / scale).to_string();
        let mut whole = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                whole.push(',');
            }
            whole.push(digit);
        }
        let sign = if self.minor < 0 { "-" } else { "" };
        match self.currency.exponent() as usize {
            0 => write!(f, "{sign}{whole} {}", self.currency),
            width => write!(f, "{sign}{whole}.{:0width$} {}", absolute % scale, self.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn money_is_an_integer_and_a_code_in_json() {
        let price = Money::new(129_000, Currency::KRW);
        assert_eq!(serde_json::to_string(&price).unwrap(), r#"{"amount":129000,"currency":"KRW"}"#);
        assert!(serde_json::from_str::<Money>(r#"{"amount":1.5,"currency":"KRW"}"#).is_err());
        assert!(serde_json::from_str::<Money>(r#"{"amount":"1","currency":"KRW"}"#).is_err());
        assert!(serde_json::from_str::<Money>(r#"{"amount":1,"currency":"won"}"#).is_err());
    }

    #[test]
    fn an_overflow_and_a_second_currency_are_errors() {
        let most = Money::new(i64::MAX, Currency::KRW);
        assert_eq!(most.plus(Money::new(1, Currency::KRW)), Err(MoneyError::Overflow));
        assert_eq!(most.times(2), Err(MoneyError::Overflow));
        assert!(matches!(most.plus(Money::new(1, Currency::USD)), Err(MoneyError::CurrencyMismatch(_, _))));
    }

    #[test]
    fn decimals_are_read_exactly() {
        let read = |text: &str| Money::parse_decimal(text, Currency::GBP).map(|money| money.minor);
        assert_eq!(read("2.55"), Ok(255));
        assert_eq!(read("2.5"), Ok(250));
        assert_eq!(read("-11062.06"), Ok(-1_106_206));
        assert_eq!(read("0.850"), Ok(85));
        for bad in ["", ".", "-", "1.005", "1e3", "1,5", "NaN", "٣", "1.2.3"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Money::parse_decimal("5.00", Currency::KRW).unwrap().minor, 5);
        assert!(Money::parse_decimal("5.5", Currency::KRW).is_err());
    }

    #[test]
    fn amounts_print_with_separators() {
        assert_eq!(Money::new(28_076_648, Currency::GBP).to_string(), "280,766.48 GBP");
        assert_eq!(Money::new(-129_000, Currency::KRW).to_string(), "-129,000 KRW");
        assert_eq!(Money::new(i64::MIN, Currency::KRW).to_string(), "-9,223,372,036,854,775,808 KRW");
    }

    #[test]
    fn basis_points_round_half_up_once() {
        assert_eq!(Money::new(125, Currency::USD).basis_points(1_000).unwrap().minor, 13);
        assert_eq!(Money::new(124, Currency::USD).basis_points(1_000).unwrap().minor, 12);
        assert_eq!(Money::new(-125, Currency::USD).basis_points(1_000).unwrap().minor, -13);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_printed_as_a_decimal_is_read_back(minor in -9_000_000_000_000_i64..9_000_000_000_000) {
            let text = format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.abs() / 100, minor.abs() % 100);
            prop_assert_eq!(Money::parse_decimal(&text, Currency::GBP).unwrap().minor, minor);
        }
    }
}
