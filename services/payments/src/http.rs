//! The routes: accounts and holds at the bank's counter, and payments.
//!
//! Invariants: another person's account, hold or payment is 404; a refusal of the bank is an HTTP error; a PIN is
//! read, checked and forgotten, also by the store of idempotent answers, which sees only its keyed index.

mod bodies;

use std::sync::Arc;

use axum::extract::State;
use contracts::{OrderId, Role};
use db::{Db, Tx};
use kernel::{Clock, Currency, Error, IdSource, Money};
use web::{
    Answer, ApiResult, Caller, Json, Keyed, Limit, Op, Page, PageParams, Pages, Path, Policy, Query,
    RequestKey, Routes, once,
};

use bodies::{
    AccountView, Deposit, EntryView, HoldView, Nothing, OpenAccount, Part, PaymentView, PlaceHold, shown_key,
};

use crate::bank::accounts::{self, Account};
use crate::bank::pin::Pins;
use crate::bank::{Bank, Held, HoldId, HoldRequest, OnHold, Refusal, Reply};
use crate::store;

#[derive(Clone)]
pub(crate) struct Api {
    pub db: Db,
    pub bank: Arc<dyn Bank>,
    pub pins: Pins,
    pub pages: Pages,
    pub clock: Arc<dyn Clock>,
    pub ids: IdSource,
    /// Owners may put test money on their accounts themselves.
    pub test_money: bool,
}

/// Holds made at the counter live under their account, so that none can take the place of an order's.
fn counter_key(number: &str, key: &str) -> String {
    format!("acc:{number}:{key}")
}

/// The account, where the caller may see it.
fn seen_by(tx: &mut Tx<'_>, caller: &web::Principal, number: &str) -> Result<Account, Error> {
    let account = accounts::find(tx, number)?.filter(|account| caller.may_see(account.owner));
    account.ok_or_else(|| Refusal::AccountNotFound.into_error())
}

async fn open(
    State(api): State<Api>,
    Caller(caller): Caller,
    Keyed { key, body }: Keyed<OpenAccount>,
) -> ApiResult<Answer> {
    body.pin.check()?;
    let pin_hash = api.pins.hash(&body.pin).await?;
    let (owner, currency, now) = (caller.user_id, body.currency, api.clock.now());
    if !currency.is_traded() {
        let detail = format!("one of {}", Currency::traded_codes());
        return Err(Error::field("/currency", "currency_unknown", detail).into());
    }
    // The request's own fingerprint is a plain digest of its body, from which a PIN could be guessed.
    let content = format!("{currency} {}", api.pins.index(&body.pin));
    let key = RequestKey::new(&owner.to_string(), "POST /api/v1/accounts", key.as_str(), content.as_bytes());
    let answer = api.db.write(move |tx| {
        once(tx, &key, now, |tx| {
            let account = accounts::open(tx, owner, currency, Some(&pin_hash), now)?;
            let answer = Answer::json(201, &AccountView::from(&account))?;
            Ok(answer.located(format!("/api/v1/accounts/{}", account.number)))
        })
    });
    Ok(answer.await?)
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(params): Query<PageParams>,
) -> ApiResult<Json<Page<AccountView>>> {
    let (limit, owner) = (params.limit()?, caller.user_id);
    let scope = format!("accounts {owner}");
    let after: i64 = api.pages.decode(&scope, params.cursor.as_deref())?.unwrap_or(0);
    let rows = api.db.read(move |tx| accounts::list(tx, owner, after, limit + 1)).await?;
    let page = api.pages.page(&scope, limit, rows, |account| account.id)?;
    Ok(Json(Page { data: page.data.iter().map(AccountView::from).collect(), next_cursor: page.next_cursor }))
}

async fn show(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(number): Path<String>,
) -> ApiResult<Json<AccountView>> {
    let account = api.db.read(move |tx| seen_by(tx, &caller, &number)).await?;
    Ok(Json(AccountView::from(&account)))
}

async fn deposit(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(number): Path<String>,
    Keyed { key, body }: Keyed<Deposit>,
) -> ApiResult<Answer> {
    let (now, operation) = (api.clock.now(), format!("deposit:{}", api.ids.uuid().as_simple()));
    let test_money = api.test_money;
    let answer = api.db.write(move |tx| {
        once(tx, &key, now, |tx| {
            let account = seen_by(tx, &caller, &number)?;
            if !test_money && !caller.is(Role::Admin) {
                return Err(Error::forbidden("role_required", "only an admin puts money on accounts here"));
            }
            let account = accounts::deposit(tx, &operation, &account, body.amount, now)?;
            Answer::json(201, &AccountView::from(&account))
        })
    });
    Ok(answer.await?)
}

