//! Routes: what a request says ↔ commands and queries.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contracts::{OrderId, Role, UserId};
use db::Db;
use kernel::{Error, FieldError, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use web::{
    Answer, ApiResult, Caller, ETag, Edge, IfMatch, Json, Keyed, Op, Page, PageParams, Path, Policy, Query,
    Routes, not_modified, once,
};

use crate::domain::{Item, Mode, MovementKind};
use crate::store::Movement;
use crate::{Desk, queries};

const STAFF: Policy = Policy::Roles(&[Role::Seller, Role::Admin]);
const SKU_LENGTH_MAX: usize = 64;
const REASON_LENGTH_MAX: usize = 200;
/// The most that one adjustment may move, and the highest threshold.
const QUANTITY_MAX: i64 = 1_000_000_000;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Shop {
    pub db: Db,
    pub desk: Arc<Desk>,
    pub edge: Arc<Edge>,
}

/// The stock of a sku.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct StockView {
    pub sku: String,
    pub on_hand: i64,
    /// Held for orders that are not committed yet.
    pub reserved: i64,
    /// `on_hand − reserved`.
    pub available: i64,
    pub low_stock_threshold: i64,
    pub mode: Mode,
    pub version: i64,
    /// The server's time for which this is so.
    pub as_of: Timestamp,
}

impl StockView {
    fn of(item: Item, as_of: Timestamp) -> Self {
        let available = item.available();
        Self {
            sku: item.sku,
            on_hand: item.on_hand,
            reserved: item.reserved,
            available,
            low_stock_threshold: item.low_stock_threshold,
            mode: item.mode,
            version: item.version,
            as_of,
        }
    }
}

/// One change of `on_hand`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct MovementView {
    /// The stock's version that it led to.
    pub version: i64,
    pub delta: i64,
    /// What was on hand after it.
    pub on_hand: i64,
    pub kind: MovementKind,
    /// The order that it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// Who adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted_by: Option<UserId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    pub at: Timestamp,
}

impl From<Movement> for MovementView {
    fn from(movement: Movement) -> Self {
        Self {
            version: movement.stock_version,
            delta: movement.delta,
            on_hand: movement.on_hand,
            kind: movement.kind,
            order_id: movement.reference.parse().ok(),
            adjusted_by: movement.reference.parse().ok(),
            reason: movement.reason,
            at: movement.moved_at,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// How many more are on hand, or fewer where it is negative; not 0.
    pub delta: i64,
    /// Why, for the history: `received`, `counted`, `damaged` …
    pub reason: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `stock_low` is said when what is available falls to this or below it.
    pub low_stock_threshold: i64,
    pub mode: Mode,
}

fn field(pointer: &str, code: &str, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.to_owned(), code: code.to_owned(), detail: detail.into() }
}

fn check_sku(sku: &str, problems: &mut Vec<FieldError>) {
    let fits = (1..=SKU_LENGTH_MAX).contains(&sku.len())
        && sku.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !fits {
        let rule = format!("a sku is 1 to {SKU_LENGTH_MAX} letters, digits, hyphens, dots or underscores");
        problems.push(field("/sku", "invalid_sku", rule));
    }
}

impl Adjustment {
    fn check(&self, sku: &str) -> Result<(), Error> {
        let mut problems = Vec::new();
        check_sku(sku, &mut problems);
        if self.delta == 0 || self.delta.unsigned_abs() > QUANTITY_MAX.unsigned_abs() {
            let rule = format!("not 0, and at most {QUANTITY_MAX} in either direction");
            problems.push(field("/delta", "out_of_range", rule));
        }
        if self.reason.trim().is_empty() || self.reason.chars().count() > REASON_LENGTH_MAX {
            let rule = format!("1 to {REASON_LENGTH_MAX} characters");
            problems.push(field("/reason", "invalid_length", rule));
        }
        Error::check_fields(problems)
    }
}

pub(crate) fn routes() -> Routes<Shop> {
    Routes::new("inventory")
        .get(
            "/api/v1/stock/{sku}",
            Policy::Public,
            Op::new("Stock of a sku")
                .answers::<StockView>(200, "The stock, with an ETag")
                .answers_nothing(304, "Unchanged since If-None-Match")
                .fails(404, "stock_not_found"),
            show,
        )
        .get(
            "/api/v1/stock",
            STAFF,
            Op::new("Stock of all skus, by sku")
                .query::<PageParams>()
                .answers::<Page<StockView>>(200, "A page"),
            list,
        )
        .post(
            "/api/v1/stock/{sku}/adjustments",
            STAFF,
            Op::new("Change what is on hand; a new sku begins to exist")
                .body::<Adjustment>()
                .answers::<StockView>(201, "The stock after it")
                .needs_idempotency_key()
                .fails(404, "stock_not_found")
                .fails(409, "stock_reserved"),
            adjust,
        )
        .get(
            "/api/v1/stock/{sku}/movements",
            STAFF,
            Op::new("How the stock of a sku came about, the newest first")
                .query::<PageParams>()
                .answers::<Page<MovementView>>(200, "A page")
                .fails(404, "stock_not_found"),
            history,
        )
        .put(
            "/api/v1/stock/{sku}",
            STAFF,
            Op::new("Change how a sku is counted")
                .body::<Settings>()
                .answers::<StockView>(200, "The stock after it")
                .needs_if_match()
                .fails(404, "stock_not_found"),
            configure,
        )
}

async fn show(State(shop): State<Shop>, headers: HeaderMap, Path(sku): Path<String>) -> ApiResult<Response> {
    let (item, as_of) = queries::stock(&shop.db, &shop.desk, sku).await?;
    let tag = ETag(item.version);
    if not_modified(&headers, tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag.header())]).into_response());
    }
    Ok(([(header::ETAG, tag.header())], Json(StockView::of(item, as_of))).into_response())
}

