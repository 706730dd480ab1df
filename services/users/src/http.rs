//! Routes and what they read and write; no SQL and no decisions.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contracts::{Role, UserId};
use kernel::{Result, Timestamp};
use serde::{Deserialize, Serialize};
use web::{
    Answer, ApiResult, Caller, ClientAddress, ETag, IfMatch, Json, Limit, MaybeKeyed, Op, Page, PageParams,
    Path, Policy, Query, RevocationFeed, Routes, not_modified,
};

use crate::accounts::{self, Change, Registration};
use crate::domain::secret::Secret;
use crate::keys::{self, Jwks};
use crate::queries::{self, Order, UserView};
use crate::sessions::{self, SignedIn};
use crate::{Users, revocations, verification};

const ADMIN: Policy = Policy::Roles(&[Role::Admin]);
const LOGIN: Limit = Limit::per_address("login", 5, 60);
const REGISTER: Limit = Limit::per_address("register", 3, 60);
const REFRESH: Limit = Limit::per_address("refresh", 10, 60);
const VERIFICATION: Limit = Limit::per_address("verification", 20, 60);

pub(crate) fn routes() -> Routes<Users> {
    Routes::new("users")
        .post(
            "/api/v1/users",
            Policy::Public,
            Op::new("Sign up")
                .body::<Registration>()
                .answers::<UserView>(201, "The new account")
                .takes_idempotency_key()
                .fails(409, "email_taken")
                .limit(REGISTER),
            register,
        )
        .get(
            "/api/v1/users",
            ADMIN,
            Op::new("All users, by age").query::<ListQuery>().answers::<Page<UserView>>(200, "One page"),
            list,
        )
        .get(
            "/api/v1/users/me",
            Policy::SignedIn,
            Op::new("The caller's own account")
                .answers::<UserView>(200, "The account")
                .answers_nothing(304, "Not changed since"),
            me,
        )
        .patch(
            "/api/v1/users/me",
            Policy::SignedIn,
            Op::new("Change one's own data")
                .body::<Change>()
                .answers::<UserView>(200, "The changed account")
                .needs_if_match(),
            change,
        )
        .get(
            "/api/v1/users/{id}",
            Policy::SignedIn,
            Op::new("One user; only the user and administrators see it")
                .answers::<UserView>(200, "The account")
                .answers_nothing(304, "Not changed since")
                .fails(404, "user_not_found"),
            one,
        )
        .put(
            "/api/v1/users/{id}/role",
            ADMIN,
            Op::new("Give a user another role, at once")
                .body::<NewRole>()
                .answers::<UserView>(200, "The changed account")
                .needs_if_match()
                .fails(404, "user_not_found")
                .fails(409, "last_admin"),
            change_role,
        )
        .post(
            "/api/v1/users/verification",
            Policy::Public,
            Op::new("Send a verification code, where there is an unverified account")
                .body::<CodeRequest>()
                .answers_nothing(202, "Taken; says nothing of whether there is an account")
                .limit(VERIFICATION),
            request_code,
        )
        .post(
            "/api/v1/users/verification/confirm",
            Policy::Public,
            Op::new("Verify an e-mail address by the code that was sent there")
                .body::<CodeConfirmation>()
                .answers::<Confirmed>(200, "Verified; the next access token says so")
                .limit(Limit { name: "verification_confirm", ..VERIFICATION }),
            confirm_code,
        )
        .post(
            "/api/v1/sessions",
            Policy::Public,
            Op::new("Sign in")
                .body::<Credentials>()
                .answers::<SignedIn>(201, "An access token and a refresh token")
                .fails(401, "credentials_wrong")
                .limit(LOGIN),
            sign_in,
        )
        .post(
            "/api/v1/sessions/refresh",
            Policy::Public,
            Op::new("Exchange a refresh token for the next pair of tokens")
                .body::<RefreshRequest>()
                .answers::<SignedIn>(200, "An access token and a refresh token; the old one is used up")
                .fails(401, "refresh_token_invalid, session_ended")
                .limit(REFRESH),
            refresh,
        )
        .delete(
            "/api/v1/sessions/current",
            Policy::SignedIn,
            Op::new("Sign out: all tokens of this session end at once").answers_nothing(204, "Signed out"),
            sign_out,
        )
        .get(
            web::JWKS_PATH,
            Policy::Public,
            // Whoever checks tokens must learn of them under any load.
            Op::new("The keys that access tokens are checked with")
                .priority(web::Priority::Pay)
                .answers::<Jwks>(200, "A JSON Web Key Set"),
            jwks,
        )
        .get(
            web::REVOCATIONS_PATH,
            Policy::Service,
            Op::new("Sessions and tokens that ended before their time")
                .priority(web::Priority::Pay)
                .query::<FeedQuery>()
                .answers::<RevocationFeed>(200, "All of them, or what is new"),
            revoked,
        )
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// 1–250, default 50.
    limit: Option<u32>,
    cursor: Option<String>,
    /// `created_at` (default) or `-created_at`.
    sort: Option<String>,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewRole {
    role: Role,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodeRequest {
    email: Secret,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodeConfirmation {
    email: Secret,
    /// Six letters and digits; case and surrounding space do not matter.
    code: Secret,
}

#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Confirmed {
    verified: bool,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    email: Secret,
    password: Secret,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RefreshRequest {
    refresh_token: Secret,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct FeedQuery {
    /// `next` of the last answer; everything where it is absent.
    after: Option<i64>,
}

fn tagged(view: &UserView) -> Result<Answer> {
    Ok(Answer::json(200, view)?.tagged(view.version))
}

/// The account, or 304 where the caller has this version.
fn shown(headers: &HeaderMap, view: &UserView) -> Result<Response> {
    let tag = ETag(view.version);
    if not_modified(headers, tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag.header())]).into_response());
    }
    Ok(tagged(view)?.into_response())
}