async fn entries(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(number): Path<String>,
    Query(params): Query<PageParams>,
) -> ApiResult<Json<Page<EntryView>>> {
    let limit = params.limit()?;
    let scope = format!("entries {number}");
    let before: i64 = api.pages.decode(&scope, params.cursor.as_deref())?.unwrap_or(i64::MAX);
    let rows = api
        .db
        .read(move |tx| -> Result<_, Error> {
            let account = seen_by(tx, &caller, &number)?;
            Ok(accounts::entries(tx, &account.number, before, limit + 1)?)
        })
        .await?;
    let page = api.pages.page(&scope, limit, rows, |entry| entry.id)?;
    let data = page.data.into_iter().map(|entry| EntryView {
        id: entry.id,
        amount: entry.amount,
        action: entry.action.to_string(),
        key: (!entry.hold_key.is_empty()).then(|| shown_key(&entry.hold_key)),
        at: entry.at,
    });
    Ok(Json(Page { data: data.collect(), next_cursor: page.next_cursor }))
}

async fn place_hold(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(number): Path<String>,
    Json(body): Json<PlaceHold>,
) -> ApiResult<Answer> {
    let visible = (1..=100).contains(&body.key.len()) && body.key.bytes().all(|byte| byte.is_ascii_graphic());
    if !visible {
        return Err(Error::field("/key", "key_invalid", "a key is 1 to 100 visible characters").into());
    }
    if body.amount.minor <= 0 {
        return Err(Error::field("/amount/amount", "out_of_range", "a hold is more than zero").into());
    }
    let (owner, named) = (caller.user_id, number.clone());
    let account = api.db.read(move |tx| accounts::find(tx, &named)).await?;
    let account = account.filter(|account| account.owner == owner);
    let account = account.ok_or_else(|| Refusal::AccountNotFound.into_error())?;
    if account.currency != body.amount.currency {
        let detail = format!("this account is in {}", account.currency);
        return Err(Error::field("/amount/currency", "currency_mismatch", detail).into());
    }
    api.pins.check(&api.db, &api.clock, owner, &number, &body.pin).await?;
    let hold_key = counter_key(&number, &body.key);
    let request = HoldRequest {
        key: format!("{hold_key}:hold"),
        hold_key,
        owner,
        account: Some(number),
        amount: body.amount,
    };
    let reply = api.bank.hold(request).await?;
    let done = reply.result.map_err(Refusal::into_error)?;
    let id = done.hold_id.ok_or_else(|| Error::internal("a hold without an id"))?;
    let hold = api.db.read(move |tx| Held::by_id(tx, id)).await?;
    let hold = hold.ok_or_else(|| Error::internal("a hold that is not there"))?;
    let mut answer = Answer::json(201, &HoldView::from(&hold))?;
    answer.replayed = reply.replayed;
    Ok(answer)
}

/// Does something to a hold that was made at the counter. An order's hold belongs to its payment.
async fn on_hold<F>(
    api: &Api,
    id: HoldId,
    action: &str,
    key: RequestKey,
    amount: Option<Money>,
    call: impl FnOnce(Arc<dyn Bank>, OnHold) -> F,
) -> ApiResult<Answer>
where
    F: Future<Output = Result<Reply, crate::bank::BankError>>,
{
    let not_found = || Refusal::HoldNotFound.into_error();
    let hold = api.db.read(move |tx| Held::by_id(tx, id)).await?.ok_or_else(not_found)?;
    if !hold.hold_key.starts_with("acc:") {
        let text = "this hold pays for an order: cancel the order instead";
        return Err(Error::conflict("hold_conflict", text).into());
    }
    if amount.is_some_and(|amount| amount.currency != hold.currency) {
        let detail = format!("this hold is in {}", hold.currency);
        return Err(Error::field("/amount/currency", "currency_mismatch", detail).into());
    }
    let request = OnHold {
        key: format!("{}:{action}:{}", id, host::Vault::hash_token(key.as_str())),
        hold_key: hold.hold_key,
        amount_minor: amount.map(|amount| amount.minor),
    };
    call(api.bank.clone(), request).await?.result.map_err(Refusal::into_error)?;
    let now = api.clock.now();
    let answer = api.db.write(move |tx| {
        once(tx, &key, now, |tx| {
            let hold = Held::by_id(tx, id)?.ok_or_else(not_found)?;
            Answer::json(200, &HoldView::from(&hold))
        })
    });
    Ok(answer.await?)
}

async fn capture(
    State(api): State<Api>,
    Path(id): Path<HoldId>,
    Keyed { key, body }: Keyed<Part>,
) -> ApiResult<Answer> {
    on_hold(&api, id, "capture", key, body.amount, |bank, on| async move { bank.capture(on).await }).await
}

