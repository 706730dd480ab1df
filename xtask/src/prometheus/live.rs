//! `cargo xtask test metrics`: a real Prometheus scrapes the shop under load, and every expression of every panel, rule and
//! alert has an answer there, or is proved to fire by promtool.
//!
//! Invariants: both are stopped and their directories are gone, however it ends; nothing but what this started is touched.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{FOLDER, alerts, burning, recording};
use crate::dashboards::{self, Answers};
use crate::engines;
use crate::platform::{Profile, Server, Shop};
use crate::run::{Outcome, Parts, check, root};
use crate::suites;

/// How long the load goes on: rates need a few scrapes.
const LOAD: &str = "30s";
const SCRAPES: u64 = 6;

/// Everything of it, with what each part took.
pub fn run() -> Outcome {
    Parts::told(all)
}

/// That budgets which burn are told in time, alone.
pub fn burning() -> Outcome {
    Profile::Dev.build()?;
    burning::run(&Tools::find()?)
}

/// The parts of it, for a run that has others too.
pub fn all(parts: &mut Parts) -> Outcome {
    parts.part("metrics: install", || check(engines::script(&["install", "prometheus", "tmux"])))?;
    let tools = Tools::find()?;
    parts.part("metrics: rules are well formed", || tools.check_rules())?;
    parts.part("metrics: alerts fire and are silent", || tools.test_rules())?;
    parts.part("metrics: build", || Profile::Dev.build())?;
    parts.part("metrics: every expression has an answer", || answers(&tools))?;
    parts.part("metrics: a budget that burns is told in time", || burning::run(&tools))?;
    parts.part("metrics: rtcctl beside a server and in a terminal", || check(suites::named("metrics")?))
}

/// The server's program.
pub fn program() -> Result<PathBuf, String> {
    Tools::find().map(Tools::server)
}

pub(super) struct Tools {
    prometheus: PathBuf,
    promtool: PathBuf,
}

impl Tools {
    /// Installed for the machine, or unpacked by `scripts/engines`.
    pub(super) fn find() -> Result<Self, String> {
        let unpacked = root().join("target/engines/prometheus/usr/bin");
        let folders = [unpacked, PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")];
        let find = |name: &str| {
            let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
            found.ok_or_else(|| format!("{name} is not there: scripts/engines install prometheus"))
        };
        Ok(Self { prometheus: find("prometheus")?, promtool: find("promtool")? })
    }

    /// Where the server is.
    fn server(self) -> PathBuf {
        self.prometheus
    }

    fn promtool(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.promtool);
        command.args(arguments).current_dir(root().join(FOLDER));
        command
    }

    fn check_rules(&self) -> Outcome {
        let mut command = self.promtool(&["check", "config", "prometheus.yml"]);
        command.stdout(Stdio::null());
        check(command)
    }

    /// The files are tested side by side.
    fn test_rules(&self) -> Outcome {
        let mut running = Vec::new();
        for (name, _) in super::proofs::files() {
            let mut command = self.promtool(&["test", "rules", &name]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            running.push((name, command.spawn().map_err(|error| error.to_string())?));
        }
        for (name, child) in running {
            let ended = child.wait_with_output().map_err(|error| error.to_string())?;
            if !ended.status.success() {
                let said = [ended.stdout, ended.stderr].concat();
                return Err(format!("{name}\n{}", String::from_utf8_lossy(&said)));
            }
        }
        Ok(())
    }

    /// What promtool has against the page as it is exposed.
    fn check_page(&self, page: &str) -> Outcome {
        let mut command = self.promtool(&["check", "metrics"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(page.as_bytes()).map_err(|error| error.to_string())?;
        }
        let ended = child.wait_with_output().map_err(|error| error.to_string())?;
        if ended.status.success() {
            return Ok(());
        }
        let said = [ended.stdout, ended.stderr].concat();
        Err(format!("promtool check metrics: {}", String::from_utf8_lossy(&said)))
    }
}

/// A Prometheus in a directory of its own.
pub(super) struct Prometheus {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) fn pause(duration: Duration) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(duration);
}

impl Prometheus {
    /// One that scrapes `targets` and evaluates `rules`, names and texts, so often.
    pub(super) fn start(
        tools: &Tools,
        name: &str,
        every: &str,
        targets: &[String],
        rules: &[(&str, String)],
    ) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("rtc-prometheus-{name}-{}", std::process::id()));
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(&folder).map_err(failed)?;
        for (name, text) in rules {
            std::fs::write(folder.join(format!("{name}.rules.yml")), text).map_err(failed)?;
        }
        let targets = targets.join("', '");
        let configuration = format!(
            "global: {{scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every}}}\n\
             rule_files: ['{}/*.rules.yml']\n\
             scrape_configs: [{{job_name: rtcd, static_configs: [{{targets: ['{targets}']}}]}}]\n",
            folder.display()
        );
        std::fs::write(folder.join("prometheus.yml"), configuration).map_err(failed)?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| error.to_string())?;
        let child = Command::new(&tools.prometheus)
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={port}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("{}: {error}", tools.prometheus.display()))?;
        let prometheus = Self { child, address: port.to_string(), folder };
        for _ in 0..600 {
            if prometheus.get("/-/ready").is_ok() {
                return Ok(prometheus);
            }
            pause(Duration::from_millis(50));
        }
        Err("Prometheus is not ready after 30 s".to_owned())
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn get(&self, path: &str) -> Result<String, String> {
        let mut stream = TcpStream::connect(&self.address).map_err(|error| error.to_string())?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address);
        let mut answer = String::new();
        stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut answer))
            .map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(body.to_owned()) }
    }

    /// The series that an expression has now.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={encoded}"))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        match answer["data"]["result"].as_array() {
            Some(result) if answer["data"]["resultType"] == "vector" => Ok(result.clone()),
            _ => Ok(vec![answer["data"]["result"].clone()]),
        }
    }
}

