//! Terraform as a child that may outlive us.
//!
//! Invariants:
//! - it has a process group of its own, so that a terminal's Ctrl-C reaches us alone; one wish to stop is one SIGINT,
//!   and nothing ever kills it;
//! - its output goes to files and is read from there: a pipe whose reader died would end it in the middle of an apply;
//! - of the environment it gets neither arguments nor logging nor a workspace that somebody left behind.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::stream::{Line, Lines};

/// How often the files are looked at. A step of Terraform takes longer than this.
const LOOK: Duration = Duration::from_millis(50);
const PORTION: usize = 64 * 1024;
/// So much of what is said beside the lines is kept to judge a failure by.
const TALK_BYTES_MAX: u64 = 256 * 1024;

/// The binary, where it works, and what it is given to know.
#[derive(Debug, Clone)]
pub struct Terraform {
    binary: PathBuf,
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// Where a run writes. Both files are made anew, for their owner alone.
#[derive(Debug, Clone)]
pub struct Files {
    pub lines: PathBuf,
    pub talk: PathBuf,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// SIGINTs that were forwarded.
    pub interrupts: u32,
    /// The end of what it said on stderr.
    pub talk: String,
}

/// The operator's wish to stop; each is forwarded once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop;

/// A process that is told apart from a later one with the same number by its time of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    /// In clock ticks since the machine started (field 22 of `/proc/PID/stat`).
    pub born: u64,
}

impl Identity {
    /// Of a process that is there; one that has ended is there until its parent has asked.
    pub fn of(pid: u32) -> Option<Self> {
        Some(look(pid)?.0)
    }

    pub fn is_alive(self) -> bool {
        look(self.pid).is_some_and(|(identity, state)| identity == self && state == Life::Alive)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Alive,
    Ended,
}

fn look(pid: u32) -> Option<(Identity, Life)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let life = if fields.next()? == "Z" { Life::Ended } else { Life::Alive };
    Some((Identity { pid, born: fields.nth(18)?.parse().ok()? }, life))
}

/// Variables that change what a command means behind our back.
fn is_taken_away(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("TF_CLI_ARGS")
        || name.starts_with("TF_LOG")
        || ["TF_WORKSPACE", "TF_DATA_DIR", "TF_INPUT", "TF_IN_AUTOMATION", "TF_REATTACH_PROVIDERS"]
            .contains(&&*name)
}

impl Terraform {
    /// `inherited` is the environment of this process.
    pub fn new(
        binary: PathBuf,
        folder: PathBuf,
        inherited: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut environment: Vec<_> =
            inherited.into_iter().filter(|(name, _)| !is_taken_away(name)).collect();
        environment.push(("TF_IN_AUTOMATION".into(), "1".into()));
        environment.push(("TF_INPUT".into(), "0".into()));
        Self { binary, folder, environment }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Runs what only reads, and gives its whole output.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub async fn output<A: AsRef<OsStr>>(&self, arguments: &[A]) -> io::Result<std::process::Output> {
        self.command(arguments).kill_on_drop(true).output().await
    }

    /// Runs what only reads, its output into a file that is made anew: it may be larger than what we would hold of it.
    ///
    /// # Errors
    /// The file cannot be made, or the binary cannot be started.
    pub async fn output_into<A: AsRef<OsStr>>(
        &self,
        arguments: &[A],
        file: &Path,
    ) -> io::Result<std::process::Output> {
        let mut command = self.command(arguments);
        command.kill_on_drop(true).stdout(private(file)?).stderr(Stdio::piped());
        command.spawn()?.wait_with_output().await
    }

    /// Begins a run that writes lines into `files`.
    ///
    /// # Errors
    /// A file cannot be made, or the binary cannot be started.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A], files: &Files) -> io::Result<Run> {
        let child = self
            .command(arguments)
            .stdout(private(&files.lines)?)
            .stderr(private(&files.talk)?)
            .kill_on_drop(false)
            .spawn()?;
        Ok(Run { child, files: files.clone() })
    }
}

fn private(path: &Path) -> io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A run under way. Dropping it leaves it to finish.
#[derive(Debug)]
pub struct Run {
    child: Child,
    files: Files,
}

impl Run {
    /// For the journal: by this a later process finds it again.
    pub fn identity(&self) -> Option<Identity> {
        self.child.id().and_then(Identity::of)
    }

    /// Gives every line until the run has ended and all is read. Each `Stop` is forwarded as one SIGINT; a channel that
    /// is closed forwards nothing.
    ///
    /// # Errors
    /// The files cannot be read. The run goes on.
    pub async fn follow(
        mut self,
        stops: &mut mpsc::Receiver<Stop>,
        mut each: impl FnMut(Line),
    ) -> io::Result<Ended> {
        let mut follower = Follower::open(&self.files.lines).await?;
        let mut interrupts = 0;
        let mut is_heard = true;
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status?,
                stop = stops.recv(), if is_heard => match stop {
                    Some(Stop) => interrupts += u32::from(self.interrupt()),
                    None => is_heard = false,
                },
                () = tokio::time::sleep(LOOK) => follower.read(&mut each).await?,
            }
        };
        follower.read(&mut each).await?;
        follower.finish(&mut each);
        Ok(Ended { status, interrupts, talk: tail(&self.files.talk).await? })
    }

    /// Whether it was there to be interrupted.
    fn interrupt(&self) -> bool {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        pid.is_some_and(|pid| kill_process(pid, Signal::INT).is_ok())
    }
}

/// Follows a run that an earlier process of ours began, until it has ended. Its exit status is nobody's any more: what it
/// did is in its lines.
///
/// # Errors
/// Its files cannot be read.
pub async fn follow_left(
    identity: Identity,
    files: &Files,
    mut each: impl FnMut(Line),
) -> io::Result<String> {
    let mut follower = Follower::open(&files.lines).await?;
    while identity.is_alive() {
        follower.read(&mut each).await?;
        tokio::time::sleep(LOOK).await;
    }
    follower.read(&mut each).await?;
    follower.finish(&mut each);
    tail(&files.talk).await
}

struct Follower {
    file: File,
    lines: Lines,
    portion: Vec<u8>,
}

impl Follower {
    async fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path).await?, lines: Lines::default(), portion: vec![0; PORTION] })
    }

    /// What has come since.
    async fn read(&mut self, each: &mut impl FnMut(Line)) -> io::Result<()> {
        loop {
            let read = self.file.read(&mut self.portion).await?;
            if read == 0 {
                return Ok(());
            }
            self.lines.feed(self.portion.get(..read).unwrap_or_default(), &mut *each);
        }
    }

    fn finish(mut self, each: &mut impl FnMut(Line)) {
        self.lines.finish(each);
    }
}

async fn tail(path: &Path) -> io::Result<String> {
    use tokio::io::AsyncSeekExt as _;
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(TALK_BYTES_MAX))).await?;
    let mut bytes = Vec::new();
    file.take(TALK_BYTES_MAX).read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
