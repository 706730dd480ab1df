//! What every event bus must do. Keys, groups and payloads carry a name of the caller's, so that suites may use
//! brokers one after the other: what others published before passes by. Nobody else may publish meanwhile, for some of
//! it is about where a partition ends.
//!
//! [`all`] holds for every adapter. [`shared`] holds for those whose groups have members in several processes; the
//! embedded log serves one process, and each of its groups has one member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, Delivery, Error, MESSAGE_BYTES_MAX, Message, Start, Subscription, partition_of};
use contracts::topics::{self, Topic};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// After which something that was promised counts as not kept.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a member waits for a signal before it looks.
const LOOK: Duration = Duration::from_millis(200);

/// Everything that every adapter must do. `open` opens the same bus again; what it opened before is dropped first.
pub async fn all(open: impl AsyncFn() -> Arc<dyn Bus>, name: &str) {
    all_but_times(&open, name).await;
    reading_begins_at_a_time(open().await.as_ref(), name).await;
}

/// Where brokers cannot say what was published since when. Each topic has one suite at a time.
pub async fn all_but_times(open: impl AsyncFn() -> Arc<dyn Bus>, name: &str) {
    let shared = open().await;
    let bus = shared.as_ref();
    tokio::join!(
        a_key_keeps_its_order_while_many_publish(&shared, name),
        async {
            what_is_answered_can_be_read(bus, name).await;
            reading_begins_at_an_offset(bus, name).await;
        },
        async {
            what_is_not_committed_comes_again(bus, name).await;
            a_rewind_goes_back_to_what_is_committed_and_no_further(bus, name).await;
            what_is_too_large_is_refused_and_nothing_with_it_is_taken(bus, name).await;
        },
        async {
            groups_do_not_disturb_each_other(bus, name).await;
            partitions_tell_what_they_hold(bus, name).await;
        },
        a_batch_may_be_large(bus, name),
        text_of_any_kind_and_size_arrives_as_it_was(bus, name),
        lag_counts_what_is_left(bus, name),
        an_unknown_topic_is_refused(bus, name),
    );
    drop(shared);
    offsets_and_messages_survive(open, name).await;
}

/// What holds for groups with several members.
pub async fn shared(bus: &Arc<dyn Bus>, name: &str) {
    members_share_the_partitions_of_a_group(bus.as_ref(), name).await;
    members_come_and_go_amid_batches_and_nothing_is_lost(bus, name).await;
    what_a_member_had_not_committed_goes_to_another(bus.as_ref(), name).await;
}

fn message(topic: Topic, run: &str, key: &str, n: usize) -> Message {
    Message {
        topic: Arc::from(topic.name),
        key: format!("{run}/{key}"),
        payload: format!("{run}|{key}|{n}").into(),
    }
}

/// `count` messages of seven keys, numbered from `from`.
fn messages(topic: Topic, run: &str, from: usize, count: usize) -> Vec<Message> {
    (from..from + count).map(|n| message(topic, run, &format!("k{}", n % 7), n)).collect()
}

/// Key and number, where the message is of this run.
fn of_run<'a>(run: &str, delivery: &'a Delivery) -> Option<(&'a str, usize)> {
    let mut parts = delivery.payload.split('|');
    let (of, key, n) = (parts.next()?, parts.next()?, parts.next()?);
    (of == run).then_some((key, n.parse().ok()?))
}

struct Joined {
    member: Box<dyn Subscription>,
    wake: Arc<Notify>,
}

impl Joined {
    async fn new(bus: &dyn Bus, group: &str, topics: &[Topic]) -> Self {
        let wake = Arc::new(Notify::new());
        let member = bus.subscribe(group, topics, wake.clone()).await.expect("joined");
        Self { member, wake }
    }

