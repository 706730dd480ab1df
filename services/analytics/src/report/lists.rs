//! Lists of the shop's own numbers: the greatest products, categories, months, stock.

use db::Tx;
use kernel::{Currency, Money, Result, Timestamp};
use serde::Serialize;

use crate::config::ProductTotals;
use crate::domain::month_of;
use crate::domain::top::{Counter, Top};
use crate::domain::tumble::{Measure, Size, Sum};
use crate::store::products::{self, Level, Stretch};
use crate::store::totals::Rank;
use crate::store::windows::{self, Kept};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ShopProductView {
    pub rank: u32,
    pub sku: String,
    /// The name by which it was last sold.
    pub name: String,
    pub units: i64,
    pub revenue: Money,
    /// Revenue may be this much less; always 0 where the list is exact.
    pub revenue_error: i64,
}

/// The products that the shop has sold the most of, in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ShopTopView {
    /// The window it is of; everything ever where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    pub by: Rank,
    /// The one asked for, or the one with the most orders; absent where nothing was sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Every number is exact. Otherwise there were more products than are counted, and no product without a counter has
    /// sold for more than `floor`.
    pub is_exact: bool,
    pub floor: i64,
    pub data: Vec<ShopProductView>,
}

/// The currency in which the shop has the most orders.
pub fn main_currency(tx: &mut Tx<'_>) -> Result<Option<Currency>> {
    let mut rows = windows::totals(tx, Measure::Order, "", 250)?;
    rows.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.count));
    Ok(rows.first().and_then(|(label, _)| label.parse().ok()))
}

pub fn top_products(
    tx: &mut Tx<'_>,
    totals: ProductTotals,
    window: Option<(Size, i64)>,
    by: Rank,
    currency: Option<Currency>,
    limit: u32,
) -> Result<ShopTopView> {
    let mut view = ShopTopView {
        window: window.map(|(size, _)| size),
        from: window.map(|(_, start)| Timestamp::from_millis(start)),
        by,
        currency,
        is_exact: true,
        floor: 0,
        data: Vec::new(),
    };
    let Some(currency) = (match currency {
        Some(currency) => Some(currency),
        None => main_currency(tx)?,
    }) else {
        return Ok(view);
    };
    view.currency = Some(currency);
    let stretch = window.map_or(Stretch::Ever, |(size, start)| Stretch::Window(size, start));
    if stretch == Stretch::Ever && totals == ProductTotals::Exact {
        let found = products::greatest(tx, currency, by, limit)?;
        view.data = (1..)
            .zip(found)
            .map(|(rank, product)| ShopProductView {
                rank,
                sku: product.sku,
                name: product.name,
                units: product.units,
                revenue: product.revenue,
                revenue_error: 0,
            })
            .collect();
        return Ok(view);
    }
    let Some(stored) = products::top(tx, stretch, currency)? else { return Ok(view) };
    let top = Top::restore(usize::MAX, stored);
    view.floor = top.floor();
    view.is_exact = top.floor() == 0;
    for (rank, counter) in (1..).zip(top.greatest(limit as usize)) {
        let Counter { sku, mut name, count, error, units } = counter;
        if name.is_empty() {
            name = products::name(tx, &sku, currency)?.unwrap_or_default();
        }
        let revenue = Money::new(count, currency);
        view.data.push(ShopProductView { rank, sku, name, units, revenue, revenue_error: error });
    }
    Ok(view)
}

/// One category in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ShopCategoryView {
    pub category: String,
    pub units: i64,
    pub revenue: Money,
    /// Its place in the list; part of the cursor, not of the answer.
    #[serde(skip)]
    pub label: String,
}

/// Categories after the label `after`, by currency and name: of one window, or of everything ever.
pub fn categories(
    tx: &mut Tx<'_>,
    window: Option<(Size, i64)>,
    after: &str,
    limit: u32,
) -> Result<Vec<ShopCategoryView>> {
    let rows = match window {
        Some((size, start)) => windows::in_window(tx, size, start, Measure::Category, after, limit)?,
        None => windows::totals(tx, Measure::Category, after, limit)?,
    };
    let view = |(label, sum): (String, Sum)| {
        let (currency, category) = label.split_once('|')?;
        let revenue = Money::new(sum.amount, currency.parse().ok()?);
        Some(ShopCategoryView { category: category.to_owned(), units: sum.count, revenue, label })
    };
    Ok(rows.into_iter().filter_map(view).collect())
}

/// One month in one currency. Months are those of Asia/Seoul.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ShopMonthView {
    /// `2026-03`.
    pub month: String,
    pub orders: i64,
    pub revenue: Money,
    #[serde(skip)]
    pub start: i64,
}

pub fn months(
    tx: &mut Tx<'_>,
    range: std::ops::Range<i64>,
    after: (i64, &str),
    limit: u32,
) -> Result<Vec<ShopMonthView>> {
    let rows = windows::months(tx, Measure::Order, range, after, limit)?;
    let view = |Kept { start, label, sum, .. }: Kept| {
        let month = month_of(Timestamp::from_millis(start));
        let month = format!("{:04}-{:02}", month / 100, month % 100);
        let revenue = Money::new(sum.amount, label.parse().ok()?);
        Some(ShopMonthView { month, orders: sum.count, revenue, start })
    };
    Ok(rows.into_iter().filter_map(view).collect())
}

/// What there is of a sku, as last heard from the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct StockView {
    pub sku: String,
    pub on_hand: i64,
    pub reserved: i64,
    pub available: i64,
    pub changed_at: Timestamp,
}

/// The scarcest first.
pub fn stock(tx: &mut Tx<'_>, after: Option<&(i64, String)>, limit: u32) -> Result<Vec<StockView>> {
    let view = |level: Level| StockView {
        sku: level.sku,
        on_hand: level.on_hand,
        reserved: level.reserved,
        available: level.available,
        changed_at: level.changed_at,
    };
    Ok(products::levels(tx, after, limit)?.into_iter().map(view).collect())
}
