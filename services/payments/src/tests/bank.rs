//! The bank alone: the ledger under any sequence of operations, and holds that race on a real file.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::UserId;
use db::{Connection, Db, Engine, Job, Stats, Verdict, Wish};
use kernel::{Clock, IdSource, ManualClock};
use proptest::prelude::*;
use testkit::{House, NOON};

use super::krw;
use crate::bank::{Bank, HoldRequest, MockBank, OnHold, Refusal, accounts, mock_terms};
use crate::{PaymentsConfig, oracle};

struct Counter {
    db: Db,
    bank: MockBank,
    clock: Arc<ManualClock>,
    ids: IdSource,
}

impl Counter {
    async fn on(db: Db) -> Self {
        db.migrate(crate::MIGRATIONS).await.unwrap();
        let clock = Arc::new(ManualClock::at(NOON));
        let ids = IdSource::new(clock.clone(), 1);
        let config = PaymentsConfig { fee_basis_points: 250, ..PaymentsConfig::default() };
        let bank = MockBank::new(db.clone(), clock.clone(), ids.clone(), mock_terms(&config));
        Self { db, bank, clock, ids }
    }

    async fn account(&self, owner: UserId, minor: i64) -> String {
        let (now, key) = (self.clock.now(), format!("deposit:{}", self.ids.uuid()));
        self.db
            .write(move |tx| -> kernel::Result<String> {
                let account = accounts::open(tx, owner, krw(0).currency, None, now)?;
                if minor > 0 {
                    accounts::deposit(tx, &key, &account, krw(minor), now)?;
                }
                Ok(account.number)
            })
            .await
            .unwrap()
    }

    async fn available(&self, number: &str) -> (i64, i64) {
        let number = number.to_owned();
        let account = self.db.read(move |tx| accounts::find(tx, &number)).await.unwrap().unwrap();
        (account.available, account.held)
    }

    async fn assert_sound(&self) {
        for verdict in oracle::verdicts(&self.db).await.unwrap() {
            assert!(verdict.holds(), "{}: {:#?}", verdict.id, verdict.violations);
        }
    }
}

fn ask(key: &str, owner: UserId, minor: i64) -> HoldRequest {
    HoldRequest {
        key: format!("{key}:hold"),
        hold_key: key.to_owned(),
        owner,
        account: None,
        amount: krw(minor),
    }
}

fn on(key: &str, action: &str, amount_minor: Option<i64>) -> OnHold {
    OnHold { key: format!("{key}:{action}"), hold_key: key.to_owned(), amount_minor }
}

/// Has what each command wants read ahead, as where several share a transaction.
struct Farsighted(Arc<dyn Engine>);

struct Foreseen(Box<dyn Job>);

impl Job for Foreseen {
    fn run(&mut self, connection: &mut dyn Connection) -> Verdict {
        // Who is alone with its wish looks for itself: two have the same.
        let wishes = [self.0.wish(), self.0.wish()].into_iter().flatten().collect();
        Wish::look(wishes, connection).unwrap();
        self.0.run(connection)
    }

    fn finish(self: Box<Self>, commit: Result<(), db::Error>) {
        self.0.finish(commit);
    }
}

impl Engine for Farsighted {
    fn write(&self, job: Box<dyn Job>) {
        self.0.write(Box::new(Foreseen(job)));
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.0.write_lazily(job);
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), db::Error> {
        self.0.read(query)
    }

    fn reads_inline(&self) -> bool {
        self.0.reads_inline()
    }

    fn is_commit_ordered(&self) -> bool {
        self.0.is_commit_ordered()
    }

    fn stats(&self) -> Stats {
        self.0.stats()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holds_at_once_never_overdraw_an_account_on_a_real_file() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Counter::on(Db::open_sqlite(&directory.path().join("payments.db")).unwrap()).await;
    let owner = House::user(1);
    let number = counter.account(owner, 1_000).await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..300 {
        let bank = counter.bank.clone();
        tasks.spawn(async move { bank.hold(ask(&format!("k{n}"), owner, 10)).await.unwrap().result });
    }
    let results = tasks.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 100);
    assert!(results.iter().all(|result| result.is_ok() || *result == Err(Refusal::InsufficientFunds)));
    assert_eq!(counter.available(&number).await, (0, 1_000));
    counter.assert_sound().await;
    assert!(counter.db.stats().commits < counter.db.stats().commands, "commits are shared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_key_at_once_has_one_effect() {
    let directory = tempfile::tempdir().unwrap();
    let counter = Counter::on(Db::open_sqlite(&directory.path().join("payments.db")).unwrap()).await;
    let owner = House::user(1);
    let number = counter.account(owner, 1_000).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let bank = counter.bank.clone();
        tasks.spawn(async move {
            let held = bank.hold(ask("k", owner, 300)).await.unwrap().result;
            let taken = bank.capture(on("k", "capture", Some(200))).await.unwrap().result;
            (held, taken.map(|done| done.amount_minor))
        });
    }
    let results = tasks.join_all().await;
    assert!(results.iter().all(|(held, taken)| *held == results[0].0 && *taken == Ok(200)));
    assert_eq!(counter.available(&number).await, (800, 0));
    counter.assert_sound().await;
}

#[tokio::test]
async fn a_key_that_is_used_for_something_else_is_refused() {
    let counter = Counter::on(Db::in_memory().unwrap()).await;
    let owner = House::user(1);
    counter.account(owner, 1_000).await;
    let bank = &counter.bank;
    assert!(bank.hold(ask("k", owner, 300)).await.unwrap().result.is_ok());
    let again = bank.hold(ask("k", owner, 301)).await.unwrap();
    assert_eq!(again.result, Err(Refusal::KeyReused));
    let other = HoldRequest { key: "other".to_owned(), ..ask("k", owner, 300) };
    assert_eq!(bank.hold(other).await.unwrap().result, Err(Refusal::HoldConflict));
    assert!(bank.hold(ask("k", owner, 300)).await.unwrap().replayed);
    assert_eq!(bank.status("k:hold").await.unwrap().unwrap().result.unwrap().amount_minor, 300);
    assert_eq!(bank.status("never").await.unwrap(), None);
    counter.assert_sound().await;
}

