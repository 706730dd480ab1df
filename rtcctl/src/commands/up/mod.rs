//! `rtcctl up`: from a checkout to a running, seeded shop with one command.
//!
//! Find or build rtcd → start it → wait until it is ready → seed → say where everything is → show live status until
//! Ctrl-C, which stops it. Every step may be repeated: a platform that runs already is left alone, a shop that is seeded
//! already is not seeded again.

mod binary;
mod goods;
mod seed;
mod start;
mod watch;

pub(crate) use binary::workspace_root;

use std::path::PathBuf;

use codes::{Error, Result};
use serde_json::json;

use crate::api::admin::{ProcessStatus, Status};
use crate::api::{Call, Platform};
use crate::cli::choice;
use crate::commands::status;
use crate::context::{Context, Effect};
use crate::local::DataDir;
use crate::output::{Column, Report, Table};

/// The shopper whom rtcd itself puts into a new platform: verified, with money on the account.
pub const DEMO_SHOPPER: (&str, &str) = ("demo@rtc.local", "demo shopper 2026");
/// The first administrator; the password is in DATA/secrets/admin_password.
pub const ADMIN: &str = "admin@rtc.local";

/// What is put into the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Seed {
    /// Products in Korean and English, with stock
    Demo,
    /// Nothing
    None,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Without --detach, Ctrl-C stops the platform; its data stays in the data directory.")]
pub struct Args {
    /// Leave the platform running and return once it is ready
    #[arg(long)]
    detach: bool,
    /// The API port; 0 takes any free one [default: 8080]
    #[arg(long)]
    pub port: Option<u16>,
    /// The admin port [default: the API port + 1000]
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// The address to bind both ports to [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// What to put into the shop [default: demo]
    #[arg(long, value_name = "WHAT")]
    pub seed: Option<Seed>,
    /// A built rtcd to run, instead of building one
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    rtcd: Option<PathBuf>,
    /// A configuration file to hand to rtcd
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Run only these services
    #[arg(long, value_name = "A,B", conflicts_with = "split")]
    only: Option<String>,
    /// Run each service in processes of its own, on engines that they share (scripts/engines start)
    #[arg(long)]
    split: bool,
    /// Processes for each service [default: 2]
    #[arg(long, value_name = "N", requires = "split", value_parser = clap::value_parser!(u32).range(1..=32))]
    replicas: Option<u32>,
}