    /// The next batch of any run.
    async fn next(&mut self, max: usize) -> Vec<Delivery> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let batch = self.member.poll(max).await.expect("polled");
            if !batch.is_empty() {
                return batch;
            }
            assert!(Instant::now() < deadline, "nothing was delivered for {PATIENCE:?}");
            let _ = timeout(LOOK, self.wake.notified()).await;
        }
    }

    /// Takes and commits until `count` messages of the run were there.
    async fn take(&mut self, run: &str, count: usize) -> Vec<(String, usize)> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let batch = self.next(256).await;
            taken.extend(numbers(run, &batch));
            self.member.commit(&batch).await.expect("committed");
        }
        taken
    }

    /// Takes and commits all that is there already.
    async fn pass_history(&mut self, bus: &dyn Bus, run: &str, topic: Topic) {
        let everywhere = (0..100).map(|n| message(topic, run, &format!("k{n}"), n)).collect();
        bus.publish(everywhere).await.expect("published");
        self.take(run, 100).await;
    }

    /// Goes on until what it finds is of the run, and commits what came before it.
    async fn find(&mut self, run: &str, count: usize) -> Vec<Delivery> {
        let mut found: Vec<Delivery> = Vec::new();
        while found.len() < count {
            let (ours, others): (Vec<_>, Vec<_>) =
                self.next(10_000).await.into_iter().partition(|delivery| of_run(run, delivery).is_some());
            // Commits say that all before is handled too: only others' messages that come before ours.
            let before = |other: &Delivery| {
                let same = |one: &&Delivery| one.topic == other.topic && one.partition == other.partition;
                found.iter().chain(&ours).filter(same).all(|one| one.offset > other.offset)
            };
            let earlier: Vec<Delivery> = others.iter().filter(|other| before(other)).cloned().collect();
            self.member.commit(&earlier).await.expect("committed");
            found.extend(ours);
        }
        found
    }
}

fn numbers(run: &str, batch: &[Delivery]) -> Vec<(String, usize)> {
    batch.iter().filter_map(|one| of_run(run, one)).map(|(key, n)| (key.to_owned(), n)).collect()
}

fn places(batch: &[Delivery]) -> BTreeSet<(Arc<str>, u32, i64)> {
    batch.iter().map(|one| (one.topic.clone(), one.partition, one.offset)).collect()
}

#[track_caller]
fn each_key_rises(taken: &[(String, usize)]) {
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, n) in taken {
        if let Some(before) = last.insert(key, *n) {
            assert!(before < *n, "{n} of {key} came after {before}");
        }
    }
}

/// The first time that each message came, in that order.
fn firsts(taken: &[(String, usize)]) -> Vec<(String, usize)> {
    let mut seen = BTreeSet::new();
    taken.iter().filter(|one| seen.insert((*one).clone())).cloned().collect()
}

pub async fn a_key_keeps_its_order_while_many_publish(bus: &Arc<dyn Bus>, name: &str) {
    let run = format!("{name}-order");
    let mut publishers = Vec::new();
    for publisher in 0..8 {
        let (bus, run) = (bus.clone(), run.clone());
        publishers.push(tokio::spawn(async move {
            for batch in 0..20 {
                let made = (batch * 25..(batch + 1) * 25)
                    .map(|n| message(topics::ORDERS, &run, &format!("p{publisher}-{}", n % 3), n));
                bus.publish(made.collect()).await.expect("published");
            }
        }));
    }
    let mut joined = Joined::new(bus.as_ref(), &run, &[topics::ORDERS]).await;
    let taken = joined.take(&run, 8 * 20 * 25).await;
    for publisher in publishers {
        publisher.await.expect("published all");
    }
    each_key_rises(&taken);
    assert_eq!(taken.len(), 8 * 20 * 25);
}

pub async fn what_is_answered_can_be_read(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-read");
    for n in 0..20 {
        let one = message(topics::PAYMENTS, &run, &format!("k{n}"), n);
        let partition = partition_of(&one.key, topics::PAYMENTS.partitions);
        let payload = one.payload.clone();
        let mut from = bus.offset_of("rtc.payments", partition, Start::Latest).await.expect("an offset");
        bus.publish(vec![one]).await.expect("published");
        let found = loop {
            let read = bus.read("rtc.payments", partition, from, 100).await.expect("read");
            from = read.last().unwrap_or_else(|| panic!("message {n} is not at offset {from}")).offset + 1;
            if let Some(found) = read.into_iter().find(|delivery| delivery.payload == payload) {
                break found;
            }
        };
        assert_eq!((&*found.topic, found.partition), ("rtc.payments", partition));
    }
}

