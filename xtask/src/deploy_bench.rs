//! `cargo xtask bench deploy`: `rtcctl deploy status` of 500 pods beside the bare requests for what it reads and beside
//! `kubectl get pods`, one after the other against one played API server; then how soon after the API shows the end of a
//! rollout `rtcctl deploy rollout` says so.
//!
//! The server is another process and has its own share of every time: the bare requests tell how much. Who goes first changes
//! from round to round. Memory is looked at in runs of their own, for looking takes time. Of a rollout two moments are taken,
//! both by the clock of this machine: before the turn of the cluster that makes the last Deployment whole, and of the event by
//! which rtcctl says that its pods are there. It fails where a bound is broken.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::spread;
use crate::run::{Outcome, check, command, root};

const PODS: &str = "500";
const ROUNDS: usize = 21;
const LOOKS: usize = 5;
const ROLLOUTS: usize = 5;
/// A rollout's cluster has fewer pods, for each is turned a step at a time.
const NEIGHBOURS: &str = "100";
const TURN_MS: &str = "200";

const STATUS_MS_MAX: f64 = 200.0;
const PEAK_MB_MAX: f64 = 60.0;
const SAID_MS_MAX: f64 = 1_000.0;

/// What `deploy status` reads: where workloads may be, then everything about them.
const LABELS: &str = "labelSelector=app.kubernetes.io%2Fpart-of%3Drtc&limit=500";
const EVENTS: &str = "fieldSelector=reason%21%3DScheduled%2Creason%21%3DPulling%2Creason%21%3DPulled%2Creason%21%3DCreated\
                      %2Creason%21%3DStarted&limit=500";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Release,
    /// What is there is measured, without being compiled, and no bound holds.
    Debug,
}

pub fn run(words: &[&str]) -> Outcome {
    let (profile, rest) = match words {
        ["debug", rest @ ..] => (Profile::Debug, rest),
        rest => (Profile::Release, rest),
    };
    let rounds = match rest {
        [] => ROUNDS,
        [rounds] => rounds.parse().map_err(|_| format!("{rounds:?} is no number of rounds"))?,
        _ => return Err("cargo xtask bench deploy [debug] [ROUNDS]".to_owned()),
    };
    if profile == Profile::Release {
        build()?;
    }
    let work = root().join("target/deploy-bench");
    let _ = std::fs::remove_dir_all(&work);
    std::fs::create_dir_all(&work).map_err(|error| error.to_string())?;
    let bench = Bench { work: work.clone(), profile };
    let looks = bench.looks(rounds.max(1))?;
    looks.print();
    let rollouts = bench.rollouts()?;
    rollouts.print();
    std::fs::remove_dir_all(&work).map_err(|error| error.to_string())?;
    match profile {
        Profile::Release => judge(&looks, &rollouts),
        Profile::Debug => Ok(()),
    }
}

fn build() -> Outcome {
    let programs = ["build", "--locked", "--release", "-p", "rtcd", "-p", "rtcctl"];
    check(command("cargo", &programs))?;
    // Beside the programs, so that what they stand on is not compiled another time.
    let server =
        ["-p", "rtc-kubernetes", "--features", "rtc-kubernetes/testing", "--example", "played_cluster"];
    check(command("cargo", &[&programs[..], &server[..]].concat()))
}

impl Profile {
    fn folder(self) -> PathBuf {
        root().join("target").join(if self == Profile::Release { "release" } else { "debug" })
    }
}

/// A played cluster as a process, which ends with its owner.
struct Played {
    child: Child,
    kubeconfig: PathBuf,
    url: String,
    said: Receiver<String>,
}

impl Drop for Played {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Played {
    fn begin(bench: &Bench, words: &[&str]) -> Result<Self, String> {
        let kubeconfig = bench.work.join("kubeconfig");
        let _ = std::fs::remove_file(&kubeconfig);
        let mut server = Command::new(bench.profile.folder().join("examples/played_cluster"));
        server.arg(&kubeconfig).args(words).stdout(Stdio::piped());
        let mut child = server.spawn().map_err(|error| format!("{server:?}: {error}"))?;
        let (say, said) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let _ = say.send(line);
                }
            });
        }
        let mut played = Self { child, kubeconfig, url: String::new(), said };
        for _ in 0..600 {
            let text = std::fs::read_to_string(&played.kubeconfig).unwrap_or_default();
            let config: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(url) = config["clusters"][0]["cluster"]["server"].as_str() {
                played.url = url.to_owned();
                return Ok(played);
            }
            if let Some(exit) = played.child.try_wait().map_err(|error| error.to_string())? {
                return Err(format!("the played cluster ended: {exit}"));
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Err("the played cluster does not come up".to_owned())
    }
}