/// As Grafana would ask it.
fn filled(expression: &str) -> String {
    expression.replace("$__rate_interval", "20s").replace("$service", ".*")
}

/// An expression, whose it is, and whether it has to have an answer here.
struct Asked {
    whose: String,
    expression: String,
    answers: Answers,
}

fn asked() -> Vec<Asked> {
    let mut asked = Vec::new();
    for dashboard in dashboards::all() {
        for panel in dashboard.rows.into_iter().flat_map(|row| row.panels) {
            for query in panel.queries {
                let whose = format!("dashboard {}, {}", dashboard.name, panel.title);
                asked.push(Asked { whose, expression: filled(&query.expression), answers: query.answers });
            }
        }
    }
    for recorded in recording() {
        let whose = format!("rule {} {:?}", recorded.name, recorded.labels);
        asked.push(Asked { whose, expression: recorded.expression, answers: Answers::Always });
    }
    for alert in alerts() {
        let whose = format!("alert {}", alert.name);
        asked.push(Asked { whose, expression: alert.expression, answers: Answers::InTrouble });
    }
    asked
}

/// The rules as they are in life: names and texts.
pub(super) fn own_rules() -> Result<Vec<(&'static str, String)>, String> {
    let read = |name| {
        let path = root().join(FOLDER).join(format!("{name}.rules.yml"));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok((name, text))
    };
    ["recording", "slo", "alerts"].into_iter().map(read).collect()
}

fn answers(tools: &Tools) -> Outcome {
    let shop = Shop::seeded(Profile::Dev, "metrics")?;
    let server = shop.serve(&[])?;
    let admin = server.admin().trim_start_matches("http://").to_owned();
    let prometheus = Prometheus::start(tools, "answers", "2s", &[admin], &own_rules()?)?;
    load(&shop)?;
    tools.check_page(&server.metrics()?)?;
    wait_for_rules(&prometheus)?;
    let mut wrong = Vec::new();
    for one in asked() {
        match prometheus.query(&one.expression) {
            Err(reason) => wrong.push(format!("{}: {}: {reason}", one.whose, one.expression)),
            Ok(series) if series.is_empty() && one.answers == Answers::Always => {
                wrong.push(format!("{}: no answer: {}", one.whose, one.expression));
            }
            Ok(_) => {}
        }
    }
    wrong.extend(health(&prometheus)?);
    wrong.extend(agrees(&prometheus, &server)?);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!("{} wrong\n  {}", wrong.len(), wrong.join("\n  ")))
}

pub(super) fn load(shop: &Shop) -> Outcome {
    let mut load = shop.rtcctl(&["load", "--duration", LOAD, "--rate", "40", "--shoppers", "10"]);
    load.args(["--products", "10", "--progress", "none", "-q"]).stdout(Stdio::null());
    check(load)
}

/// Rules over rates need a few scrapes; all of them have been evaluated once the slowest has.
fn wait_for_rules(prometheus: &Prometheus) -> Outcome {
    for _ in 0..SCRAPES * 20 {
        let recorded = prometheus.query("count(rtc:slo_error_ratio:rate30d)")?;
        if recorded.first().is_some_and(|one| one["value"][1] == "4") {
            return Ok(());
        }
        pause(Duration::from_millis(500));
    }
    let recorded = prometheus.query("rtc:slo_error_ratio:rate30d")?;
    Err(format!("ratios of four objectives are not recorded: {recorded:?}"))
}

/// No rule fails, and none that wakes somebody fires at this load.
fn health(prometheus: &Prometheus) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let rules: Value =
        serde_json::from_str(&prometheus.get("/api/v1/rules")?).map_err(|error| error.to_string())?;
    let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
    let rules: Vec<&Value> = groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
    if rules.len() < recording().len() + alerts().len() {
        wrong.push(format!("{} rules are loaded", rules.len()));
    }
    for rule in rules {
        if rule["health"] != "ok" {
            wrong.push(format!("rule {}: {} {}", rule["name"], rule["health"], rule["lastError"]));
        }
        if rule["state"] == "firing" && rule["labels"]["severity"] == "page" {
            wrong.push(format!("{} fires at normal load: {}", rule["name"], rule["alerts"]));
        }
    }
    Ok(wrong)
}

/// What Prometheus has counted is what the process says, a scrape later at the latest.
fn agrees(prometheus: &Prometheus, server: &Server) -> Result<Vec<String>, String> {
    let expression = "sum(rtc_orders_total{state=\"placed\"})";
    let mut seen = (None, None);
    for _ in 0..SCRAPES * 2 {
        let page = server.metrics()?;
        let line = page.lines().find_map(|line| line.strip_prefix("rtc_orders_total{state=\"placed\"} "));
        let told = line.and_then(|value| value.parse::<f64>().ok());
        let scraped = prometheus.query(expression)?;
        let scraped = scraped.first().and_then(|one| one["value"][1].as_str()?.parse::<f64>().ok());
        if told.is_some() && told == scraped && told > Some(100.0) {
            return Ok(Vec::new());
        }
        seen = (scraped, told);
        pause(Duration::from_secs(1));
    }
    Ok(vec![format!("Prometheus counts {:?} orders, the process {:?}", seen.0, seen.1)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grafana_fills_in_is_filled_in() {
        let asked = asked();
        assert!(asked.len() > 100, "{}", asked.len());
        for one in &asked {
            assert!(!one.expression.contains('$') || one.expression.contains("\"$1\""), "{}", one.expression);
        }
    }
}
