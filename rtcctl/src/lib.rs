//! The operator's tool of RTC, as a library: [`main`] for the binary, [`run`] for everybody who wants it in-process.
//!
//! - A command is a file in [`commands`]: its `Args` and `run(args, &Context) -> Result<Report>`.
//! - A [`output::Report`] is the answer; [`run`] writes it to stdout in the form that was asked for.
//! - Whatever is said while working goes through [`progress::Reporter`] to stderr.
//! - Whatever fails is a [`codes::Error`] with a documented [`codes::Code`], which decides the [`codes::exit::Exit`].
//!
//! Invariants: no network before a command asks for it; stdout carries data alone; a closed pipe ends quietly.

pub mod api;
pub mod cli;
pub mod commands;
pub mod context;
pub mod human;
pub mod ingest;
pub mod io;
pub mod load;
pub mod local;
pub mod metrics;
pub mod notifying;
pub mod output;
pub mod progress;
pub mod recording;
pub mod signals;

pub use context::Context;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::{CommandFactory, FromArgMatches};
use codes::exit::{self, Exit};
use codes::{Error, Result};
use kernel::{Clock, SystemClock};
use settings::Config;

use crate::cli::{Cli, ColorChoice, Stopping, choice};
use crate::context::{Consent, Effect, Screen};
use crate::io::Io;
use crate::output::Format;
use crate::progress::{EventSink, ProgressMode, Reporter, Settings, Verbosity};
use crate::signals::Interrupts;

/// The whole process.
pub fn main() -> ExitCode {
    let io = Io::system();
    let stderr = io.stderr.clone();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = Error::internal("cannot start the runtime").with_source(&error);
            let _ = stderr.write(&anstream::adapter::strip_str(&error.to_text()).to_string());
            return error.exit().into();
        }
    };
    let exit = runtime.block_on(async {
        match Interrupts::listen(stderr.clone()) {
            Ok(interrupts) => run(std::env::args_os(), io, interrupts, Arc::new(SystemClock)).await,
            Err(error) => {
                let error = Error::internal("cannot listen to signals").with_source(&error);
                let _ = stderr.write(&anstream::adapter::strip_str(&error.to_text()).to_string());
                error.exit()
            }
        }
    });
    // A thread that still waits for a keyboard or a disk must not keep the process.
    runtime.shutdown_background();
    exit.into()
}

/// Runs one command line; the first argument is the program's name.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    io: Io,
    interrupts: Interrupts,
    clock: Arc<dyn Clock>,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let errors = Errors::early(&args, &io);
    let columns = io.width.unwrap_or(100).clamp(40, 100);
    let parsed = Cli::command()
        .term_width(columns)
        .try_get_matches_from(&args)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return answer_without_command(&error, &io, &errors),
    };
    let stderr = io.stderr.clone();
    let (context, command) = match prepare(cli, io, interrupts, clock) {
        Ok(ready) => ready,
        Err(error) => return errors.write(&error, |text| drop(stderr.write(text))),
    };
    let interrupts = context.interrupts.clone();
    let work = Box::pin(commands::run(command.1, &context));
    let result = match command.0 {
        Stopping::Itself => work.await,
        Stopping::Dropped => tokio::select! {
            biased;
            result = work => result,
            signal = interrupts.wait() => Err(signal.error("nothing was changed")),
        },
    };
    let errors = Errors { json: context.format == Format::Json, colour: true };
    let exit = match result.and_then(|report| context.answer(&report).map(|()| report.exit)) {
        Ok(exit) => exit,
        Err(error) => {
            context.progress.event("error", &[("error", error.to_json())]);
            errors.write(&error, |text| context.progress.write(text))
        }
    };
    match context.progress.take_event_error() {
        Some(error) if exit.is_success() => {
            let error = Error::new(&codes::OUT001, "cannot write the events").with_source(&error);
            errors.write(&error, |text| context.progress.write(text))
        }
        _ => exit,
    }
}

