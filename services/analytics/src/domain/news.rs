//! What the shop's events say, as facts, sales and stock levels.
//!
//! Invariants:
//! - every order that ends is placed once, whichever way it ends, and ordered once if it is confirmed;
//! - a cancellation takes back, at the time at which the order was placed, what its confirmation had added;
//! - an event whose numbers no shop can have is refused before it is counted.

use contracts::catalog::ProductsVisited;
use contracts::inventory::{StockAdjusted, StockLevel};
use contracts::orders::{OrderSummary, OrderedLine};
use kernel::{Currency, Error, Money, Timestamp};

use super::durations::bucket_of;
use super::tumble::{Fact, Measure, Sum};

/// The greatest amount and the greatest number of pieces that one event may speak of: a thousand of them still fit into a
/// sum of 64 bits.
pub const NUMBER_MAX: i64 = 1 << 53;
/// The longest label: the longest category with its currency.
const LABEL_CHARS_MAX: usize = 104;

/// Some pieces of one product that were sold, or with negative numbers taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// When the order was placed.
    pub at: Timestamp,
    pub currency: Currency,
    pub sku: String,
    pub name: String,
    pub units: i64,
    pub amount: i64,
}

/// What one event says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct News {
    pub facts: Vec<Fact>,
    pub sales: Vec<Sale>,
    pub levels: Vec<StockLevel>,
}

/// How an order came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Confirmed,
    Rejected,
    Cancelled,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Outcome::Confirmed => "confirmed",
            Outcome::Rejected => "rejected",
            Outcome::Cancelled => "cancelled",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Sold,
    TakenBack,
}

fn too_large() -> Error {
    Error::conflict("total_overflow", "numbers beyond what any total can hold")
}

fn checked(number: i64) -> Result<i64, Error> {
    if (-NUMBER_MAX..=NUMBER_MAX).contains(&number) { Ok(number) } else { Err(too_large()) }
}

/// Reasons are few and short; one that is neither must not make windows wide.
fn reason(text: &str) -> &str {
    if (1..=64).contains(&text.len()) { text } else { "other" }
}

impl News {
    fn fact(&mut self, at: Timestamp, measure: Measure, label: impl Into<String>, sum: Sum) {
        self.facts.push(Fact { at, measure, label: label.into(), sum });
    }

    fn money(&mut self, at: Timestamp, measure: Measure, money: Money) -> Result<(), Error> {
        let sum = Sum::new(1, checked(money.minor)?);
        self.fact(at, measure, money.currency.as_str(), sum);
        Ok(())
    }

    /// The order has come to its first end.
    fn ended(&mut self, order: &OrderSummary, outcome: Outcome, at: Timestamp) -> Result<(), Error> {
        self.money(order.placed_at, Measure::Placed, order.total)?;
        let ms = at.as_millis().saturating_sub(order.placed_at.as_millis()).max(0);
        let label = format!("{}|{:04}", outcome.as_str(), bucket_of(ms));
        self.fact(at, Measure::Duration, label, Sum::new(1, checked(ms)?));
        Ok(())
    }

    fn order(&mut self, order: &OrderSummary, direction: Direction) -> Result<(), Error> {
        let signed = |count: i64, amount: i64| -> Result<Sum, Error> {
            let sum = Sum::new(checked(count)?, checked(amount)?);
            Ok(if direction == Direction::Sold { sum } else { sum.negated() })
        };
        let (at, currency) = (order.placed_at, order.total.currency);
        self.fact(at, Measure::Order, currency.as_str(), signed(1, order.total.minor)?);
        let mut sold = Sum::default();
        for line in &order.lines {
            let OrderedLine { sku, name, category, quantity, unit_price, .. } = line;
            let amount = unit_price.minor.checked_mul(*quantity).ok_or_else(too_large)?;
            let sum = signed(*quantity, amount)?;
            let label: String = currency
                .as_str()
                .chars()
                .chain(['|'])
                .chain(category.chars())
                .take(LABEL_CHARS_MAX)
                .collect();
            self.fact(at, Measure::Category, label, sum);
            sold.add(sum);
            self.sales.push(Sale {
                at,
                currency,
                sku: sku.chars().take(64).collect(),
                name: name.chars().take(200).collect(),
                units: sum.count,
                amount: sum.amount,
            });
        }
        self.fact(
            at,
            Measure::Sold,
            currency.as_str(),
            Sum::new(checked(sold.count)?, checked(sold.amount)?),
        );
        Ok(())
    }

    pub fn confirmed(order: &OrderSummary, at: Timestamp) -> Result<Self, Error> {
        let mut news = Self::default();
        news.ended(order, Outcome::Confirmed, at)?;
        news.order(order, Direction::Sold)?;
        Ok(news)
    }

    pub fn rejected(order: &OrderSummary, why: &str, at: Timestamp) -> Result<Self, Error> {
        let mut news = Self::default();
        news.ended(order, Outcome::Rejected, at)?;
        news.fact(order.placed_at, Measure::Rejected, reason(why), Sum::new(1, order.total.minor));
        Ok(news)
    }

    pub fn cancelled(
        order: &OrderSummary,
        why: &str,
        was_confirmed: bool,
        at: Timestamp,
    ) -> Result<Self, Error> {
        let mut news = Self::default();
        if was_confirmed {
            news.order(order, Direction::TakenBack)?;
        } else {
            news.ended(order, Outcome::Cancelled, at)?;
        }
        news.fact(at, Measure::Cancelled, reason(why), Sum::new(1, checked(order.total.minor)?));
        Ok(news)
    }

    pub fn captured(amount: Money, at: Timestamp) -> Result<Self, Error> {
        let mut news = Self::default();
        news.money(at, Measure::Paid, amount)?;
        Ok(news)
    }

    pub fn refunded(amount: Money, at: Timestamp) -> Result<Self, Error> {
        let mut news = Self::default();
        news.money(at, Measure::Refunded, amount)?;
        Ok(news)
    }

    pub fn declined(code: &str, at: Timestamp) -> Self {
        let mut news = Self::default();
        news.fact(at, Measure::Declined, reason(code), Sum::new(1, 0));
        news
    }

    pub fn visited(event: &ProductsVisited) -> Result<Self, Error> {
        let (mut views, mut carts) = (0_i64, 0_i64);
        for visits in &event.visits {
            views = checked(views.saturating_add(checked(visits.views)?))?;
            carts = checked(carts.saturating_add(checked(visits.cart_additions)?))?;
        }
        let mut news = Self::default();
        for (measure, count) in [(Measure::View, views), (Measure::Cart, carts)] {
            if count > 0 {
                news.fact(event.second, measure, "", Sum::new(count, 0));
            }
        }
        Ok(news)
    }

    pub fn levels(levels: &[StockLevel]) -> Self {
        Self { levels: levels.to_vec(), ..Self::default() }
    }

    pub fn adjusted(event: &StockAdjusted) -> Self {
        let StockAdjusted { sku, on_hand, reserved, version, .. } = event;
        Self::levels(&[StockLevel {
            sku: sku.clone(),
            on_hand: *on_hand,
            reserved: *reserved,
            version: *version,
        }])
    }
}
