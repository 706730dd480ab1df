//! Everything that a release meets, in a folder, with a listener for its notices.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kubernetes::testing::Api;
use kubernetes::testing::behaviour::Behaviour;
use serde_json::Value;
use tempfile::TempDir;

pub const NAMESPACE: &str = "rtc";
const PATIENCE: Duration = Duration::from_secs(180);
/// What every objective of this test counts.
const COUNTER: &str = "sum(rate(prometheus_tsdb_head_samples_appended_total[$window]))";

const TERRAFORM: &str = r#"
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}
provider "aws" {}
resource "aws_ssm_parameter" "kept" {
  name  = "/PREFIX/kept"
  type  = "String"
  value = "1"
}
resource "terraform_data" "once" {
  provisioner "local-exec" {
    command = "echo once >> ../applied"
  }
}
"#;

const DEPLOY: &str = r#"
[deploy]
version = "0.1.0"
namespace = "rtc"

[deploy.networks]
engines = ["10.0.0.0/16"]
load_balancer = ["10.0.0.0/16"]

[deploy.engines]
database = "mysql://rtc_{service}@rtc.internal:3306/rtc_{service}"
bus = "kafka://b1.rtc.internal:9096"

[deploy.secrets]
kind = "existing"
name = "rtc-{target}"
keys = ["admin_token", "cursor_key", "service_token", "vault_key", "admin_password", "bus", "database-users"]

[deploy.entry]
kind = "alb"
target = "gateway"
hosts = ["shop.dev.example.com"]
certificate_arn = "arn:aws:acm:ap-northeast-2:111122223333:certificate/3b2f7a10-0000-4000-8000-000000000000"

[deploy.targets.gateway]
replicas = 2
resources = { cpu = "100m", memory = "128Mi" }
needs = { upstreams = ["users"] }

[deploy.targets.users]
replicas = 2
resources = { cpu = "200m", memory = "256Mi" }
needs = { database = true, bus = true, secrets = ["vault_key", "admin_password"] }
"#;

fn told(name: &str) -> String {
    #[expect(clippy::disallowed_methods, reason = "a test is told where its engines are")]
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: cargo xtask test ship starts what these tests need"))
}

fn maybe_told(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "a test is told where its engines are")]
    let value = std::env::var(name);
    value.ok().filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "a test of processes measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for what another process does.