pub async fn what_is_not_committed_comes_again(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-again");
    bus.publish(messages(topics::USERS, &run, 0, 50)).await.expect("published");
    let first = {
        let mut joined = Joined::new(bus, &run, &[topics::USERS]).await;
        let first = joined.find(&run, 50).await;
        joined.member.rewind().await.expect("rewound");
        let again = joined.find(&run, 50).await;
        assert_eq!(places(&first), places(&again));
        first
    };
    let mut successor = Joined::new(bus, &run, &[topics::USERS]).await;
    let again = successor.find(&run, 50).await;
    assert_eq!(places(&first), places(&again));
    each_key_rises(&numbers(&run, &again));
    successor.member.commit(&again).await.expect("committed");
}

pub async fn a_rewind_goes_back_to_what_is_committed_and_no_further(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-rewind");
    bus.publish(messages(topics::USERS, &run, 0, 60)).await.expect("published");
    let mut joined = Joined::new(bus, &run, &[topics::USERS]).await;
    let found = joined.find(&run, 60).await;
    let partition = found[0].partition;
    let mut of_one: Vec<Delivery> =
        found.iter().filter(|delivery| delivery.partition == partition).cloned().collect();
    of_one.sort_by_key(|delivery| delivery.offset);
    let handled = &of_one[..of_one.len() / 2 + 1];
    joined.member.commit(handled).await.expect("committed");
    joined.member.rewind().await.expect("rewound");
    let again = joined.find(&run, 60 - handled.len()).await;
    let expected: BTreeSet<_> = places(&found).difference(&places(handled)).cloned().collect();
    assert_eq!(places(&again), expected);
    // A second one in a row changes nothing.
    joined.member.rewind().await.expect("rewound");
    joined.member.rewind().await.expect("rewound");
    assert_eq!(places(&joined.find(&run, expected.len()).await), expected);
}

pub async fn groups_do_not_disturb_each_other(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-groups");
    let mut one = Joined::new(bus, &format!("{run}-1"), &[topics::CATALOG]).await;
    bus.publish(messages(topics::CATALOG, &run, 0, 40)).await.expect("published");
    assert_eq!(one.take(&run, 40).await.len(), 40);
    let mut two = Joined::new(bus, &format!("{run}-2"), &[topics::CATALOG]).await;
    let taken = two.take(&run, 40).await;
    assert_eq!(taken.len(), 40);
    each_key_rises(&taken);
}

pub async fn a_batch_may_be_large(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-large");
    let mut joined = Joined::new(bus, &run, &[topics::INVENTORY]).await;
    bus.publish(Vec::new()).await.expect("nothing is published");
    bus.publish(messages(topics::INVENTORY, &run, 0, 10_000)).await.expect("published");
    let taken = joined.take(&run, 10_000).await;
    assert_eq!(taken.len(), 10_000);
    each_key_rises(&taken);
}

pub async fn text_of_any_kind_and_size_arrives_as_it_was(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-text");
    let mut joined = Joined::new(bus, &run, &[topics::INVENTORY_COMMANDS]).await;
    let fill = MESSAGE_BYTES_MAX - 4 * run.len() - 64;
    let texts = [
        "한국어 주문 — ÄÖÜ ß 🦀\u{0}\u{1f}\r\n\"\\".to_owned(),
        "[1.10, null, {}]".to_owned(),
        String::new(),
        "가".repeat(fill / 3),
        // Does not become smaller by compression.
        (0_u64..).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).take(fill / 17).collect(),
    ];
    let sent: Vec<Message> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| Message {
            payload: format!("{run}|열쇠-{n}|{n}|{text}").into(),
            ..message(topics::INVENTORY_COMMANDS, &run, &format!("열쇠-{n}"), n)
        })
        .collect();
    bus.publish(sent.clone()).await.expect("published");
    let mut found = joined.find(&run, texts.len()).await;
    found.sort_by_key(|delivery| of_run(&run, delivery).map(|(_, n)| n));
    for (sent, found) in sent.iter().zip(&found) {
        assert!(sent.payload == found.payload, "{} bytes arrive changed", sent.payload.len());
        assert_eq!(found.partition, partition_of(&sent.key, topics::INVENTORY_COMMANDS.partitions));
    }
}

