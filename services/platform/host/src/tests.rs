//! Configuration, vault, secrets and the loops of the pumps.

mod errors;
mod reload;
mod rotation;

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use messaging::{Every, Job, Progress, Pump};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use crate::{Config, Profile, Pumps, Secrets, StartError, Vault};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    ttl_s: u64,
    name: String,
}

impl Default for Section {
    fn default() -> Self {
        Self { ttl_s: 600, name: "default".to_owned() }
    }
}

#[test]
fn a_file_goes_over_defaults_and_names_its_faults() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rtcd.toml");
    std::fs::write(&file, "[server]\napi_bind = \"127.0.0.1:7000\"\n[services.orders]\nttl_s = 5\n").unwrap();
    let config = Config::load(Some(&file), &[("data", json!(dir.path()))]).unwrap();
    assert_eq!(config.server.api_bind.port(), 7000);
    assert_eq!(config.server.admin_bind.port(), 9080);
    assert_eq!(config.section::<Section>("orders").unwrap(), Section { ttl_s: 5, ..Section::default() });
    assert_eq!(config.section::<Section>("users").unwrap(), Section::default());
    assert_eq!(config.configured_services(), ["orders"]);
    let from = |key: &str| {
        config.settings().into_iter().find(|setting| setting.key == key).map(|setting| setting.from).unwrap()
    };
    assert_eq!(from("server.admin_bind"), "default");
    assert!(from("server.api_bind").starts_with("file "));
    assert_eq!(from("data"), "command line");

    for (text, wanted) in [
        ("[server]\napi_port = 1\n", "api_port"),
        ("[server]\napi_bind = \"here\"\n", "server.api_bind"),
        ("profile = \"toy\"\n", "toy"),
        ("[server\n", "rtcd.toml"),
        ("database = 7\n", "database"),
        ("\n[limits]\nlogin = many\n", "rtcd.toml, line 3"),
        ("[server]\nconcurrency_max = 0\n", "server.concurrency_max is at least 1"),
        ("[log]\nlevel = \"loud=loud=loud\"\n", "log.level"),
        ("[credentials]\nlog = \"env:LOG\"\n", "credentials.log"),
        ("[upstreams]\nusers = \"http://here\"\n", "upstreams.users"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Config::load(Some(&file), &[]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(wanted), "{error}");
    }
    std::fs::write(&file, "[services.orders]\nttl = 5\n").unwrap();
    let error = Config::load(Some(&file), &[]).unwrap().section::<Section>("orders").unwrap_err();
    assert!(error.to_string().contains("ttl"), "{error}");
    assert!(Config::load(Some(&dir.path().join("none.toml")), &[]).is_err());
}

#[test]
fn what_is_sealed_opens_again_and_is_never_the_same_twice() {
    let vault = Vault::new("a secret").unwrap();
    let (one, two) = (vault.seal("kim@example.kr").unwrap(), vault.seal("kim@example.kr").unwrap());
    assert_ne!(one, two);
    assert!(!one.contains("kim"));
    assert_eq!(vault.open(&one).unwrap(), "kim@example.kr");
    assert!(Vault::new("another").unwrap().open(&one).is_err());
    let mut broken = one;
    broken.pop();
    assert!(vault.open(&broken).is_err());
    for bad in ["", "k1", "k9.AAAA", "k1.!", "k1.AA"] {
        assert!(vault.open(bad).is_err());
    }
    assert_eq!(vault.index("email", "a"), vault.index("email", "a"));
    assert_ne!(vault.index("email", "a"), vault.index("phone", "a"));
    let code = vault.random_code(6).unwrap();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
}

#[test]
fn the_embedded_profile_makes_its_secrets_once_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().join("secrets");
    let embedded = Secrets::new(Some(directory.clone()), Profile::Embedded);
    let secret = embedded.get("admin_token").unwrap();
    assert!(secret.len() >= 43);
    assert_eq!(embedded.get("admin_token").unwrap(), secret);
    let mode = std::fs::metadata(directory.join("admin_token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let production = Secrets::new(Some(directory.clone()), Profile::Production);
    assert!(matches!(production.get("other"), Err(StartError::Secret { .. })));
    std::fs::write(directory.join("empty"), "").unwrap();
    assert!(embedded.get("empty").is_err());
}

struct Flaky(Arc<AtomicUsize>);

#[async_trait]
impl Job for Flaky {
    async fn run(&self) -> kernel::Result<Progress> {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        if n < 3 {
            return Err(kernel::Error::unavailable("down", "down"));
        }
        Ok(Progress::Idle)
    }
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_fails_is_tried_again_later_and_later() {
    let runs = Arc::new(AtomicUsize::new(0));
    let pump = Arc::new(Every::new("flaky", Duration::from_secs(60), Flaky(runs.clone())));
    let pumps = Pumps::start([pump as _]);
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(runs.load(Ordering::SeqCst), 5);
    pumps.stop(Duration::from_secs(1)).await;
}

/// Writes down what it is asked to do, and panics at some of it.
#[derive(Default)]
struct Panicking(Mutex<Vec<&'static str>>);

#[async_trait]
impl Pump for Panicking {
    fn name(&self) -> &str {
        "panicking"
    }

    async fn step(&self) -> kernel::Result<Progress> {
        let number = {
            let mut asked = self.0.lock().unwrap();
            asked.push("step");
            asked.len()
        };
        assert!(number > 3, "a defect at {number}");
        Ok(Progress::Idle)
    }

    fn wake(&self) -> Arc<Notify> {
        Arc::default()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn finish(&self) {
        let number = {
            let mut asked = self.0.lock().unwrap();
            asked.push("finish");
            asked.len()
        };
        assert_ne!(number, 4, "another one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_panics_lets_go_of_what_it_held_and_goes_on() {
    let pump = Arc::new(Panicking::default());
    let asked = || pump.0.lock().unwrap().clone();
    let pumps = Pumps::start([pump.clone() as _]);
    tokio::time::sleep(Duration::from_millis(99)).await;
    assert_eq!(asked(), ["step", "finish"], "it has failed, and rests a little");
    tokio::time::sleep(Duration::from_millis(202)).await;
    assert_eq!(asked(), ["step", "finish", "step", "finish", "step"]);
    pumps.stop(Duration::from_secs(1)).await;
    assert_eq!(asked().last(), Some(&"finish"));
}
