//! What every command is given: the configuration, where to talk, where to answer, the clock, the wish to stop.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use codes::{Error, Result};
use journal::Journal;
use kernel::Clock;
use settings::{Config, Origin};

use crate::api::Platform;
use crate::io::Sink;
use crate::output::{Format, Report, Severity, Written};
use crate::progress::Reporter;
use crate::signals::Interrupts;

/// Whether a command may change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Do it.
    Real,
    /// `--dry-run`: say what would be done.
    Described,
}

/// How a question to the operator is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// `--yes`
    Given,
    /// There is a terminal and it may be asked.
    Ask,
    /// `--no-input`, or nobody is there.
    Absent,
}

/// What the terminal behind stdout can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// There is none, or it says that it can do nothing.
    None,
    Plain,
    Coloured,
}

/// Passed to every command.
pub struct Context {
    pub config: Config,
    pub progress: Reporter,
    pub interrupts: Interrupts,
    pub clock: Arc<dyn Clock>,
    /// The form of the answer on stdout.
    pub format: Format,
    pub effect: Effect,
    pub consent: Consent,
    /// Columns of the terminal behind stdout, where there is one.
    pub width: Option<usize>,
    /// Whether that terminal can be drawn on.
    pub screen: Screen,
    pub current_dir: PathBuf,
    /// The path of this program.
    pub executable: Option<PathBuf>,
    pub(crate) stdin: Arc<Mutex<Box<dyn Read + Send>>>,
    pub(crate) stdout: Sink,
}

impl Context {
    /// The operator's `--timeout` (or the configured one), or the command's own default.
    pub fn timeout_or(&self, default: Duration) -> Duration {
        self.config.duration("timeout").unwrap_or(default)
    }

    /// Finds the running platform: by the configured addresses, or by `DIR/run.json`.
    pub fn platform(&self) -> Result<Platform> {
        Platform::find(self)
    }

    /// Writes data to stdout at once: for commands that stream. Others return a [`crate::output::Report`].
    pub fn print(&self, text: &str) -> Result<()> {
        if self.progress.owns_stdout() {
            self.progress.event("output", &[("text", text.into())]);
            return Ok(());
        }
        self.stdout
            .write(text)
            .map_err(|error| Error::new(&codes::OUT001, "cannot write to stdout").with_source(&error))
    }

    /// Writes a report: data to stdout, findings for a person to stderr. The end of every command does this; one that
    /// goes on working after its answer does it itself.
    pub fn answer(&self, report: &Report) -> Result<()> {
        if report.written == Written::Already {
            return Ok(());
        }
        self.progress.event("result", &[("document", report.document())]);
        if self.progress.owns_stdout() {
            return Ok(());
        }
        self.print(&report.render(self.format, self.width))?;
        if matches!(self.format, Format::Table | Format::Wide | Format::Name) {
            let least = if self.progress.is_quiet() { Severity::Warning } else { Severity::Info };
            let findings = report.render_findings(least);
            if !findings.is_empty() {
                self.progress.write(&findings);
            }
        }
        Ok(())
    }

    /// How the operator would call this program again, from where they are.
    pub fn program(&self) -> String {
        let Some(path) = &self.executable else { return "rtcctl".to_owned() };
        match path.strip_prefix(&self.current_dir) {
            Ok(relative) => relative.display().to_string(),
            Err(_) => "rtcctl".to_owned(),
        }
    }

    /// The data directory as flags of a proposed command; empty where it is the one that is found anyway.
    pub fn data_flag(&self) -> String {
        match &self.config.get("data").origin {
            Origin::Flag(_) => format!(" --data {}", self.config.get("data").text),
            _ => String::new(),
        }
    }

    /// Whether nobody reads stdout any more, so that a stream may end.
    pub fn stdout_is_closed(&self) -> bool {
        self.stdout.is_closed()
    }

    /// The journal of runs.
    pub fn journal(&self) -> Journal {
        Journal::new(self.config.journal_dir(), self.clock.clone())
    }

    /// Asks for the name of the protected environment that is about to be changed; `typed` is what the operator gave on the command line. `--yes`
    /// does not answer this.
    pub fn confirm_by_name(&self, what: &str, name: &str, typed: Option<&str>) -> Result<()> {
        let refused = |message: String| {
            Error::new(&codes::INF016, message)
                .with_hint(format!("type {name} when asked, or pass --confirm {name}"))
        };
        let typed = match (typed, self.consent) {
            (Some(typed), _) => typed.to_owned(),
            (None, Consent::Absent | Consent::Given) => {
                return Err(refused(format!("this will {what}, and nobody typed the name {name}")));
            }
            (None, Consent::Ask) => {
                self.progress.write(&format!("This will {what}. Type {name} to go on: "));
                self.read_answer()?
            }
        };
        if typed.trim() == name {
            return Ok(());
        }
        Err(refused(format!("{:?} is not {name}, nothing was done", typed.trim())))
    }

    fn read_answer(&self) -> Result<String> {
        let mut answer = String::new();
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        BufReader::new(&mut **stdin)
            .read_line(&mut answer)
            .map_err(|error| Error::internal("cannot read the answer").with_source(&error))?;
        Ok(answer)
    }

    /// Asks for a yes. `what` completes "this will …".
    pub fn confirm(&self, what: &str) -> Result<()> {
        match self.consent {
            Consent::Given => return Ok(()),
            Consent::Absent => {
                return Err(Error::new(&codes::CNF001, format!("this will {what}, and nobody confirmed it"))
                    .with_hint("pass --yes when that is meant"));
            }
            Consent::Ask => {}
        }
        self.progress.write(&format!("This will {what}. Go on? [y/N] "));
        match self.read_answer()?.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Error::new(&codes::CNF001, "not confirmed, nothing was done")),
        }
    }
}