#[track_caller]
pub fn wait_until(mut holds: impl FnMut() -> bool, what: &str) {
    let deadline = now() + PATIENCE;
    while !holds() {
        assert!(now() < deadline, "{what} did not come");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// What a command came to.
#[derive(Debug)]
pub struct Came {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Came {
    pub fn of(output: &Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn ended_with(self, exit: i32) -> Self {
        assert_eq!(self.exit, exit, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A cluster: our own for one test, or somebody's.
pub enum Cluster {
    Own(Api),
    Given,
}

pub struct Ground {
    folder: TempDir,
    variables: Vec<(String, String)>,
    prometheus: Child,
    prometheus_url: String,
    registry: String,
    prefix: String,
    pub cluster: Cluster,
    notices: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.prometheus.kill();
        let _ = self.prometheus.wait();
    }
}

/// What the objectives have to say.
#[derive(Debug, Clone, Copy)]
pub enum Budgets {
    Full,
    Spent,
    Unknown,
}

impl Ground {
    pub async fn new(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let at = |file: &str| folder.path().join(file);
        fs::create_dir(at("infra")).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let lock = ".terraform.lock.hcl";
        fs::copy(root.join("terraform/envs/dev").join(lock), at("infra").join(lock)).unwrap();
        let mirror = told("RTC_TEST_TERRAFORM_MIRROR");
        let mirrored =
            format!("provider_installation {{\n  filesystem_mirror {{\n    path = \"{mirror}\"\n  }}\n}}\n");
        fs::write(at("terraformrc"), mirrored).unwrap();
        // Any program of Linux is an image.
        fs::copy("/bin/true", at("rtcd")).unwrap();

        let cluster = match maybe_told("RTC_TEST_KUBECONFIG") {
            Some(path) => {
                fs::copy(path, at("kubeconfig")).unwrap();
                Cluster::Given
            }
            None => {
                let now = kernel::Clock::now(&kernel::SystemClock);
                let api = Api::at(now);
                api.namespace(NAMESPACE);
                api.node("node-1", 100, 16, 64);
                drop(api.turn_every(Duration::from_millis(50)));
                let address = api.serve().await.unwrap();
                Api::write_kubeconfig(&at("kubeconfig"), address, "token").unwrap();
                Cluster::Own(api)
            }
        };
        let (notices, hook) = listen().await;
        let (prometheus, prometheus_url) = prometheus(folder.path());
        let variables = [
            ("TF_CLI_CONFIG_FILE", at("terraformrc").display().to_string()),
            ("AWS_ENDPOINT_URL", told("RTC_TEST_AWS")),
            ("AWS_ACCESS_KEY_ID", "rtc".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "rtc".to_owned()),
            ("AWS_REGION", "ap-northeast-2".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SHIP_HOOK", hook),
        ];
        let own =
            format!("{name}-{}-{}", std::process::id(), folder.path().file_name().unwrap().to_string_lossy());
        let prefix =
            own.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-', "");
        // Other tests have been in that AWS.
        fs::write(at("infra/main.tf"), TERRAFORM.replace("PREFIX", &prefix)).unwrap();
        let ground = Self {
            variables: variables.map(|(name, value)| (name.to_owned(), value)).into(),
            folder,
            prometheus,
            prometheus_url,
            registry: told("RTC_TEST_REGISTRY"),
            prefix,
            cluster,
            notices,
        };
        ground.describe(Budgets::Full, "min = 1");
        ground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `rtc.toml`: how the budgets stand, and what the gate asks of `up`.
    pub fn describe(&self, budgets: Budgets, gate: &str) {
        self.describe_gate(budgets, &format!("[ship.gate.up]\nexpr = \"min(up)\"\n{gate}"));
    }

    /// The same with a gate of its own, or none.
    pub fn describe_gate(&self, budgets: Budgets, gate: &str) {
        let (bad, events) = match budgets {
            Budgets::Full => (format!("0 * {COUNTER}"), COUNTER.to_owned()),
            Budgets::Spent => (COUNTER.to_owned(), COUNTER.to_owned()),
            Budgets::Unknown => ("rate(nothing[$window])".to_owned(), "rate(nothing[$window])".to_owned()),
        };
        let text = format!(
            "[defaults]\njournal = \"runs\"\n\n[environments.dev]\nkind = \"remote\"\nterraform = \"infra\"\n\
             registry = \"{}\"\nprometheus_url = \"{}\"\nkubeconfig = \"kubeconfig\"\ncontext = \"{}\"\nimage_prefix = \"{}\"\n\n\
             [images.rtcd]\nbinaries = [\"rtcd\"]\n[images.rtcd.repository]\nimmutable = false\n\n\
             [ship]\nmin_budget = \"10%\"\n{gate}\n\n\
             [metrics.slo.served]\nobjective = 99.0\nbad = '{bad}'\nevents = '{events}'\n\n\
             [notices.hook]\nkind = \"webhook\"\nurl = \"env:SHIP_HOOK\"\n{DEPLOY}",
            self.registry,
            self.prometheus_url,
            self.context(),
            self.prefix,
        );
        fs::write(self.path("rtc.toml"), text).unwrap();
    }

    /// The context of the kubeconfig: that of a cluster that is played, or as it is said.
    fn context(&self) -> String {
        maybe_told("RTC_TEST_CONTEXT").unwrap_or_else(|| "test".to_owned())
    }

    /// Another version of the program; the digest that its image has.
    pub fn change_program(&self, word: &str) -> String {
        let mut program = fs::read("/bin/true").unwrap();
        program.extend_from_slice(word.as_bytes());
        fs::write(self.path("rtcd"), program).unwrap();
        let built = self.rtcctl(&["image", "build", "rtcd"]).ended_with(0).document();
        built["data"]["digest"].as_str().unwrap().to_owned()
    }

    /// How pods of an image behave, where the cluster is our own.
    pub fn behave(&self, digest: &str, behaviour: Behaviour) {
        if let Cluster::Own(api) = &self.cluster {
            api.behave(digest, behaviour);
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtcctl"));
        command.current_dir(self.folder.path()).envs(self.variables.iter().cloned());
        command.env_remove("RTCCTL_ENV").env_remove("KUBECONFIG").stdin(Stdio::null());
        command.args(words).args(["--env", "dev", "-o", "json", "--no-input"]);
        command
    }

    /// The variables of a command, for a shell.
    pub fn exports(&self) -> String {
        self.variables.iter().map(|(name, value)| format!("export {name}='{value}';")).collect()
    }

    /// The real rtcd.
    pub fn program(&self) -> String {
        told("RTC_TEST_PROGRAM")
    }

    /// A command about a platform on this machine; nobody hears it.
    pub fn local(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtcctl"));
        command.current_dir(self.folder.path()).envs(self.variables.iter().cloned());
        command.env_remove("RTCCTL_ENV").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(words).args(["--env", "local", "--no-input", "--yes"]);
        command
    }

    /// Prometheus looks at this address too.
    pub fn scrape(&self, target: &str) {
        self.scrape_as("rtcd", target);
    }

    fn scrape_as(&self, name: &str, target: &str) {
        let path = self.path("prometheus.yml");
        let text = fs::read_to_string(&path).unwrap();
        let job = format!(", {{job_name: {name}, static_configs: [{{targets: ['{target}']}}]}}]\n");
        fs::write(&path, text.trim_end().strip_suffix(']').unwrap().to_owned() + &job).unwrap();
        let pid = self.prometheus.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// A command to its end.
    pub fn rtcctl(&self, words: &[&str]) -> Came {
        tokio::task::block_in_place(|| Came::of(&self.command(words).output().unwrap()))
    }

    /// `rtcctl ship --yes …`
    pub fn ship(&self, words: &[&str]) -> Came {
        self.rtcctl(&[&["ship", "--yes"], words].concat())
    }

    /// `rtcctl ship --yes …`, under way.
    pub fn begin_ship(&self, words: &[&str]) -> Child {
        let mut command = self.command(&[&["ship", "--yes"], words].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Resources whose provisioner waits for the file `go`.
    pub fn let_terraform_wait(&self) {
        let text = fs::read_to_string(self.path("infra/main.tf")).unwrap();
        let waits =
            "echo begun >> ../begun; while [ ! -e ../go ]; do sleep 0.1; done; echo once >> ../applied";
        fs::write(self.path("infra/main.tf"), text.replace("echo once >> ../applied", waits)).unwrap();
    }

    /// One more resource, whose provisioner waits for the file that is given.
    pub fn hold_apply(&self) -> PathBuf {
        let text = fs::read_to_string(self.path("infra/main.tf")).unwrap();
        let name = format!("held{}", text.matches("\nresource ").count());
        let waits = format!(
            "echo begun >> ../{name}-begun; while [ -e ../rtc.toml ] && [ ! -e ../{name}-go ]; do sleep 0.1; done"
        );
        let held = format!(
            "resource \"terraform_data\" \"{name}\" {{\n  provisioner \"local-exec\" {{\n    command = \"{waits}\"\n  }}\n}}\n"
        );
        fs::write(self.path("infra/main.tf"), text + &held).unwrap();
        self.path(&format!("{name}-go"))
    }

    /// Waits until that resource is being made.
    pub fn wait_for_apply(&self, goes_on: &Path) {
        let begun = goes_on.display().to_string().replace("-go", "-begun");
        wait_until(|| Path::new(&begun).exists(), "the provisioner");
    }

    /// Prometheus looks at itself once more, under another name, and has done so.
    pub fn look_at_one_more(&self) {
        let before = fs::read_to_string(self.path("prometheus.yml")).unwrap().matches("job_name").count();
        let address = self.prometheus_url.trim_start_matches("http://");
        self.scrape_as(&format!("once-more-{before}"), address);
        let question = format!("{}/api/v1/query?query=count(up)", self.prometheus_url);
        let wanted = format!("\"{}\"]", before + 1);
        wait_until(
            || {
                let answer = Command::new("curl").args(["-s", "-m", "2", &question]).output().unwrap();
                String::from_utf8_lossy(&answer.stdout).contains(&wanted)
            },
            "another target of Prometheus",
        );
    }

    /// The same, killed as soon as the journal says that a step is finished.
    pub fn ship_killed_after(&self, words: &[&str], step: &str) {
        let mut command = self.command(&[&["ship", "--yes"], words].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        tokio::task::block_in_place(|| {
            let finished = format!("\"entry\":\"finished\",\"step\":\"{step}\"");
            let mut ended = None;
            wait_until(
                || {
                    ended = child.try_wait().unwrap();
                    // Terraform was left alone by the one before, and holds its lock until it is done.
                    if ended.is_some_and(|ended| ended.code() == Some(8)) {
                        child = command.spawn().unwrap();
                        ended = None;
                    }
                    ended.is_some() || self.steps().contains(&finished)
                },
                &finished,
            );
            assert!(self.steps().contains(&finished), "{ended:?} before {finished}: {}", self.steps());
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }

    /// A release that breaks as soon as its migration is through, where the cluster is our own.
    pub fn ship_that_breaks_after_its_migration(&self, digest: &str, behaviour: Behaviour) -> Came {
        let mut command = self.command(&["ship", "--yes"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        tokio::task::block_in_place(|| {
            let Cluster::Own(api) = &self.cluster else { return };
            let is_through =
                |job: &Value| job.to_string().contains(digest) && job["status"]["succeeded"] == 1;
            wait_until(|| api.objects("Job", NAMESPACE).iter().any(is_through), "the migration");
            api.behave(digest, behaviour);
        });
        tokio::task::block_in_place(|| Came::of(&child.wait_with_output().unwrap()))
    }

    /// The journal of the release.
    pub fn steps(&self) -> String {
        let runs = fs::read_dir(self.path("runs")).into_iter().flatten().flatten();
        let ours = runs.filter(|run| run.file_name().to_string_lossy().contains("-ship-dev-"));
        ours.filter_map(|run| fs::read_to_string(run.path().join("steps.ndjson")).ok()).collect()
    }

    /// The runs of a command in the journal.
    pub fn runs(&self, command: &str) -> Vec<Value> {
        let listed = self.rtcctl(&["runs", "list", "--limit", "100"]).ended_with(0).document();
        let all = listed["data"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|run| run["command"] == command).collect()
    }

    /// What was told so far.
    pub fn notices(&self) -> Vec<Value> {
        self.notices.lock().unwrap().clone()
    }

    /// How often the infrastructure was changed.
    pub fn applied(&self) -> usize {
        fs::read_to_string(self.path("applied")).map_or(0, |text| text.lines().count())
    }

    /// The image that a workload of our own cluster has, and how often it was changed.
    pub fn deployed(&self, name: &str) -> Option<(String, u64)> {
        let Cluster::Own(api) = &self.cluster else { return None };
        let object = api.object("Deployment", NAMESPACE, name)?;
        let image = object["spec"]["template"]["spec"]["containers"][0]["image"].as_str()?.to_owned();
        Some((image, object["metadata"]["generation"].as_u64()?))
    }
}

/// Somebody who is told.
async fn listen() -> (Arc<Mutex<Vec<Value>>>, String) {
    let notices: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = notices.clone();
    let heard = move |axum::Json(notice): axum::Json<Value>| {
        kept.lock().unwrap().push(notice);
        async { "ok" }
    };
    let app = axum::Router::new().route("/hook", axum::routing::post(heard));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (notices, url)
}

/// A Prometheus that looks at itself, once it has looked often enough for a rate.
fn prometheus(folder: &Path) -> (Child, String) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let configuration = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs: [{{job_name: itself, static_configs: \
         [{{targets: ['{address}']}}]}}]\n"
    );
    fs::write(folder.join("prometheus.yml"), configuration).unwrap();
    let child = Command::new(told("RTC_TEST_PROMETHEUS"))
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
        .arg(format!("--web.listen-address={address}"))
        .arg("--log.level=error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("http://{address}");
    let question = format!(
        "{url}/api/v1/query?query=rate(prometheus_tsdb_head_samples_appended_total%5B5m%5D)%20%3E%200"
    );
    wait_until(
        || {
            let answer = Command::new("curl").args(["-s", "-m", "2", &question]).output().unwrap();
            String::from_utf8_lossy(&answer.stdout).contains("\"value\"")
        },
        "a rate of Prometheus",
    );
    (child, url)
}