/// Tokens are for their caller alone: no cache keeps them (RFC 6749 §5.1).
fn tokens(status: u16, signed_in: &SignedIn) -> Result<Response> {
    let answer = Answer::json(status, signed_in)?;
    Ok(([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], answer).into_response())
}

async fn register(
    State(users): State<Users>,
    MaybeKeyed { key, body }: MaybeKeyed<Registration>,
) -> ApiResult<Answer> {
    Ok(accounts::register(&users, body, key).await?)
}

async fn list(State(users): State<Users>, Query(query): Query<ListQuery>) -> ApiResult<Json<Page<UserView>>> {
    let order = Order::parse(query.sort.as_deref())?;
    let limit = PageParams { limit: query.limit, cursor: None }.limit()?;
    Ok(Json(queries::list(&users, order, query.cursor.as_deref(), limit).await?))
}

async fn me(State(users): State<Users>, Caller(caller): Caller, headers: HeaderMap) -> ApiResult<Response> {
    Ok(shown(&headers, &queries::user(&users, caller, caller.user_id).await?)?)
}

async fn one(
    State(users): State<Users>,
    Caller(caller): Caller,
    Path(id): Path<UserId>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    Ok(shown(&headers, &queries::user(&users, caller, id).await?)?)
}

async fn change(
    State(users): State<Users>,
    Caller(caller): Caller,
    base: IfMatch,
    Json(body): Json<Change>,
) -> ApiResult<Answer> {
    Ok(tagged(&accounts::change(&users, caller.user_id, base, body).await?)?)
}

async fn change_role(
    State(users): State<Users>,
    Path(id): Path<UserId>,
    base: IfMatch,
    Json(body): Json<NewRole>,
) -> ApiResult<Answer> {
    Ok(tagged(&accounts::change_role(&users, id, base, body.role).await?)?)
}

async fn request_code(State(users): State<Users>, Json(body): Json<CodeRequest>) -> ApiResult<StatusCode> {
    verification::request(&users, &body.email).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn confirm_code(
    State(users): State<Users>,
    Json(body): Json<CodeConfirmation>,
) -> ApiResult<Json<Confirmed>> {
    verification::confirm(&users, &body.email, &body.code).await?;
    Ok(Json(Confirmed { verified: true }))
}

async fn sign_in(
    State(users): State<Users>,
    ClientAddress(address): ClientAddress,
    Json(body): Json<Credentials>,
) -> ApiResult<Response> {
    Ok(tokens(201, &sessions::sign_in(&users, &body.email, &body.password, address).await?)?)
}

async fn refresh(State(users): State<Users>, Json(body): Json<RefreshRequest>) -> ApiResult<Response> {
    Ok(tokens(200, &sessions::refresh(&users, &body.refresh_token).await?)?)
}

async fn sign_out(State(users): State<Users>, Caller(caller): Caller) -> ApiResult<StatusCode> {
    sessions::sign_out(&users, caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn jwks(State(users): State<Users>) -> ApiResult<Response> {
    let cache = format!("public, max-age={}", users.config.jwks_cache_s);
    Ok(([(header::CACHE_CONTROL, cache)], Json(keys::key_set(&users).await?)).into_response())
}

async fn revoked(
    State(users): State<Users>,
    Query(query): Query<FeedQuery>,
) -> ApiResult<Json<RevocationFeed>> {
    Ok(Json(revocations::feed(&users, query.after.map(Timestamp::from_millis)).await?))
}
