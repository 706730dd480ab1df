//! Operator's routes: test money for shoppers, in the embedded profile alone.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use contracts::UserId;
use kernel::{Error, Money};
use serde::{Deserialize, Serialize};
use web::{ApiResult, Json};

use crate::bank::accounts;
use crate::http::Api;

/// Users in one transaction.
const CHUNK: usize = 100;
const USERS_MAX: usize = 20_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fund {
    user_ids: Vec<UserId>,
    amount: Money,
}

#[derive(Serialize)]
struct Funded {
    funded: usize,
}

/// Tops every user's available balance up to the amount; doing it again changes nothing.
async fn fund(State(api): State<Api>, Json(body): Json<Fund>) -> ApiResult<Json<Funded>> {
    if body.user_ids.len() > USERS_MAX {
        let detail = format!("at most {USERS_MAX} users at once");
        return Err(Error::field("/user_ids", "too_many", detail).into());
    }
    if body.amount.minor < 0 {
        return Err(Error::field("/amount/amount", "out_of_range", "the amount is zero or more").into());
    }
    let funded = body.user_ids.len();
    let (now, amount) = (api.clock.now(), body.amount);
    for users in body.user_ids.chunks(CHUNK) {
        let (users, ids) = (users.to_vec(), api.ids.clone());
        let topped_up = api.db.write(move |tx| -> kernel::Result<()> {
            for user in &users {
                let account = match accounts::oldest(tx, *user, amount.currency)? {
                    Some(account) => account,
                    None => accounts::open(tx, *user, amount.currency, None, now)?,
                };
                let missing = amount.minor - account.available;
                if missing > 0 {
                    let key = format!("fund:{}", ids.uuid().as_simple());
                    accounts::deposit(tx, &key, &account, Money { minor: missing, ..amount }, now)?;
                }
            }
            Ok(())
        });
        topped_up.await?;
    }
    Ok(Json(Funded { funded }))
}

pub(crate) fn router(api: Api) -> Router {
    Router::new().route("/shoppers/fund", post(fund)).with_state(api)
}
