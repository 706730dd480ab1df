//! `rtcctl metrics targets`.

use codes::Result;
use serde_json::json;

use super::open;
use crate::context::Context;
use crate::metrics::model::Health;
use crate::metrics::units::{Unit, age};
use crate::output::{Column, Finding, Report, Severity, Table};

pub async fn run(context: &Context) -> Result<Report> {
    let source = open(context).await?;
    let targets = source.targets().await?;
    let now_ms = context.clock.now().as_millis();
    let mut table = Table::new([
        Column::left("job"),
        Column::left("instance"),
        Column::left("health"),
        Column::right("last sample"),
        Column::right("took"),
        Column::left("error"),
        Column::left("address").wide(),
    ]);
    let mut report = Report::new("metrics/targets", json!({"source": source.describe(), "targets": targets}))
        .with_names(targets.iter().map(|target| target.instance.as_str()));
    for target in &targets {
        let health = match target.health {
            Health::Up => "up",
            Health::Down => "DOWN",
            Health::Unknown => "unknown",
        };
        table.push([
            target.job.clone(),
            target.instance.clone(),
            health.to_owned(),
            target.last_sample_ms.map_or_else(|| "–".to_owned(), |at| age(now_ms - at)),
            target.duration_s.map_or_else(|| "–".to_owned(), |took| Unit::Seconds.format(took)),
            target.last_error.clone(),
            target.address.clone(),
        ]);
        if target.health == Health::Down {
            report = report.with_finding(Finding::new(
                &codes::MET016,
                Severity::Warning,
                format!("{} ({}) is down: {}", target.instance, target.job, target.last_error),
            ));
            report.status = "degraded";
        }
    }
    Ok(if table.is_empty() { report.with_text("no targets") } else { report.with_table(table) })
}
