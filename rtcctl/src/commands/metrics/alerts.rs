//! `rtcctl metrics alerts`.

use codes::Result;
use serde_json::json;

use super::open;
use crate::context::Context;
use crate::metrics::model::AlertState;
use crate::metrics::units::age;
use crate::output::{Column, Finding, Report, Severity, Table};

pub async fn run(context: &Context) -> Result<Report> {
    let source = open(context).await?;
    let now_ms = context.clock.now().as_millis();
    let alerts = source.alerts(now_ms).await?;
    let mut table = Table::new([
        Column::left("alert"),
        Column::left("state"),
        Column::left("severity"),
        Column::right("since"),
        Column::left("summary"),
        Column::left("labels").wide(),
        Column::left("runbook").wide(),
    ]);
    let mut report = Report::new(
        "metrics/alerts",
        json!({"rules": alerts.rules, "alerts": alerts.active, "remarks": alerts.remarks}),
    )
    .with_names(alerts.active.iter().map(|alert| alert.name.as_str()));
    for alert in &alerts.active {
        let state = match alert.state {
            AlertState::Firing => "FIRING",
            AlertState::Pending => "pending",
        };
        table.push([
            alert.name.clone(),
            state.to_owned(),
            alert.severity.clone(),
            alert.since_ms.map_or_else(|| "–".to_owned(), |since| age(now_ms - since)),
            alert.summary.clone(),
            alert.labels.to_string(),
            alert.runbook.clone().unwrap_or_default(),
        ]);
        if alert.state == AlertState::Firing {
            let finding = Finding::new(
                &codes::MET015,
                if alert.severity == "page" { Severity::Error } else { Severity::Warning },
                format!("{} fires: {}", alert.name, alert.summary),
            );
            report = report.with_finding(match &alert.runbook {
                Some(runbook) => finding.with_hint(format!("its runbook is {runbook}")),
                None => finding,
            });
        }
    }
    for remark in &alerts.remarks {
        report = report.with_finding(Finding::new(&codes::MET014, Severity::Info, remark.clone()));
    }
    if alerts.firing().next().is_some() {
        report.status = "firing";
    }
    let rules = alerts.rules;
    Ok(match (table.is_empty(), rules) {
        (true, 0) => report.with_text("no alert rules are evaluated"),
        (true, _) => report.with_text(format!("{rules} rules, no alert fires and none is pending")),
        (false, _) => report.with_table(table),
    })
}
