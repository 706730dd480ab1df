//! `rtcctl status [--invariants]`.

use std::time::Duration;

use codes::{Error, Result, exit};
use serde_json::{Value, json};
use settings::Service;

use crate::api::admin::{Invariant, Page, ProcessStatus, Status};
use crate::api::{Call, Platform};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};

/// Everything that was ever written is read for the invariants.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Check the promises of the platform over its durable data; a violation ends with exit code 30
    #[arg(long)]
    pub invariants: bool,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let platform = context.platform()?;
    if !args.invariants {
        return report(&platform, &context.config.services).await;
    }
    let auditor = platform.admin.clone().waiting(context.timeout_or(AUDIT_TIMEOUT));
    let (status, invariants) = tokio::join!(
        report(&platform, &context.config.services),
        auditor.json::<Page<Invariant>>(Call::get(&["admin", "invariants"])),
    );
    Ok(with_invariants(status?, &invariants?.data))
}

/// The state of a running platform, as `status` and `up` show it.
pub async fn report(platform: &Platform, services: &[Service]) -> Result<Report> {
    let document: Value = platform.admin.json(Call::get(&["admin", "status"])).await?;
    let status: Status = serde_json::from_value(document.clone()).map_err(|error| {
        Error::new(&codes::NET004, "the answer of the admin port is not understood").with_source(&error)
    })?;
    let api_url = match status.api_url.as_str() {
        "" => platform.api.base().as_str(),
        url => url,
    };
    let mut pairs = vec![
        ("API", api_url.trim_end_matches('/').to_owned()),
        ("admin port", platform.admin.base().as_str().trim_end_matches('/').to_owned()),
        ("version", status.version.clone()),
        ("profile", status.profile.clone()),
        ("process", status.pid.to_string()),
        (
            "up for",
            human::duration(Duration::try_from_secs_f64(status.uptime_s.max(1.0)).unwrap_or_default()),
        ),
    ];
    if status.resident_bytes > 0 {
        pairs.push(("memory", human::bytes(status.resident_bytes)));
    }
    pairs.push(("orders", orders(&status)));
    let mut table = Table::new([
        Column::left("service"),
        Column::left("state"),
        Column::right("outbox"),
        Column::right("dead letters"),
        Column::right("database"),
    ]);
    for service in &status.services {
        table.push([
            service.name.clone(),
            service.state.clone(),
            service.outbox_depth.to_string(),
            service.dead_letters.to_string(),
            if service.database_bytes == 0 { "-".to_owned() } else { human::bytes(service.database_bytes) },
        ]);
    }
    let mut report = Report::new("status", json!({"platform": document}))
        .with_pairs(pairs)
        .with_table(table)
        .with_names(status.services.iter().map(|service| service.name.as_str()));
    if !status.processes.is_empty() {
        report = report.with_table(processes(&status.processes));
    }
    report.findings = findings(&status, services);
    if report.findings.iter().any(|finding| finding.severity > Severity::Info) {
        report.status = "degraded";
    }
    Ok(report)
}

/// Where a split platform runs: a row a process.
fn processes(processes: &[ProcessStatus]) -> Table {
    let mut table = Table::new([
        Column::left("process"),
        Column::left("state"),
        Column::right("pid"),
        Column::right("restarts"),
        Column::right("memory"),
        Column::left("address"),
        Column::left("admin port").wide(),
        Column::left("log").wide(),
    ]);
    for process in processes {
        table.push([
            process.name(),
            process.state.clone(),
            process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            process.restarts.to_string(),
            if process.resident_bytes == 0 { "-".to_owned() } else { human::bytes(process.resident_bytes) },
            process.address().to_owned(),
            process.admin_url.clone(),
            process.log.clone(),
        ]);
    }
    table
}

