//! `rtcctl completions SHELL`.

use clap::CommandFactory;
use clap_complete::Shell;
use codes::{Result, exit};
use serde_json::json;

use crate::cli::Cli;
use crate::context::Context;
use crate::output::{Format, Report};

#[derive(Debug, clap::Args)]
#[command(after_help = "Bash: rtcctl completions bash > ~/.local/share/bash-completion/completions/rtcctl")]
pub struct Args {
    /// The shell to complete in
    shell: Shell,
}

pub fn run(args: Args, context: &Context) -> Result<Report> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rtcctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let report = Report::new("completions", json!({"shell": args.shell.to_string(), "script": script}));
    if matches!(context.format, Format::Json | Format::Yaml) {
        return Ok(report);
    }
    // As it is: a shell reads this, so nothing may be wrapped or trimmed.
    context.print(&script)?;
    Ok(Report::already_written("completions", exit::DONE))
}