/// What 500 pods cost to look at.
#[derive(Debug, Default)]
struct Looks {
    ours_ms: Vec<f64>,
    bare_ms: Vec<f64>,
    kubectl_ms: Vec<f64>,
    /// With the pages of its own program, and without.
    peaks_mb: Vec<(f64, f64)>,
}

/// How long rollouts took to be told as done after they were.
#[derive(Debug, Default)]
struct Rollouts {
    said_ms: Vec<f64>,
    ended_ms: Vec<f64>,
    took_ms: Vec<f64>,
}

struct Bench {
    work: PathBuf,
    profile: Profile,
}

impl Bench {
    fn rtcctl(&self, played: &Played, words: &[&str]) -> Command {
        let mut rtcctl = Command::new(self.profile.folder().join("rtcctl"));
        rtcctl
            .args(words)
            .env("RTCCTL_KUBECONFIG", &played.kubeconfig)
            .env("RTCCTL_CONTEXT", "test")
            .env("RTCCTL_JOURNAL", self.work.join("runs"))
            .current_dir(&self.work)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        rtcctl
    }

    fn looks(&self, rounds: usize) -> Result<Looks, String> {
        let played = Played::begin(self, &[PODS])?;
        let ours = || self.rtcctl(&played, &["deploy", "status"]);
        let kubectl = || kubectl(&played, &self.work);
        let mut looks = Looks::default();
        // The first of each fetches its program from disk.
        timed(ours())?;
        timed(bare(&played))?;
        let has_kubectl = timed(kubectl()).is_ok();
        for round in 0..rounds {
            let mut turns = [0, 1, 2];
            turns.rotate_left(round % 3);
            for turn in turns {
                match turn {
                    0 => looks.ours_ms.push(timed(ours())?),
                    1 => looks.bare_ms.push(timed(bare(&played))?),
                    _ if has_kubectl => looks.kubectl_ms.push(timed(kubectl())?),
                    _ => {}
                }
            }
        }
        for _ in 0..LOOKS {
            looks.peaks_mb.push(peak(ours())?);
        }
        Ok(looks)
    }

    fn rollouts(&self) -> Result<Rollouts, String> {
        let played = Played::begin(self, &[NEIGHBOURS, TURN_MS])?;
        let copy = std::fs::copy(root().join("rtc.toml"), self.work.join("rtc.toml"));
        copy.map_err(|error| error.to_string())?;
        let outputs = json!({ "rtc": { "sensitive": false, "value": outputs() } });
        std::fs::write(self.work.join("dev.json"), outputs.to_string()).map_err(|error| error.to_string())?;
        let mut rollouts = Rollouts::default();
        // The first one makes everything, and is not told.
        for round in 0..=ROLLOUTS {
            let image = format!(
                "111122223333.dkr.ecr.ap-northeast-2.amazonaws.com/rtc-dev/rtcd@sha256:{}",
                format!("{:02x}", round + 1).repeat(32)
            );
            let events = self.work.join("events.ndjson");
            let events_file = events.display().to_string();
            let mut rollout = self.rtcctl(&played, &["--env", "dev", "--yes", "--events", &events_file]);
            rollout.args(["deploy", "rollout", "--outputs", "dev.json", "--image", &image, "-q"]);
            played.said.try_iter().for_each(drop);
            let took_ms = timed(rollout)?;
            let ended_at = now_ms()?;
            let shown_at = played.said.try_iter().filter_map(|line| shown(&line)).max_by(f64::total_cmp);
            let shown_at = shown_at.ok_or("the played cluster did not say that anything was whole")?;
            let told = std::fs::read_to_string(&events).map_err(|error| error.to_string())?;
            let said_at = told.lines().filter_map(watched).next_back();
            let said_at = said_at.ok_or("rtcctl did not say that its pods are there")?;
            if round > 0 {
                rollouts.said_ms.push(said_at - shown_at);
                rollouts.ended_ms.push(ended_at - shown_at);
                rollouts.took_ms.push(took_ms);
            }
        }
        Ok(rollouts)
    }
}

/// The moment of a line of the cluster about a workload of the release.
fn shown(line: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let name = line["deployment"].as_str()?;
    (!name.starts_with("service-")).then_some(())?;
    of_day_ms(line["at"].as_str()?)
}

