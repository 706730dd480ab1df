//! `rtcctl events dlq list|show|replay|drop`: events on which a consumer gave up.

use codes::{Result, exit};
use serde_json::json;

use crate::api::Call;
use crate::api::admin::{DeadLetter, Dropped, One, Page, Replayed};
use crate::cli::Stopping;
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List dead letters and what waits behind them
    List(ListArgs),
    /// Show one with what was published
    Show(ShowArgs),
    /// Give dead letters back to their consumers
    Replay(ReplayArgs),
    /// Give dead letters up for good; what waits behind them is handled
    Drop(DropArgs),
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only those of this service
    #[arg(long)]
    service: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    limit: u32,
}

#[derive(Debug, clap::Args)]
pub struct ReplayArgs {
    /// The ids to replay, which each service counts for itself; without any, all (of the service)
    #[arg(requires = "service")]
    ids: Vec<u64>,
    /// Only those of this service
    #[arg(long)]
    service: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Its id
    id: u64,
    /// The service that counts it
    #[arg(long)]
    service: String,
}

#[derive(Debug, clap::Args)]
pub struct DropArgs {
    /// The ids of those to give up
    #[arg(required = true)]
    ids: Vec<u64>,
    /// The service that counts them
    #[arg(long)]
    service: String,
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::List(_) | Command::Show(_) => Stopping::Dropped,
            Command::Replay(_) | Command::Drop(_) => Stopping::Itself,
        }
    }
}

pub async fn run(command: Command, context: &Context) -> Result<Report> {
    match command {
        Command::List(args) => {
            let letters = list(context, args.service.as_deref(), args.limit).await?;
            Ok(listing("events/dlq/list", &letters, context))
        }
        Command::Show(args) => show(args, context).await,
        Command::Replay(args) => replay(args, context).await,
        Command::Drop(args) => discard(args, context).await,
    }
}

async fn fetch(context: &Context, service: &str, id: u64) -> Result<DeadLetter> {
    let (platform, id) = (context.platform()?, id.to_string());
    let call = Call::get(&["admin", "dead-letters", service, &id]);
    Ok(platform.admin.json::<One<DeadLetter>>(call).await?.data)
}

async fn show(args: ShowArgs, context: &Context) -> Result<Report> {
    let letter = fetch(context, &args.service, args.id).await?;
    // What was published is somebody else's text: nothing of it may steer a terminal.
    let payload = letter.payload.as_deref().unwrap_or_default();
    let payload = match serde_json::from_str::<serde_json::Value>(payload) {
        Ok(envelope) => serde_json::to_string_pretty(&envelope).unwrap_or_default(),
        Err(_) => payload.to_owned(),
    };
    let clean = |text: &str| text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
    let pairs = [
        ("id", format!("{} of {}", letter.id_text(), letter.service)),
        ("state", letter.state.clone()),
        ("consumer", letter.consumer.clone()),
        ("place", format!("{} {}/{}", letter.topic, letter.partition, letter.offset)),
        ("key", clean(&letter.key)),
        ("event", format!("{} {}", letter.event_id, clean(&letter.event_type))),
        ("attempts", letter.attempts.to_string()),
        ("parked", human::ago(letter.parked_at, context.clock.now())),
        ("error", clean(&letter.error)),
        ("published", clean(&payload)),
    ];
    Ok(Report::new("events/dlq/show", &letter).with_pairs(pairs).with_names([letter.id_text()]))
}

