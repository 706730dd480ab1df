//! `rtcctl metrics watch`: a full screen; with `-o json` or `-o yaml` one line or document a refresh.

use std::time::Duration;

use codes::{Error, Result, exit};
use tokio::time::{MissedTickBehavior, interval};

use super::summary::promql_duration;
use crate::cli::duration;
use crate::context::{Context, Screen};
use crate::metrics::Source;
use crate::metrics::slo::objectives;
use crate::metrics::watch::{End, FullScreen, Paint, Raw, Watched, look, watch};
use crate::output::{Format, Report};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often it is asked anew
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s")]
    every: Duration,
    /// Over how much time rates are taken [default: 5m; 1m without a Prometheus server]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    window: Option<Duration>,
    /// With -o json or -o yaml: end after so many refreshes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
}

const COMMAND: &str = "metrics/watch";

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let source = Source::of(context)?;
    let objectives = objectives(&context.config)?;
    let watched = Watched {
        source: &source,
        clock: &*context.clock,
        env: context.config.env(),
        objectives: &objectives,
        window: args.window.map_or_else(|| source.rate_window().to_owned(), promql_duration),
        every: args.every.max(Duration::from_millis(200)),
    };
    if matches!(context.format, Format::Json | Format::Yaml) {
        return stream(&watched, args.count, context).await;
    }
    let paint = match context.screen {
        Screen::None => {
            return Err(Error::new(&codes::MET019, "stdout is no terminal that can be drawn on").with_hint(
                "rtcctl metrics summary is one screen of text; watch -o json is a line a refresh",
            ));
        }
        Screen::Plain => Paint::Plain,
        Screen::Coloured => Paint::Coloured,
    };
    let end = {
        let mut screen = FullScreen::enter(context.stdout.clone(), Raw::On)?;
        let keys = crossterm::event::EventStream::new();
        watch(&watched, paint, &mut screen.terminal, keys, &context.interrupts).await?
    };
    Ok(Report::already_written(
        COMMAND,
        match end {
            End::Quit => exit::DONE,
            End::By(signal) => signal.exit(),
        },
    ))
}

/// A document a refresh, for a program that watches.
async fn stream(watched: &Watched<'_>, count: Option<u32>, context: &Context) -> Result<Report> {
    let mut ticks = interval(watched.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut written = 0;
    loop {
        let refresh = async {
            ticks.tick().await;
            let now_ms = watched.clock.now().as_millis();
            look(watched.source, watched.objectives, &watched.window, None, now_ms).await
        };
        let live = tokio::select! {
            live = refresh => live?,
            signal = context.interrupts.wait() => return Ok(Report::already_written(COMMAND, signal.exit())),
        };
        let report = Report::new(COMMAND, live.to_json());
        context.print(&match context.format {
            Format::Json => format!("{}\n", report.document()),
            format => format!("---\n{}", report.render(format, None)),
        })?;
        written += 1;
        if count == Some(written) || context.stdout_is_closed() {
            return Ok(Report::already_written(COMMAND, exit::DONE));
        }
    }
}
