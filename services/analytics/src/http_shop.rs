//! Routes of the shop's own numbers. No SQL and no decisions.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use kernel::{Error, Money, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use web::{ApiResult, Json, Op, Page, Query, Routes};

use crate::domain::tumble::Size;
use crate::domain::{Source, Window, ZONE};
use crate::http::{ANALYSTS, App, limit_of};
use crate::jobs;
use crate::report::{self, FunnelView, LiveView, PointView, StockView, SummaryView};
use crate::store::totals;

const EVENT_STREAM: &str = "text/event-stream";
const STOCK_DEFAULT: u32 = 50;
const POINTS_MAX: i64 = 1_500;
const POINTS_DEFAULT: i64 = 60;

pub fn routes(routes: Routes<App>) -> Routes<App> {
    routes
        .get(
            "/api/v1/analytics/summary",
            ANALYSTS,
            Op::new("The shop's own orders and what came from outside, in this window and in the one before")
                .query::<SummaryParams>()
                .answers::<SummaryView>(200, "Both windows"),
            summary,
        )
        .get(
            "/api/v1/analytics/series",
            ANALYSTS,
            Op::new("Windows one after the other: of the shop's own orders, or of a source's lines")
                .query::<SeriesParams>()
                .answers::<SeriesView>(200, "Every window of the stretch, the oldest first"),
            series,
        )
        .get(
            "/api/v1/analytics/funnel",
            ANALYSTS,
            Op::new("From looking to paying: views, cart additions, orders, payments")
                .query::<SummaryParams>()
                .answers::<FunnelView>(200, "The stages"),
            funnel,
        )
        .get(
            "/api/v1/analytics/stock",
            ANALYSTS,
            Op::new("Stock levels, the scarcest first")
                .query::<web::PageParams>()
                .answers::<Page<StockView>>(200, "A page"),
            stock,
        )
        .get(
            "/api/v1/analytics/stream",
            ANALYSTS,
            Op::new("The live numbers as server-sent events; Last-Event-ID says what was seen already")
                .answers_raw::<LiveView>(
                    200,
                    EVENT_STREAM,
                    "An event `numbers` for each change, with all of them",
                )
                .fails(503, "too_many_listeners"),
            listen,
        )
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct SummaryParams {
    /// Default `1h`.
    window: Option<Window>,
}

async fn summary(
    State(app): State<App>,
    Query(params): Query<SummaryParams>,
) -> ApiResult<Json<SummaryView>> {
    let window = params.window.unwrap_or(Window::Hour);
    let (now, rules) = (app.clock.now(), app.rules);
    Ok(Json(app.db.read(move |tx| report::summary(tx, rules, window, now)).await?))
}

async fn funnel(State(app): State<App>, Query(params): Query<SummaryParams>) -> ApiResult<Json<FunnelView>> {
    let (window, now) = (params.window.unwrap_or(Window::Hour), app.clock.now());
    Ok(Json(app.db.read(move |tx| report::funnel(tx, window, now)).await?))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct SeriesParams {
    /// Default `1m`. A source has `1h` and `1d`.
    window: Option<Size>,
    /// The window that holds this instant is the first; default: 60 windows in all.
    from: Option<Timestamp>,
    /// Windows from this instant on are not shown; default: the running one is the last.
    to: Option<Timestamp>,
    /// Lines of this source, by when they occurred; the shop's own orders where it is absent.
    source: Option<String>,
}

/// One window of a source's lines.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct SourcePointView {
    from: Timestamp,
    to: Timestamp,
    lines: i64,
    totals: Vec<Money>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum SeriesView {
    Shop {
        window: Size,
        zone: &'static str,
        as_of: Timestamp,
        #[serde(flatten)]
        progress: report::Progress,
        data: Vec<PointView>,
    },
    Source {
        window: Size,
        zone: &'static str,
        source: String,
        /// Windows without a line are left out.
        data: Vec<SourcePointView>,
    },
}

/// The first and the last boundary of a stretch of whole windows.
fn stretch(size: Size, params: &SeriesParams, now: Timestamp) -> Result<(i64, i64), Error> {
    let end = match params.to {
        Some(to) if size.start_of(to) == to.as_millis() => to.as_millis(),
        Some(to) => size.end_of(size.start_of(to)),
        None => size.end_of(size.start_of(now)),
    };
    // The shortest window of its size: months and days differ.
    let least = match size {
        Size::Second => 1_000,
        Size::Minute => 60_000,
        Size::Hour => 3_600_000,
        Size::Day => 82_800_000,
        Size::Month => 28 * 86_400_000,
    };
    let start = match params.from {
        Some(from) => size.start_of(from),
        None => {
            let mut start = end;
            for _ in 0..POINTS_DEFAULT {
                start = size.start_of(Timestamp::from_millis(start.saturating_sub(1)));
            }
            start
        }
    };
    if start > end || end.saturating_sub(start) / least > POINTS_MAX {
        let detail = format!("from lies before to, and at most {POINTS_MAX} windows lie between them");
        return Err(Error::field("/from", "out_of_range", detail));
    }
    Ok((start, end))
}

async fn series(State(app): State<App>, Query(params): Query<SeriesParams>) -> ApiResult<Json<SeriesView>> {
    let source: Option<Source> = params.source.as_deref().map(str::parse).transpose()?;
    let window = params.window.unwrap_or(if source.is_some() { Size::Hour } else { Size::Minute });
    let (now, rules) = (app.clock.now(), app.rules);
    let (from, to) = stretch(window, &params, now)?;
    let Some(source) = source else {
        let view = app.db.read(move |tx| -> Result<SeriesView, Error> {
            let progress = report::progress(tx, rules, now)?;
            report::refuse_forgotten("/from", &jobs::WINDOWS, (window, from), progress, rules)?;
            let data = report::points(tx, rules, window, from, to, progress)?;
            Ok(SeriesView::Shop { window, zone: ZONE, as_of: now, progress, data })
        });
        return Ok(Json(view.await?));
    };
    if ![Size::Hour, Size::Day].contains(&window) {
        return Err(Error::field("/window", "out_of_range", "windows of a source are 1h and 1d").into());
    }
    let of = source.clone();
    let rows = app.db.read(move |tx| totals::windows(tx, &of, window, from, to)).await?;
    let mut data: Vec<SourcePointView> = Vec::new();
    for totals::Total { key: start, lines, total } in rows {
        let from = Timestamp::from_millis(start);
        match data.last_mut() {
            Some(last) if last.from == from => {
                last.lines += lines;
                last.totals.push(total);
            }
            _ => {
                let to = Timestamp::from_millis(window.end_of(start));
                data.push(SourcePointView { from, to, lines, totals: vec![total] });
            }
        }
    }
    Ok(Json(SeriesView::Source { window, zone: ZONE, source: source.as_str().to_owned(), data }))
}

async fn stock(
    State(app): State<App>,
    Query(params): Query<web::PageParams>,
) -> ApiResult<Json<Page<StockView>>> {
    let limit = limit_of(params.limit, STOCK_DEFAULT)?;
    let after = app.pages.decode("stock", params.cursor.as_deref())?;
    let rows = app.db.read(move |tx| report::stock(tx, after.as_ref(), limit + 1)).await?;
    let key = |row: &StockView| (row.available, row.sku.clone());
    Ok(Json(app.pages.page("stock", limit, rows, key)?))
}

async fn listen(State(app): State<App>, headers: HeaderMap) -> ApiResult<Response> {
    let Ok(permit) = Arc::clone(&app.listeners).try_acquire_owned() else {
        let detail = "too many listen to the live numbers: try again when one has gone";
        return Err(Error::unavailable("too_many_listeners", detail).with_retry_after(5).into());
    };
    // One computation at a time, whoever began it, and the house's own waits behind it: it does not queue with guests. Of those
    // who come by here there are no more than listeners.
    db::Asker::House.scope(app.live.refresh()).await?;
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let until = Instant::now() + app.listen_max;
    let mut response = app.live.listen(seen, until, app.stopping, permit).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
