//! Routes. No SQL and no decisions.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use contracts::Role;
use db::Db;
use kernel::{Clock, Currency, Error, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use web::{Answer, ApiResult, Json, MaybeKeyed, Op, Page, PageParams, Pages, Policy, Query, Routes};

use crate::commands::{self, Line};
use crate::config::ProductTotals;
use crate::domain::tumble::Size;
use crate::domain::{
    Outcome, RefusalCode, Source, Submission, SubmissionSchema, Transaction, TransactionInput, year_in_zone,
};
use crate::http_shop;
use crate::jobs;
use crate::live::Live;
use crate::projector::TOP_SIZES;
use crate::queries::{self, CategoryView, MonthView, TopProductsView, TotalsView, TransactionView};
use crate::report::{self, Rules, ShopCategoryView, ShopMonthView, ShopTopView};
use crate::store::totals::{self, Rank};
use crate::store::transactions::{self, Filter};
use crate::stream::{self, LineAnswer};

const BATCH_MAX: usize = 1_000;
const LIST_DEFAULT: u32 = 100;
const TOTALS_DEFAULT: u32 = 50;
const TOP_DEFAULT: u32 = 10;
const NDJSON: &str = "application/x-ndjson";

pub const ANALYSTS: Policy = Policy::Roles(&[Role::Analyst, Role::Admin]);

#[derive(Clone)]
pub struct App {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub pages: Pages,
    pub streams: Arc<Semaphore>,
    pub stream_idle: Duration,
    pub stopping: CancellationToken,
    pub rules: Rules,
    pub live: Arc<Live>,
    pub listeners: Arc<Semaphore>,
    pub listen_max: Duration,
}

pub fn routes() -> Routes<App> {
    let routes = Routes::new("analytics")
        .post(
            "/api/v1/transactions",
            ANALYSTS,
            Op::new("Take in sales from outside: one, or a batch of at most 1,000; each line once")
                .query::<SourceParams>()
                .body::<SubmissionSchema>()
                .answers::<BatchAnswer>(200, "What became of the lines")
                .takes_idempotency_key(),
            take_batch,
        )
        .post(
            "/api/v1/transactions:stream",
            ANALYSTS,
            Op::new("Take in sales from outside as they come: a line in, a line out, in order")
                .query::<SourceParams>()
                .raw_body::<TransactionInput>(NDJSON)
                .answers_raw::<LineAnswer>(200, NDJSON, "A line for each line, after it is stored")
                .fails(503, "too_many_streams"),
            take_stream,
        )
        .get(
            "/api/v1/transactions",
            ANALYSTS,
            Op::new("Sales from outside, the newest first")
                .query::<ListParams>()
                .answers::<Page<TransactionView>>(200, "A page"),
            list,
        )
        .get(
            "/api/v1/analytics/totals",
            ANALYSTS,
            Op::new("All that a source has sent, counted and added up")
                .query::<SourceParams>()
                .answers::<TotalsView>(200, "The totals"),
            totals_of,
        )
        .get(
            "/api/v1/analytics/monthly-total",
            ANALYSTS,
            Op::new(
                "Totals by month and currency, of the shop or of a source; months are those of Asia/Seoul",
            )
            .query::<MonthParams>()
            .answers::<OfSourceOrShop<Page<MonthView>, Page<ShopMonthView>>>(200, "A page"),
            monthly_total,
        )
        .get(
            "/api/v1/analytics/categories",
            ANALYSTS,
            Op::new("Totals by category and currency, of the shop or of a source")
                .query::<CategoryParams>()
                .answers::<OfSourceOrShop<Page<CategoryView>, Page<ShopCategoryView>>>(200, "A page"),
            categories,
        )
        .get(
            "/api/v1/analytics/top-products",
            ANALYSTS,
            Op::new("The products with the most revenue or quantity, of the shop or of a source")
                .query::<TopParams>()
                .answers::<OfSourceOrShop<TopProductsView, ShopTopView>>(
                    200,
                    "The products, the greatest first",
                ),
            top_products,
        );
    http_shop::routes(routes)
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct SourceParams {
    /// Who sends: 1–64 letters, digits, `.`, `_`, `-`.
    source: String,
}

/// What became of a batch.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct BatchAnswer {
    accepted: u64,
    /// Lines that were there before with the same content.
    duplicates: u64,
    rejected: Vec<RejectedItem>,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct RejectedItem {
    /// The place in the batch, from 0.
    index: u64,
    code: RefusalCode,
    detail: String,
}

impl BatchAnswer {
    fn of(outcomes: Vec<Outcome>) -> Self {
        let mut answer = Self { accepted: 0, duplicates: 0, rejected: Vec::new() };
        for (index, outcome) in (0..).zip(outcomes) {
            match outcome {
                Outcome::Accepted => answer.accepted += 1,
                Outcome::Duplicate => answer.duplicates += 1,
                Outcome::Rejected(refusal) => {
                    let (code, detail) = (refusal.code, refusal.detail);
                    answer.rejected.push(RejectedItem { index, code, detail });
                }
            }
        }
        answer
    }
}

async fn take_batch(
    State(app): State<App>,
    Query(params): Query<SourceParams>,
    MaybeKeyed { key, body }: MaybeKeyed<Submission>,
) -> ApiResult<Answer> {
    let source: Source = params.source.parse()?;
    if !(1..=BATCH_MAX).contains(&body.items.len()) {
        let detail = format!("a batch has 1 to {BATCH_MAX} transactions, this one {}", body.items.len());
        return Err(Error::field("/transactions", "out_of_range", detail).into());
    }
    let lines: Vec<Line> = body.items.iter().map(|item| Transaction::read(item.get().as_bytes())).collect();
    let now = app.clock.now();
    let answer = app
        .db
        .write(move |tx| {
            let effect = |tx: &mut db::Tx<'_>| {
                let outcomes = commands::ingest(tx, &source, &lines, now)?;
                Answer::json(200, &BatchAnswer::of(outcomes))
            };
            match &key {
                Some(key) => web::once(tx, key, now, effect),
                None => effect(tx),
            }
        })
        .await?;
    Ok(answer)
}

async fn take_stream(
    State(app): State<App>,
    Query(params): Query<SourceParams>,
    request: Request,
) -> ApiResult<Response> {
    let source = params.source.parse()?;
    require_ndjson(&request)?;
    let Ok(permit) = app.streams.try_acquire_owned() else {
        let detail = "too many streams are open: try again when one has ended";
        return Err(Error::unavailable("too_many_streams", detail).into());
    };
    let session = stream::Session {
        db: app.db,
        clock: app.clock,
        source,
        idle: app.stream_idle,
        body: request.into_body().into_data_stream(),
        stopping: app.stopping,
        permit,
    };
    let mut response = stream::answer(session).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    Ok(response)
}

fn require_ndjson(request: &Request) -> Result<(), Error> {
    let value = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let content_type = value(header::CONTENT_TYPE);
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    let refused = |what: &str| Error::invalid("unsupported_media_type", what).with_status(415);
    if !media_type.eq_ignore_ascii_case(NDJSON) {
        return Err(refused("send the lines with Content-Type: application/x-ndjson"));
    }
    if !["", "identity"].contains(&value(header::CONTENT_ENCODING)) {
        return Err(refused("send the lines without a Content-Encoding"));
    }
    Ok(())
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct ListParams {
    source: Option<String>,
    category: Option<String>,
    /// From this instant on (RFC 3339).
    from: Option<Timestamp>,
    /// Before this instant.
    to: Option<Timestamp>,
    /// 1–250, default 100.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The limit within its range; the bounds are those of every list.
pub fn limit_of(limit: Option<u32>, default: u32) -> Result<u32, Error> {
    PageParams { limit, cursor: None }.limit_or(default)
}

async fn list(
    State(app): State<App>,
    Query(params): Query<ListParams>,
) -> ApiResult<Json<Page<TransactionView>>> {
    let limit = limit_of(params.limit, LIST_DEFAULT)?;
    let source = params.source.as_deref().map(str::parse).transpose()?;
    let filter = Filter { source, category: params.category, from: params.from, to: params.to };
    let scope = format!("transactions {filter:?}");
    let after = app.pages.decode(&scope, params.cursor.as_deref())?;
    let rows = app.db.read(move |tx| transactions::list(tx, &filter, after, limit + 1)).await?;
    let rows = rows.into_iter().map(TransactionView::from).collect();
    let key = |row: &TransactionView| (row.occurred_at.as_millis(), row.id);
    Ok(Json(app.pages.page(&scope, limit, rows, key)?))
}

async fn totals_of(
    State(app): State<App>,
    Query(params): Query<SourceParams>,
) -> ApiResult<Json<TotalsView>> {
    let source: Source = params.source.parse()?;
    Ok(Json(app.db.read(move |tx| queries::source_totals(tx, &source)).await?))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct MonthParams {
    /// Lines of this source; the shop's own orders where it is absent.
    source: Option<String>,
    /// 1970–2200; all years where it is absent.
    year: Option<i16>,
    /// 1–250, default 50.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lines of a source, or the shop's own orders.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum OfSourceOrShop<S, T> {
    Source(S),
    Shop(T),
}

type Either<S, T> = ApiResult<Json<OfSourceOrShop<S, T>>>;

async fn monthly_total(
    State(app): State<App>,
    Query(params): Query<MonthParams>,
) -> Either<Page<MonthView>, Page<ShopMonthView>> {
    let limit = limit_of(params.limit, TOTALS_DEFAULT)?;
    let source: Option<Source> = params.source.as_deref().map(str::parse).transpose()?;
    if params.year.is_some_and(|year| !(1970..=2200).contains(&year)) {
        return Err(Error::field("/year", "out_of_range", "year is 1970 to 2200").into());
    }
    let scope = format!("months {source:?} {:?}", params.year);
    let Some(source) = source else {
        let range = params.year.map_or(Some(i64::MIN..i64::MAX), year_in_zone);
        let range = range.ok_or_else(|| Error::internal("a year outside the calendar"))?;
        let after: Option<(i64, String)> = app.pages.decode(&scope, params.cursor.as_deref())?;
        let after = after.unwrap_or((i64::MIN, String::new()));
        let rows =
            app.db.read(move |tx| report::months(tx, range.clone(), (after.0, &after.1), limit + 1)).await?;
        let key = |row: &ShopMonthView| (row.start, row.revenue.currency);
        return Ok(Json(OfSourceOrShop::Shop(app.pages.page(&scope, limit, rows, key)?)));
    };
    let months = params.year.map(i64::from).map_or(0..=i64::MAX, |year| year * 100 + 1..=year * 100 + 12);
    let after = app.pages.decode(&scope, params.cursor.as_deref())?;
    let rows = app.db.read(move |tx| totals::months(tx, &source, months.clone(), &after, limit + 1)).await?;
    let rows = rows.into_iter().map(MonthView::from).collect();
    let key = |row: &MonthView| (row.key, row.total.currency);
    Ok(Json(OfSourceOrShop::Source(app.pages.page(&scope, limit, rows, key)?)))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct CategoryParams {
    /// Lines of this source; the shop's own orders where it is absent.
    source: Option<String>,
    /// `1h`, `1d` or `1M`: the running one; everything ever where it is absent. Of the shop's own orders alone.
    window: Option<Size>,
    /// Another window than the running one: the one that holds this instant.
    at: Option<Timestamp>,
    /// 1–250, default 50.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// The window that is asked for.
fn window_of(
    app: &App,
    size: Option<Size>,
    at: Option<Timestamp>,
    allowed: &[Size],
    is_of_shop: bool,
) -> Result<Option<(Size, i64)>, Error> {
    let Some(size) = size else { return Ok(None) };
    if !is_of_shop {
        let detail = "sources are added up as a whole; their windows are at /api/v1/analytics/series";
        return Err(Error::field("/window", "invalid_value", detail));
    }
    if !allowed.contains(&size) {
        let sizes: Vec<&str> = allowed.iter().map(|size| size.as_str()).collect();
        return Err(Error::field("/window", "out_of_range", format!("window is {}", sizes.join(", "))));
    }
    Ok(Some((size, size.start_of(at.unwrap_or_else(|| app.clock.now())))))
}

async fn categories(
    State(app): State<App>,
    Query(params): Query<CategoryParams>,
) -> Either<Page<CategoryView>, Page<ShopCategoryView>> {
    let limit = limit_of(params.limit, TOTALS_DEFAULT)?;
    let source: Option<Source> = params.source.as_deref().map(str::parse).transpose()?;
    let sizes = [Size::Hour, Size::Day, Size::Month];
    let window = window_of(&app, params.window, params.at, &sizes, source.is_none())?;
    let scope = format!("categories {source:?} {window:?}");
    let Some(source) = source else {
        let after: String = app.pages.decode(&scope, params.cursor.as_deref())?.unwrap_or_default();
        let rows = app.db.read(move |tx| report::categories(tx, window, &after, limit + 1)).await?;
        let key = |row: &ShopCategoryView| row.label.clone();
        return Ok(Json(OfSourceOrShop::Shop(app.pages.page(&scope, limit, rows, key)?)));
    };
    let after = app.pages.decode(&scope, params.cursor.as_deref())?;
    let rows = app.db.read(move |tx| totals::categories(tx, &source, &after, limit + 1)).await?;
    let rows = rows.into_iter().map(CategoryView::from).collect();
    let key = |row: &CategoryView| (row.category.clone(), row.total.currency);
    Ok(Json(OfSourceOrShop::Source(app.pages.page(&scope, limit, rows, key)?)))
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct TopParams {
    /// Lines of this source; the shop's own orders where it is absent.
    source: Option<String>,
    #[serde(default)]
    by: Rank,
    /// Where it is absent, the one with the most lines or orders.
    currency: Option<Currency>,
    /// `1h` or `1d`: the running one, by revenue; everything ever where it is absent. Of the shop's own orders alone.
    window: Option<Size>,
    /// Another window than the running one: the one that holds this instant.
    at: Option<Timestamp>,
    /// 1–250, default 10.
    limit: Option<u32>,
}

async fn top_products(
    State(app): State<App>,
    Query(params): Query<TopParams>,
) -> Either<TopProductsView, ShopTopView> {
    let limit = limit_of(params.limit, TOP_DEFAULT)?;
    let source: Option<Source> = params.source.as_deref().map(str::parse).transpose()?;
    let (currency, by, totals) = (params.currency, params.by, app.rules.product_totals);
    let (rules, now) = (app.rules, app.clock.now());
    let window = window_of(&app, params.window, params.at, &TOP_SIZES, source.is_none())?;
    let view = match source {
        Some(source) => OfSourceOrShop::Source(
            app.db.read(move |tx| queries::top_products(tx, &source, currency, by, limit)).await?,
        ),
        None if by != Rank::Revenue
            && (window.is_some() || app.rules.product_totals == ProductTotals::Bounded) =>
        {
            return Err(Error::field(
                "/by",
                "out_of_range",
                "what is counted with few counters is ranked by revenue",
            )
            .into());
        }
        None => OfSourceOrShop::Shop(
            app.db
                .read(move |tx| {
                    if let Some(window) = window {
                        let progress = report::progress(tx, rules, now)?;
                        report::refuse_forgotten("/at", &jobs::TOPS, window, progress, rules)?;
                    }
                    report::top_products(tx, totals, window, by, currency, limit)
                })
                .await?,
        ),
    };
    Ok(Json(view))
}
