//! The driver over a bank of which one call does not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contracts::payments::*;
use messaging::{Progress, Pump};
use testkit::House;
use tokio::time::Instant;

use super::flow::desk;
use super::*;
use crate::bank::{Bank, BankError, HoldFacts, HoldRequest, MockBank, OnHold, Reply, StatementLine};
use crate::commands::Desk;
use crate::domain::Payment;
use crate::driver::Driver;
use crate::{PaymentsConfig, oracle, store};

/// A bank that never answers the call for one order's hold.
struct Hanging {
    inner: MockBank,
    on: OrderId,
    hung: AtomicUsize,
}

#[async_trait::async_trait]
impl Bank for Hanging {
    async fn hold(&self, request: HoldRequest) -> Result<Reply, BankError> {
        if request.hold_key == self.on.to_string() {
            self.hung.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.inner.hold(request).await
    }

    async fn capture(&self, request: OnHold) -> Result<Reply, BankError> {
        self.inner.capture(request).await
    }

    async fn release(&self, request: OnHold) -> Result<Reply, BankError> {
        self.inner.release(request).await
    }

    async fn refund(&self, request: OnHold) -> Result<Reply, BankError> {
        self.inner.refund(request).await
    }

    async fn status(&self, key: &str) -> Result<Option<Reply>, BankError> {
        self.inner.status(key).await
    }

    async fn statement(
        &self,
        after: i64,
        until: kernel::Timestamp,
        limit: u32,
    ) -> Result<Vec<StatementLine>, BankError> {
        self.inner.statement(after, until, limit).await
    }

    async fn holds(&self, hold_keys: Vec<String>) -> Result<HashMap<String, HoldFacts>, BankError> {
        self.inner.holds(hold_keys).await
    }
}

/// Its time stands still but for waiting, so that nothing outside of it may be waited for.
async fn in_memory() -> House {
    House::build(&[], async |context| {
        let mut context = context.clone();
        context.databases = host::Databases::memory();
        Ok::<_, host::StartError>(vec![crate::service(&context).await?])
    })
    .await
}

struct Counter {
    house: House,
    desk: Desk,
    bank: Arc<Hanging>,
    driver: Driver,
}

impl Counter {
    /// The call for the hold of order 0 hangs.
    async fn open() -> Self {
        let house = in_memory().await;
        fund(&house, &[House::user(1)], 100_000).await;
        let db = house.service("payments").db.clone();
        let config = PaymentsConfig::default();
        let (clock, ids) = (house.context.clock.clone(), house.context.ids.clone());
        let inner = MockBank::new(db.clone(), clock, ids, crate::bank::mock_terms(&config));
        let bank = Arc::new(Hanging { inner, on: order(0), hung: AtomicUsize::new(0) });
        let desk = desk(&house);
        let driver = Driver::new(db, bank.clone(), desk.clone(), host::Live::fixed(config));
        Self { house, desk, bank, driver }
    }

    async fn intend(&self, orders: std::ops::Range<u128>) {
        for n in orders {
            let (order_id, user_id) = (order(n), House::user(1));
            let command = HoldPayment { order_id, user_id, amount: krw(100), account: None };
            let requested = Payment::requested(&command, self.house.context.ids.next(), testkit::NOON);
            let db = self.house.service("payments").db.clone();
            assert!(db.write(move |tx| store::insert(tx, &requested)).await.unwrap());
        }
        self.desk.wake.notify_one();
    }

    async fn count(&self, state: &str) -> usize {
        let facts = oracle::payments(&self.house.service("payments").db).await.unwrap();
        facts.values().filter(|facts| facts.state == state).count()
    }

    async fn step(&self) {
        assert_eq!(self.driver.step().await.unwrap(), Progress::Worked);
    }
}

#[tokio::test(start_paused = true)]
async fn nine_answers_are_applied_at_once_while_a_tenth_call_hangs() {
    let counter = Counter::open().await;
    counter.intend(0..10).await;
    let began = Instant::now();
    counter.step().await;
    assert_eq!((counter.count("held").await, counter.count("requested").await), (9, 1));
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    counter.house.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_intent_is_taken_up_beside_a_call_that_hangs_and_that_is_not_called_twice() {
    let counter = Counter::open().await;
    counter.intend(0..1).await;
    let began = Instant::now();
    // The wake-up of the first intent.
    counter.step().await;
    let waiting = counter.driver.step();
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    counter.intend(1..4).await;
    assert_eq!(waiting.await.unwrap(), Progress::Worked);
    counter.step().await;
    assert_eq!((counter.count("held").await, counter.count("requested").await), (3, 1));
    assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
    assert_eq!(counter.bank.hung.load(Ordering::SeqCst), 1);
    counter.house.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up_after_the_time_out_and_waits_its_turn() {
    let counter = Counter::open().await;
    counter.intend(0..1).await;
    let began = Instant::now();
    while counter.driver.step().await.unwrap() == Progress::Worked {}
    let took = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&took), "{took:?}");
    assert_eq!((counter.count("holding").await, counter.bank.hung.load(Ordering::SeqCst)), (1, 1));
    counter.house.clock.advance(Duration::from_secs(1));
    counter.driver.step().await.unwrap();
    assert_eq!(counter.bank.hung.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_after_a_step_that_panicked_asks_the_bank_again() {
    let counter = Counter::open().await;
    counter.intend(0..1).await;
    // The wake-up of the intent.
    counter.step().await;
    assert_eq!(counter.bank.hung.load(Ordering::SeqCst), 1);
    // What the host does then.
    counter.driver.finish().await;
    counter.step().await;
    assert_eq!(counter.bank.hung.load(Ordering::SeqCst), 2);
}