async fn list(
    State(shop): State<Shop>,
    Query(params): Query<PageParams>,
) -> ApiResult<Json<Page<StockView>>> {
    const SCOPE: &str = "stock";
    let limit = params.limit()?;
    let after: Option<String> = shop.edge.pages.decode(SCOPE, params.cursor.as_deref())?;
    let as_of = shop.desk.now();
    let items = queries::stocks(&shop.db, after.unwrap_or_default(), limit + 1).await?;
    let views = items.into_iter().map(|item| StockView::of(item, as_of)).collect();
    Ok(Json(shop.edge.pages.page(SCOPE, limit, views, |view: &StockView| view.sku.clone())?))
}

async fn adjust(
    State(shop): State<Shop>,
    Caller(caller): Caller,
    Path(sku): Path<String>,
    Keyed { key, body }: Keyed<Adjustment>,
) -> ApiResult<Answer> {
    body.check(&sku)?;
    let (desk, now) = (shop.desk, shop.edge.clock.now());
    let answer = shop
        .db
        .write(move |tx| {
            once(tx, &key, now, |tx| {
                let item = desk.adjust(tx, &sku, body.delta, body.reason.trim(), caller.user_id)?;
                let (place, version) = (format!("/api/v1/stock/{sku}"), item.version);
                Ok(Answer::json(201, &StockView::of(item, now))?.located(place).tagged(version))
            })
        })
        .await?;
    Ok(answer)
}

async fn history(
    State(shop): State<Shop>,
    Path(sku): Path<String>,
    Query(params): Query<PageParams>,
) -> ApiResult<Json<Page<MovementView>>> {
    let scope = format!("stock/{sku}/movements");
    let limit = params.limit()?;
    let before: Option<i64> = shop.edge.pages.decode(&scope, params.cursor.as_deref())?;
    let rows = queries::movements(&shop.db, sku, before.unwrap_or(i64::MAX), limit + 1).await?;
    let views = rows.into_iter().map(MovementView::from).collect();
    Ok(Json(shop.edge.pages.page(&scope, limit, views, |view: &MovementView| view.version)?))
}

async fn configure(
    State(shop): State<Shop>,
    Path(sku): Path<String>,
    if_match: IfMatch,
    Json(body): Json<Settings>,
) -> ApiResult<Response> {
    if !(0..=QUANTITY_MAX).contains(&body.low_stock_threshold) {
        let rule = format!("0 to {QUANTITY_MAX}");
        return Err(Error::field("/low_stock_threshold", "out_of_range", rule).into());
    }
    let (desk, as_of) = (shop.desk, shop.edge.clock.now());
    let item = shop
        .db
        .write(move |tx| {
            let check = |version| if_match.check(version);
            desk.configure(tx, &sku, body.low_stock_threshold, body.mode, check)
        })
        .await?;
    let tag = ETag(item.version);
    Ok(([(header::ETAG, tag.header())], Json(StockView::of(item, as_of))).into_response())
}
