//! `rtcctl load`: open-loop load on a running platform, with percentiles from the intended time and a verdict.
//!
//! Invariants: a platform that dies and comes back does not end the load, its absence is in the figures; Ctrl-C ends the
//! sending and still answers with what was measured.

mod report;

use std::path::PathBuf;
use std::time::Duration;

use codes::{Error, Result};
use kernel::id::SplitMix;
use report::report;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::api::Platform;
use crate::cli::duration;
use crate::commands::replay::grouped;
use crate::context::{Context, Effect};
use crate::ingest::OPERATOR;
use crate::load::{
    Books, Job, Journal, Limits, Mix, News, Operator, Outcome, Pace, Patience, Place, Proportions,
    RENEW_EVERY, Requests, Route, RunFile, Schedule, Setup, Stop, Thresholds, Wanted, operator_password,
    prepare, sign_in, start,
};
use crate::local::DataDir;
use crate::output::Report;
use crate::progress::Task;
use crate::signals::Signal;

/// What the load is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Orders of one to three products, and looks at products
    Shop,
    /// Looks at products alone
    Browse,
    /// Batches of sales
    Ingest,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Scenario::Shop => "shop",
            Scenario::Browse => "browse",
            Scenario::Ingest => "ingest",
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is sent
    #[arg(long, value_enum, default_value_t = Scenario::Shop)]
    pub scenario: Scenario,
    /// Requests a second, at a constant rate whatever the answers
    #[arg(long, value_name = "R", default_value_t = 50.0, value_parser = rate)]
    pub rate: f64,
    /// How long they are sent
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub duration: Duration,
    /// Connections at most; one carries one request at a time [default: 64, 512 with --wait-terminal]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: Option<u16>,
    /// Requests under way at most, those waiting for a connection included; what is due beyond is counted as dropped
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_in_flight: u32,
    /// How long one request may take, from its intended time [default: 10s, 15s with --wait-terminal]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub request_timeout: Option<Duration>,
    /// Customers who order
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub shoppers: u32,
    /// Products that are ordered and looked at; the first ones are the hottest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub products: u32,
    /// Decides what each request is; the same seed gives the same requests
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Orders in a hundred requests of the shop
    #[arg(long, value_name = "N", default_value_t = 70, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub orders_in_100: u8,
    /// Orders and nothing else
    #[arg(long, conflicts_with = "orders_in_100")]
    pub orders_only: bool,
    /// Units added to the stock of each product first, so that stock does not run out
    #[arg(long, value_name = "UNITS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000))]
    pub restock: i64,
    /// Test money for each shopper, in minor units
    #[arg(long, value_name = "MINOR", default_value_t = 1_000_000_000_000, value_parser = clap::value_parser!(i64).range(0..=1_000_000_000_000_000))]
    pub funds: i64,
    /// Sales in one request of the ingest
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub batch: u16,
    /// Have every order answered once it is settled (up to 10 s)
    #[arg(long)]
    pub wait_terminal: bool,
    /// How long accepted orders are followed after the sending; 0s to follow none
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub settle_timeout: Duration,
    /// Write every accepted order as a line of JSON: id, key, status
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub journal: Option<PathBuf>,
    /// End with code 30 when a smaller share of requests than this was answered without a server error
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    pub min_availability: Option<f64>,
    /// End with code 30 when the 99th percentile is above this
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub max_p99: Option<Duration>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1_000_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 0.001 to 1000000".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("a percentage from 0 to 100".to_owned()),
    }
}

impl Args {
    fn timeout(&self) -> Duration {
        let default = if self.wait_terminal { 15 } else { 10 };
        self.request_timeout.unwrap_or(Duration::from_secs(default))
    }

    /// An order that is answered once it is settled holds its connection until then.
    fn connections(&self) -> u16 {
        self.connections.unwrap_or(if self.wait_terminal { 512 } else { 64 })
    }

    fn proportions(&self) -> Proportions {
        match self.scenario {
            Scenario::Shop if self.orders_only => Proportions::Shop { orders_in_100: 100 },
            Scenario::Shop => Proportions::Shop { orders_in_100: u64::from(self.orders_in_100) },
            Scenario::Browse => Proportions::Shop { orders_in_100: 0 },
            Scenario::Ingest => Proportions::Ingest { batch: u64::from(self.batch) },
        }
    }

    fn orders(&self) -> bool {
        matches!(self.proportions(), Proportions::Shop { orders_in_100: 1.. })
    }

    fn thresholds(&self) -> Thresholds {
        Thresholds { min_availability_percent: self.min_availability, max_p99: self.max_p99 }
    }

