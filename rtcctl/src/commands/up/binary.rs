//! Where rtcd comes from: a path that was given, the workspace (built first), or the folder of this program.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use codes::{Error, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::Instant;

use crate::context::Context;
use crate::human;
use crate::progress::Task;

pub(super) enum Source {
    Built(PathBuf),
    Workspace(PathBuf),
}

impl Source {
    pub(super) fn describe(&self) -> String {
        match self {
            Source::Built(path) => path.display().to_string(),
            Source::Workspace(root) => format!("cargo build -p rtcd in {}", root.display()),
        }
    }
}

/// The folder at or above `from` that holds the platform's workspace.
pub(crate) fn workspace_root(from: &Path) -> Option<&Path> {
    from.ancestors().find(|folder| {
        folder.join("Cargo.toml").is_file() && folder.join("services/rtcd/Cargo.toml").is_file()
    })
}

pub(super) fn find(context: &Context, given: Option<&Path>) -> Result<Source> {
    if let Some(path) = given {
        let path = context.current_dir.join(path);
        return match path.is_file() {
            true => Ok(Source::Built(path)),
            false => Err(Error::new(&codes::RUN001, format!("there is no file {}", path.display()))),
        };
    }
    let own = context.executable.as_deref();
    let root = own.and_then(workspace_root).or_else(|| workspace_root(&context.current_dir));
    if let Some(root) = root {
        return Ok(Source::Workspace(root.to_owned()));
    }
    match own.and_then(Path::parent).map(|folder| folder.join("rtcd")).filter(|path| path.is_file()) {
        Some(path) => Ok(Source::Built(path)),
        None => Err(Error::new(&codes::RUN001, "neither a workspace nor a built rtcd was found")
            .with_hint("run inside the workspace, or pass --rtcd PATH")),
    }
}

/// How many lines of the compiler's words go into an error.
const KEPT_LINES: usize = 60;
/// How often progress is worth a line where there are no bars.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Builds rtcd in the profile that this program was built in.
pub(super) async fn build(context: &Context, root: &Path) -> Result<PathBuf> {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let task = context.progress.task("build", format!("building rtcd ({profile}) in {}", root.display()));
    context.interrupts.cost_of_leaving("cargo may go on building; nothing else was begun");
    let started = Instant::now();
    let mut command = Command::new("cargo");
    command
        .args(["build", "-p", "rtcd", "--message-format", "json-render-diagnostics", "--color", "never"])
        .args((profile == "release").then_some("--release"))
        .current_dir(root)
        // Cargo shows how far it is only on a terminal, unless it is told to.
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "120")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        // Left over from `cargo run`; they belong to this program and not to what is built.
        command.env_remove(name);
    }
    context.progress.detail(format!("running {:?}", command.as_std()));
    let mut child = command
        .spawn()
        .map_err(|error| Error::new(&codes::RUN002, "cannot start cargo").with_source(&error))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::internal("cargo has no output to read"));
    };
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let work = async {
        let (program, said, status) = tokio::join!(executable(stdout), follow(stderr, &task), child.wait());
        (program, said, status)
    };
    let (program, said, status) = tokio::select! {
        done = work => done,
        signal = context.interrupts.wait() => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::INT);
            }
            return Err(signal.error("the build was stopped; the next up goes on with what is compiled"));
        }
    };
    let status = status.map_err(|error| Error::internal("cannot wait for cargo").with_source(&error))?;
    if !status.success() {
        task.fail("building rtcd failed");
        return Err(Error::new(&codes::RUN003, "building rtcd failed").with_cause(said.trim().to_owned()));
    }
    task.done(format!("rtcd is built ({})", human::duration(started.elapsed())));
    program.ok_or_else(|| Error::new(&codes::RUN001, "cargo built rtcd and did not say where it is"))
}

/// Reads cargo's messages for the path of the program.
async fn executable(stdout: impl AsyncRead + Unpin) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: Option<PathBuf>,
    }
    let mut found = None;
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(artifact) = serde_json::from_str::<Artifact>(&line)
            && artifact.target.name == "rtcd"
            && artifact.executable.is_some()
        {
            found = artifact.executable;
        }
    }
    found
}

