//! Consumer groups whose members are processes: how long a group rests when one of them dies, stands still or leaves.
//!
//! Neither broker does all of it (docs/ENGINES.md, groups): A never takes a silent member for dead, B waits for good for
//! a leader that leaves while another joins. What each can is shown on it; the figures are printed.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Bus, Message};
use bus_kafka::Options;
use contracts::topics;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::support::{CONVERGES_WITHIN, Engine, Engines, SESSION};

/// A group that hands out what comes for so long has settled.
const STEADY_FOR: Duration = Duration::from_secs(5);
const LATE: Duration = Duration::from_millis(2_500);
const KEYS: usize = 16;

/// What a member of a group is told by its environment: where, and which group.
const MEMBER_URL: &str = "GROUPS_MEMBER_URL";
const MEMBER_GROUP: &str = "GROUPS_MEMBER_GROUP";

#[expect(clippy::disallowed_methods, reason = "what a test tells its own child is no configuration")]
fn told(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// This process as a member, until its input ends: then it leaves in good order. Says the number of every message that
/// it was given and could commit.
async fn be_a_member(url: &str, group: &str) {
    let bus = bus_kafka::open(url, Options::default()).await.expect("a broker");
    let wake = Arc::new(Notify::new());
    let mut member = bus.subscribe(group, &[topics::ORDERS], wake.clone()).await.expect("a group");
    let mut end_of_input = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    loop {
        let batch = member.poll(64).await.expect("messages");
        for delivery in &batch {
            println!("given {}", delivery.payload);
        }
        member.commit(&batch).await.expect("a commit");
        if batch.is_empty() {
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                _ = &mut end_of_input => break,
            }
        }
    }
}

/// When each message was published, and how long after that somebody was given it.
#[derive(Default)]
struct Seen {
    published: Vec<Instant>,
    given: BTreeMap<usize, Duration>,
    by_member: BTreeMap<u32, usize>,
}

impl Seen {
    /// The age of the oldest message that nobody was given.
    fn lateness(&self) -> Duration {
        let missing = self.published.iter().enumerate().find(|(n, _)| !self.given.contains_key(n));
        missing.map_or(Duration::ZERO, |(_, at)| at.elapsed())
    }

    fn slowest_since(&self, from: usize) -> Duration {
        self.given.range(from..).map(|(_, late)| *late).max().unwrap_or_default()
    }
}

struct Member {
    number: u32,
    process: Child,
}

impl Member {
    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("a running member"), signal).expect("a member that takes signals");
    }

    async fn killed(mut self) {
        self.process.kill().await.expect("a member that can be killed");
    }

    async fn leaves(mut self) {
        drop(self.process.stdin.take());
        let ended = tokio::time::timeout(Duration::from_secs(20), self.process.wait()).await;
        assert!(ended.expect("an end within 20 s").expect("a status").success());
    }
}

/// One group on a broker, and a stream of messages for it.
struct Group {
    name: String,
    url: String,
    test: &'static str,
    bus: Arc<dyn Bus>,
    seen: Arc<Mutex<Seen>>,
    members: u32,
}

impl Group {
    async fn new(url: &str, test: &'static str, what: &str) -> Self {
        let bus = bus_kafka::open(url, Options::default()).await.expect("a broker");
        let name = format!("{what}{}", std::process::id());
        Self { name, url: url.to_owned(), test, bus, seen: Arc::default(), members: 0 }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics with it")
    }

