//! docs/CONFIGURATION.md against the settings that there are, and changes that reach a running shop.

use std::collections::BTreeSet;
use std::path::Path;

use host::{Attention, Config, Key, Look, Takes};
use serde_json::json;
use testkit::Call;

use crate::{Options, Running, Selection, select, start};

async fn run(file: Option<&Path>, data: &Path) -> Running {
    let overrides = [
        ("data", json!(data)),
        ("server.api_bind", json!("127.0.0.1:0")),
        ("server.admin_bind", json!("127.0.0.1:0")),
    ];
    let config = Config::load(file, &overrides).unwrap();
    start(Options { config, selection: Selection::everything(), listener: None }).await.unwrap()
}

/// A row of the tables, up to what is said of the setting.
fn row(key: &Key) -> String {
    let default = if key.default.is_null() { String::new() } else { format!("`{}`", key.default) };
    let takes = match key.takes {
        Takes::AtOnce => "at once",
        Takes::AtTheNextStart => "next start",
    };
    format!("| `{}` | {default} | {takes} |", key.key)
}

/// The first number after `key` in a file of this repository.
fn number(file: &str, key: &str) -> u64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(key).unwrap();
    let rest = rest.trim_start_matches([' ', '=']);
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn a_connection_outlives_the_time_for_which_whoever_is_in_front_keeps_it() {
    let kept_s = Config::for_tests(Path::new("data"), &[]).unwrap().server.keep_alive_ms / 1_000;
    let balancers = [
        number("terraform/modules/edge/main.tf", "\n  idle_timeout"),
        number("pipelines/helm/rtc/templates/gateway.yaml", "idle_timeout.timeout_seconds"),
        number("rtcctl/manifests/src/render/mesh.rs", "\"idleTimeout\": \""),
    ];
    // Whoever sends closes the connection first: the other way round some request is on its way to where it is being closed.
    assert!(balancers.into_iter().all(|idle_s| (60..kept_s).contains(&idle_s)), "{balancers:?} {kept_s}");
}

#[tokio::test]
async fn the_reference_of_the_configuration_lists_every_setting_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let running = run(None, directory.path()).await;
    let there: BTreeSet<String> = running.context.config.reference().iter().map(row).collect();
    running.stop().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CONFIGURATION.md");
    let text = std::fs::read_to_string(path).unwrap();
    let cells = |line: &str| line.splitn(5, '|').take(4).collect::<Vec<_>>().join("|") + "|";
    let told: BTreeSet<String> = text.lines().filter(|line| line.starts_with("| `")).map(cells).collect();
    let missing: Vec<_> = there.difference(&told).collect();
    let wrong: Vec<_> = told.difference(&there).collect();
    assert!(missing.is_empty() && wrong.is_empty(), "missing: {missing:#?}\nno longer so: {wrong:#?}");
    let silent = text.lines().find(|line| {
        line.starts_with("| `") && line.split('|').nth(4).is_none_or(|said| said.trim().is_empty())
    });
    assert_eq!(silent, None, "nothing is said of it");
}

#[tokio::test]
async fn a_changed_file_and_a_rotated_token_reach_a_running_shop() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, "").unwrap();
    let running = run(Some(&file), directory.path()).await;
    let secret = directory.path().join("secrets/admin_token");
    let old = std::fs::read_to_string(&secret).unwrap();
    let new = "a-new-token-that-is-long-enough-for-production";
    let status = async |token: &str| {
        Call::new(running.admin_router.clone(), "GET".parse().unwrap(), "/admin/status")
            .token(token)
            .send()
            .await
    };
    assert_eq!((status(&old).await.status, status(new).await.status), (200, 401));
    std::fs::write(&secret, format!("{new}\n{old}\n")).unwrap();
    std::fs::write(
        &file,
        "[limits]\nregister = 1\n[services.orders]\nin_flight_max = 5\n[server]\nworker_threads = 1\n",
    )
    .unwrap();
    let look = running.context.reload.look(Attention::Asked);
    let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let live = owned(&["limits.register", "services.orders.in_flight_max"]);
    assert_eq!(look, Look::Applied { live, waiting: owned(&["server.worker_threads"]) });
    assert_eq!((status(&old).await.status, status(new).await.status), (200, 200));
    let told = status(new).await.json;
    assert_eq!(told["configuration"]["waiting"], json!(["server.worker_threads"]));
    assert_eq!(told["configuration"]["applied"], 1);
    std::fs::write(&secret, new).unwrap();
    running.context.reload.look(Attention::Routine);
    assert_eq!((status(&old).await.status, status(new).await.status), (401, 200));
    running.stop().await;
}

#[tokio::test]
async fn upstreams_that_are_none_end_the_start_with_what_is_wrong_and_no_password() {
    let directory = tempfile::tempdir().unwrap();
    for (replicas, told) in [
        (json!(["http://here:1", "users:8080"]), "upstreams.users: replica 2: it has no scheme"),
        (json!(["https://users"]), "upstreams.users: replica 1: https:// is not spoken"),
        (json!(["http://name:hunter2@users"]), "upstreams.users: replica 1: it names a user"),
        (json!(["name:hunter2@users"]), "upstreams.users: replica 1: it has no scheme"),
        (json!([]), "upstreams.users: a service elsewhere has at least one replica"),
    ] {
        let overrides = [
            ("data", json!(directory.path())),
            ("server.api_bind", json!("127.0.0.1:0")),
            ("server.admin_bind", json!("127.0.0.1:0")),
            ("upstreams.users", replicas),
        ];
        let config = Config::load(None, &overrides).unwrap();
        let selection = select(&["gateway".to_owned()]).unwrap();
        let error = start(Options { config, selection, listener: None }).await.err().unwrap();
        assert_eq!((error.code(), error.exit_code()), ("RTD001", 3), "{error}");
        assert!(error.to_string().contains(told) && !error.to_string().contains("hunter2"), "{error}");
        assert!(error.hint().contains("rtcd config"), "{}", error.hint());
    }
}