pub async fn what_is_too_large_is_refused_and_nothing_with_it_is_taken(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-refused");
    let small = message(topics::USERS, &run, "k", 0);
    let large = Message { payload: "x".repeat(MESSAGE_BYTES_MAX + 1).into(), ..small.clone() };
    let partition = partition_of(&small.key, topics::USERS.partitions);
    let before = bus.offset_of("rtc.users", partition, Start::Latest).await.expect("an offset");
    let refused = bus.publish(vec![small.clone(), large, small.clone()]).await;
    assert!(matches!(&refused, Err(Error::Refused(reason)) if reason.contains("rtc.users")), "{refused:?}");
    bus.publish(vec![small]).await.expect("the next is not held up");
    let read = bus.read("rtc.users", partition, before, 10_000).await.expect("read");
    assert_eq!(read.iter().filter(|delivery| of_run(&run, delivery).is_some()).count(), 1);
}

async fn lag_of(bus: &dyn Bus, group: &str) -> (i64, i64) {
    let lags = bus.lag().await.expect("lag");
    let ours = lags.iter().filter(|lag| lag.group == group);
    ours.fold((0, 0), |(lag, apart), one| {
        assert!(one.committed <= one.end && one.lag >= 0, "{one:?}");
        (lag + one.lag, apart + one.end - one.committed)
    })
}

/// Commits may become durable a little later.
async fn lag_becomes(bus: &dyn Bus, group: &str, wanted: i64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (lag, apart) = lag_of(bus, group).await;
        if lag == wanted {
            assert!(apart >= lag, "{apart} offsets cannot hold {lag} messages");
            return;
        }
        assert!(Instant::now() < deadline, "the lag is {lag} and not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn lag_counts_what_is_left(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-lag");
    // One of each partition, so that the group has an offset everywhere.
    let mut first: BTreeMap<u32, Message> = BTreeMap::new();
    for n in 0..1_000 {
        let one = message(topics::PAYMENTS_COMMANDS, &run, &format!("k{n}"), n);
        first.entry(partition_of(&one.key, topics::PAYMENTS_COMMANDS.partitions)).or_insert(one);
    }
    let everywhere = first.len();
    bus.publish(first.into_values().collect()).await.expect("published");
    let mut joined = Joined::new(bus, &run, &[topics::PAYMENTS_COMMANDS]).await;
    joined.take(&run, everywhere).await;
    lag_becomes(bus, &run, 0).await;
    bus.publish(messages(topics::PAYMENTS_COMMANDS, &run, 0, 25)).await.expect("published");
    lag_becomes(bus, &run, 25).await;
    let found = joined.find(&run, 25).await;
    lag_becomes(bus, &run, 25).await;
    let partition = found[0].partition;
    let handled: Vec<Delivery> =
        found.iter().filter(|delivery| delivery.partition == partition).cloned().collect();
    joined.member.commit(&handled).await.expect("committed");
    lag_becomes(bus, &run, 25 - handled.len() as i64).await;
    joined.member.commit(&found).await.expect("committed");
    lag_becomes(bus, &run, 0).await;
    // Who is gone still has a lag.
    drop(joined);
    bus.publish(messages(topics::PAYMENTS_COMMANDS, &run, 25, 5)).await.expect("published");
    lag_becomes(bus, &run, 5).await;
}

/// Thirty messages of one partition, read bit by bit.
async fn thirty(bus: &dyn Bus, run: &str) -> Vec<Delivery> {
    let one = |n| message(topics::PAYMENTS, run, "same", n);
    let partition = partition_of(&one(0).key, topics::PAYMENTS.partitions);
    let mut next = bus.offset_of("rtc.payments", partition, Start::Latest).await.expect("an offset");
    bus.publish((0..30).map(one).collect()).await.expect("published");
    let mut all: Vec<Delivery> = Vec::new();
    while all.len() < 30 {
        let read = bus.read("rtc.payments", partition, next, 7).await.expect("read");
        assert!(!read.is_empty() && read.len() <= 7);
        next = read.last().map_or(next, |delivery| delivery.offset + 1);
        all.extend(read.into_iter().filter(|delivery| of_run(run, delivery).is_some()));
    }
    assert!(all.iter().map(|delivery| of_run(run, delivery)).eq((0..30).map(|n| Some(("same", n)))));
    all
}

