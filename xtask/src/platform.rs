//! A platform of processes for a measurement or a check: seeded in a directory of its own, started, asked, stopped.
//!
//! Invariant: it is stopped and its directory is gone when it is dropped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::run::{Outcome, check, command, root};

/// How the binaries are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// Builds rtcd and rtcctl.
    pub fn build(self) -> Outcome {
        check(self.building())
    }

    /// The same, and rtcd with one of its features.
    pub fn build_with(self, feature: &str) -> Outcome {
        let mut build = self.building();
        build.args(["--features", &format!("rtcd/{feature}")]);
        check(build)
    }

    fn building(self) -> Command {
        let mut build = command("cargo", &["build", "--locked", "-p", "rtcd", "-p", "rtcctl"]);
        match self {
            // What the linter compiled is what the tests run.
            Profile::Dev => build.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver"),
            Profile::Release => build.arg("--release"),
        };
        build
    }

    /// The path of one of the binaries: this program is one of them.
    pub fn binary(self, name: &str) -> PathBuf {
        let target = crate::codegen::binaries();
        let target = target.parent().map_or_else(|| root().join("target"), Path::to_owned);
        target.join(if self == Profile::Release { "release" } else { "debug" }).join(name)
    }

    pub fn program(self, name: &str) -> Command {
        let mut command = Command::new(self.binary(name));
        command.current_dir(root()).stdin(Stdio::null());
        command
    }
}

/// Builds both programs with the features and the compiler's wrapper that the tests have, so that nothing is compiled twice, and
/// becomes `rtcctl up`.
pub fn up(arguments: &[&str]) -> Outcome {
    Profile::Dev.build()?;
    let rtcctl = Profile::Dev.binary("rtcctl");
    let mut up = Command::new(&rtcctl);
    up.arg("up").arg("--rtcd").arg(Profile::Dev.binary("rtcd")).args(arguments);
    let error = up.exec();
    Err(format!("{}: {error}", rtcctl.display()))
}

/// A data directory with a seeded shop.
pub struct Shop {
    profile: Profile,
    data: PathBuf,
    /// What rtcd finds in its environment beside the usual.
    environment: Vec<(String, String)>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

impl Shop {
    fn at(profile: Profile, name: &str, environment: Vec<(String, String)>) -> Self {
        let data = std::env::temp_dir().join(format!("rtc-{name}-{}", std::process::id()));
        Self { profile, data, environment }
    }

    pub fn seeded(profile: Profile, name: &str) -> Result<Self, String> {
        Self::at(profile, name, Vec::new()).seed()
    }

    /// On the engines that `configuration`, the text of an rtcd.toml, names.
    pub fn seeded_on(
        profile: Profile,
        name: &str,
        configuration: &str,
        environment: Vec<(String, String)>,
    ) -> Result<Self, String> {
        let shop = Self::at(profile, name, environment);
        let file = shop.data.join("rtcd.toml");
        std::fs::create_dir_all(&shop.data)
            .and_then(|()| std::fs::write(&file, configuration))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        shop.seed()
    }

    /// Another replica of a platform on engines: the same configuration and secrets in a directory of its own.
    pub fn twin(&self, name: &str) -> Result<Self, String> {
        let twin = Self::at(self.profile, name, self.environment.clone());
        copy_secrets(&self.data, &twin.data)?;
        Ok(twin)
    }

