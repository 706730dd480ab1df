//! Dead letters of all services: a list, each with what it holds, a way back, and a way out.

use axum::extract::State;
use kernel::Error;
use messaging::DeadLetter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use web::{ApiResult, Json, Path, Query};

use super::Operator;

#[derive(Debug, Default, Deserialize)]
pub struct ListParams {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Serialize)]
struct Letter {
    service: &'static str,
    #[serde(flatten)]
    letter: DeadLetter,
}

fn chosen<'a>(
    operator: &'a Operator,
    service: Option<&str>,
) -> Result<Vec<&'a (&'static str, db::Db)>, Error> {
    let chosen: Vec<_> =
        operator.services.iter().filter(|(name, _)| service.is_none_or(|wanted| wanted == *name)).collect();
    match (chosen.is_empty(), service) {
        (true, Some(service)) => {
            Err(Error::not_found("unknown_service", format!("no service {service:?} runs here")))
        }
        _ => Ok(chosen),
    }
}

pub async fn list(
    State(operator): State<Operator>,
    Query(params): Query<ListParams>,
) -> ApiResult<Json<Value>> {
    let mut data = Vec::new();
    for (name, db) in chosen(&operator, params.service.as_deref())? {
        let letters = messaging::list_dead_letters(db, params.limit.unwrap_or(100).min(10_000)).await?;
        data.extend(letters.into_iter().map(|letter| Letter { service: name, letter }));
    }
    Ok(Json(json!({ "data": data })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    ids: Option<Vec<i64>>,
}

/// Marks messages to be handled again. Ids are counted by each service, so they need one.
pub async fn replay(
    State(operator): State<Operator>,
    Json(body): Json<ReplayBody>,
) -> ApiResult<Json<Value>> {
    if body.ids.is_some() && body.service.is_none() {
        return Err(Error::field("/service", "required", "ids are counted by each service: name it").into());
    }
    let (mut replayed, mut remaining) = (0, 0);
    for (_, db) in chosen(&operator, body.service.as_deref())? {
        if messaging::count_dead_letters(db).await? > 0 {
            replayed += messaging::replay(db, body.ids.clone().unwrap_or_default()).await?;
        }
        remaining += messaging::count_dead_letters(db).await?;
    }
    Ok(Json(json!({ "replayed": replayed, "remaining": remaining })))
}

#[derive(Serialize)]
struct Opened {
    #[serde(flatten)]
    letter: Letter,
    /// What was published: the envelope, or whatever could not be read as one.
    payload: String,
}

/// One with its payload.
pub async fn show(
    State(operator): State<Operator>,
    Path((service, id)): Path<(String, i64)>,
) -> ApiResult<Json<Value>> {
    for (name, db) in chosen(&operator, Some(&service))? {
        if let Some(letter) = messaging::find_dead_letter(db, id).await? {
            let payload = letter.payload.clone();
            return Ok(Json(json!({ "data": Opened { letter: Letter { service: name, letter }, payload } })));
        }
    }
    Err(Error::not_found("no_such_dead_letter", format!("{service} has no dead letter {id}")).into())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropBody {
    service: String,
    ids: Vec<i64>,
}

/// Gives messages up for good: nothing of them takes effect any more. Those behind them go on.
pub async fn discard(State(operator): State<Operator>, Json(body): Json<DropBody>) -> ApiResult<Json<Value>> {
    if body.ids.is_empty() {
        return Err(Error::field("/ids", "required", "name those that are to be given up").into());
    }
    let (mut dropped, mut remaining) = (0, 0);
    for (name, db) in chosen(&operator, Some(&body.service))? {
        dropped +=
            messaging::discard_dead_letters(db, body.ids.clone(), operator.context.clock.now()).await?;
        remaining += messaging::count_dead_letters(db).await?;
        tracing::warn!(service = name, ids = ?body.ids, dropped, "dead letters were given up");
    }
    Ok(Json(json!({ "dropped": dropped, "remaining": remaining })))
}
