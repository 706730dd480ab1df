//! Processes under their supervisor, with a script in the place of rtcd, and a process whose supervisor leaves.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use host::{Attention, Config};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::entrance::Entrance;
use super::fleet::{Fleet, Plan};
use super::line::{Line, Supervisor};
use super::replica::{Launch, Patience, Replica, Seen, State, Stops};
use super::{Followed, Reread, follow};
use crate::{Options, Selection};

/// A program that does what `text` says.
fn stand_in(folder: &Path, text: &str) -> PathBuf {
    let (draft, script) = (folder.join("draft"), folder.join("stand-in"));
    std::fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
    // By another process: what a test beside this one forks would have the script open for writing (ETXTBSY).
    let copied = Command::new("install").args(["-m", "755"]).args([&draft, &script]).status().unwrap();
    assert!(copied.success());
    script
}

fn replica(folder: &Path, text: &str) -> Arc<Replica> {
    let launch = Launch { program: stand_in(folder, text), arguments: Vec::new() };
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
/// Until the line ends, as a process of ours does. What a shell starts in the background has nothing for standard input.
const SERVE: &str = "trap 'exit 0' TERM\nexec 3<&0\ncat <&3 >/dev/null &\nwait $!";

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
    assert_eq!((seen.deaths, seen.starts), (1, 2), "{seen:?}");
    assert_eq!(seen.last_death.unwrap().code, Some(7));
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

#[tokio::test]
async fn nobody_waits_for_a_process_that_is_told_to_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    let busy =
        format!("trap 'echo >> {}' HUP\ntrap '' TERM\n{READY}\nwhile :; do sleep 0.1; done", told.display());
    let replica = replica(folder.path(), &busy);
    let stops = Stops::default();
    let tender = tokio::spawn(replica.clone().tend(stops.clone()));
    until(&replica, |seen| seen.state == State::Ready).await;
    stops.stop.cancel();
    until(&replica, |seen| seen.state == State::Draining).await;
    // It drains and takes no order; many at once are one.
    (0..100).for_each(|_| replica.reload());
    stops.kill.cancel();
    tokio::time::timeout(Duration::from_secs(10), tender).await.expect("an end").unwrap();
    assert!(!told.exists(), "whoever drains reads nothing again");
}

/// What the platform's file holds when it is started.
const CONFIGURATION: &str = "bus = \"kafka://b:1\"\n[limits]\nregister = 1\n";

/// The platform of `data`, with `text` in the place of every rtcd.
fn fleet(data: &Path, text: &str) -> Arc<Fleet> {
    let config = Config::for_tests(data, &[]).unwrap();
    let entrance = Entrance::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let plan = Plan { config: &config, text: CONFIGURATION, replicas: 2, program: stand_in(data, text) };
    Fleet::prepare(&plan, entrance).unwrap()
}

#[tokio::test]
async fn the_first_process_that_cannot_start_ends_the_start_with_its_own_error() {
    let folder = tempfile::tempdir().unwrap();
    // The others need longer than anybody waits.
    let refused = "case \"$*\" in *'--only orders '*) echo 'error[RTD014]: the database orders does not let us in'; \
                   echo 'hint: check the password'; exit 3;; esac";
    let fleet = fleet(folder.path(), &format!("{refused}\n{SERVE}"));
    let started = tokio::time::timeout(Duration::from_secs(20), fleet.start()).await;
    let error = started.expect("at once").unwrap_err();
    assert_eq!((error.code(), error.exit_code(), error.hint()), ("RTD014", 3, "check the password"));
    let text = error.to_string();
    assert!(
        text.starts_with("orders-") && text.contains("did not come up: the database orders does"),
        "{text}"
    );
    fleet.stop().await;
}

#[tokio::test]
async fn what_a_predecessor_holds_for_a_moment_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let held = "case \"$*\" in *'--only users '*) [ -e \"$6/was-here\" ] || { touch \"$6/was-here\"; \
                echo 'error[RTD004]: the data directory is used by another rtcd'; exit 8; };; esac";
    let fleet = fleet(folder.path(), &format!("{held}\n{READY}\n{SERVE}"));
    tokio::time::timeout(Duration::from_secs(20), fleet.start()).await.expect("in time").unwrap();
    let deaths = |replica: &&Arc<Replica>| replica.seen().deaths > 0;
    let died: Vec<_> = fleet.replicas().filter(deaths).map(|replica| replica.name()).collect();
    assert_eq!(died, ["users-1", "users-2"]);
    fleet.stop().await;
}

