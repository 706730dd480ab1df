//! Read models of all services: how they are filled, and a way to fill one anew from the log.

use axum::extract::State;
use axum::http::StatusCode;
use kernel::Error;
use messaging::ProjectionView;
use serde::Serialize;
use serde_json::{Value, json};
use web::{ApiResult, Json, Path};

use super::Operator;

#[derive(Serialize)]
struct View {
    service: &'static str,
    #[serde(flatten)]
    projection: ProjectionView,
}

async fn views(operator: &Operator) -> Result<Vec<View>, Error> {
    let mut views = Vec::new();
    for (name, db) in operator.services.iter() {
        let found = messaging::projections(db).await?;
        views.extend(found.into_iter().map(|projection| View { service: name, projection }));
    }
    Ok(views)
}

pub async fn list(State(operator): State<Operator>) -> ApiResult<Json<Value>> {
    Ok(Json(json!({ "data": views(&operator).await? })))
}

/// The database of the service whose read model a group fills.
async fn owner<'a>(operator: &'a Operator, group: &str) -> Result<&'a db::Db, Error> {
    let known = views(operator).await?;
    let service = known.iter().find(|view| view.projection.consumer == group).map(|view| view.service);
    let found = operator.services.iter().find(|(name, _)| Some(*name) == service).map(|(_, db)| db);
    found.ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|view| view.projection.consumer.as_str()).collect();
        let text = format!("no read model is filled by a consumer {group:?}; there are {}", names.join(", "));
        Error::not_found("no_such_projection", text)
    })
}

async fn view(operator: &Operator, group: &str) -> Result<Json<Value>, Error> {
    let now = views(operator).await?.into_iter().find(|view| view.projection.consumer == group);
    Ok(Json(json!({ "data": now })))
}

/// Answers when it is asked for, not when it is done: `list` tells how far it is.
pub async fn begin(
    State(operator): State<Operator>,
    Path(group): Path<String>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let db = owner(&operator, &group).await?;
    messaging::rebuild(db, operator.bus(), &group, operator.context.clock.now()).await?;
    Ok((StatusCode::ACCEPTED, view(&operator, &group).await?))
}

/// Calls it back, as long as the model that was there before still is.
pub async fn abandon(State(operator): State<Operator>, Path(group): Path<String>) -> ApiResult<Json<Value>> {
    messaging::abandon_rebuild(owner(&operator, &group).await?, &group).await?;
    Ok(view(&operator, &group).await?)
}
