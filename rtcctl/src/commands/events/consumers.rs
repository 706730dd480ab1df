//! `rtcctl events consumers|rebuild`: read models, and filling one anew from the log.

use std::time::Duration;

use codes::{Error, Result, exit};
use serde_json::json;
use settings::nearest;
use tokio::time::{Instant, sleep};

use crate::api::Call;
use crate::api::admin::{One, Page, ReadModel};
use crate::context::{Context, Effect};
use crate::human;
use crate::output::{Column, Finding, Report, Severity, Table};

/// How long a rebuild is waited for where nobody says otherwise.
const WAIT: Duration = Duration::from_secs(3_600);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct RebuildArgs {
    /// The consumer group that fills the read model, as rtcctl events consumers names it
    group: String,
    /// Wait until it is done (at most an hour, or --timeout)
    #[arg(long)]
    wait: bool,
    /// Call a rebuild back that has not replaced anything yet
    #[arg(long, conflicts_with = "wait")]
    abort: bool,
}

async fn models(context: &Context) -> Result<Vec<ReadModel>> {
    let platform = context.platform()?;
    Ok(platform.admin.json::<Page<ReadModel>>(Call::get(&["admin", "consumers"])).await?.data)
}

pub async fn list(context: &Context) -> Result<Report> {
    let models = models(context).await?;
    let now = context.clock.now();
    let mut table = Table::new([
        Column::left("group"),
        Column::left("service"),
        Column::left("stage"),
        Column::left("topics"),
        Column::left("rebuilt"),
        Column::left("trouble"),
    ]);
    for model in &models {
        table.push([
            model.consumer.clone(),
            model.service.clone(),
            model.progress(),
            model.topics.join(", "),
            human::ago(model.requested_at, now),
            model.trouble.clone().unwrap_or_default(),
        ]);
    }
    let report = Report::new("events/consumers", &models)
        .with_names(models.iter().map(|model| model.consumer.as_str()));
    Ok(if models.is_empty() { report.with_text("no read models") } else { report.with_table(table) })
}

async fn find(context: &Context, group: &str) -> Result<ReadModel> {
    let models = models(context).await?;
    if let Some(model) = models.iter().find(|model| model.consumer == group) {
        return Ok(model.clone());
    }
    let error = Error::new(&codes::API004, format!("no read model is filled by {group:?}"));
    Err(match nearest(group, models.iter().map(|model| model.consumer.as_str())) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("rtcctl events consumers lists them"),
    })
}

pub async fn rebuild(args: RebuildArgs, context: &Context) -> Result<Report> {
    let model = find(context, &args.group).await?;
    if context.effect == Effect::Described {
        let what = if args.abort { "would_abort" } else { "would_rebuild" };
        let text = format!("{} of {}, which is {}", model.consumer, model.service, model.progress());
        return Ok(Report::new("events/rebuild", json!({ what: model })).with_text(text));
    }
    let path = ["admin", "consumers", args.group.as_str(), "rebuild"];
    if args.abort {
        let One { data } = asked(context, Call::delete(&path)).await?;
        let text = format!("the rebuild of {} was called back: it is as it was", data.consumer);
        return Ok(Report::new("events/rebuild", data).with_text(text));
    }
    // One that is under way is only waited for.
    let asked_for = if model.is_live() || !args.wait {
        context.confirm(&format!("fill {} of {} anew from the log", model.consumer, model.service))?;
        asked(context, Call::post(&path, json!({}))).await?.data
    } else {
        model
    };
    if !args.wait {
        let text = format!("asked for; rtcctl events rebuild {} --wait waits for its end", args.group);
        return Ok(Report::new("events/rebuild", asked_for).with_text(text));
    }
    wait(&args.group, context).await
}

async fn asked(context: &Context, call: Call<'_>) -> Result<One<ReadModel>> {
    let platform = context.platform()?;
    tokio::select! {
        answer = platform.admin.json(call) => answer,
        signal = context.interrupts.wait() => {
            Err(signal
                .error("it was asked for and may go on")
                .with_hint("rtcctl events consumers shows how far it is"))
        }
    }
}

async fn wait(group: &str, context: &Context) -> Result<Report> {
    let (begun, patience) = (Instant::now(), context.timeout_or(WAIT));
    let mut said = String::new();
    loop {
        let model = find(context, group).await?;
        if model.is_live() {
            return Ok(ended(model));
        }
        let progress = model.progress();
        if progress != said {
            context.progress.say(format!("{group}: {progress}"));
            said = progress;
        }
        if begun.elapsed() >= patience {
            let text = format!("{group} is {said} after {}", human::duration(patience));
            return Err(Error::new(&codes::EVT005, text));
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            signal = context.interrupts.wait() => {
                return Err(signal
                    .error(format!("the rebuild of {group} goes on"))
                    .with_hint(format!("rtcctl events rebuild {group} --abort calls it back")));
            }
        }
    }
}

fn ended(model: ReadModel) -> Report {
    let (name, trouble) = (model.consumer.clone(), model.trouble.clone());
    let report = Report::new("events/rebuild", model);
    match trouble {
        None => report.with_text(format!("{name} is rebuilt")),
        Some(trouble) => report
            .with_text(format!("{name} is live, and not whole"))
            .with_finding(Finding::new(&codes::EVT004, Severity::Warning, format!("{name}: {trouble}")))
            .with_status("partial", exit::PARTIAL),
    }
}