    fn seed(self) -> Result<Self, String> {
        let profile = self.profile;
        let shop = self;
        let mut up = shop.rtcctl(&["up", "--detach", "--port", "0"]);
        up.arg("--rtcd").arg(profile.binary("rtcd"));
        check(quiet(up))?;
        check(quiet(shop.rtcctl(&["down"])))?;
        Ok(shop)
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn rtcctl(&self, arguments: &[&str]) -> Command {
        let mut command = self.profile.program("rtcctl");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(arguments).arg("--data").arg(&self.data).arg("--no-input");
        command
    }

    /// Starts rtcd on free ports and waits until it is ready.
    pub fn serve(&self, more: &[&str]) -> Result<Server, String> {
        self.serve_with(more, &[])
    }

    /// The same, with these settings.
    pub fn serve_with(&self, more: &[&str], settings: &[(&str, &str)]) -> Result<Server, String> {
        self.serve_as(["127.0.0.1:0"; 2], more, settings)
    }

    /// The same, with the API and the operator's port at these addresses.
    pub fn serve_at(&self, addresses: [&str; 2], more: &[&str]) -> Result<Server, String> {
        self.serve_as(addresses, more, &[])
    }

    fn serve_as(
        &self,
        [api, admin]: [&str; 2],
        more: &[&str],
        settings: &[(&str, &str)],
    ) -> Result<Server, String> {
        let mut rtcd = self.profile.program("rtcd");
        rtcd.args(["serve", "--api-bind", api, "--admin-bind", admin, "--data"]);
        rtcd.arg(&self.data).args(more).env("RTC_LOG__LEVEL", "warn");
        rtcd.envs(self.environment.iter().map(|(name, value)| (name, value)));
        rtcd.envs(settings.iter().copied());
        let _ = std::fs::remove_file(self.data.join("run.json"));
        let child = quiet(rtcd).spawn().map_err(|error| error.to_string())?;
        let mut server = Server { child, data: self.data.clone(), run: Value::Null };
        for _ in 0..3_000 {
            if let Ok(text) = std::fs::read_to_string(self.data.join("run.json")) {
                server.run = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("rtcd does not start: {status}"));
            }
            pause(Duration::from_millis(10));
        }
        Err("rtcd does not start".to_owned())
    }
}

fn copy_secrets(from: &Path, to: &Path) -> Outcome {
    let failed = |error: std::io::Error| format!("{}: {error}", to.display());
    std::fs::create_dir_all(to.join("secrets")).map_err(failed)?;
    std::fs::copy(from.join("rtcd.toml"), to.join("rtcd.toml")).map_err(failed)?;
    for entry in std::fs::read_dir(from.join("secrets")).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join("secrets").join(entry.file_name())).map_err(failed)?;
        }
    }
    Ok(())
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits for another process: there is nothing here to be woken by.
fn pause(duration: Duration) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(duration);
}

/// A running rtcd.
pub struct Server {
    child: Child,
    data: PathBuf,
    run: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub fn admin(&self) -> &str {
        self.run["admin_url"].as_str().unwrap_or_default()
    }

    pub fn api(&self) -> &str {
        self.run["api_url"].as_str().unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the API and wants success.
    pub fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Result<Value, String> {
        ask(self.api(), method, path, token, body)
    }

    /// Asks the operator's port and wants success.
    pub fn ask_admin(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let address = self.run["admin_url"].as_str().unwrap_or_default();
        ask(address, method, path, &self.secret("admin_token")?, body)
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> Result<String, String> {
        let address = self.run["admin_url"].as_str().unwrap_or_default();
        answer(address, "GET", "/metrics", &self.secret("admin_token")?, None)
    }

    pub fn secret(&self, name: &str) -> Result<String, String> {
        let path = self.data.join("secrets").join(name);
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Signs in and gives the access token.
    pub fn sign_in(&self, email: &str, password: &str) -> Result<String, String> {
        let body = serde_json::json!({ "email": email, "password": password });
        let session = self.ask("POST", "/api/v1/sessions", "", Some(&body))?;
        session["access_token"].as_str().map(str::to_owned).ok_or_else(|| format!("no token in {session}"))
    }
}

fn ask(url: &str, method: &str, path: &str, token: &str, body: Option<&Value>) -> Result<Value, String> {
    let text = answer(url, method, path, token, body)?;
    serde_json::from_str(&text).map_err(|error| format!("{method} {path}: {error}: {text}"))
}

/// The body of the answer to one request over a connection of its own.
fn answer(url: &str, method: &str, path: &str, token: &str, body: Option<&Value>) -> Result<String, String> {
    let address = url.trim_start_matches("http://");
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    if !token.is_empty() {
        request.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if method == "POST" {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = format!("xtask-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let length = body.len();
        request.push_str(&format!(
            "content-type: application/json\r\ncontent-length: {length}\r\nidempotency-key: {key}\r\n"
        ));
    }
    request.push_str("\r\n");
    request.push_str(&body);
    let mut stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
    let mut answer = String::new();
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.read_to_string(&mut answer))
        .map_err(|error| format!("{method} {path}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(format!("{method} {path}: {status}: {body}"));
    }
    Ok(body.to_owned())
}