/// Configuration, streams and talk, in the order in which they depend on each other.
fn prepare(
    cli: Cli,
    io: Io,
    interrupts: Interrupts,
    clock: Arc<dyn Clock>,
) -> Result<(Context, (Stopping, cli::Command))> {
    let config = Config::load(&io.variables, &io.current_dir, &cli.flags())?;
    let colours = choice(&config, "color").unwrap_or_default();
    let colour = wants_colour(colours, io.stderr_is_terminal, &io);
    let paints = wants_colour(colours, io.stdout_is_terminal, &io);
    let events = match &cli.global.events {
        None => None,
        Some(path) if path.as_os_str() == "-" => Some(EventSink::stdout(io.stdout.clone())),
        Some(path) => Some(EventSink::file(&io.current_dir.join(path)).map_err(|error| {
            Error::new(&codes::OUT001, format!("cannot write events to {}", path.display()))
                .with_source(&error)
        })?),
    };
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let settings = Settings {
        mode: choice::<ProgressMode>(&config, "progress").unwrap_or_default(),
        verbosity,
        colour,
        live_terminal: io.stderr_is_terminal && !io.is_dumb(),
        events,
    };
    let progress = Reporter::new(settings, io.stderr.clone(), clock.clone());
    let context = Context {
        format: choice(&config, "output").unwrap_or_default(),
        effect: if cli.global.dry_run { Effect::Described } else { Effect::Real },
        consent: match (cli.global.yes, cli.global.no_input || !io.stdin_is_terminal) {
            (true, _) => Consent::Given,
            (_, true) => Consent::Absent,
            _ => Consent::Ask,
        },
        width: io.width.filter(|_| io.stdout_is_terminal),
        screen: match (io.stdout_is_terminal && !io.is_dumb(), paints) {
            (false, _) => Screen::None,
            (true, false) => Screen::Plain,
            (true, true) => Screen::Coloured,
        },
        current_dir: io.current_dir,
        executable: io.executable,
        stdin: Arc::new(Mutex::new(io.stdin)),
        stdout: io.stdout,
        config,
        progress,
        interrupts,
        clock,
    };
    Ok((context, (cli.command.stopping(), cli.command)))
}

/// Help, version and mistakes on the command line.
fn answer_without_command(error: &clap::Error, io: &Io, errors: &Errors) -> Exit {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let rendered = error.render();
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            let text = match wants_colour(ColorChoice::Auto, io.stdout_is_terminal, io) {
                true => rendered.ansi().to_string(),
                false => rendered.to_string(),
            };
            match io.stdout.write(&text) {
                Ok(()) => exit::DONE,
                Err(_) => exit::INTERNAL,
            }
        }
        kind => {
            let text = match errors.colour {
                true => rendered.ansi().to_string(),
                false => rendered.to_string(),
            };
            if errors.json {
                let message = if kind == DisplayHelpOnMissingArgumentOrSubcommand {
                    "a command is missing".to_owned()
                } else {
                    let text = rendered.to_string();
                    let first = text.split("\n\n").next().unwrap_or_default();
                    first.trim_start_matches("error: ").replace('\n', " ").trim().to_owned()
                };
                let error = Error::new(&codes::USE001, message).with_hint("add --help for the usage");
                errors.write(&error, |text| drop(io.stderr.write(text)));
            } else {
                let _ = io.stderr.write(&text);
            }
            exit::USAGE
        }
    }
}

fn wants_colour(choice: ColorChoice, is_terminal: bool, io: &Io) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !io.is_dumb() && io.variable("NO_COLOR").is_none(),
    }
}

/// How errors are written.
struct Errors {
    json: bool,
    colour: bool,
}

impl Errors {
    /// What can be known before the command line and the configuration are understood.
    fn early(args: &[OsString], io: &Io) -> Self {
        let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
        let flag = words.iter().enumerate().find_map(|(index, word)| match *word {
            "-o" | "--output" => words.get(index + 1).copied(),
            _ => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
        });
        let json = flag.or_else(|| io.variable("RTCCTL_OUTPUT")) == Some("json");
        Self { json, colour: wants_colour(ColorChoice::Auto, io.stderr_is_terminal, io) }
    }

    fn write(&self, error: &Error, write: impl FnOnce(&str)) -> Exit {
        let text = match (self.json, self.colour) {
            (true, _) => format!("{}\n", error.to_json()),
            (false, true) => error.to_text(),
            (false, false) => anstream::adapter::strip_str(&error.to_text()).to_string(),
        };
        write(&text);
        error.exit()
    }
}

#[cfg(test)]
mod pipelines_tests;
#[cfg(test)]
mod tests;