/// What one piece of cargo's talk means.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    /// So many of so many, and what is being compiled.
    Progress(u64, u64, &'a str),
    /// A crate was begun.
    Compiling(&'a str),
    /// Something that is worth a line: waiting for a lock, downloading.
    State(&'a str),
    /// A diagnostic or anything else.
    Other(&'a str),
    Nothing,
}

fn understand(piece: &str) -> Said<'_> {
    let text = piece.trim();
    if let Some(rest) = text.strip_prefix("Building [")
        && let Some((_, rest)) = rest.split_once("] ")
    {
        let (count, names) = rest.split_once(": ").unwrap_or((rest, ""));
        if let Some((done, total)) = count.split_once('/')
            && let (Ok(done), Ok(total)) = (done.parse(), total.parse())
        {
            return Said::Progress(done, total, names);
        }
    }
    match text.split_once(' ') {
        _ if text.is_empty() => Said::Nothing,
        Some(("Compiling", name)) => Said::Compiling(name),
        Some(("Blocking" | "Updating" | "Downloading" | "Downloaded" | "Locking", _)) => Said::State(text),
        Some(("Finished" | "Fresh" | "Building" | "Adding", _)) => Said::Nothing,
        _ => Said::Other(piece),
    }
}

/// Turns cargo's talk into progress; hands back its last words for an error.
async fn follow(mut stderr: impl AsyncRead + Unpin, task: &Task) -> String {
    let mut kept = VecDeque::new();
    let mut rest: Vec<u8> = Vec::new();
    let mut chunk = vec![0; 8192];
    let mut last_line_at = Instant::now();
    while let Ok(read) = stderr.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        rest.extend_from_slice(&chunk[..read]);
        // Progress is redrawn in place, so a carriage return ends a piece as a line feed does.
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let piece: Vec<u8> = rest.drain(..=end).collect();
            let piece = String::from_utf8_lossy(&piece);
            let piece = anstream::adapter::strip_str(&piece).to_string();
            match understand(piece.trim_end()) {
                Said::Progress(done, total, names) => {
                    task.position(done, total);
                    let text = format!("compiling {done}/{total}: {names}");
                    if last_line_at.elapsed() >= LINE_EVERY {
                        last_line_at = Instant::now();
                        task.state(text);
                    } else {
                        task.show(text);
                    }
                }
                Said::Compiling(name) => task.show(format!("compiling {name}")),
                Said::State(text) => task.state(text),
                Said::Other(text) => {
                    if kept.len() == KEPT_LINES {
                        kept.pop_front();
                    }
                    kept.push_back(text.to_owned());
                }
                Said::Nothing => {}
            }
        }
    }
    kept.push_back(String::from_utf8_lossy(&rest).into_owned());
    Vec::from(kept).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_talk_of_cargo_is_understood() {
        assert_eq!(
            understand("    Building [=====>       ] 120/301: serde_json, tokio(build)"),
            Said::Progress(120, 301, "serde_json, tokio(build)")
        );
        assert_eq!(understand("   Compiling serde v1.0.229"), Said::Compiling("serde v1.0.229"));
        assert_eq!(
            understand("    Blocking waiting for file lock on build directory"),
            Said::State("Blocking waiting for file lock on build directory")
        );
        assert_eq!(understand("    Finished `dev` profile in 1s"), Said::Nothing);
        assert_eq!(
            understand("error[E0308]: mismatched types"),
            Said::Other("error[E0308]: mismatched types")
        );
    }

    #[tokio::test]
    async fn the_path_of_the_program_is_taken_from_its_own_message() {
        let messages = concat!(
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"serde\"},\"executable\":null}\n",
            "not json\n",
            "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"rtcd\"},\"executable\":\"/t/debug/rtcd\"}\n",
            "{\"reason\":\"build-finished\",\"success\":true}\n",
        );
        assert_eq!(executable(messages.as_bytes()).await, Some(PathBuf::from("/t/debug/rtcd")));
    }

    #[test]
    fn the_workspace_is_found_from_below_and_not_from_outside() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(workspace_root(&here.join("src")), here.parent());
        assert_eq!(workspace_root(Path::new("/")), None);
    }
}
