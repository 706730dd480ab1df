//! `rtcctl events topics|tail|lag|consumers|rebuild|dlq`: what moves between the services.

mod consumers;
mod dead_letters;
mod tail;

use codes::{Error, Result};
use serde_json::Value;

use crate::api::Call;
use crate::api::admin::{Lag, Page, Topic};
use crate::cli::Stopping;
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the topics
    Topics,
    /// Show the events of a topic, and follow new ones
    Tail(tail::Args),
    /// Show how far each consumer group is behind
    Lag(LagArgs),
    /// List the read models that are filled from events, and how far their rebuilds are
    Consumers,
    /// Fill a read model anew from the log, while its service goes on
    Rebuild(consumers::RebuildArgs),
    /// Look at dead letters, replay them or give them up
    #[command(subcommand)]
    Dlq(dead_letters::Command),
}

#[derive(Debug, clap::Args)]
pub struct LagArgs {
    /// Only this consumer group
    #[arg(long)]
    group: Option<String>,
    /// Also partitions that are not behind
    #[arg(long)]
    all: bool,
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Tail(_) | Command::Rebuild(_) => Stopping::Itself,
            Command::Dlq(command) => command.stopping(),
            Command::Topics | Command::Lag(_) | Command::Consumers => Stopping::Dropped,
        }
    }
}

pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::Topics => topics(context).await,
        Command::Tail(args) => tail::run(args, context).await,
        Command::Lag(args) => lag(args, context).await,
        Command::Consumers => consumers::list(context).await,
        Command::Rebuild(args) => consumers::rebuild(args, context).await,
        Command::Dlq(command) => dead_letters::run(command, context).await,
    }
}

async fn topics(context: &Context) -> Result<Report> {
    let topics = list_topics(context).await?;
    let now = context.clock.now();
    let mut table = Table::new([
        Column::left("topic"),
        Column::right("partitions"),
        Column::right("messages"),
        Column::left("last"),
        Column::left("first").wide(),
    ]);
    for topic in &topics {
        table.push([
            topic.name.clone(),
            topic.partitions.to_string(),
            topic.messages.to_string(),
            human::ago(topic.last_at, now),
            human::ago(topic.first_at, now),
        ]);
    }
    Ok(Report::new("events/topics", &topics)
        .with_table(table)
        .with_names(topics.iter().map(|topic| topic.name.as_str())))
}

async fn list_topics(context: &Context) -> Result<Vec<Topic>> {
    let platform = context.platform()?;
    Ok(platform.admin.json::<Page<Topic>>(Call::get(&["admin", "topics"])).await?.data)
}

async fn lag(args: LagArgs, context: &Context) -> Result<Report> {
    let platform = context.platform()?;
    let mut rows = platform.admin.json::<Page<Lag>>(Call::get(&["admin", "lag"])).await?.data;
    if let Some(group) = &args.group {
        rows.retain(|row| row.group == *group);
        if rows.is_empty() {
            return Err(Error::new(&codes::API004, format!("there is no consumer group {group:?}"))
                .with_hint("rtcctl events lag --all lists them"));
        }
    }
    let total: i64 = rows.iter().map(|row| row.lag).sum();
    let groups = rows.iter().map(|row| row.group.as_str()).collect::<std::collections::BTreeSet<_>>().len();
    let mut table = Table::new([
        Column::left("group"),
        Column::left("topic"),
        Column::right("partition"),
        Column::right("committed"),
        Column::right("end"),
        Column::right("lag"),
    ]);
    for row in rows.iter().filter(|row| args.all || row.lag > 0) {
        table.push([
            row.group.clone(),
            row.topic.clone(),
            row.partition.to_string(),
            row.committed.to_string(),
            row.end.to_string(),
            row.lag.to_string(),
        ]);
    }
    let report = Report::new("events/lag", serde_json::json!({"total": total, "partitions": rows}))
        .with_names(rows.iter().filter(|row| args.all || row.lag > 0).map(|row| row.group.as_str()))
        .with_text(match total {
            0 => format!("{groups} consumer groups, none is behind"),
            total => format!("{groups} consumer groups, {total} events behind in all"),
        });
    Ok(if table.is_empty() { report } else { report.with_table(table) })
}

/// One short line of any JSON value.
fn compact(value: &Value, limit: usize) -> String {
    let text = value.to_string();
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
