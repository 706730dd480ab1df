//! `POST /admin/split/restart`: a rolling restart of the processes.

use axum::extract::State;
use kernel::Error;
use serde::Deserialize;
use serde_json::{Value, json};
use web::{ApiResult, Json};

use super::Operator;

/// Without a service: all of them; without a replica: all of the service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartBody {
    #[serde(default)]
    service: Option<String>,
    #[serde(default)]
    replica: Option<u32>,
}

/// Answers when the last one is ready again. It goes on where the caller goes away: half a restart helps nobody.
pub async fn restart(
    State(operator): State<Operator>,
    Json(body): Json<RestartBody>,
) -> ApiResult<Json<Value>> {
    let Some(fleet) = operator.fleet else {
        let text = "the services run in one process; stop and start it instead";
        return Err(Error::conflict("not_split", text).into());
    };
    let work = async move { fleet.restart(body.service.as_deref(), body.replica).await };
    let restarted = tokio::spawn(work).await.map_err(Error::internal)??;
    Ok(Json(json!({ "data": restarted })))
}