/// Orders by state, the most frequent first.
fn orders(status: &Status) -> String {
    let mut states: Vec<(&String, &u64)> = status.orders.by_state.iter().collect();
    states.sort_by(|left, right| right.1.cmp(left.1).then(left.0.cmp(right.0)));
    match states.as_slice() {
        [] => "none".to_owned(),
        states => {
            states.iter().map(|(state, count)| format!("{count} {state}")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn findings(status: &Status, expected: &[Service]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for process in status.processes.iter().filter(|process| process.state != "ready") {
        findings.push(
            Finding::new(
                &codes::STA002,
                Severity::Warning,
                format!("{} is {}", process.name(), process.state),
            )
            .with_hint(format!("its log is {}", process.log)),
        );
    }
    for service in &status.services {
        // Of a service in several processes, each has been looked at.
        if service.state != "ready" && status.processes.is_empty() {
            findings.push(Finding::new(
                &codes::STA002,
                Severity::Warning,
                format!("{} is {}", service.name, service.state),
            ));
        }
        if service.dead_letters > 0 {
            findings.push(
                Finding::new(
                    &codes::STA004,
                    Severity::Warning,
                    format!("{} has {} dead letters", service.name, service.dead_letters),
                )
                .with_hint(format!("rtcctl events dlq list --service {}", service.name)),
            );
        }
    }
    let configuration = &status.configuration;
    let file = configuration.file.as_deref().unwrap_or("the configuration file");
    if let Some(fault) = &configuration.fault {
        let text = format!("{file} cannot be used: {fault}");
        let hint = "everything stays as it was; the file is read again within seconds";
        findings.push(Finding::new(&codes::STA006, Severity::Warning, text).with_hint(hint));
    }
    if !configuration.waiting.is_empty() {
        let text = format!("{file}: {} at the next start", configuration.waiting.join(", "));
        let hint = "everything else that was changed is in effect";
        findings.push(Finding::new(&codes::STA007, Severity::Info, text).with_hint(hint));
    }
    // The platform lists what has a database; the others have nothing to report.
    for service in expected.iter().filter(|service| service.database) {
        if !status.services.iter().any(|running| running.name == service.name) {
            findings.push(Finding::new(
                &codes::STA005,
                Severity::Info,
                format!("{} is named in rtc.toml and does not run here", service.name),
            ));
        }
    }
    findings
}

fn with_invariants(mut report: Report, invariants: &[Invariant]) -> Report {
    let mut table = Table::new([
        Column::left("invariant"),
        Column::left("holds"),
        Column::right("checked"),
        Column::left("promise"),
        Column::left("note").wide(),
    ]);
    let mut violated = false;
    let mut unknown = invariants.is_empty();
    for invariant in invariants {
        let word = match invariant.holds {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "unknown",
        };
        let note = invariant.note.clone().unwrap_or_default();
        table.push([
            invariant.id.clone(),
            word.to_owned(),
            invariant.checked.to_string(),
            invariant.title.clone(),
            note.clone(),
        ]);
        match invariant.holds {
            Some(true) => {}
            Some(false) => {
                violated = true;
                let shown = invariant.violations.iter().take(5).map(|violation| format!("\n  {violation}"));
                let more = match invariant.violations.len().saturating_sub(5) {
                    0 => String::new(),
                    more => format!("\n  and {more} more (-o json shows them all)"),
                };
                report.findings.push(Finding::new(
                    &codes::STA001,
                    Severity::Error,
                    format!(
                        "{} is violated: {}{}{more}",
                        invariant.id,
                        invariant.title,
                        shown.collect::<String>()
                    ),
                ));
            }
            None => {
                unknown = true;
                report.findings.push(Finding::new(
                    &codes::STA003,
                    Severity::Warning,
                    format!("{} could not be checked: {note}", invariant.id),
                ));
            }
        }
    }
    report.data["invariants"] = serde_json::to_value(invariants).unwrap_or_default();
    let report = report.with_table(table);
    match (violated, unknown) {
        (true, _) => report.with_status("breached", exit::BREACHED),
        (false, true) => report.with_status("inconclusive", exit::INCONCLUSIVE),
        (false, false) => report,
    }
}
