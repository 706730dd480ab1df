//! The live numbers: all that a dashboard shows, in one document.

use db::Tx;
use kernel::{Result, Timestamp};
use serde::Serialize;

use super::lists::{ShopCategoryView, ShopTopView, StockView, categories, stock, top_products};
use super::tally::Tally;
use super::{LateView, PeriodView, PointView, Progress, Rules, StageView, late, points, progress, stages};
use crate::domain::tumble::Size;
use crate::store::products;
use crate::store::totals::Rank;
use crate::store::windows;

const POINTS: i64 = 60;
const LISTED: u32 = 10;
/// Beyond this many it is enough to know that there are as many.
const SOLD_OUT_MAX: u32 = 10_000;

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct LiveView {
    /// Rises with whatever changes the numbers.
    pub revision: i64,
    /// When the numbers were read.
    pub as_of: Timestamp,
    #[serde(flatten)]
    pub progress: Progress,
    /// How old the latest event was when the numbers were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<i64>,
    /// The running day of Asia/Seoul, and the running hour.
    pub today: PeriodView,
    pub hour: PeriodView,
    pub funnel: Vec<StageView>,
    /// The last 60 minutes and seconds, the running ones last.
    pub minutes: Vec<PointView>,
    pub seconds: Vec<PointView>,
    /// Of today.
    pub top_products: ShopTopView,
    pub categories: Vec<ShopCategoryView>,
    /// How many skus have nothing left.
    pub sold_out: i64,
    pub scarcest: Vec<StockView>,
    pub late: Vec<LateView>,
}

fn running(tx: &mut Tx<'_>, size: Size, now: Timestamp) -> Result<PeriodView> {
    let start = size.start_of(now);
    let end = size.end_of(start);
    let rows = windows::between(tx, size, start, end)?;
    Ok(Tally::of(&rows).period(Timestamp::from_millis(start), Timestamp::from_millis(end)))
}

fn last(
    tx: &mut Tx<'_>,
    rules: Rules,
    size: Size,
    now: Timestamp,
    progress: Progress,
) -> Result<Vec<PointView>> {
    let end = size.end_of(size.start_of(now));
    let from = end - POINTS * (end - size.start_of(now));
    points(tx, rules, size, from, end, progress)
}

pub fn live(tx: &mut Tx<'_>, rules: Rules, now: Timestamp) -> Result<LiveView> {
    let progress = progress(tx, rules, now)?;
    let today = running(tx, Size::Day, now)?;
    let day = (Size::Day, Size::Day.start_of(now));
    Ok(LiveView {
        revision: windows::revision(tx)?,
        as_of: now,
        progress,
        lag_ms: progress.last_event_at.map(|at| now.as_millis().saturating_sub(at.as_millis()).max(0)),
        hour: running(tx, Size::Hour, now)?,
        funnel: stages(&today),
        today,
        minutes: last(tx, rules, Size::Minute, now, progress)?,
        seconds: last(tx, rules, Size::Second, now, progress)?,
        top_products: top_products(tx, rules.product_totals, Some(day), Rank::Revenue, None, LISTED)?,
        categories: categories(tx, Some(day), "", LISTED)?,
        sold_out: products::sold_out(tx, SOLD_OUT_MAX)?,
        scarcest: stock(tx, None, LISTED)?,
        late: late(tx)?,
    })
}
