//! Reads of the shop's own numbers: windows as views. Every answer is one snapshot.

mod lists;
mod live;
mod tally;

pub use lists::{
    ShopCategoryView, ShopMonthView, ShopTopView, StockView, categories, months, stock, top_products,
};
pub use live::{LiveView, live};
pub use tally::{DurationView, ReasonView, Tally};

use db::Tx;
use kernel::{Error, Money, Result, Timestamp};
use serde::Serialize;

use crate::config::{Config, ProductTotals};
use crate::domain::tumble::{Measure, Size};
use crate::domain::{Minutes, Window, ZONE, average, minute_start};
use crate::jobs;
use crate::store::totals;
use crate::store::windows::{self, Mark};

/// How windows are closed and how far streams are looked at.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub lateness_ms: i64,
    pub idle_ms: i64,
    pub product_totals: ProductTotals,
}

impl Rules {
    pub fn of(config: &Config) -> Self {
        Self {
            lateness_ms: config.lateness_ms,
            idle_ms: i64::try_from(config.idle_ms).unwrap_or(i64::MAX),
            product_totals: config.product_totals,
        }
    }
}

/// How far the shop's events are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Progress {
    /// All streams on which something comes are at least here, in the time of what happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Timestamp>,
    /// The time of the latest event; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_event_at: Option<Timestamp>,
    /// Every stream that was ever heard is at least here, those too that have been silent since.
    #[serde(skip)]
    pub settled: Option<Timestamp>,
}

/// What is no more must not look like what never was.
pub fn refuse_forgotten(
    field: &'static str,
    of: &[(Size, std::time::Duration)],
    (size, start): (Size, i64),
    progress: Progress,
    rules: Rules,
) -> Result<()> {
    match jobs::kept_from(of, size, progress.watermark, rules) {
        Some(first) if start < first => {
            let first = Timestamp::from_millis(first);
            let detail = format!("windows of {} before {first} are not kept", size.as_str());
            Err(Error::field(field, "out_of_range", detail))
        }
        _ => Ok(()),
    }
}

pub fn progress(tx: &mut Tx<'_>, rules: Rules, now: Timestamp) -> Result<Progress> {
    let marks = windows::all_marks(tx)?;
    let since = now.as_millis().saturating_sub(rules.idle_ms);
    let reached = || marks.iter().filter(|mark| mark.reached_at > i64::MIN);
    let live = reached().filter(|mark| mark.heard_at.as_millis() >= since);
    let at = |mark: &Mark| mark.reached_at;
    let watermark = live.map(at).min().or_else(|| reached().map(at).max());
    Ok(Progress {
        watermark: watermark.map(Timestamp::from_millis),
        last_event_at: marks.iter().map(|mark| mark.told_at).max(),
        settled: reached().map(at).min().map(Timestamp::from_millis),
    })
}

/// One stretch of time.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PeriodView {
    pub from: Timestamp,
    /// Not part of it.
    pub to: Timestamp,
    /// Confirmed orders that were placed in it and are not cancelled.
    pub orders: i64,
    /// What they are worth, by currency.
    pub revenue: Vec<Money>,
    /// Revenue ÷ orders by currency, rounded half up to minor units.
    pub average_order_value: Vec<Money>,
    /// Pieces of these orders.
    pub units: i64,
    /// Orders that were placed in it, however they ended.
    pub placed: i64,
    /// Orders that were placed in it and rejected.
    pub rejected: Vec<ReasonView>,
    /// Orders cancelled within it.
    pub cancellations: i64,
    pub cancelled: Vec<ReasonView>,
    /// Payments taken within it.
    pub payments: i64,
    pub paid: Vec<Money>,
    /// Money given back within it.
    pub refunded: Vec<Money>,
    /// Payments that the bank refused within it.
    pub declined: Vec<ReasonView>,
    /// Products looked at and put into carts within it.
    pub views: i64,
    pub cart_additions: i64,
    /// Payments for each ten thousand views; absent where nothing was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversion_bp: Option<i64>,
    /// How long orders took that were confirmed within it; not known by the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<DurationView>,
    /// Lines from outside that were taken in within it.
    pub external_transactions: i64,
    /// Lines from outside that came again.
    pub external_duplicates: i64,
    /// Lines from outside that were not taken.
    pub external_rejected: Vec<ReasonView>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SummaryView {
    pub window: Window,
    /// The zone of days and months; windows are whole minutes and need none.
    pub zone: &'static str,
    /// When these numbers were read.
    pub as_of: Timestamp,
    #[serde(flatten)]
    pub progress: Progress,
    /// Ends with the running minute.
    pub current: PeriodView,
    pub previous: PeriodView,
    /// What came too late for windows of each size, ever: with it the windows add up to all orders.
    pub late: Vec<LateView>,
}

/// Confirmed orders, and cancellations of such, that came after their window of this size was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct LateView {
    pub window: Size,
    /// How many of them there were, taken back ones included.
    pub facts: i64,
    /// What they add up to.
    pub orders: i64,
    pub revenue: Money,
}

