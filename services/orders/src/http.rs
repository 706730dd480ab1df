//! Routes: DTO to command and row to view; no SQL, no decisions.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use contracts::{OrderId, ProductId, Role, UserId};
use db::Db;
use host::Vault;
use kernel::{Clock, Error, IdSource, Money};
use serde::{Deserialize, Serialize};
use web::{
    Answer, ApiResult, Caller, ETag, Edge, Json, Keyed, MaybeKeyed, Op, Page, PageParams, Path, Policy,
    Query, Routes, not_modified, once,
};

use crate::commands::{self, PlaceOrder};
use crate::domain::{OrderState, RequestedLine};
use crate::jobs::InFlight;
use crate::queries::{self, OrderView};
use crate::saga::Runner;
use crate::settled::{Settling, Tally};
use crate::store;
use crate::views::Views;

/// How long `?wait=terminal` listens at most.
const WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct State {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    pub edge: Arc<Edge>,
    pub vault: Vault,
    pub runner: Runner,
    pub views: Arc<Views>,
    pub in_flight: Arc<InFlight>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct PlaceOrderBody {
    lines: Vec<LineBody>,
    /// The account to charge; the oldest one in the order's currency where it is absent.
    account: Option<String>,
    delivery: Option<DeliveryBody>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LineBody {
    product_id: ProductId,
    quantity: i64,
    /// The price that the shopper saw: 409 `price_changed` where it is no longer that.
    unit_price: Option<Money>,
}

#[derive(Debug, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct DeliveryBody {
    recipient: String,
    address: String,
    phone: Option<String>,
    note: Option<String>,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
struct PlaceParams {
    /// `terminal`: answer with 201 once the checkout is over, within 10 s; otherwise 202 at once.
    wait: Option<WaitFor>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WaitFor {
    Terminal,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
struct ListParams {
    limit: Option<u32>,
    cursor: Option<String>,
    state: Option<OrderState>,
    /// Whose orders; only for admins, who otherwise see everybody's.
    user_id: Option<UserId>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoFields {}

pub fn routes() -> Routes<State> {
    Routes::new(crate::NAME)
        .post(
            "/api/v1/orders",
            Policy::SignedIn,
            Op::new("Place an order")
                .query::<PlaceParams>()
                .body::<PlaceOrderBody>()
                .answers::<OrderView>(202, "Accepted; the checkout goes on")
                .answers::<OrderView>(201, "The checkout is over (`?wait=terminal`)")
                .fails(403, "email_not_verified")
                .fails(409, "price_changed")
                .needs_idempotency_key()
                .yields_to(crate::IN_FLIGHT),
            place,
        )
        .get(
            "/api/v1/orders",
            Policy::SignedIn,
            Op::new("List one's orders, the newest first; admins see everybody's")
                .query::<ListParams>()
                .answers::<Page<OrderView>>(200, "A page of orders"),
            list,
        )
        .get(
            "/api/v1/orders/{id}",
            Policy::SignedIn,
            Op::new("One order with its history")
                .answers::<OrderView>(200, "The order")
                .answers_nothing(304, "Not modified")
                .fails(404, "order_not_found"),
            show,
        )
        .post(
            "/api/v1/orders/{id}/cancel",
            Policy::SignedIn,
            Op::new("Cancel an order, up to confirmed: what was paid is refunded")
                .body::<NoFields>()
                .answers::<OrderView>(202, "It is being cancelled, or is")
                .fails(404, "order_not_found")
                .fails(409, "order_not_cancellable")
                .takes_idempotency_key(),
            cancel,
        )
        .post(
            "/api/v1/orders/{id}/fulfil",
            Policy::Roles(&[Role::Seller, Role::Admin]),
            Op::new("Say that an order was handed over")
                .body::<NoFields>()
                .answers::<OrderView>(200, "Fulfilled")
                .fails(404, "order_not_found")
                .fails(409, "order_not_confirmed")
                .takes_idempotency_key(),
            fulfil,
        )
}

fn sealed_delivery(vault: &Vault, delivery: Option<&DeliveryBody>) -> kernel::Result<Option<String>> {
    let Some(delivery) = delivery else { return Ok(None) };
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    for (pointer, text, least, most) in [
        ("/delivery/recipient", delivery.recipient.clone(), 1, 100),
        ("/delivery/address", delivery.address.clone(), 1, 500),
        ("/delivery/phone", optional(&delivery.phone), 0, 32),
        ("/delivery/note", optional(&delivery.note), 0, 500),
    ] {
        if !(least..=most).contains(&text.trim().chars().count()) {
            return Err(Error::field(pointer, "out_of_range", format!("{least} to {most} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(Error::field(pointer, "invalid_text", "no control characters"));
        }
    }
    let clear = serde_json::to_string(delivery).map_err(Error::internal)?;
    vault.seal(&clear).map(Some)
}

async fn place(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Query(params): Query<PlaceParams>,
    Keyed { key, body }: Keyed<PlaceOrderBody>,
) -> ApiResult<Response> {
    if !caller.email_verified {
        let message = "verify your e-mail address first (POST /users/verification), then refresh the session";
        return Err(Error::forbidden("email_not_verified", message).into());
    }
    if body.account.as_ref().is_some_and(|account| account.len() > 32) {
        return Err(Error::field("/account", "out_of_range", "at most 32 characters").into());
    }
    let line = |line: LineBody| RequestedLine {
        product_id: line.product_id,
        quantity: line.quantity,
        seen_price: line.unit_price,
    };
    let id: OrderId = state.ids.next();
    let request = PlaceOrder {
        id,
        user_id: caller.user_id,
        delivery: sealed_delivery(&state.vault, body.delivery.as_ref())?,
        account: body.account,
        lines: body.lines.into_iter().map(line).collect(),
    };
    let (runner, now) = (state.runner.clone(), state.clock.now());
    // Before it is there: nothing that happens to it is missed.
    let settling = params.wait.map(|WaitFor::Terminal| state.runner.tally().settling(id));
    // The door knows how full it was when the request came; others have come by since.
    let placing = Arc::new(state.in_flight.place().ok_or_else(|| state.edge.no_room(crate::NAME))?);
    // The command's own: it goes on where this request is dropped.
    let its = placing.clone();
    let answer = state
        .db
        .write_ahead(key.clone(), move |tx| {
            once(tx, &key, now, |tx| {
                let order = commands::place(tx, &runner, now, &request)?;
                let (location, version) = (format!("/api/v1/orders/{}", order.id), order.version);
                let answer = Answer::json(202, &OrderView::from(order))?.located(location).tagged(version);
                let placing = its.clone();
                tx.once_it_may_be_stored(move || placing.placed());
                Ok(answer)
            })
        })
        .await;
    placing.ended();
    let answer = answer?;
    match settling {
        Some(settling) if answer.status == 202 => wait(&state, answer, settling).await,
        _ => Ok(answer.into_response()),
    }
}

async fn is_settled(state: &State, id: OrderId) -> kernel::Result<bool> {
    let found = state.db.look_up(move |tx| store::find(tx, id)).await?;
    Ok(found.is_some_and(|order| order.state.is_settled()))
}

/// Listens until the order has settled, and answers with what became of it. `settling` is of the order that this request has
/// placed, if it was not placed before.
async fn wait(state: &State, accepted: Answer, settling: Settling) -> ApiResult<Response> {
    #[derive(Deserialize)]
    struct Accepted {
        id: OrderId,
    }
    let Accepted { id } = serde_json::from_str(&accepted.body).map_err(Error::internal)?;
    if settling.order() == id {
        let _ = tokio::time::timeout(WAIT_MAX, settling.settled()).await;
    } else {
        let settling = state.runner.tally().settling(id);
        if !is_settled(state, id).await? {
            let _ = tokio::time::timeout(WAIT_MAX, settling.settled()).await;
        }
    }
    let view = state.views.order(id).await?.ok_or_else(commands::not_found)?;
    let status = if view.state.is_settled() { 201 } else { 202 };
    let mut answer =
        Answer::json(status, &view)?.located(format!("/api/v1/orders/{id}")).tagged(view.version);
    answer.replayed = accepted.replayed;
    Ok(answer.into_response())
}

/// Another user's order is not there.
fn visible(order: Option<OrderView>, caller: &Caller) -> Result<OrderView, Error> {
    order.filter(|order| caller.0.may_see(order.user_id)).ok_or_else(commands::not_found)
}

async fn show(
    Extract(state): Extract<State>,
    caller: Caller,
    Path(id): Path<OrderId>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let order = visible(state.db.read(move |tx| queries::order(tx, id)).await?, &caller)?;
    let tag = ETag(order.version);
    if not_modified(&headers, tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag.header())]).into_response());
    }
    Ok(([(header::ETAG, tag.header())], Json(order)).into_response())
}

async fn list(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Query(params): Query<ListParams>,
) -> ApiResult<Json<Page<OrderView>>> {
    let limit = PageParams { limit: params.limit, cursor: None }.limit()?;
    let user = if caller.is(Role::Admin) { params.user_id } else { Some(caller.user_id) };
    let filter = params.state;
    let scope = format!(
        "orders?user={}&state={}",
        user.map(|user| user.to_string()).unwrap_or_default(),
        filter.map_or("", OrderState::as_str)
    );
    let before: Option<OrderId> = state.edge.pages.decode(&scope, params.cursor.as_deref())?;
    let rows = state.db.read(move |tx| store::list(tx, user, filter, before, limit + 1)).await?;
    let page = state.edge.pages.page(&scope, limit, rows, |row| row.id)?;
    Ok(Json(Page {
        data: page.data.into_iter().map(OrderView::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

async fn cancel(
    Extract(state): Extract<State>,
    Caller(caller): Caller,
    Path(id): Path<OrderId>,
    MaybeKeyed { key, body: NoFields {} }: MaybeKeyed<NoFields>,
) -> ApiResult<Answer> {
    let (runner, now) = (state.runner.clone(), state.clock.now());
    let cancel = move |tx: &mut db::Tx<'_>| {
        let owner = store::find(tx, id)?.map(|order| order.user_id);
        if !owner.is_some_and(|owner| caller.may_see(owner)) {
            return Err(commands::not_found());
        }
        let order = commands::cancel(tx, &runner, id)?;
        let version = order.version;
        Ok(Answer::json(202, &OrderView::from(order))?.tagged(version))
    };
    let answer = state.db.write(move |tx| match &key {
        Some(key) => once(tx, key, now, &cancel),
        None => cancel(tx),
    });
    Ok(answer.await?)
}

async fn fulfil(
    Extract(state): Extract<State>,
    Path(id): Path<OrderId>,
    MaybeKeyed { key, body: NoFields {} }: MaybeKeyed<NoFields>,
) -> ApiResult<Answer> {
    let (runner, now) = (state.runner.clone(), state.clock.now());
    let fulfil = move |tx: &mut db::Tx<'_>| {
        let order = commands::fulfil(tx, &runner, id)?;
        let version = order.version;
        Ok(Answer::json(200, &OrderView::from(order))?.tagged(version))
    };
    let answer = state.db.write(move |tx| match &key {
        Some(key) => once(tx, key, now, &fulfil),
        None => fulfil(tx),
    });
    Ok(answer.await?)
}

/// For operators: `GET /orders` on the admin port counts orders by state.
pub fn operator_routes(tally: Arc<Tally>) -> Router {
    let count = async move || {
        let counts = OrderState::ALL.into_iter().map(|state| (state.as_str(), tally.count(state)));
        let by_state: serde_json::Map<String, serde_json::Value> = counts
            .filter(|(_, count)| *count != 0)
            .map(|(state, count)| (state.to_owned(), count.into()))
            .collect();
        Json(serde_json::json!({ "by_state": by_state }))
    };
    Router::new().route("/orders", get(count))
}
