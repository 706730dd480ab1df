//! Operator's routes: made-up shoppers for load tests, rotation of the signing keys.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use contracts::UserId;
use kernel::Error;
use serde::{Deserialize, Serialize};
use web::{ApiResult, Json};

use crate::keys::{self, Jwks};
use crate::{Users, seed};

const SHOPPERS_MAX: u32 = 10_000;

pub(crate) fn router(users: Users) -> Router {
    Router::new()
        .route("/shoppers", post(shoppers))
        .route("/users/keys/rotate", post(rotate_keys))
        .with_state(users)
}

/// `count` shoppers beginning with the `first` one: whoever asks in portions moves `first` on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    count: u32,
    #[serde(default = "one")]
    first: u32,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Serialize)]
struct Shoppers {
    data: Vec<Shopper>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Shopper {
    pub user_id: UserId,
    pub access_token: String,
}

async fn shoppers(State(users): State<Users>, Json(wanted): Json<Wanted>) -> ApiResult<Json<Shoppers>> {
    if !users.embedded {
        let text = "shoppers are made up in the embedded profile only";
        return Err(Error::forbidden("embedded_only", text).into());
    }
    let last = wanted.first.saturating_add(wanted.count).saturating_sub(1);
    if wanted.count == 0 || wanted.first == 0 || last > SHOPPERS_MAX {
        let text = format!("shoppers are numbered 1 to {SHOPPERS_MAX}");
        return Err(Error::field("/count", "out_of_range", text).into());
    }
    Ok(Json(Shoppers { data: seed::shoppers(&users, wanted.first..=last).await? }))
}

async fn rotate_keys(State(users): State<Users>) -> ApiResult<Json<Jwks>> {
    Ok(Json(keys::rotate(&users).await?))
}