    fn plan(&self) -> Value {
        json!({
            "scenario": self.scenario.name(),
            "rate_per_s": self.rate,
            "duration_s": self.duration.as_secs_f64(),
            "requests": Schedule::constant(self.rate, self.duration).total(),
            "connections": self.connections(),
            "max_in_flight": self.max_in_flight,
            "request_timeout_s": self.timeout().as_secs_f64(),
            "seed": self.seed,
        })
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let schedule = Schedule::constant(args.rate, args.duration);
    if context.effect == Effect::Described {
        let text = format!(
            "would send {} requests of scenario {} at {} a second",
            grouped(schedule.total()),
            args.scenario.name(),
            args.rate
        );
        return Ok(Report::new("load", json!({ "plan": args.plan(), "dry_run": true })).with_text(text));
    }
    let platform = context.platform()?;
    let data = DataDir::new(context.config.data_dir());
    let address = platform.api.base().as_str();
    let place = Place::parse(address).ok_or_else(|| {
        Error::new(
            &codes::LOD004,
            format!("{address} is not a plain http address, and the generator speaks no other"),
        )
    })?;
    let began_at = context.clock.now();
    let random = SplitMix(began_at.as_millis().unsigned_abs() ^ u64::from(std::process::id()) << 40).next();
    // Two runs must never share an idempotency key, so this does not come from --seed.
    let run = format!("load-{random:016x}");
    let journal = match &args.journal {
        None => None,
        Some(path) => Some(Journal::create(&context.current_dir.join(path)).map_err(|error| {
            Error::new(&codes::LOD009, format!("cannot write {}", path.display())).with_source(&error)
        })?),
    };
    let prepared = tokio::select! {
        prepared = set_up(&args, &platform, &data, &run, context) => prepared?,
        signal = context.interrupts.wait() => return Err(signal.error("nothing was sent yet")),
    };
    let (setup, operator) = prepared;
    let route = if args.wait_terminal { Route::WaitTerminal } else { Route::Accept };
    let unfit = |error: http::Error| {
        Error::new(&codes::NET004, "the platform gave an id or a token that cannot be sent back")
            .with_source(&error)
    };
    let requests =
        Requests::new(run.clone(), &place, route, &setup.products, &setup.tokens, began_at).map_err(unfit)?;
    let operator = match operator {
        None => None,
        Some((operator, token)) => {
            requests.sign_in(&token).map_err(unfit)?;
            Some(operator)
        }
    };
    let job = Job {
        schedule,
        pace: Pace::precise(),
        limits: Limits {
            connections: usize::from(args.connections()),
            in_flight: args.max_in_flight as usize,
            timeout: args.timeout(),
        },
        patience: Patience {
            request: args.timeout(),
            unknown: Duration::from_secs(60),
            settling: args.settle_timeout,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
        },
        mix: Mix::new(args.seed, args.proportions(), setup.tokens.len(), setup.products.len()),
        requests,
        books: Books { journal, ..Books::default() },
        followers: if args.orders() && !args.settle_timeout.is_zero() {
            usize::from(args.connections().min(32))
        } else {
            0
        },
        operator,
    };
    let run_file = context.config.text("api_url").is_none().then(|| RunFile(data.run_file()));
    let (outcome, signal) = drive(job, place, run_file, &args, context).await?;
    Ok(report(&args, &run, outcome, signal))
}

async fn set_up(
    args: &Args,
    platform: &Platform,
    data: &DataDir,
    run: &str,
    context: &Context,
) -> Result<(Setup, Option<(Operator, String)>)> {
    let task = context.progress.task("prepare", "preparing shoppers and products");
    if args.scenario == Scenario::Ingest {
        let password = operator_password(data)?;
        let token = sign_in(platform, &password).await?.reveal().to_owned();
        let operator = Operator {
            email: OPERATOR.to_owned(),
            password: password.reveal().to_owned(),
            renew_every: RENEW_EVERY,
        };
        task.done("signed in");
        return Ok((Setup::default(), Some((operator, token))));
    }
    let wanted = Wanted {
        shoppers: if args.orders() { args.shoppers as usize } else { 0 },
        products: args.products as usize,
        funds_minor: args.funds,
        restock: args.restock,
    };
    let setup = prepare(platform, data, wanted, run, &task).await?;
    task.done(format!("{} shoppers, {} products", setup.tokens.len(), setup.products.len()));
    Ok((setup, None))
}

/// Lets the generator run and tells what it says.
async fn drive(
    job: Job,
    place: Place,
    run_file: Option<RunFile>,
    args: &Args,
    context: &Context,
) -> Result<(Outcome, Option<Signal>)> {
    let text = format!("{} at {} a second for {:?}", args.scenario.name(), args.rate, args.duration);
    let mut task = context.progress.task("load", text);
    context
        .interrupts
        .cost_of_leaving("accepted orders are not followed to their end and nothing is reported");
    let (stop, stopping) = watch::channel(false);
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut outcome = start(job, place, run_file, Stop::when(stopping), sender)
        .map_err(|error| Error::internal("cannot start the generator").with_source(&error))?;
    let mut signal = None;
    let mut phase = Phase::Sending;
    loop {
        tokio::select! {
            outcome = &mut outcome => {
                task.done("");
                let outcome = outcome.map_err(|_| Error::internal("the generator ended without an answer"))?;
                return Ok((outcome, signal));
            }
            Some(what) = news.recv() => tell(&what, &mut task, &mut phase, context),
            seen = context.interrupts.wait(), if signal.is_none() => {
                signal = Some(seen);
                task.state("stopping: what is under way is still waited for");
                let _ = stop.send(true);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Phase {
    Sending,
    Resolving,
    Settling,
}

fn tell(news: &News, task: &mut Task, phase: &mut Phase, context: &Context) {
    match news {
        News::Sending(tick) => {
            let text = format!(
                "{} s: {} a second, p99 {:.1} ms, {} errors, {} under way",
                tick.elapsed.as_secs(),
                tick.per_second,
                tick.p99.as_secs_f64() * 1_000.0,
                tick.errors,
                tick.in_flight
            );
            // A line a second is what somebody who watches a load wants to see, bars or not.
            match context.progress.is_live() {
                true => task.show(text),
                false => task.state(text),
            }
            task.position(tick.ended, tick.total);
        }
        News::Resolving(open) => {
            *phase = Phase::Resolving;
            if *open > 0 {
                task.state(format!("asking about {open} orders whose outcome is open"));
            }
        }
        News::Settling(unsettled) => {
            let text = format!("following {unsettled} accepted orders to their end");
            match phase {
                Phase::Settling => task.show(text),
                _ => task.state(text),
            }
            *phase = Phase::Settling;
        }
    }
}

#[cfg(test)]
mod tests;