    fn join(&mut self) -> Member {
        self.members += 1;
        let number = self.members;
        let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
        command.args(["--exact", self.test, "--nocapture"]).kill_on_drop(true);
        command.env(MEMBER_URL, &self.url).env(MEMBER_GROUP, &self.name);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a member");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (seen, run) = (self.seen.clone(), self.name.clone());
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let words: Vec<&str> = line.split([' ', '|']).collect();
                if let [.., "given", of, number_of_message] = words[..]
                    && of == run
                    && let Ok(n) = number_of_message.parse::<usize>()
                {
                    let mut seen = seen.lock().expect("nobody panics with it");
                    let late = seen.published[n].elapsed();
                    seen.given.entry(n).or_insert(late);
                    *seen.by_member.entry(number).or_default() += 1;
                }
            }
        });
        Member { number, process }
    }

    /// A message of every key.
    async fn publish(&self) {
        let mut messages = Vec::new();
        for key in 0..KEYS {
            let mut seen = self.seen();
            let n = seen.published.len();
            seen.published.push(Instant::now());
            messages.push(Message {
                topic: Arc::from(topics::ORDERS.name),
                key: format!("{}-{key}", self.name),
                payload: format!("{}|{n}", self.name).into(),
            });
        }
        self.bus.publish(messages).await.expect("published");
    }

    async fn publish_for(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.publish().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Publishes until nothing has been late for a while, and each of `working` has been given something.
    async fn settles(&self, working: &[&Member]) {
        let (begun, mut steady_since) = (Instant::now(), Instant::now());
        self.seen().by_member.clear();
        loop {
            self.publish().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (late, idle) = {
                let seen = self.seen();
                (seen.lateness(), working.iter().any(|one| !seen.by_member.contains_key(&one.number)))
            };
            if late > LATE || idle {
                steady_since = Instant::now();
            }
            if steady_since.elapsed() > STEADY_FOR {
                return;
            }
            let rested = begun.elapsed();
            assert!(rested < CONVERGES_WITHIN, "{} rests: {late:?} late after {rested:?}", self.name);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    /// The only member dies, another comes at once.
    KilledAndReplaced,
    /// One of two dies, nobody comes.
    OneOfTwoKilled,
    /// It dies in the middle of joining; the other stays.
    KilledWhileJoining,
    /// One of two stands still for longer than a session, and goes on.
    OneOfTwoPaused,
    /// The first of a group leaves in the middle of joining, another comes.
    LeftWhileJoining,
    /// One after the other leaves, and another comes in its place.
    Rolled,
}

/// Answers how late the latest message of all after it was.
async fn suffers(url: &str, test: &'static str, fate: Fate) -> Duration {
    let mut group = Group::new(url, test, &format!("{fate:?}")).await;
    // It has asked to join, and has not been given anything.
    let moment = Duration::from_millis(2_000);
    let first = group.join();
    let from;
    let mut left = Vec::new();
    if !matches!(fate, Fate::LeftWhileJoining) {
        group.settles(&[&first]).await;
    }
    match fate {
        Fate::KilledAndReplaced => {
            from = group.seen().published.len();
            first.killed().await;
            left.push(group.join());
        }
        Fate::OneOfTwoKilled => {
            let second = group.join();
            group.settles(&[&first, &second]).await;
            from = group.seen().published.len();
            first.killed().await;
            left.push(second);
        }
        Fate::KilledWhileJoining => {
            let second = group.join();
            from = group.seen().published.len();
            group.publish_for(moment).await;
            second.killed().await;
            left.push(first);
        }
        Fate::OneOfTwoPaused => {
            let second = group.join();
            group.settles(&[&first, &second]).await;
            from = group.seen().published.len();
            second.signal(Signal::STOP);
            group.publish_for(SESSION * 2).await;
            second.signal(Signal::CONT);
            left.extend([first, second]);
        }
        Fate::LeftWhileJoining => {
            group.publish_for(moment).await;
            first.leaves().await;
            from = group.seen().published.len();
            left.push(group.join());
        }
        Fate::Rolled => {
            let second = group.join();
            group.settles(&[&first, &second]).await;
            from = group.seen().published.len();
            first.leaves().await;
            let third = group.join();
            second.leaves().await;
            left.extend([third, group.join()]);
        }
    }
    let working: Vec<&Member> = left.iter().collect();
    group.settles(&working).await;
    group.seen().slowest_since(from)
}

/// Each fate in a group of its own, all at once.
async fn goes_on_after(broker: Engine, test: &'static str, fates: &[Fate]) {
    if let (Some(url), Some(group)) = (told(MEMBER_URL), told(MEMBER_GROUP)) {
        return be_a_member(&url, &group).await;
    }
    let engines = Engines::start(&[broker]).await;
    let url =
        format!("{}?fetch_wait_ms=20&session_timeout_ms={}", engines.kafka(broker), SESSION.as_millis());
    let all = fates.iter().map(|fate| async { (*fate, suffers(&url, test, *fate).await) });
    for (fate, rested) in futures_util::future::join_all(all).await {
        println!("{broker:?}, {fate:?}: the group rested for {rested:?}, sessions last {SESSION:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_after_each_kind_of_death_on_broker_b() {
    let test = "groups::a_group_goes_on_after_each_kind_of_death_on_broker_b";
    let fates = [
        Fate::KilledAndReplaced,
        Fate::OneOfTwoKilled,
        Fate::KilledWhileJoining,
        Fate::OneOfTwoPaused,
        Fate::LeftWhileJoining,
    ];
    goes_on_after(Engine::KafkaB, test, &fates).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_goes_on_when_members_leave_at_any_time_on_broker_a() {
    let test = "groups::a_group_goes_on_when_members_leave_at_any_time_on_broker_a";
    goes_on_after(Engine::KafkaA, test, &[Fate::LeftWhileJoining, Fate::Rolled]).await;
}
