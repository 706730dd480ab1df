//! Commands in, events out, one order at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::payments::*;
use contracts::{UserId, topics};
use messaging::{Progress, Pump};
use serde_json::json;
use testkit::House;

use super::*;
use crate::bank::{
    Action, Bank, BankError, Callback, Callbacks, Done, HoldFacts, HoldRequest, MockBank, OnHold, Reply,
    StatementLine,
};
use crate::commands::Desk;
use crate::domain::{Command, Payment};
use crate::driver::Driver;
use crate::jobs::TakeCallbacks;
use crate::{oracle, store};

async fn funded(minor: i64) -> (House, UserId) {
    let house = house(&[]).await;
    let user = House::user(1);
    fund(&house, &[user], minor).await;
    (house, user)
}

async fn state_of(house: &House, n: u128) -> String {
    let facts = oracle::payments(&house.service("payments").db).await.unwrap();
    facts[&order(n)].state.clone()
}

#[tokio::test]
async fn a_hold_is_captured_and_refunded_and_each_step_is_answered() {
    let (house, user) = funded(10_000).await;
    hold(&house, order(1), user, 4_000).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentHeld>(topics::PAYMENTS)[0].amount, krw(4_000));
    assert_eq!(balances(&house, user).await, [6_000, 4_000]);
    capture(&house, order(1)).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentCaptured>(topics::PAYMENTS)[0].amount, krw(4_000));
    assert_eq!(balances(&house, user).await, [6_000, 0]);
    refund(&house, order(1)).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentRefunded>(topics::PAYMENTS)[0].amount, krw(4_000));
    assert_eq!(balances(&house, user).await, [10_000, 0]);
    assert_eq!(state_of(&house, 1).await, "refunded");
    assert_sound(&house).await;
}

#[tokio::test]
async fn a_repeated_command_for_a_finished_step_is_answered_again_and_moves_nothing() {
    let (house, user) = funded(10_000).await;
    for _ in 0..3 {
        hold(&house, order(1), user, 4_000).await;
        house.settle().await;
    }
    assert_eq!(house.published::<PaymentHeld>(topics::PAYMENTS).len(), 3);
    for _ in 0..3 {
        capture(&house, order(1)).await;
        house.settle().await;
    }
    assert_eq!(house.published::<PaymentCaptured>(topics::PAYMENTS).len(), 3);
    for _ in 0..2 {
        refund(&house, order(1)).await;
        house.settle().await;
    }
    assert_eq!(house.published::<PaymentRefunded>(topics::PAYMENTS).len(), 2);
    assert_eq!(balances(&house, user).await, [10_000, 0]);
    assert_sound(&house).await;
}

#[tokio::test]
async fn what_the_account_does_not_have_is_declined() {
    let (house, user) = funded(1_000).await;
    hold(&house, order(1), user, 1_001).await;
    hold(&house, order(2), House::user(2), 1).await;
    house.settle().await;
    let mut codes: Vec<String> =
        house.published::<PaymentDeclined>(topics::PAYMENTS).into_iter().map(|event| event.code).collect();
    codes.sort();
    assert_eq!(codes, ["account_not_found", "insufficient_funds"]);
    capture(&house, order(1)).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentCaptureRefused>(topics::PAYMENTS)[0].code, "insufficient_funds");
    assert_sound(&house).await;
}

#[tokio::test]
async fn nobody_pays_from_another_users_account() {
    let (house, user) = funded(1_000).await;
    let number = account(&house, user).await["number"].as_str().unwrap().to_owned();
    let thief = House::user(2);
    let command = HoldPayment { order_id: order(1), user_id: thief, amount: krw(10), account: Some(number) };
    send(&house, order(1), &command).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentDeclined>(topics::PAYMENTS)[0].code, "account_not_found");
    assert_eq!(balances(&house, user).await, [1_000, 0]);
}

#[tokio::test]
async fn a_release_before_its_hold_leaves_a_mark_that_refuses_the_late_hold() {
    let (house, user) = funded(1_000).await;
    release(&house, order(1)).await;
    house.settle().await;
    hold(&house, order(1), user, 400).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentReleased>(topics::PAYMENTS).len(), 2);
    assert!(house.published::<PaymentHeld>(topics::PAYMENTS).is_empty());
    assert_eq!(balances(&house, user).await, [1_000, 0]);
    assert_sound(&house).await;
}

#[tokio::test]
async fn a_hold_that_is_released_frees_the_money_and_cannot_be_captured() {
    let (house, user) = funded(1_000).await;
    hold(&house, order(1), user, 400).await;
    house.settle().await;
    release(&house, order(1)).await;
    house.settle().await;
    assert_eq!(balances(&house, user).await, [1_000, 0]);
    capture(&house, order(1)).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentCaptureRefused>(topics::PAYMENTS)[0].code, "hold_released");
    assert_sound(&house).await;
}

#[tokio::test]
async fn a_hold_expires_after_seven_days_and_its_capture_is_refused() {
    let (house, user) = funded(1_000).await;
    hold(&house, order(1), user, 400).await;
    house.settle().await;
    house.advance(WEEK).await;
    assert_eq!(balances(&house, user).await, [1_000, 0]);
    assert_eq!(state_of(&house, 1).await, "expired");
    capture(&house, order(1)).await;
    house.settle().await;
    assert_eq!(house.published::<PaymentCaptureRefused>(topics::PAYMENTS)[0].code, "hold_expired");
    assert_sound(&house).await;
}

/// A desk beside the service's own.
pub(super) fn desk(house: &House) -> Desk {
    let metrics = crate::metrics::Metrics::register(&mut prometheus_client::registry::Registry::default());
    Desk {
        outbox: messaging::Outbox::new("payments", house.context.clock.clone(), house.context.ids.clone()),
        clock: house.context.clock.clone(),
        ids: house.context.ids.clone(),
        wake: Arc::default(),
        metrics,
    }
}