/// The moment of the event by which rtcctl says that every pod is there.
fn watched(line: &str) -> Option<f64> {
    let event: Value = serde_json::from_str(line).ok()?;
    (event["kind"] == "task_done" && event["task"] == "watch").then_some(())?;
    of_day_ms(event["at"].as_str()?)
}

/// `2026-11-21T09:30:00.125Z` as milliseconds since midnight: both sides write it so, and no rollout takes a day.
fn of_day_ms(at: &str) -> Option<f64> {
    let time = at.split_once('T')?.1.trim_end_matches('Z');
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(((hours * 60.0 + minutes) * 60.0 + seconds) * 1_000.0)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now_ms() -> Result<f64, String> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = since.map_err(|error| error.to_string())?;
    Ok((since.as_secs() % 86_400) as f64 * 1_000.0 + f64::from(since.subsec_millis()))
}

/// The whole time of a program, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed(mut command: Command) -> Result<f64, String> {
    let shown = format!("{command:?}");
    let began = std::time::Instant::now();
    let output = command.stderr(Stdio::piped()).output().map_err(|error| format!("{shown}: {error}"))?;
    let took = began.elapsed();
    match output.status.success() {
        true => Ok(took.as_secs_f64() * 1_000.0),
        false => Err(format!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))),
    }
}

/// The most memory that a program has had, in megabytes: as it says itself, and without the pages of its own file, which
/// the system shares and may drop.
fn peak(mut command: Command) -> Result<(f64, f64), String> {
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let status = format!("/proc/{}/status", child.id());
    let (mut whole, mut own) = (0, 0);
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kib = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
        };
        let high = kib("VmHWM:");
        whole = high.max(whole);
        own = high.saturating_sub(kib("RssFile:")).max(own);
        if let Some(exit) = child.try_wait().map_err(|error| error.to_string())? {
            let mb = |kib: u64| kib as f64 * 1_024.0 / 1e6;
            return if exit.success() {
                Ok((mb(whole), mb(own)))
            } else {
                Err(format!("{command:?}: {exit}"))
            };
        }
    }
}

/// The requests that `deploy status` makes, all at once and nothing else.
fn bare(played: &Played) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sSf", "-Z", "-H", "Authorization: Bearer tester"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let apps = "apis/apps/v1/namespaces/rtc";
    let found = [
        format!("{apps}/deployments?{LABELS}"),
        format!("{apps}/statefulsets?{LABELS}"),
        format!("{apps}/daemonsets?{LABELS}"),
        format!("apis/batch/v1/namespaces/rtc/jobs?{LABELS}"),
    ];
    let all = [
        format!("{apps}/deployments?limit=500"),
        format!("{apps}/replicasets?limit=500"),
        "api/v1/namespaces/rtc/pods?limit=500".to_owned(),
        format!("api/v1/namespaces/rtc/events?{EVENTS}"),
        "api/v1/nodes?limit=500".to_owned(),
        "apis/autoscaling/v2/namespaces/rtc/horizontalpodautoscalers?limit=500".to_owned(),
        "apis/policy/v1/namespaces/rtc/poddisruptionbudgets?limit=500".to_owned(),
    ];
    curl.args(found.iter().chain(&all).map(|path| format!("{}/{path}", played.url)));
    curl
}