async fn discard(args: DropArgs, context: &Context) -> Result<Report> {
    if context.effect == Effect::Described {
        let mut letters = Vec::new();
        for id in &args.ids {
            letters.push(fetch(context, &args.service, *id).await?);
        }
        let mut report = listing("events/dlq/drop", &letters, context);
        report.data = json!({"would_drop": report.data});
        return Ok(report);
    }
    let ids: Vec<String> = args.ids.iter().map(ToString::to_string).collect();
    let ids = ids.join(", ");
    context.confirm(&format!("give up dead letters {ids} of {} for good", args.service))?;
    let platform = context.platform()?;
    let body = json!({ "service": args.service, "ids": args.ids });
    let call = Call::post(&["admin", "dead-letters", "drop"], body);
    let dropped: Dropped = tokio::select! {
        answer = platform.admin.json(call) => answer?,
        signal = context.interrupts.wait() => {
            return Err(signal
                .error("the dead letters may have been given up")
                .with_hint("rtcctl events dlq list shows what is left"));
        }
    };
    let text = format!("{} given up, {} left", dropped.dropped, dropped.remaining);
    Ok(Report::new("events/dlq/drop", dropped).with_text(text))
}

async fn list(context: &Context, service: Option<&str>, limit: u32) -> Result<Vec<DeadLetter>> {
    let platform = context.platform()?;
    let mut call = Call::get(&["admin", "dead-letters"]).query("limit", limit);
    if let Some(service) = service {
        call = call.query("service", service);
    }
    Ok(platform.admin.json::<Page<DeadLetter>>(call).await?.data)
}

fn listing(command: &'static str, letters: &[DeadLetter], context: &Context) -> Report {
    let now = context.clock.now();
    let mut table = Table::new([
        Column::left("id"),
        Column::left("state"),
        Column::left("service"),
        Column::left("type"),
        Column::left("key"),
        Column::right("attempts"),
        Column::left("parked"),
        Column::left("error"),
        Column::left("consumer").wide(),
        Column::left("place").wide(),
        Column::left("event").wide(),
    ]);
    for letter in letters {
        table.push([
            letter.id_text(),
            letter.state.clone(),
            letter.service.clone(),
            letter.event_type.clone(),
            letter.key.clone(),
            letter.attempts.to_string(),
            human::ago(letter.parked_at, now),
            letter.error.clone(),
            letter.consumer.clone(),
            format!("{} {}/{}", letter.topic, letter.partition, letter.offset),
            letter.event_id.clone(),
        ]);
    }
    let report = Report::new(command, letters).with_names(letters.iter().map(DeadLetter::id_text));
    if letters.is_empty() { report.with_text("no dead letters") } else { report.with_table(table) }
}

async fn replay(args: ReplayArgs, context: &Context) -> Result<Report> {
    if context.effect == Effect::Described {
        let mut letters = list(context, args.service.as_deref(), 1000).await?;
        letters.retain(|letter| {
            args.ids.is_empty() || args.ids.iter().any(|id| letter.id_text() == id.to_string())
        });
        let mut report = listing("events/dlq/replay", &letters, context);
        report.data = json!({"would_replay": report.data});
        return Ok(report);
    }
    if args.ids.is_empty() {
        let of = args.service.as_deref().map_or_else(String::new, |service| format!(" of {service}"));
        context.confirm(&format!("give every dead letter{of} back to its consumer"))?;
    }
    let platform = context.platform()?;
    let mut body = json!({});
    if let Some(service) = &args.service {
        body["service"] = service.as_str().into();
    }
    if !args.ids.is_empty() {
        body["ids"] = json!(args.ids);
    }
    let call = Call::post(&["admin", "dead-letters", "replay"], body);
    let replayed: Replayed = tokio::select! {
        answer = platform.admin.json(call) => answer?,
        signal = context.interrupts.wait() => {
            return Err(signal
                .error("the replay was asked for and may go on")
                .with_hint("rtcctl events dlq list shows what is left"));
        }
    };
    let report = Report::new("events/dlq/replay", replayed)
        .with_text(format!("{} replayed, {} left", replayed.replayed, replayed.remaining));
    if replayed.remaining > 0 && args.ids.is_empty() {
        let finding = Finding::new(
            &codes::EVT003,
            Severity::Warning,
            format!("{} dead letters are left", replayed.remaining),
        )
        .with_hint("rtcctl events dlq list shows the present error of each");
        return Ok(report.with_finding(finding).with_status("partial", exit::PARTIAL));
    }
    Ok(report)
}
