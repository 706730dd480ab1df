//! `GET /admin/invariants`: every oracle, over durable data.

use axum::extract::State;
use serde_json::{Value, json};
use web::{ApiResult, Json};

use super::Operator;

pub async fn check(State(operator): State<Operator>) -> ApiResult<Json<Value>> {
    let verdicts =
        crate::invariants::check(&operator.services, operator.bus(), operator.context.clock.now()).await?;
    let data: Vec<Value> = verdicts
        .into_iter()
        .map(|verdict| {
            json!({
                "id": verdict.id, "title": verdict.title, "holds": verdict.holds(), "checked": verdict.checked,
                "violations": verdict.violations,
            })
        })
        .collect();
    Ok(Json(json!({ "data": data })))
}
