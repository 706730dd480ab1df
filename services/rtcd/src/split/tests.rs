//! One process under its supervisor, with a script in the place of rtcd.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::replica::{Launch, Patience, Replica, Seen, State, Stops};

/// Says that it is ready, and then does what `rest` says.
fn replica(folder: &Path, rest: &str) -> Arc<Replica> {
    let script = folder.join("stand-in");
    std::fs::write(&script, format!("#!/bin/sh\n{rest}\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let launch = Launch { program: script, arguments: Vec::new() };
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let patience = Patience { ready: Duration::from_secs(20), drain: Duration::from_secs(20) };
    let directory = folder.to_owned();
    Arc::new(Replica::new("orders", 1, directory, (nowhere, nowhere), launch, None, patience, Vec::new()))
}

async fn until(replica: &Replica, come: impl FnMut(&Seen) -> bool) -> Seen {
    let mut watched = replica.watch();
    let seen = tokio::time::timeout(Duration::from_secs(20), watched.wait_for(come)).await;
    seen.expect("in time").unwrap().clone()
}

const READY: &str = "printf r >&0";
/// Until the line ends, as a process of ours does.
const SERVE: &str = "trap 'exit 0' TERM\ncat <&0 >/dev/null &\nwait $!";

#[tokio::test]
async fn a_process_is_ready_when_it_says_so_and_drains_when_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let replica = replica(folder.path(), &format!("{READY}\n{SERVE}"));
    let stops = Stops::default();
    let tender = tokio::spawn(replica.clone().tend(stops.clone()));
    let seen = until(&replica, |seen| seen.state == State::Ready).await;
    assert!(seen.pid.is_some() && seen.starts == 1 && seen.deaths == 0, "{seen:?}");
    stops.stop.cancel();
    tender.await.unwrap();
    let seen = replica.seen();
    assert_eq!((seen.state, seen.pid, seen.deaths), (State::Stopped, None, 0));
}

#[tokio::test]
async fn a_process_that_dies_is_started_again_and_its_end_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("was-here");
    let rest = format!("[ -e {0} ] || {{ touch {0}; exit 7; }}\n{READY}\n{SERVE}", first.display());
    let replica = replica(folder.path(), &rest);
    let stops = Stops::default();
    let tender = tokio::spawn(replica.clone().tend(stops.clone()));
    let seen = until(&replica, |seen| seen.state == State::Ready).await;
    // Once more where a test beside this one forks while the script is still open for writing (ETXTBSY).
    assert!(seen.deaths >= 1 && seen.starts == seen.deaths + 1, "{seen:?}");
    if seen.deaths == 1 {
        assert_eq!(seen.last_death.unwrap().code, Some(7));
    }
    stops.stop.cancel();
    tender.await.unwrap();
}

#[tokio::test]
async fn a_restart_is_over_when_the_next_process_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let replica = replica(folder.path(), &format!("{READY}\n{SERVE}"));
    let stops = Stops::default();
    let tender = tokio::spawn(replica.clone().tend(stops.clone()));
    let before = until(&replica, |seen| seen.state == State::Ready).await;
    let restarted = replica.replace().await.unwrap();
    let after = replica.seen();
    assert_eq!((restarted.old_pid, restarted.pid), (before.pid, after.pid));
    assert_ne!(before.pid, after.pid);
    assert_eq!((after.state, after.starts, after.deaths), (State::Ready, 2, 0));
    stops.stop.cancel();
    tender.await.unwrap();
    assert!(replica.replace().await.is_err(), "nobody restarts what has stopped");
}

#[tokio::test]
async fn whoever_will_not_drain_is_killed_on_the_second_signal() {
    let folder = tempfile::tempdir().unwrap();
    let stubborn = "trap '' TERM\nprintf r >&0\nwhile :; do sleep 1; done";
    let replica = replica(folder.path(), stubborn);
    let stops = Stops::default();
    let tender = tokio::spawn(replica.clone().tend(stops.clone()));
    until(&replica, |seen| seen.state == State::Ready).await;
    stops.stop.cancel();
    until(&replica, |seen| seen.state == State::Draining).await;
    stops.kill.cancel();
    tokio::time::timeout(Duration::from_secs(10), tender).await.expect("an end").unwrap();
}
