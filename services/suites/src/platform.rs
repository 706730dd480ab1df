//! A platform of processes in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};

/// The folder with rtcd and rtcctl, built if need be: `cargo test -p rtc-suites` alone does not build them. Those of
/// `RTC_TEST_BINARIES` are taken as they are.
pub fn binaries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(folder) = std::env::var_os("RTC_TEST_BINARIES") {
            return PathBuf::from(folder);
        }
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "-p", "rtcd", "-p", "rtcctl"])
            .current_dir(root())
            .status()
            .expect("cargo can be run");
        assert!(built.success(), "rtcd and rtcctl do not build");
        let test = std::env::current_exe().expect("the path of this test");
        test.ancestors().nth(2).expect("a target folder").to_owned()
    })
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .find(|folder| folder.join("rtc.toml").is_file())
        .expect("the workspace's root")
        .to_owned()
}

/// What a program said and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The document that `-o json` gives.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }
}

pub fn program(name: &str) -> Command {
    let mut command = Command::new(binaries().join(name));
    command.stdin(Stdio::null()).kill_on_drop(true).env("NO_COLOR", "1");
    // What tests are told is no setting of the program, which would refuse it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RTC_TEST_") {
            command.env_remove(name);
        }
    }
    command
}

pub async fn run(mut command: Command) -> Ended {
    let output = tokio::time::timeout(Duration::from_secs(300), command.output());
    let output = output.await.expect("an end within five minutes").expect("a program that can be run");
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// rtcctl with the data directory of a platform.
pub async fn rtcctl(data: &Path, arguments: &[&str]) -> Ended {
    let mut command = program("rtcctl");
    command.args(arguments).arg("--data").arg(data).arg("--no-input").current_dir(root());
    run(command).await
}

/// A process of ours, which ends with its test and takes those with it that it has started: after a failure nobody is there who
/// would stop them.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // One that was waited for has none any more.
        let Some(pid) = self.0.id() else { return };
        // Looked up first: those of a dead one are somebody else's.
        let started = started_by(pid);
        let _ = self.0.start_kill();
        for pid in started.into_iter().filter_map(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The processes that `pid` has started and that are still there.
fn started_by(pid: u32) -> Vec<i32> {
    let parent = |folder: &Path| -> Option<u32> {
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes.filter(|process| parent(&process.path()) == Some(pid));
    children.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

/// A running rtcd.
pub struct Platform {
    child: Reaped,
    pub run: Value,
    pub data: PathBuf,
}

impl Platform {
    pub fn command(data: &Path, api_port: u16, admin_port: u16) -> Command {
        let mut command = program("rtcd");
        command
            .args(["serve", "--api-bind", &format!("127.0.0.1:{api_port}")])
            .args(["--admin-bind", &format!("127.0.0.1:{admin_port}"), "--data"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts it on free ports and waits until it is ready.
    pub async fn start(data: &Path) -> Self {
        Self::spawn(Self::command(data, 0, 0), data).await
    }

    /// Waits for the announcement of this very process: a killed one leaves its own behind.
    pub async fn spawn(mut command: Command, data: &Path) -> Self {
        let mut child = Reaped(command.spawn().expect("rtcd can be started"));
        let pid = child.0.id().expect("a process id");
        // As long as a supervisor gives its processes, which wait for their consumer groups.
        for _ in 0..9_000 {
            if let Ok(Some(status)) = child.0.try_wait() {
                panic!("rtcd ended at once: {status}");
            }
            let text = std::fs::read_to_string(data.join("run.json")).unwrap_or_default();
            if let Ok(run) = serde_json::from_str::<Value>(&text)
                && run["pid"] == pid
            {
                return Self { child, run, data: data.to_owned() };
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("rtcd is not ready after 90 s");
    }

    pub fn port(&self, which: &str) -> u16 {
        let url = self.run[which].as_str().expect("an address");
        url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Whether it ends by itself.
    pub async fn dies_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.child.0.wait()).await.is_ok()
    }

    /// Stops and goes on as the signals say: SIGSTOP, SIGCONT.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = self.child.0.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a running process");
        rustix::process::kill_process(pid, signal).expect("a process that takes signals");
    }

    /// SIGKILL: no drain, no goodbye.
    pub async fn kill(mut self) {
        self.child.0.kill().await.expect("a process that can be killed");
    }

    /// SIGTERM, and how it ended.
    pub async fn stop(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        let ended = tokio::time::timeout(Duration::from_secs(40), self.child.0.wait()).await;
        ended.expect("an end within 40 s").expect("a status").code().unwrap_or(-1)
    }

    /// Asks one of the ports; an empty token is none.
    pub async fn get(&self, port: &str, path: &str, token: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.run[port].as_str().expect("an address"));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().expect("a client");
        let request = client.get(url);
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub fn operator_token(&self) -> String {
        let path = self.data.join("secrets/admin_token");
        std::fs::read_to_string(path).expect("the operator's token").trim().to_owned()
    }

    /// Every invariant, as `rtcctl status --invariants` sees it.
    pub async fn invariants_hold(&self) {
        let (status, verdicts) = self.get("admin_url", "/admin/invariants", &self.operator_token()).await;
        assert_eq!(status, 200, "{verdicts}");
        let verdicts = verdicts["data"].as_array().expect("verdicts");
        assert!(verdicts.len() >= 10);
        for verdict in verdicts {
            assert_eq!(verdict["holds"], true, "{verdict}");
        }
    }
}

/// A directory with a seeded shop, not running.
pub async fn seeded() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let rtcd = binaries().join("rtcd");
    let rtcd = rtcd.to_str().expect("a path in UTF-8");
    rtcctl(&data, &["up", "--detach", "--port", "0", "--rtcd", rtcd]).await.expect(0);
    rtcctl(&data, &["down"]).await.expect(0);
    directory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_its_test_left_alone_is_gone_with_those_that_it_has_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = Reaped(command.process_group(0).spawn().expect("a shell"));
        let mut said = tokio::io::BufReader::new(child.0.stdout.take().expect("its output"));
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut said, &mut line).await.expect("a line");
        let pid: i32 = line.trim().parse().expect("a process id");
        assert_eq!(started_by(child.0.id().expect("a process id")), [pid]);
        drop(child);
        // The pipe ends with the last process that holds it.
        line.clear();
        let end = tokio::io::AsyncReadExt::read_to_string(&mut said, &mut line);
        tokio::time::timeout(Duration::from_secs(20), end).await.expect("an end").expect("a pipe");
    }
}