#[tokio::test]
async fn a_late_call_back_that_tells_of_a_hold_after_the_release_is_voided_once() {
    let (house, user) = funded(1_000).await;
    release(&house, order(1)).await;
    house.settle().await;
    let service = house.service("payments");
    let callbacks = Arc::new(Callbacks::default());
    let desk = desk(&house);
    let job = TakeCallbacks { db: service.db.clone(), desk, callbacks: callbacks.clone() };
    let reply = Reply { result: Ok(Done { hold_id: None, amount_minor: 400 }), replayed: false };
    for delay in [3_600, 0, 60] {
        let callback = Callback {
            key: format!("{}:hold", order(1)),
            hold_key: order(1).to_string(),
            action: Action::Hold,
            reply: reply.clone(),
        };
        callbacks.send(house.context.clock.now().plus(Duration::from_secs(delay)), callback);
    }
    for state in ["voided", "voided"] {
        messaging::Job::run(&job).await.unwrap();
        house.advance(Duration::from_secs(4_000)).await;
        messaging::Job::run(&job).await.unwrap();
        house.settle().await;
        assert_eq!(state_of(&house, 1).await, state);
    }
    assert_eq!(balances(&house, user).await, [1_000, 0]);
    assert_sound(&house).await;
}

#[tokio::test]
async fn a_bank_that_is_down_is_asked_less_and_less_often_and_the_payment_waits() {
    let faults = json!({ "seed": 3, "timeouts_before": 100 });
    let house = house(&[("services.payments.faults", faults)]).await;
    let user = House::user(1);
    fund(&house, &[user], 1_000).await;
    hold(&house, order(1), user, 400).await;
    house.settle().await;
    assert_eq!(state_of(&house, 1).await, "holding");
    let attempts = |house: &House| -> i64 {
        let sql = "SELECT attempts FROM payments";
        let db = house.service("payments").db.clone();
        db.read_now(|tx| tx.query_one(sql, db::params![], |row| row.get::<i64>(0)))
            .unwrap_or_else(|error: db::Error| panic!("{error}"))
    };
    for _ in 0..600 {
        house.advance(Duration::from_secs(1)).await;
    }
    // Ten minutes at half a minute at most and a quarter at least.
    assert!((20..=60).contains(&attempts(&house)), "{}", attempts(&house));
    assert_eq!(state_of(&house, 1).await, "holding");
    assert!(house.published::<PaymentDeclined>(topics::PAYMENTS).is_empty());
}

#[tokio::test]
async fn the_reconciliation_finds_nothing_where_nothing_is_wrong_and_finds_what_is() {
    let (house, user) = funded(10_000).await;
    for n in 1..=4 {
        hold(&house, order(n), user, 100).await;
    }
    house.settle().await;
    capture(&house, order(1)).await;
    release(&house, order(2)).await;
    house.settle().await;
    house.advance(Duration::from_secs(3_600)).await;
    let gauge = "rtc_reconciliation_differences ";
    assert!(house.context.encode_metrics().contains(&format!("{gauge}0")));
    let db = house.service("payments").db.clone();
    let sql = "UPDATE payments SET state = 'released' WHERE order_id = ?";
    db.write(move |tx| tx.execute(sql, db::params![order(3).to_string()])).await.unwrap();
    house.settle().await;
    assert!(house.context.encode_metrics().contains(&format!("{gauge}1")));
    let verdicts = oracle::verdicts(&house.service("payments").db).await.unwrap();
    assert!(verdicts.iter().any(|verdict| !verdict.holds()));
}

/// A bank during whose answer to a hold the order is given up.
struct Overtaken {
    inner: MockBank,
    db: db::Db,
}

#[async_trait::async_trait]
impl Bank for Overtaken {
    async fn hold(&self, request: HoldRequest) -> Result<Reply, BankError> {
        let reply = self.inner.hold(request).await?;
        let given_up = self.db.write(|tx| -> Result<bool, db::Error> {
            let mut payment = store::find(tx, order(1))?.ok_or(db::Error::NoRow)?;
            payment.obey(Command::Release, testkit::NOON);
            store::save(tx, &payment)
        });
        assert!(given_up.await.unwrap());
        Ok(reply)
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

#[tokio::test]
async fn a_release_that_comes_during_the_call_for_the_hold_is_not_overwritten_by_its_answer() {
    let (house, user) = funded(1_000).await;
    let db = house.service("payments").db.clone();
    let command = HoldPayment { order_id: order(1), user_id: user, amount: krw(400), account: None };
    let requested = Payment::requested(&command, house.context.ids.next(), testkit::NOON);
    assert!(db.write(move |tx| store::insert(tx, &requested)).await.unwrap());
    let config = crate::PaymentsConfig::default();
    let (clock, ids) = (house.context.clock.clone(), house.context.ids.clone());
    let inner = MockBank::new(db.clone(), clock, ids, crate::bank::mock_terms(&config));
    let bank = Arc::new(Overtaken { inner, db: db.clone() });
    let driver = Driver::new(db, bank, desk(&house), host::Live::fixed(config));
    assert_eq!(driver.step().await.unwrap(), Progress::Worked);
    assert_eq!(state_of(&house, 1).await, "releasing");
    assert_eq!(driver.step().await.unwrap(), Progress::Worked);
    house.settle().await;
    assert_eq!(state_of(&house, 1).await, "released");
    assert_eq!(balances(&house, user).await, [1_000, 0]);
    assert!(house.published::<PaymentHeld>(topics::PAYMENTS).is_empty());
    assert_sound(&house).await;
}