pub fn late(tx: &mut Tx<'_>) -> Result<Vec<LateView>> {
    let rows = windows::late(tx, Measure::Order)?;
    let view = |(window, currency, facts, sum): (Size, String, i64, crate::domain::tumble::Sum)| {
        let currency = currency.parse().ok()?;
        Some(LateView { window, facts, orders: sum.count, revenue: Money::new(sum.amount, currency) })
    };
    Ok(rows.into_iter().filter_map(view).collect())
}

pub fn summary(tx: &mut Tx<'_>, rules: Rules, window: Window, now: Timestamp) -> Result<SummaryView> {
    Ok(SummaryView {
        window,
        zone: ZONE,
        as_of: now,
        progress: progress(tx, rules, now)?,
        current: minutes(tx, &window.current(now))?,
        previous: minutes(tx, &window.previous(now))?,
        late: late(tx)?,
    })
}

/// A stretch of whole minutes.
fn minutes(tx: &mut Tx<'_>, minutes: &Minutes) -> Result<PeriodView> {
    let (from, to) = (minute_start(minutes.start), minute_start(minutes.end));
    let rows = windows::between(tx, Size::Minute, from.as_millis(), to.as_millis())?;
    let mut view = Tally::of(&rows).period(from, to);
    let ingest = totals::ingest_counts(tx, minutes)?;
    let ingested = |wanted: &str| {
        ingest.iter().filter(|(result, _)| result == wanted).map(|(_, count)| *count).sum::<i64>()
    };
    view.external_transactions = ingested("accepted");
    view.external_duplicates = ingested("duplicate");
    view.external_rejected = ingest
        .iter()
        .filter(|(result, _)| result != "accepted" && result != "duplicate")
        .map(|(result, count)| ReasonView { reason: result.clone(), count: *count })
        .collect();
    Ok(view)
}

/// One window of a series.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
pub struct PointView {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Every stream that was ever heard is past it, those too that have been silent since: what they tell of it is late.
    pub is_final: bool,
    pub orders: i64,
    pub revenue: Vec<Money>,
    pub average_order_value: Vec<Money>,
    pub units: i64,
    pub placed: i64,
    pub rejected: i64,
    pub cancellations: i64,
    pub payments: i64,
    pub refunded: Vec<Money>,
    pub views: i64,
    pub cart_additions: i64,
}

/// Every window that begins within `from..to`, those without anything in them too.
pub fn points(
    tx: &mut Tx<'_>,
    rules: Rules,
    size: Size,
    from: i64,
    to: i64,
    progress: Progress,
) -> Result<Vec<PointView>> {
    let rows = windows::between(tx, size, from, to)?;
    let mut rest = rows.as_slice();
    let mut points = Vec::new();
    let mut start = from;
    while start < to {
        let end = size.end_of(start);
        let (own, later) = rest.split_at(rest.iter().take_while(|row| row.start < end).count());
        rest = later;
        let period = Tally::of(own).period(Timestamp::from_millis(start), Timestamp::from_millis(end));
        let closes_at = end.saturating_add(rules.lateness_ms);
        points.push(PointView {
            from: period.from,
            to: period.to,
            is_final: progress.settled.is_some_and(|settled| closes_at <= settled.as_millis()),
            orders: period.orders,
            revenue: period.revenue,
            average_order_value: period.average_order_value,
            units: period.units,
            placed: period.placed,
            rejected: period.rejected.iter().map(|row| row.count).sum(),
            cancellations: period.cancellations,
            payments: period.payments,
            refunded: period.refunded,
            views: period.views,
            cart_additions: period.cart_additions,
        });
        start = end;
    }
    Ok(points)
}

/// One step on the way from looking to paying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct StageView {
    /// `view`, `cart`, `order`, `paid`.
    pub stage: &'static str,
    pub count: i64,
    /// For each ten thousand of the stage before; absent in the first, and where there was none before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_previous_bp: Option<i64>,
    /// For each ten thousand of the first stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_first_bp: Option<i64>,
}

pub fn stages(period: &PeriodView) -> Vec<StageView> {
    let counts = [
        ("view", period.views),
        ("cart", period.cart_additions),
        ("order", period.placed),
        ("paid", period.payments),
    ];
    let ratio = |part: i64, whole: i64| average(part.saturating_mul(10_000), whole);
    let mut before = None;
    counts
        .into_iter()
        .map(|(stage, count)| StageView {
            stage,
            count,
            of_previous_bp: before.replace(count).and_then(|before| ratio(count, before)),
            of_first_bp: ratio(count, period.views),
        })
        .collect()
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct FunnelView {
    pub window: Window,
    pub from: Timestamp,
    pub to: Timestamp,
    /// What happened within the window, stage by stage; who is at one stage need not have been at the one before in it.
    pub stages: Vec<StageView>,
}

pub fn funnel(tx: &mut Tx<'_>, window: Window, now: Timestamp) -> Result<FunnelView> {
    let period = minutes(tx, &window.current(now))?;
    Ok(FunnelView { window, from: period.from, to: period.to, stages: stages(&period) })
}
