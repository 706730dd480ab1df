//! `rtcctl metrics slo [NAME]`.

use codes::{Result, exit};

use super::open;
use crate::context::Context;
use crate::human;
use crate::metrics::slo::{BurnRate, Standing, State, chosen, objectives, standings};
use crate::metrics::units::Unit;
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of one objective
    name: Option<String>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let objectives = chosen(objectives(&context.config)?, args.name.as_deref())?;
    let source = open(context).await?;
    let standings = standings(&source, &objectives, context.clock.now().as_millis()).await?;
    let mut table = Table::new([
        Column::left("objective"),
        Column::right("target"),
        Column::right("bad"),
        Column::right("budget left"),
        Column::right("1h/5m"),
        Column::right("6h/30m"),
        Column::right("1d/2h"),
        Column::right("3d/6h"),
        Column::left("state"),
        Column::left("promise").wide(),
    ]);
    for standing in &standings {
        let mut row = vec![
            standing.objective.name.clone(),
            target(standing),
            Unit::Share.show(standing.ratio),
            standing.left_text(),
        ];
        row.extend(standing.burns.iter().map(BurnRate::text));
        row.extend([standing.state().name().to_owned(), standing.objective.title.clone()]);
        table.push(row);
    }
    let document: Vec<_> = standings.iter().map(Standing::to_json).collect();
    let mut report = Report::new("metrics/slo", document)
        .with_names(standings.iter().map(|standing| standing.objective.name.as_str()))
        .with_table(table);
    if let Some(reach) = source.reach() {
        report = report.with_finding(
            Finding::new(
                &codes::MET022,
                Severity::Info,
                format!(
                    "there are {} of history: budgets are counted over these, and longer windows are not judged",
                    human::duration(reach)
                ),
            )
            .with_hint("name a Prometheus server in prometheus_url"),
        );
    }
    report.findings.extend(standings.iter().filter_map(finding));
    let broken = standings.iter().any(|standing| standing.state().is_broken());
    let unknown = standings.iter().all(|standing| standing.state() == State::NoData);
    Ok(match (broken, unknown) {
        (true, _) => report.with_status("breached", exit::BREACHED),
        (false, true) => report.with_status("inconclusive", exit::INCONCLUSIVE),
        (false, false) => report,
    })
}

/// `99.9 %`, with as many digits as it has.
pub(super) fn target(standing: &Standing) -> String {
    let percent = (standing.objective.target * 1e7).round() / 1e5;
    format!("{percent} %")
}

/// What is wrong with an objective, if anything is.
pub(super) fn finding(standing: &Standing) -> Option<Finding> {
    let name = &standing.objective.name;
    match standing.state() {
        State::Kept | State::NoTraffic => None,
        State::NoData => Some(Finding::new(
            &codes::MET018,
            Severity::Warning,
            format!("{name}: nothing is recorded that it is measured by"),
        )),
        State::Spent => Some(Finding::new(
            &codes::MET017,
            Severity::Error,
            format!("{name}: the budget of {} is used up", standing.period),
        )),
        State::Ticket | State::Page => {
            let rate = standing.burns.iter().find(|rate| rate.burns())?;
            Some(Finding::new(&codes::MET017, Severity::Error, format!("{name}: {}", burning(rate))))
        }
    }
}

fn burning(rate: &BurnRate) -> String {
    format!(
        "the budget burns at {} times its rate over {}, and at {} times over {} (the limit is {})",
        Unit::Count.show(rate.long),
        rate.burn.long,
        Unit::Count.show(rate.short),
        rate.burn.short,
        rate.burn.factor
    )
}
