//! What others say with a secret in it: it is kept and told without.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use kubernetes::write::Force;
use rollout::canary::analysis::Measurement;
use rollout::lifecycle::OnFailure;

use super::ground::{Ground, NAMESPACE, Rolled, Scaled, manifest, plan};
use crate::apply::{Planned, What, preview};
use crate::gate::{Check, Gate, Gauge, Seen, View};
use crate::run::{Action, Plan};

const TWO: Scaled = Scaled::Fixed(2);
const SECRET: &str = "hunter2-and-more";

/// Version 2 after version 1, left as it is where it fails.
fn second() -> Plan {
    Plan { on_failure: OnFailure::Leave, ..plan(2, manifest(2, TWO)) }
}

/// Everything that lies in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What a run has kept: nowhere the secret, and somewhere these words.
#[track_caller]
fn is_kept_as(rolled: &Rolled, words: &str, secret: &str) {
    let texts: Vec<String> = files(&rolled.book.folder())
        .iter()
        .map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned())
        .collect();
    assert!(texts.iter().any(|text| text.contains(words)), "{words}");
    assert!(texts.iter().all(|text| !text.contains(secret)), "{secret}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_repeats_a_secret_is_kept_without_it() {
    let token = format!("ghp_{}", "a1B2".repeat(9));
    for (said, secret, kept) in [
        (format!("who signs in with password={SECRET} is not let in"), SECRET, "password=*** is not let in"),
        (format!("{token} is nobody's"), token.as_str(), "*** is nobody's"),
    ] {
        let ground = Ground::new();
        assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
        ground.api.deny("ConfigMap", "web", &said);
        let planned = preview(&ground.api.cluster(), &manifest(2, TWO), Force::Never).await.unwrap();
        let reasons: Vec<&str> = planned.iter().filter_map(reason).collect();
        assert!(matches!(reasons[..], [reason] if reason.contains(kept)), "{reasons:?}");
        let rolled = ground.roll(second()).await;
        let why = &rolled.book.causes()[0].why;
        assert_eq!(rolled.code(), "ROL032");
        let about = format!("ConfigMap/{NAMESPACE}/web is refused; ");
        assert!(why.starts_with(&about) && why.contains(kept), "{why}");
        is_kept_as(&rolled, kept, secret);
    }
}

fn reason(planned: &Planned) -> Option<&str> {
    match &planned.what {
        What::Refused { reason, .. } => Some(reason),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_name_of_what_keeps_secrets_hides_nothing_of_why_it_was_refused() {
    let ground = Ground::new();
    assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
    ground.api.forbid("patch", "configmaps");
    let mut plan = second();
    if let Action::Apply { manifest } = &mut plan.action {
        let settings = manifest.items.iter_mut().find(|item| item.body["kind"] == "ConfigMap");
        settings.unwrap().body["metadata"]["name"] = "secrets".into();
    }
    let rolled = ground.roll(plan).await;
    let why = &rolled.book.causes()[0].why;
    assert!(why.contains("/secrets is refused; not allowed to patch configmaps"), "{why}");
}

/// Says whom it has asked, and how.
struct Talkative;

#[async_trait]
impl Gauge for Talkative {
    async fn measure(&self, _check: &Check, _view: &View) -> Seen {
        let says = format!("it could not be asked with token={SECRET}");
        Seen { measurement: Measurement::Bad, is_silent: false, says }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_gate_is_told_is_kept_without_a_secret() {
    let ground = Ground::new();
    assert_eq!(ground.roll(plan(1, manifest(1, TWO))).await.exit(), 0);
    let gate = Gate::read("interval_s = 5\n[[check]]\nname = \"errors\"\nexpr = \"x\"\nmax = 1\n").unwrap();
    let rolled = ground.gated(Plan { gate: Some(gate), ..second() }, &Talkative).await;
    assert_eq!(
        (rolled.exit(), rolled.book.said().unwrap()),
        (30, "errors: it could not be asked with token=***")
    );
    is_kept_as(&rolled, "token=***", SECRET);
}