#[tokio::test]
async fn a_process_that_is_started_again_is_like_the_others_whatever_the_file_says_by_then() {
    let folder = tempfile::tempdir().unwrap();
    // Each writes down what it is told; the first of one service dies when it is asked to.
    let told = folder.path().join("told");
    let begin = format!("cat \"$8\" >> {0}.$4\n{READY}\n{SERVE}", told.display());
    let fleet = fleet(folder.path(), &begin);
    tokio::time::timeout(Duration::from_secs(20), fleet.start()).await.expect("in time").unwrap();
    let config = Config::for_tests(folder.path(), &[]).unwrap();
    fleet.follow(&config, "bus = \"kafka://b:2\"\n[limits]\nregister = 7\n").unwrap();
    fleet.restart(Some("orders"), Some(1)).await.unwrap();
    let began: Vec<String> = std::fs::read_to_string(folder.path().join("told.orders"))
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("bus") || line.starts_with("register"))
        .map(str::to_owned)
        .collect();
    let (bus, old, new) = ("bus = \"kafka://b:1\"", "register = 1", "register = 7");
    assert_eq!(began, [bus, old, bus, old, bus, new]);
    fleet.stop().await;
}

#[test]
fn a_changed_file_is_handed_on_only_if_processes_can_share_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rtcd.toml");
    let engines = "bus = \"kafka://b:1\"\ndatabase = \"mysql://root@m:1/rtc_{service}\"\n";
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(&format!("{engines}cache = \"redis://r:1\"\n"));
    let again = file.clone();
    let reread: Reread = Box::new(move || Config::load(Some(&again), &[]));
    let (text, file) = (super::read(Some(&file)), Some(file.clone()));
    let mut followed = Followed { text, candidate: None, file, reread, replicas: 2 };
    assert!(followed.look(Attention::Asked).is_none(), "nothing is new");
    write(engines);
    let error = followed.look(Attention::Asked).unwrap().unwrap_err();
    assert!(error.code() == "RTD034" && error.to_string().contains("cache ="), "{error}");
    assert!(followed.look(Attention::Asked).is_none(), "said once");
    write("bus = ");
    assert_eq!(followed.look(Attention::Asked).unwrap().unwrap_err().code(), "RTD001");
    write(&format!("{engines}cache = \"redis://r:1\"\n[limits]\nregister = 1\n"));
    assert!(followed.look(Attention::Routine).is_none(), "somebody may still be writing");
    let config = followed.look(Attention::Routine).unwrap().unwrap();
    assert_eq!(config.limits["register"], 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_to_stop_does_not_wait_for_a_file_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    // Whoever reads it waits for somebody who writes.
    let file = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let fleet = fleet(folder.path(), SERVE);
    let reread: Reread = Box::new(|| Config::load(None, &[]));
    let followed = Followed { text: None, candidate: None, file: Some(file.clone()), reread, replicas: 2 };
    let (stop, hangup) = (CancellationToken::new(), signal(SignalKind::hangup()).unwrap());
    let following = tokio::spawn(follow(followed, fleet, hangup, stop.clone()));
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || tell.send(std::fs::OpenOptions::new().write(true).open(file)));
    // There is a reader by now, and nothing comes.
    let writer = told.await.unwrap().unwrap();
    tokio::time::resume();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), following).await.expect("at once").unwrap();
    drop(writer);
}

#[tokio::test]
async fn a_process_whose_supervisor_is_gone_gives_up_its_start() {
    let folder = tempfile::tempdir().unwrap();
    // It takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = format!("mysql://root@{}/rtc_{{service}}", mute.local_addr().unwrap());
    let sections = [
        ("database", json!(database)),
        ("server.api_bind", json!("127.0.0.1:0")),
        ("server.admin_bind", json!("127.0.0.1:0")),
    ];
    let config = Config::for_tests(folder.path(), &sections).unwrap();
    let (line, theirs) = Line::open(None).unwrap();
    let (supervisor, _) = Supervisor::on(UnixStream::from(theirs)).unwrap();
    let options = Options { config, selection: Selection::everything(), listener: None };
    let serving = crate::cli::serve(options, Some(supervisor));
    let leaving = async {
        // Once it waits for the database.
        mute.set_nonblocking(true).unwrap();
        let mute = tokio::net::TcpListener::from_std(mute).unwrap();
        let connection = mute.accept().await.unwrap();
        drop(line);
        (mute, connection)
    };
    let (served, (mute, connection)) = tokio::join!(serving, leaving);
    served.unwrap();
    // What still waits for an answer waits no longer.
    drop((mute, connection));
}