async fn release(
    State(api): State<Api>,
    Path(id): Path<HoldId>,
    Keyed { key, body: Nothing {} }: Keyed<Nothing>,
) -> ApiResult<Answer> {
    on_hold(&api, id, "release", key, None, |bank, on| async move { bank.release(on).await }).await
}

async fn refund(
    State(api): State<Api>,
    Path(id): Path<HoldId>,
    Keyed { key, body }: Keyed<Part>,
) -> ApiResult<Answer> {
    on_hold(&api, id, "refund", key, body.amount, |bank, on| async move { bank.refund(on).await }).await
}

async fn payment(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(order_id): Path<OrderId>,
) -> ApiResult<Json<PaymentView>> {
    let found = api.db.read(move |tx| store::find(tx, order_id)).await?;
    let may_see = |payment: &crate::domain::Payment| match payment.user_id {
        Some(owner) => caller.may_see(owner),
        None => caller.is(Role::Admin),
    };
    let payment = found
        .filter(may_see)
        .ok_or_else(|| Error::not_found("payment_not_found", "there is no payment for this order"))?;
    let money = |minor| payment.amount.map(|amount| Money { minor, ..amount });
    Ok(Json(PaymentView {
        order_id,
        payment_id: payment.payment_id,
        state: payment.state.to_string(),
        amount: payment.amount,
        captured: money(payment.captured_minor),
        refunded: money(payment.refunded_minor),
        code: payment.code.clone(),
        created_at: payment.created_at,
        updated_at: payment.updated_at,
    }))
}

pub(crate) fn routes() -> Routes<Api> {
    const ADMIN: Policy = Policy::Roles(&[Role::Admin]);
    Routes::new("payments")
        .post(
            "/api/v1/accounts",
            Policy::SignedIn,
            Op::new("Open an account at the mock bank")
                .body::<OpenAccount>()
                .answers::<AccountView>(201, "Opened")
                .needs_idempotency_key()
                .fails(409, "too_many_accounts")
                .limit(Limit::per_caller("open_account", 10, 60)),
            open,
        )
        .get(
            "/api/v1/accounts",
            Policy::SignedIn,
            Op::new("List one's own accounts")
                .query::<PageParams>()
                .answers::<Page<AccountView>>(200, "A page"),
            list,
        )
        .get(
            "/api/v1/accounts/{number}",
            Policy::SignedIn,
            Op::new("Show an account")
                .answers::<AccountView>(200, "The account")
                .fails(404, "account_not_found"),
            show,
        )
        .post(
            "/api/v1/accounts/{number}/deposits",
            Policy::SignedIn,
            Op::new("Put test money on an account")
                .body::<Deposit>()
                .answers::<AccountView>(201, "Deposited")
                .needs_idempotency_key()
                .fails(404, "account_not_found"),
            deposit,
        )
        .get(
            "/api/v1/accounts/{number}/entries",
            Policy::SignedIn,
            Op::new("List an account's entries, newest first")
                .query::<PageParams>()
                .answers::<Page<EntryView>>(200, "A page")
                .fails(404, "account_not_found"),
            entries,
        )
        .post(
            "/api/v1/accounts/{number}/holds",
            Policy::SignedIn,
            Op::new("Hold money on one's own account")
                .body::<PlaceHold>()
                .answers::<HoldView>(201, "Held")
                .fails(402, "insufficient_funds, declined")
                .fails(403, "pin_wrong")
                .fails(404, "account_not_found")
                .fails(409, "hold_conflict, hold_released, pin_not_set")
                .limit(Limit::per_caller("place_hold", 60, 60)),
            place_hold,
        )
        .post(
            "/api/v1/holds/{id}/capture",
            ADMIN,
            Op::new("Capture a hold or a part of it")
                .body::<Part>()
                .answers::<HoldView>(200, "Captured")
                .needs_idempotency_key()
                .fails(404, "hold_not_found")
                .fails(409, "hold_conflict, hold_captured, hold_released, hold_expired"),
            capture,
        )
        .post(
            "/api/v1/holds/{id}/release",
            ADMIN,
            Op::new("Release a hold")
                .body::<Nothing>()
                .answers::<HoldView>(200, "Released")
                .needs_idempotency_key()
                .fails(404, "hold_not_found")
                .fails(409, "hold_conflict, hold_captured"),
            release,
        )
        .post(
            "/api/v1/holds/{id}/refund",
            ADMIN,
            Op::new("Give back what was captured, or a part of it")
                .body::<Part>()
                .answers::<HoldView>(200, "Refunded")
                .needs_idempotency_key()
                .fails(404, "hold_not_found")
                .fails(409, "hold_conflict, not_captured"),
            refund,
        )
        .get(
            "/api/v1/payments/{order_id}",
            Policy::SignedIn,
            Op::new("Show the payment for an order")
                .answers::<PaymentView>(200, "The payment")
                .fails(404, "payment_not_found"),
            payment,
        )
}