impl Args {
    fn shape(&self) -> start::Shape {
        match (self.split, &self.only) {
            (true, _) => start::Shape::Split(self.replicas),
            (false, only) => start::Shape::Whole(only.clone()),
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let config = &context.config;
    if config.text("kind") != Some("embedded") {
        return Err(Error::new(
            &codes::RUN014,
            format!("the environment {} does not run on this machine", config.env()),
        )
        .with_hint("choose one that does, for example --env local"));
    }
    let data = DataDir::new(config.data_dir());
    if let Some((run, process)) = data.running() {
        context.progress.say(format!(
            "rtcd (pid {}) is already running on {}",
            process.id(),
            data.path().display()
        ));
        if let Some(port) = args.port.filter(|port| is_another(&run.api_url, *port)) {
            let message = format!(
                "a platform runs on this data directory already, at {} and not on port {port}",
                run.api_url
            );
            let error = Error::new(&codes::RUN005, message);
            return Err(error.with_hint("leave --port out to see it, or stop it first: rtcctl down"));
        }
        let platform = Platform::of_run_file(context, &data, run)?;
        let mut report = status::report(&platform, &config.services).await?;
        report.command = "up";
        report.data["already_running"] = true.into();
        return Ok(report);
    }
    let source = binary::find(context, args.rtcd.as_deref())?;
    let binds = start::Binds::from_config(context);
    if context.effect == Effect::Described {
        return Ok(Report::new(
            "up",
            json!({"would": {
                "rtcd": source.describe(), "mode": args.shape().verb(), "api": binds.api, "admin": binds.admin,
                "data": data.path(),
            }}),
        )
        .with_pairs([
            ("would run", format!("{} ({})", source.describe(), args.shape().verb())),
            ("API port", binds.api),
            ("admin port", binds.admin),
            ("data", data.path().display().to_string()),
            ("seed", config.get("seed").text.clone()),
        ]));
    }
    let program = match source {
        binary::Source::Built(path) => path,
        binary::Source::Workspace(root) => binary::build(context, &root).await?,
    };
    let shape = args.shape();
    let wanted = start::Wanted { program, data: data.clone(), binds, config: args.config, shape };
    let mut started = start::start(context, wanted).await?;
    let platform = Platform::of_run_file(context, &data, started.run.clone())?;

    let seeded = match choice::<Seed>(config, "seed") {
        Some(Seed::None) => Ok(None),
        _ => tokio::select! {
            seeded = seed::seed(&context.progress, &platform, &data) => seeded.map(Some),
            signal = context.interrupts.wait() => {
                started.stop(context).await?;
                return Err(signal.error("rtcd has stopped again; the shop is partly seeded and the next up goes on"));
            }
        },
    };
    let seeded = match seeded {
        Ok(seeded) => seeded,
        Err(error) if args.detach => {
            return Err(error.with_hint(format!("rtcd goes on running (pid {})", started.process.id())));
        }
        Err(error) => {
            started.stop(context).await?;
            return Err(error.with_hint("rtcd was stopped again"));
        }
    };
    let processes = match args.split {
        true => platform.admin.json::<Status>(Call::get(&["admin", "status"])).await?.processes,
        false => Vec::new(),
    };
    let report = ready(context, &data, &platform, seeded.as_ref(), &processes);
    if args.detach {
        return Ok(report);
    }
    context.answer(&report)?;
    watch::watch(context, &platform, &mut started).await
}

/// Whether `port` was asked for and the running API has another one. Port 0 asks for any.
fn is_another(api_url: &str, port: u16) -> bool {
    port != 0 && !api_url.trim_end_matches('/').ends_with(&format!(":{port}"))
}

/// A row a service: what runs where, on one screen.
fn processes_by_service(processes: &[ProcessStatus]) -> Table {
    let mut table = Table::new([
        Column::left("service"),
        Column::right("processes"),
        Column::left("ids"),
        Column::left("addresses"),
    ]);
    let mut rest = processes;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|process| process.service == first.service).count();
        let (of, others) = rest.split_at(count);
        let ids = of.iter().filter_map(|process| process.pid).map(|pid| pid.to_string());
        // Those at the entrance share one.
        let mut addresses: Vec<&str> = of.iter().map(ProcessStatus::address).collect();
        addresses.dedup();
        table.push([
            first.service.clone(),
            count.to_string(),
            ids.collect::<Vec<_>>().join(", "),
            addresses.join(", "),
        ]);
        rest = others;
    }
    table
}

/// Where everything is, and what to do next.
fn ready(
    context: &Context,
    data: &DataDir,
    platform: &Platform,
    seeded: Option<&seed::Seeded>,
    processes: &[ProcessStatus],
) -> Report {
    let place = data.path();
    let api = platform.api.base().as_str().trim_end_matches('/');
    let admin = platform.admin.base().as_str().trim_end_matches('/');
    let (email, password) = DEMO_SHOPPER;
    let mut pairs = vec![
        ("API", format!("{api}/api/v1")),
        ("description", format!("{api}/api/v1/openapi.json")),
        ("admin port", format!("{admin} (token in {})", place.join("secrets/admin_token").display())),
        ("data", place.display().to_string()),
        ("log", data.log().display().to_string()),
        ("mailbox", place.join("mail").display().to_string()),
        ("shopper", format!("{email}, password \"{password}\", verified, with money")),
        ("administrator", format!("{ADMIN}, password in {}", place.join("secrets/admin_password").display())),
    ];
    if let Some(seeded) = seeded {
        pairs.push(("shop", seeded.describe()));
    }
    let (program, flag) = (context.program(), context.data_flag());
    let next = [
        format!("{program} status --invariants{flag}"),
        format!("{program} load --scenario shop{flag}"),
        format!("{program} events topics{flag}"),
        format!("{program} down{flag}"),
    ];
    let document = json!({
        "run": platform.run,
        "data": place,
        "log": data.log(),
        "mailbox": place.join("mail"),
        "demo_shopper": {"email": email, "password": password},
        "administrator": {"email": ADMIN, "password_file": place.join("secrets/admin_password")},
        "seeded": seeded,
        "processes": processes,
        "next": next,
    });
    let mut report = Report::new("up", document).with_text("The platform is ready.\n").with_pairs(pairs);
    if !processes.is_empty() {
        report = report.with_table(processes_by_service(processes));
    }
    report.with_text(format!("\nNext:\n  {}", next.join("\n  "))).with_names([api])
}

#[cfg(test)]
mod tests;
