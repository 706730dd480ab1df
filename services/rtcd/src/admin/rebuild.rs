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

/// Answers when it is asked for, not when it is done: `list` tells how far it is.
pub async fn begin(
    State(operator): State<Operator>,
    Path(group): Path<String>,
) -> ApiResult<(StatusCode, Json<Value>)> {
    let known = views(&operator).await?;
    let Some(service) = known.iter().find(|view| view.projection.consumer == group).map(|view| view.service)
    else {
        let names: Vec<_> = known.iter().map(|view| view.projection.consumer.as_str()).collect();
        let text = format!("no read model is filled by a consumer {group:?}; there are {}", names.join(", "));
        return Err(Error::not_found("no_such_projection", text).into());
    };
    if let Some((_, db)) = operator.services.iter().find(|(name, _)| *name == service) {
        messaging::rebuild(db, operator.bus(), &group, operator.context.clock.now()).await?;
    }
    let now = views(&operator).await?.into_iter().find(|view| view.projection.consumer == group);
    Ok((StatusCode::ACCEPTED, Json(json!({ "data": now }))))
}