pub async fn reading_begins_at_an_offset(bus: &dyn Bus, name: &str) {
    let all = thirty(bus, &format!("{name}-offsets")).await;
    let (partition, next) = (all[0].partition, all[29].offset + 1);
    let read = async |offset, limit| bus.read("rtc.payments", partition, offset, limit).await.expect("read");
    assert!(read(next, 7).await.is_empty());
    let middle = read(all[13].offset, 1).await;
    assert_eq!((middle.len(), middle[0].offset), (1, all[13].offset));
    assert!(read(all[13].offset, 0).await.is_empty());
    let offset = async |start| bus.offset_of("rtc.payments", partition, start).await.expect("an offset");
    assert_eq!(offset(Start::Latest).await, next);
    assert!(offset(Start::Earliest).await <= all[0].offset);
}

pub async fn reading_begins_at_a_time(bus: &dyn Bus, name: &str) {
    let all = thirty(bus, &format!("{name}-times")).await;
    let partition = all[0].partition;
    let at = async |at| bus.offset_of("rtc.payments", partition, Start::At(at)).await.expect("an offset");
    let (first_at, last_at) = (all[0].published_at, all[29].published_at);
    assert!(at(first_at).await <= all[0].offset);
    assert!(at(last_at).await <= all[29].offset);
    let earlier = at(first_at.minus(Duration::from_secs(86_400))).await;
    assert!(earlier <= at(first_at).await);
    assert_eq!(at(last_at.plus(Duration::from_secs(3_600))).await, all[29].offset + 1);
}

pub async fn partitions_tell_what_they_hold(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-partitions");
    let count = async || -> i64 {
        let all = bus.partitions("rtc.catalog").await.expect("partitions");
        assert!(all.iter().map(|info| info.partition).eq(0..topics::CATALOG.partitions));
        for info in &all {
            assert!(info.begin <= info.end && info.messages <= info.end - info.begin, "{info:?}");
            assert_eq!(info.messages > 0, info.first_at.is_some(), "{info:?}");
            assert!(info.first_at <= info.last_at, "{info:?}");
        }
        all.iter().map(|info| info.messages).sum()
    };
    let before = count().await;
    bus.publish(messages(topics::CATALOG, &run, 0, 12)).await.expect("published");
    assert_eq!(count().await, before + 12);
}

pub async fn an_unknown_topic_is_refused(bus: &dyn Bus, name: &str) {
    let stray = Message { topic: Arc::from("rtc.nowhere"), ..message(topics::ORDERS, name, "k", 1) };
    let is_unknown = |error: Option<Error>| matches!(error, Some(Error::UnknownTopic(_)));
    assert!(is_unknown(bus.publish(vec![stray]).await.err()));
    assert!(is_unknown(bus.partitions("rtc.nowhere").await.err()));
    assert!(is_unknown(bus.read("rtc.nowhere", 0, 0, 1).await.err()));
    assert!(is_unknown(bus.offset_of("rtc.nowhere", 0, Start::Latest).await.err()));
}

pub async fn offsets_and_messages_survive(open: impl AsyncFn() -> Arc<dyn Bus>, name: &str) {
    let run = format!("{name}-survive");
    {
        let bus = open().await;
        let mut joined = Joined::new(bus.as_ref(), &run, &[topics::ORDERS]).await;
        bus.publish(messages(topics::ORDERS, &run, 0, 30)).await.expect("published");
        joined.take(&run, 30).await;
        bus.publish(messages(topics::ORDERS, &run, 30, 30)).await.expect("published");
        joined.find(&run, 30).await;
    }
    let bus = open().await;
    let mut joined = Joined::new(bus.as_ref(), &run, &[topics::ORDERS]).await;
    let mut taken = joined.take(&run, 30).await;
    each_key_rises(&taken);
    taken.sort_by_key(|(_, n)| *n);
    assert!(taken.iter().map(|(_, n)| *n).eq(30..60), "{taken:?}");
}