#[tokio::test]
async fn a_part_is_captured_the_rest_is_free_and_refunds_stop_at_what_was_captured() {
    let counter = Counter::on(Db::in_memory().unwrap()).await;
    let owner = House::user(1);
    let number = counter.account(owner, 1_000).await;
    let bank = &counter.bank;
    bank.hold(ask("k", owner, 500)).await.unwrap().result.unwrap();
    let refusal = bank.capture(on("k", "too-much", Some(501))).await.unwrap().result;
    assert_eq!(refusal, Err(Refusal::AmountTooLarge));
    bank.capture(on("k", "capture", Some(400))).await.unwrap().result.unwrap();
    assert_eq!(counter.available(&number).await, (600, 0));
    let twice = bank.capture(on("k", "again", Some(100))).await.unwrap().result;
    assert_eq!(twice, Err(Refusal::HoldCaptured));
    bank.refund(on("k", "refund-1", Some(300))).await.unwrap().result.unwrap();
    let refusal = bank.refund(on("k", "refund-2", Some(101))).await.unwrap().result;
    assert_eq!(refusal, Err(Refusal::AmountTooLarge));
    bank.refund(on("k", "refund-3", None)).await.unwrap().result.unwrap();
    assert_eq!(counter.available(&number).await, (1_000, 0));
    counter.assert_sound().await;
}

#[tokio::test]
async fn a_release_that_overtakes_its_hold_stops_it() {
    let counter = Counter::on(Db::in_memory().unwrap()).await;
    let owner = House::user(1);
    let number = counter.account(owner, 1_000).await;
    assert!(counter.bank.release(on("k", "release", None)).await.unwrap().result.is_ok());
    let late = counter.bank.hold(ask("k", owner, 500)).await.unwrap().result;
    assert_eq!(late, Err(Refusal::HoldReleased));
    assert_eq!(counter.available(&number).await, (1_000, 0));
    counter.assert_sound().await;
}

#[derive(Debug, Clone)]
enum Act {
    Hold(u8, i64),
    Capture(u8, Option<i64>, u8),
    Release(u8),
    Refund(u8, Option<i64>, u8),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let part = || proptest::option::of(-1..600_i64);
    prop_oneof![
        (0..6_u8, -1..600_i64).prop_map(|(key, amount)| Act::Hold(key, amount)),
        (0..6_u8, part(), 0..2_u8).prop_map(|(key, amount, n)| Act::Capture(key, amount, n)),
        (0..6_u8).prop_map(Act::Release),
        (0..6_u8, part(), 0..3_u8).prop_map(|(key, amount, n)| Act::Refund(key, amount, n)),
        (0..5_u64).prop_map(Act::Wait),
    ]
}

/// One hold, kept by hand.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Model {
    amount: i64,
    captured: i64,
    refunded: i64,
}

async fn run(acts: Vec<Act>, db: Db) -> Vec<(i64, i64)> {
    let counter = Counter::on(db).await;
    let mut balances = Vec::new();
    let owner = House::user(1);
    let number = counter.account(owner, 1_000).await;
    let mut model: HashMap<u8, Model> = HashMap::new();
    let (mut spent, bank) = (0, &counter.bank);
    for act in acts {
        match act {
            Act::Hold(key, amount) => {
                let reply = bank.hold(ask(&format!("k{key}"), owner, amount)).await.unwrap();
                if reply.result.is_ok() && !reply.replayed {
                    model.insert(key, Model { amount, captured: 0, refunded: 0 });
                }
            }
            Act::Capture(key, amount, n) => {
                let request = on(&format!("k{key}"), &format!("capture{n}"), amount);
                let reply = bank.capture(request).await.unwrap();
                if let (Ok(done), false) = (&reply.result, reply.replayed) {
                    let held = model.get_mut(&key).unwrap();
                    held.captured += done.amount_minor;
                    assert!(held.captured <= held.amount);
                    spent += done.amount_minor;
                }
            }
            Act::Release(key) => {
                bank.release(on(&format!("k{key}"), "release", None)).await.unwrap();
            }
            Act::Refund(key, amount, n) => {
                let request = on(&format!("k{key}"), &format!("refund{n}"), amount);
                let reply = bank.refund(request).await.unwrap();
                if let (Ok(done), false) = (&reply.result, reply.replayed) {
                    let held = model.get_mut(&key).unwrap();
                    held.refunded += done.amount_minor;
                    assert!(held.refunded <= held.captured);
                    spent -= done.amount_minor;
                }
            }
            Act::Wait(days) => {
                counter.clock.advance(Duration::from_secs(days * 86_400));
                bank.expire().await.unwrap();
            }
        }
        let (available, held) = counter.available(&number).await;
        balances.push((available, held));
        assert!(available >= 0 && held >= 0);
        assert_eq!(available + held, 1_000 - spent, "what left the account is what was captured");
    }
    counter.assert_sound().await;
    balances
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_operations_makes_or_loses_money(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let farsighted = Db::in_memory().unwrap().around(|engine| Arc::new(Farsighted(engine)));
        let balances = runtime.block_on(run(acts.clone(), farsighted));
        let alone = runtime.block_on(run(acts, Db::in_memory().unwrap()));
        assert_eq!(balances, alone, "what is read ahead changes nothing");
    }
}
