//! `GET /admin/status`: one look at everything.

use std::path::Path;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use db::params;
use kernel::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::atomic::Ordering;
use web::{ApiResult, Json};

use super::Operator;
use crate::split::ProcessView;

#[derive(Serialize)]
pub struct Status {
    version: &'static str,
    pid: u32,
    profile: host::Profile,
    started_at: Timestamp,
    uptime_s: u64,
    api_url: String,
    services: Vec<ServiceStatus>,
    /// Missing where the bus is no part of this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<LogStatus>,
    orders: Value,
    /// What has changed of the settings since the start, and what waits for the next one.
    configuration: host::ReloadStatus,
    /// All processes together.
    resident_bytes: u64,
    /// Missing where the platform is this one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<Vec<ProcessView>>,
}

#[derive(Serialize)]
struct ServiceStatus {
    name: &'static str,
    state: &'static str,
    outbox_depth: i64,
    dead_letters: i64,
    database_bytes: u64,
    /// Commands and commits since the start: how well group commit works.
    commands: u64,
    commits: u64,
}

/// The event log: what was written, in how many commits.
#[derive(Serialize)]
struct LogStatus {
    commands: u64,
    commits: u64,
    database_bytes: u64,
}

pub async fn show(State(operator): State<Operator>) -> ApiResult<Json<Status>> {
    let mut services = Vec::new();
    let data = &operator.context.config.data;
    let here = if operator.ready.load(Ordering::Acquire) { "ready" } else { "draining" };
    let processes = operator.fleet.as_ref().map(|fleet| fleet.processes());
    let elsewhere_bytes: u64 = processes.iter().flatten().map(|process| process.resident_bytes).sum();
    for (name, db) in operator.services.iter() {
        let stats = db.stats();
        services.push(ServiceStatus {
            name,
            state: operator.fleet.as_ref().map_or(here, |fleet| fleet.state_of(name)),
            outbox_depth: messaging::outbox_depth(db).await?,
            dead_letters: messaging::count_dead_letters(db).await?,
            database_bytes: database_bytes(data, name),
            commands: stats.commands,
            commits: stats.commits,
        });
    }
    let now = operator.context.clock.now();
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        profile: operator.context.config.profile,
        started_at: operator.started_at,
        uptime_s: now.since(operator.started_at).as_secs(),
        api_url: format!("http://{}", operator.api),
        services,
        log: operator.log.as_ref().map(|log| LogStatus {
            commands: log.stats().commands,
            commits: log.stats().commits,
            database_bytes: database_bytes(data, "log"),
        }),
        orders: orders(&operator).await,
        configuration: operator.context.reload.status(),
        resident_bytes: resident_bytes("self") + elsewhere_bytes,
        processes,
    }))
}

/// Asks the orders service, where it runs here. Where it runs in other processes, each knows only of its own part, and
/// the database is asked.
async fn orders(operator: &Operator) -> Value {
    let database = operator.services.iter().find(|(name, _)| *name == "orders");
    if let (Some(_), Some((_, db))) = (&operator.fleet, database) {
        let counts = db.read(|tx| -> Result<Vec<(String, i64)>, db::Error> {
            let sql = "SELECT state, COUNT(*) FROM orders GROUP BY state";
            tx.query(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))
        });
        let by_state: serde_json::Map<String, Value> = counts
            .await
            .unwrap_or_default()
            .into_iter()
            .map(|(state, count)| (state, count.into()))
            .collect();
        return serde_json::json!({ "by_state": by_state });
    }
    let request = Request::builder().uri("/orders").body(Body::empty()).unwrap_or_default();
    let answer = operator.own.send(request).await;
    let Ok(response) = answer else { return serde_json::json!({ "by_state": {} }) };
    let body = axum::body::to_bytes(response.into_body(), 64 * 1024).await.unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_else(|_| serde_json::json!({ "by_state": {} }))
}

fn database_bytes(data: &Path, name: &str) -> u64 {
    let size = |file: String| std::fs::metadata(data.join(file)).map_or(0, |metadata| metadata.len());
    size(format!("{name}.db")) + size(format!("{name}.db-wal"))
}

/// What a process holds in memory (Linux: the second field of `/proc/PID/statm`, in pages). `self` is this one.
pub fn resident_bytes(pid: &str) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}
