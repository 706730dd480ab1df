//! The command line: global flags and the tree of commands.
//!
//! Invariant: flags that are settings have no default here; precedence is decided in [`settings`] alone.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};
use settings::Config;

use crate::commands;
use crate::output::Format;
use crate::progress::ProgressMode;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Runs, loads, watches and mends the RTC platform from a terminal.
#[derive(Debug, Parser)]
#[command(
    name = "rtcctl",
    version,
    about,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    styles = STYLES,
    after_help = "Answers go to stdout, talk to stderr; under -o json an error is one JSON object on the last line of \
                  stderr. `rtcctl explain` lists every error code, `rtcctl explain exit-codes` every exit code."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The environment to work on [default: local]
    #[arg(long, global = true, value_name = "NAME")]
    pub env: Option<String>,
    /// The data directory of the platform on this machine [default: ./data]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub data: Option<PathBuf>,
    /// The form of the answer: table, wide, json, yaml or name [default: table]
    #[arg(short, long, global = true, value_name = "FORM", hide_possible_values = true)]
    pub output: Option<Format>,
    /// Write NDJSON events to a file, or to stdout with `-`
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub events: Option<PathBuf>,
    /// How to show progress: auto, bars, plain or none [default: auto]
    #[arg(long, global = true, value_name = "HOW", hide_possible_values = true)]
    pub progress: Option<ProgressMode>,
    /// When to use colours: auto, always or never [default: auto]
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub color: Option<ColorChoice>,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Never ask; refuse what would need an answer
    #[arg(long, global = true)]
    pub no_input: bool,
    /// Answer yes to every question
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// How long to wait before giving up, for example 30s or 2m
    #[arg(long, global = true, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// A clap value parser for lengths of time.
pub fn duration(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text)
}

/// The value of a setting that is one of a fixed set of words.
pub fn choice<T: ValueEnum>(config: &Config, key: &'static str) -> Option<T> {
    T::from_str(&config.get(key).text, true).ok()
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform on this machine, seeded, with live status
    Up(commands::up::Args),
    /// Stop the platform on this machine
    Down(commands::down::Args),
    /// Show services, orders and, on request, the invariants
    Status(commands::status::Args),
    /// Restart the processes of a split platform, one after the other
    Restart(commands::restart::Args),
    /// Open the platform's page in a browser
    Open(commands::open::Args),
    /// Drive open-loop load and judge latency and availability
    Load(commands::load::Args),
    /// Replay real sales from CSV files into the platform
    Replay(commands::replay::Args),
    /// Check every prerequisite of this machine
    Doctor(commands::doctor::Args),
    /// Show and check the configuration
    #[command(subcommand)]
    Config(commands::config::Command),
    /// Look at live metrics: one screen, expressions, gates, objectives, alerts
    #[command(subcommand)]
    Metrics(commands::metrics::Command),
    /// Look at topics, events, lag and dead letters
    #[command(subcommand)]
    Events(commands::events::Command),
    /// Plan and change the infrastructure of an environment
    #[command(subcommand)]
    Infra(commands::infra::Command),
    /// Put versions on a cluster, look at them, say why they do not run
    Deploy(commands::deploy::Args),
    /// Look at clusters of EKS, and sign in to them
    Cluster(commands::cluster::Args),
    /// Build images without a daemon, push them, look at them
    #[command(subcommand)]
    Image(commands::image::Command),
    /// From a plan to a release that is proved, going on where it was stopped
    Ship(Box<commands::ship::Args>),
    /// Start, watch, answer and stop pipelines in Jenkins, and keep its jobs as code
    #[command(subcommand)]
    Pipeline(commands::pipeline::Command),
    /// Show what was changed from this machine, and how it went
    #[command(subcommand)]
    Runs(commands::runs::Command),
    /// Explain an error code, offline
    Explain(commands::explain::Args),
    /// Print shell completions
    Completions(commands::completions::Args),
    /// Show the version
    Version(commands::version::Args),
}

/// Who ends the command when the operator presses Ctrl-C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// It only reads; it is dropped where it stands.
    Dropped,
    /// It watches [`crate::signals::Interrupts`] and leaves things in a known state.
    Itself,
}

impl Command {
    pub fn stopping(&self) -> Stopping {
        match self {
            Command::Up(_)
            | Command::Down(_)
            | Command::Restart(_)
            | Command::Load(_)
            | Command::Ship(_)
            | Command::Replay(_) => Stopping::Itself,
            Command::Events(command) => command.stopping(),
            Command::Metrics(command) => command.stopping(),
            Command::Deploy(args) => args.command.stopping(),
            Command::Image(command) => command.stopping(),
            Command::Pipeline(command) => command.stopping(),
            Command::Infra(command) => command.stopping(),
            _ => Stopping::Dropped,
        }
    }
}

impl Cli {
    /// The flags that are settings, by the key of their setting.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        fn word(value: Option<impl clap::ValueEnum>) -> Option<String> {
            Some(value?.to_possible_value()?.get_name().to_owned())
        }
        let global = &self.global;
        let mut flags: Vec<(&'static str, Option<String>)> = vec![
            ("env", global.env.clone()),
            ("data", global.data.as_ref().map(|path| path.display().to_string())),
            ("output", word(global.output)),
            ("progress", word(global.progress)),
            ("color", word(global.color)),
            ("timeout", global.timeout.map(|timeout| format!("{}ms", timeout.as_millis()))),
        ];
        if let Command::Up(args) = &self.command {
            flags.push(("host", args.host.clone()));
            flags.push(("port", args.port.map(|port| port.to_string())));
            flags.push(("admin_port", args.admin_port.map(|port| port.to_string())));
            flags.push(("seed", word(args.seed)));
        }
        if let Command::Cluster(args) = &self.command {
            flags.extend(args.flags());
        }
        if let Command::Deploy(args) = &self.command {
            flags.extend(args.access.flags());
        }
        flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}