/// `kubectl get pods`; what it has found out about the server it keeps.
fn kubectl(played: &Played, work: &Path) -> Command {
    let mut kubectl = Command::new("kubectl");
    kubectl
        .args(["get", "pods", "-n", "rtc", "--context", "test", "--kubeconfig"])
        .arg(&played.kubeconfig)
        .arg("--cache-dir")
        .arg(work.join("kubectl"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    kubectl
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn greatest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

impl Looks {
    fn print(&self) {
        println!("{PODS} pods, {} rounds in turns, medians (lowest to highest)\n", self.ours_ms.len());
        println!("| what | ms | rtcctl takes of it |\n| --- | --- | --- |");
        println!("| rtcctl deploy status | {} | 1 |", spread(self.ours_ms.clone()));
        let others = [("the bare requests, by curl", &self.bare_ms), ("kubectl get pods", &self.kubectl_ms)];
        for (what, times) in others.into_iter().filter(|(_, times)| !times.is_empty()) {
            let ratio = median(&self.ours_ms) / median(times);
            println!("| {what} | {} | {ratio:.2} |", spread(times.clone()));
        }
        let (whole, own) = self.peaks();
        println!("\nmemory of rtcctl at most {whole:.1} MB, {own:.1} MB without the pages of its program\n");
    }

    fn peaks(&self) -> (f64, f64) {
        let of = |which: fn(&(f64, f64)) -> f64| greatest(self.peaks_mb.iter().map(which));
        (of(|peaks| peaks.0), of(|peaks| peaks.1))
    }
}

impl Rollouts {
    fn print(&self) {
        println!(
            "rollouts beside {NEIGHBOURS} pods, {} in a row, ms after the API showed the end\n",
            self.said_ms.len()
        );
        println!("| what | ms |\n| --- | --- |");
        println!("| rtcctl says so | {} |", spread(self.said_ms.clone()));
        println!("| rtcctl has ended | {} |", spread(self.ended_ms.clone()));
        println!("| the whole rollout | {} |", spread(self.took_ms.clone()));
    }
}

fn judge(looks: &Looks, rollouts: &Rollouts) -> Outcome {
    let mut broken = Vec::new();
    let status = median(&looks.ours_ms);
    if status.is_nan() || status >= STATUS_MS_MAX {
        broken.push(format!("deploy status took {status:.1} ms, and less than {STATUS_MS_MAX} is allowed"));
    }
    let (peak, _) = looks.peaks();
    if peak >= PEAK_MB_MAX {
        broken.push(format!(
            "deploy status had {peak:.1} MB of memory, and less than {PEAK_MB_MAX} is allowed"
        ));
    }
    let said = greatest(rollouts.said_ms.iter().copied());
    if rollouts.said_ms.is_empty() || said >= SAID_MS_MAX {
        broken.push(format!("an end was said after {said:.0} ms, and less than {SAID_MS_MAX} is allowed"));
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("; ")) }
}

/// What Terraform would say of the project's environment.
fn outputs() -> Value {
    let services = ["users", "catalog", "inventory", "orders", "payments", "notifications", "analytics"];
    let secrets = services.map(|service| {
        let arn = format!("arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:rtc/{service}");
        (service.to_owned(), Value::from(arn))
    });
    json!({
        "schema": 1, "environment": "dev", "region": "ap-northeast-2",
        "cluster": { "namespace": "rtc", "roles": { "shop": "arn:aws:iam::111122223333:role/rtc-shop" } },
        "database": {
            "url": "mysql://rtc_{service}@db.internal:3306/rtc_{service}",
            "secret_arns": Value::Object(secrets.into_iter().collect()),
        },
        "events": {
            "bootstrap": "b1.internal:9096,b2.internal:9096",
            "secret_arn": "arn:aws:secretsmanager:ap-northeast-2:111122223333:secret:rtc/events",
        },
        "storage": { "buckets": { "images": "rtc-dev-images" } },
        "edge": { "target_group_arn": "arn:aws:elasticloadbalancing:ap-northeast-2:111122223333:targetgroup/rtc/0123456789abcdef" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_both_sides_are_compared() {
        let line = r#"{"deployment":"gateway","generation":2,"at":"2026-11-21T09:30:00.125Z"}"#;
        let event = r#"{"at":"2026-11-21T09:30:00.500Z","kind":"task_done","task":"watch","message":""}"#;
        assert_eq!(watched(event).unwrap() - shown(line).unwrap(), 375.0);
        assert_eq!(shown(&line.replace("gateway", "service-00")), None);
        assert_eq!(watched(&event.replace("task_done", "task_state")), None);
        assert_eq!(watched(&event.replace("\"watch\"", "\"apply\"")), None);
        assert_eq!((of_day_ms("2026-11-21T00:01:02Z"), of_day_ms("nonsense")), (Some(62_000.0), None));
    }

    #[test]
    fn each_broken_bound_is_told() {
        let looks = |ms: f64, mb: f64| Looks {
            ours_ms: vec![1.0, ms, 10_000.0],
            peaks_mb: vec![(1.0, 1.0), (mb, 1.0)],
            ..Looks::default()
        };
        let rollouts = |ms: f64| Rollouts { said_ms: vec![1.0, ms], ..Rollouts::default() };
        assert_eq!(judge(&looks(199.9, 59.9), &rollouts(999.0)), Ok(()));
        assert!(judge(&looks(200.0, 1.0), &rollouts(1.0)).unwrap_err().contains("took 200.0 ms"));
        assert!(judge(&looks(1.0, 60.0), &rollouts(1.0)).unwrap_err().contains("had 60.0 MB"));
        assert!(judge(&looks(1.0, 1.0), &rollouts(1_000.0)).unwrap_err().contains("after 1000 ms"));
        assert!(judge(&looks(1.0, 1.0), &Rollouts::default()).is_err());
    }
}