/// Turns members, each as often as it is signalled, until `done` says so. Commits every batch.
async fn turn(members: &mut [Joined], run: &str, mut done: impl FnMut(usize, Vec<(String, usize)>) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (index, joined) in members.iter_mut().enumerate() {
            let batch = joined.member.poll(64).await.expect("polled");
            let numbers = numbers(run, &batch);
            joined.member.commit(&batch).await.expect("committed");
            if done(index, numbers) {
                return;
            }
        }
        assert!(Instant::now() < deadline, "it is not done after {PATIENCE:?}");
        let _ = timeout(Duration::from_millis(20), members[0].wake.notified()).await;
    }
}

pub async fn members_share_the_partitions_of_a_group(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-share");
    let mut members = Vec::new();
    for _ in 0..2 {
        members.push(Joined::new(bus, &run, &[topics::ORDERS]).await);
    }
    // Until both have work, messages of many keys are published a few at a time.
    let mut by_member = [0; 2];
    let (mut published, mut taken) = (0, Vec::new());
    while by_member.contains(&0) || taken.is_empty() {
        let batch =
            (published..published + 40).map(|n| message(topics::ORDERS, &run, &format!("k{}", n % 40), n));
        bus.publish(batch.collect()).await.expect("published");
        published += 40;
        by_member = [0; 2];
        turn(&mut members, &run, |index, numbers| {
            by_member[index] += numbers.len();
            taken.extend(numbers);
            firsts(&taken).len() == published
        })
        .await;
        assert!(published < 40_000, "one member has all the work");
    }
    each_key_rises(&firsts(&taken));
}

pub async fn members_come_and_go_amid_batches_and_nothing_is_lost(bus: &Arc<dyn Bus>, name: &str) {
    let run = format!("{name}-come-and-go");
    /// How often the group changes: brokers take their time over each.
    const CHANGES: usize = 7;
    let total = 6_000;
    // What others left in the topic is out of the way before the turmoil begins.
    let mut first = Joined::new(bus.as_ref(), &run, &[topics::ORDERS]).await;
    first.pass_history(bus.as_ref(), &format!("{run}-before"), topics::ORDERS).await;
    let mut members = vec![first];
    let publisher = {
        let (bus, run) = (bus.clone(), run.clone());
        tokio::spawn(async move {
            for from in (0..total).step_by(50) {
                bus.publish(messages(topics::ORDERS, &run, from, 50)).await.expect("published");
            }
        })
    };
    let mut taken: Vec<(String, usize)> = Vec::new();
    let mut seen = BTreeSet::new();
    let (mut round, mut changes) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while seen.len() < total {
        assert!(Instant::now() < deadline, "{} of {total} came", seen.len());
        let index = round % members.len();
        let batch = members[index].member.poll(32).await.expect("polled");
        let numbers = numbers(&run, &batch);
        // Now and then somebody joins, leaves before he commits, or fails with what he has.
        match round % 41 {
            7 if members.len() < 4 && changes < CHANGES => {
                changes += 1;
                members[index].member.commit(&batch).await.expect("committed");
                members.push(Joined::new(bus.as_ref(), &run, &[topics::ORDERS]).await);
            }
            23 if members.len() > 1 && !batch.is_empty() && changes < CHANGES => {
                changes += 1;
                members.swap_remove(index);
            }
            31 => members[index].member.rewind().await.expect("rewound"),
            _ => members[index].member.commit(&batch).await.expect("committed"),
        }
        seen.extend(numbers.iter().cloned());
        taken.extend(numbers);
        if batch.is_empty() {
            let index = round % members.len();
            let _ = timeout(Duration::from_millis(5), members[index].wake.notified()).await;
        }
        round += 1;
    }
    publisher.await.expect("published all");
    each_key_rises(&firsts(&taken));
}

pub async fn what_a_member_had_not_committed_goes_to_another(bus: &dyn Bus, name: &str) {
    let run = format!("{name}-heir");
    let mut lost = Joined::new(bus, &run, &[topics::CATALOG]).await;
    bus.publish(messages(topics::CATALOG, &run, 0, 40)).await.expect("published");
    let had = lost.find(&run, 40).await;
    drop(lost);
    let mut heir = Joined::new(bus, &run, &[topics::CATALOG]).await;
    let deadline = Instant::now() + PATIENCE;
    let again = timeout_at(deadline, heir.find(&run, 40)).await.expect("an heir has the messages");
    assert_eq!(places(&had), places(&again));
    each_key_rises(&numbers(&run, &again));
}
