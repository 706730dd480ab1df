//! From an event to a letter: once a row, at least once a letter, nothing in clear on the way.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use contracts::orders::{OrderCancelled, OrderFulfilled, OrderRejected};
use contracts::topics;
use contracts::users::VerificationRequested;
use db::{Db, params};
use host::{Databases, Service};
use messaging::Progress;
use serde_json::json;
use testkit::{Faults, House};

use super::{confirm, letters_to, order, register};
use crate::config::Config;
use crate::mailer::{Mail, MailboxOnDisk, Mailer, Outcome};
use crate::notice::Notice;
use crate::oracle::{self, Counts};
use crate::store::{self, Noted};

/// A provider that does as it is told, and takes everything once it has been told nothing more.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<Outcome>>,
    batches: Mutex<Vec<Vec<Mail>>>,
}

impl Scripted {
    fn will(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.script.lock().unwrap().extend(outcomes);
    }

    fn taken(&self) -> Vec<Vec<Mail>> {
        self.batches.lock().unwrap().clone()
    }
}

#[async_trait]
impl Mailer for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    async fn send(&self, batch: Vec<Mail>) -> Vec<Outcome> {
        let sent = || Outcome::Sent { provider_id: "250 ok".to_owned(), place: None };
        let mut script = self.script.lock().unwrap();
        let outcomes = batch.iter().map(|_| script.pop_front().unwrap_or_else(sent)).collect();
        self.batches.lock().unwrap().push(batch);
        outcomes
    }
}

async fn scripted(config: Config) -> (House, Arc<Scripted>) {
    let mailer = Arc::new(Scripted::default());
    let shared: Arc<dyn Mailer> = mailer.clone();
    let house = House::build(&[], async |context| {
        Ok::<_, host::StartError>(vec![crate::assemble(context, config, shared, None).await?])
    })
    .await;
    (house, mailer)
}

async fn plain() -> House {
    House::build(&[], async |context| Ok::<_, host::StartError>(vec![crate::service(context).await?])).await
}

async fn counts(house: &House) -> Counts {
    oracle::counts(&house.service("notifications").db).await.unwrap()
}

/// Everything that the database holds, as text.
fn dump(db: &Db) -> String {
    db.read_now(|tx| {
        let sql = "SELECT user_id || email || name || locale FROM contacts UNION ALL
                   SELECT recipient || kind || COALESCE(payload, '') || COALESCE(provider_id, '') ||
                          COALESCE(last_error, '') || COALESCE(to_index, '') FROM notifications";
        tx.query(sql, params![], |row| row.get::<String>(0))
    })
    .map_err(|error: db::Error| error)
    .unwrap()
    .join("\n")
}

#[tokio::test]
async fn what_becomes_of_an_order_is_told_in_the_language_of_its_user() {
    let house = plain().await;
    let (kim, lee) = (register(&house, 1, "ko").await, register(&house, 2, "en").await);
    let confirmed = confirm(&house, 1, kim).await;
    let one = order(2, kim);
    let rejected =
        OrderRejected { order: one.clone(), reason: "payment_declined".into(), detail: String::new() };
    house.publish(topics::ORDERS, "orders", &one.order_id.to_string(), &rejected).await;
    let two = order(3, lee);
    let cancelled = OrderCancelled { order: two.clone(), reason: "by_customer".into(), was_confirmed: true };
    house.publish(topics::ORDERS, "orders", &two.order_id.to_string(), &cancelled).await;
    let fulfilled = OrderFulfilled { order_id: two.order_id, user_id: lee };
    house.publish(topics::ORDERS, "orders", &two.order_id.to_string(), &fulfilled).await;
    house.settle().await;

    let to_kim = letters_to(&house, "kim1@example.kr").await;
    let subjects: Vec<_> = to_kim.iter().map(|mail| mail["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!(subjects.len(), 2);
    assert!(
        subjects.contains(&format!("[RTC] 주문이 확정되었습니다 ({})", confirmed.order_id)),
        "{subjects:?}"
    );
    assert!(
        subjects.contains(&format!("[RTC] 주문을 처리하지 못했습니다 ({})", one.order_id)),
        "{subjects:?}"
    );
    assert!(to_kim.iter().all(|mail| mail["text"].as_str().unwrap().contains("합계: 129,000원")));
    let mut kinds: Vec<_> = letters_to(&house, "kim2@example.kr")
        .await
        .iter()
        .map(|mail| mail["kind"].as_str().unwrap().to_owned())
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["order_cancelled", "order_fulfilled"]);
    let verdict = oracle::i14(&house.service("notifications").db).await.unwrap();
    assert!(verdict.holds() && verdict.checked == 4, "{verdict:?}");
}

#[tokio::test]
async fn a_notification_waits_until_its_recipient_is_known() {
    let house = plain().await;
    confirm(&house, 1, House::user(1)).await;
    house.settle().await;
    assert_eq!(counts(&house).await, Counts { waiting: 1, ..Counts::default() });
    register(&house, 2, "en").await;
    house.settle().await;
    assert_eq!(counts(&house).await.waiting, 1);
    register(&house, 1, "ko").await;
    house.settle().await;
    assert_eq!(counts(&house).await, Counts { sent: 1, ..Counts::default() });
    assert_eq!(letters_to(&house, "kim1@example.kr").await.len(), 1);
}

#[tokio::test]
async fn a_code_goes_to_its_address_and_is_nowhere_in_clear() {
    let (house, mailer) = scripted(Config::default()).await;
    let kim = register(&house, 1, "ko").await;
    let vault = &house.context.vault;
    let request = |code: &str| VerificationRequested {
        user_id: kim,
        email: vault.seal("kim1@example.kr").unwrap(),
        code: vault.seal(code).unwrap(),
        expires_at: house.clock.now_plus(180),
        locale: "en".to_owned(),
    };
    mailer.will([Outcome::Deferred { reason: "450 later".to_owned() }]);
    house.publish(topics::USERS, "users", &kim.to_string(), &request("Q7W8E9")).await;
    house.settle().await;
    let db = house.service("notifications").db.clone();
    let check = || {
        let dump = dump(&db);
        for clear in ["Q7W8E9", "kim1@", "Kim1@", "example.kr", "김하늘"] {
            assert!(!dump.contains(clear), "{clear} in {dump}");
        }
        dump
    };
    assert!(check().contains("\"code\":\"k1."));
    house.advance(Duration::from_secs(5)).await;
    let letter = mailer.taken().concat().last().unwrap().clone();
    assert_eq!(letter.to.to_string(), "kim1@example.kr");
    let parsed = crate::message::parse(&letter.bytes).unwrap();
    assert!(parsed.text.contains("Q7W8E9") && parsed.text.contains("Hello 김하늘"), "{parsed:?}");
    assert!(!check().contains("code"), "a code that was sent is kept by nobody");

    // A code that expired while the provider was down is of no use to anybody.
    mailer.will([Outcome::Unreachable { reason: "down".to_owned() }]);
    house.publish(topics::USERS, "users", &kim.to_string(), &request("A1A1A1")).await;
    house.settle().await;
    house.advance(Duration::from_secs(600)).await;
    assert_eq!(counts(&house).await, Counts { sent: 1, suppressed: 1, ..Counts::default() });
    assert!(oracle::i14(&db).await.unwrap().holds());
}

#[tokio::test]
async fn events_that_come_twice_late_and_in_any_order_are_told_once() {
    for seed in 1..=10 {
        let faults = Faults { duplicate: 30, delay: 30, lose_commit: 20, lose_answer: 20 };
        let house = House::build_with(seed, faults, &[], async |context| {
            Ok::<_, host::StartError>(vec![crate::service(context).await?])
        })
        .await;
        for n in 1..=20 {
            confirm(&house, n, House::user(n % 5)).await;
            if n <= 5 {
                register(&house, n % 5, "ko").await;
            }
            for _ in 0..house.random(4) {
                house.step_any().await;
            }
        }
        house.settle().await;
        assert_eq!(counts(&house).await, Counts { sent: 20, ..Counts::default() }, "seed {seed}");
        for user in 0..5 {
            assert_eq!(letters_to(&house, &format!("kim{user}@example.kr")).await.len(), 4, "seed {seed}");
        }
        assert!(oracle::i14(&house.service("notifications").db).await.unwrap().holds());
    }
}

#[tokio::test]
async fn a_letter_turned_away_for_now_is_tried_again_and_fails_in_the_end() {
    let (house, mailer) = scripted(Config { attempts_max: 4, ..Config::default() }).await;
    let kim = register(&house, 1, "ko").await;
    mailer.will(vec![Outcome::Deferred { reason: "450 mailbox busy".to_owned() }; 4]);
    confirm(&house, 1, kim).await;
    house.settle().await;
    assert_eq!(mailer.taken().len(), 1);
    for attempts in 2..=4 {
        house.advance(Duration::from_millis(999)).await;
        assert_eq!(mailer.taken().len(), attempts - 1, "not before its time");
        house.advance(Duration::from_secs(60)).await;
        assert_eq!(mailer.taken().len(), attempts);
    }
    assert_eq!(counts(&house).await, Counts { failed: 1, ..Counts::default() });
    let ids: std::collections::HashSet<_> =
        mailer.taken().concat().into_iter().map(|mail| mail.message_id).collect();
    assert_eq!(ids.len(), 1, "every attempt has the same Message-ID");
    let verdict = oracle::i14(&house.service("notifications").db).await.unwrap();
    assert!(verdict.violations[0].contains("450 mailbox busy"), "{verdict:?}");
}

#[tokio::test]
async fn a_letter_that_is_refused_fails_at_once_and_the_others_go() {
    let (house, mailer) = scripted(Config::default()).await;
    let kim = register(&house, 1, "ko").await;
    mailer.will([Outcome::Refused { reason: "550 no such user".to_owned() }]);
    confirm(&house, 1, kim).await;
    confirm(&house, 2, kim).await;
    house.settle().await;
    assert_eq!(counts(&house).await, Counts { failed: 1, sent: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_provider_that_is_down_costs_no_letter_its_attempts() {
    let (house, mailer) =
        scripted(Config { attempts_max: 2, backoff_max_ms: 60_000, ..Config::default() }).await;
    let kim = register(&house, 1, "ko").await;
    mailer.will(vec![Outcome::Unreachable { reason: "connection refused".to_owned() }; 6]);
    confirm(&house, 1, kim).await;
    house.settle().await;
    for _ in 0..3 {
        let before = mailer.taken().len();
        confirm(&house, 2, kim).await;
        house.settle().await;
        assert_eq!(mailer.taken().len(), before, "nothing is tried during the pause");
        house.advance(Duration::from_secs(61)).await;
    }
    let done = counts(&house).await;
    assert_eq!((done.sent, done.failed, done.queued), (4, 0, 0));

    let (house, mailer) = scripted(Config { give_up_after_s: 100, ..Config::default() }).await;
    let kim = register(&house, 1, "ko").await;
    mailer.will(vec![Outcome::Unreachable { reason: "connection refused".to_owned() }; 2]);
    confirm(&house, 1, kim).await;
    house.settle().await;
    house.advance(Duration::from_secs(101)).await;
    assert_eq!(counts(&house).await.failed, 1, "nobody waits for ever");
}

#[tokio::test]
async fn a_batch_is_bounded_and_the_rest_follows() {
    let (house, mailer) = scripted(Config { batch_max: 16, ..Config::default() }).await;
    let kim = register(&house, 1, "ko").await;
    for n in 1..=40 {
        confirm(&house, n, kim).await;
    }
    house.settle().await;
    let sizes: Vec<_> = mailer.taken().iter().map(Vec::len).collect();
    assert_eq!(sizes, [16, 16, 8]);
}

#[tokio::test]
async fn a_result_of_an_attempt_that_is_over_changes_nothing() {
    let (house, mailer) = scripted(Config::default()).await;
    let kim = register(&house, 1, "ko").await;
    mailer.will([Outcome::Unknown { reason: "no answer in time".to_owned() }]);
    confirm(&house, 1, kim).await;
    house.settle().await;
    assert_eq!(counts(&house).await, Counts { queued: 1, ambiguous: 1, ..Counts::default() });
    let now = house.clock.now_plus(0);
    let late = |attempt| {
        let noted = Noted::Failed { reason: "late".to_owned() };
        house.service("notifications").db.write(move |tx| store::note(tx, 1, attempt, &noted, now))
    };
    assert!(!late(1).await.unwrap());
    house.advance(Duration::from_secs(5)).await;
    assert!(!late(1).await.unwrap() && !late(2).await.unwrap());
    assert_eq!(counts(&house).await, Counts { sent: 1, ambiguous: 1, ..Counts::default() });
}

/// Writes the letters and then never comes back: the process dies before it can note what it did.
struct DiesAfterwards {
    mailbox: MailboxOnDisk,
    died: Arc<tokio::sync::Notify>,
}

#[async_trait]
impl Mailer for DiesAfterwards {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    async fn send(&self, batch: Vec<Mail>) -> Vec<Outcome> {
        self.mailbox.send(batch).await;
        self.died.notify_one();
        std::future::pending().await
    }
}

async fn turn(service: &Service) {
    let mut worked = true;
    while worked {
        worked = false;
        for pump in &service.pumps {
            worked |= pump.step().await.unwrap() == Progress::Worked;
        }
    }
}

#[tokio::test]
async fn a_crash_between_sending_and_noting_is_counted_and_the_letter_sent_again() {
    // Only a context is needed of this house: the service lives on a file that outlives it.
    let house = House::build(&[], async |_| Ok::<_, host::StartError>(Vec::new())).await;
    let mut context = house.context.clone();
    context.databases = Databases::of(&context.config, std::sync::Arc::new(host::EmbeddedOnly));
    let mail = house.directory.path().join("mail");
    let mailbox = MailboxOnDisk::open(&mail, crate::MailboxConfig::default(), context.clock.clone()).unwrap();
    let died = Arc::new(tokio::sync::Notify::new());
    let dying = Arc::new(DiesAfterwards { mailbox: mailbox.clone(), died: died.clone() });
    let service = crate::assemble(&context, Config::default(), dying, None).await.unwrap();
    let kim = register(&house, 1, "ko").await;
    confirm(&house, 1, kim).await;
    tokio::select! {
        () = turn(&service) => panic!("it lives on"),
        () = died.notified() => {}
    }
    assert_eq!(oracle::counts(&service.db).await.unwrap().sending, 1);
    assert!(oracle::i14(&service.db).await.unwrap().holds(), "not final yet");
    drop(service);

    let service = crate::service(&context).await.unwrap();
    turn(&service).await;
    assert_eq!(
        oracle::counts(&service.db).await.unwrap(),
        Counts { sent: 1, ambiguous: 1, ..Counts::default() }
    );
    let name = mailbox.segments().unwrap().remove(0);
    let file = std::fs::read_to_string(mail.join(name)).unwrap();
    let ids: Vec<_> = file.lines().filter(|line| line.starts_with("Message-ID:")).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "twice in the file, the same letter: {ids:?}");
    let shown: i64 = service
        .db
        .read_now(|tx| -> Result<_, db::Error> { Ok(store::delivered(tx, None, i64::MAX, 10)?.len() as i64) })
        .unwrap();
    assert_eq!(shown, 1, "and once in the mailbox");
    assert!(context.encode_metrics().contains("rtc_notifications_ambiguous_total 1"));
    house.leave_unsettled();
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over() {
    let (house, mailer) = scripted(Config { lease_s: 60, ..Config::default() }).await;
    let kim = register(&house, 1, "ko").await;
    let db = house.service("notifications").db.clone();
    // Another process took the row and died with it.
    let now = house.clock.now_plus(0);
    let notice = crate::notice::Notice::OrderConfirmed { order: order(1, kim) };
    house.settle().await;
    db.write(move |tx| store::queue(tx, "evt_x", kim, &notice, now)).await.unwrap();
    db.write(move |tx| store::claim(tx, 10, now, now.plus(Duration::from_secs(60)))).await.unwrap();
    confirm(&house, 2, kim).await;
    house.settle().await;
    assert_eq!(mailer.taken().concat().len(), 1, "the other's row is left alone");
    house.advance(Duration::from_secs(61)).await;
    assert_eq!(counts(&house).await, Counts { sent: 2, ambiguous: 1, ..Counts::default() });
}

#[tokio::test]
async fn finished_notifications_are_forgotten_and_lost_ones_have_failed() {
    let house = plain().await;
    let kim = register(&house, 1, "ko").await;
    confirm(&house, 1, kim).await;
    confirm(&house, 2, House::user(2)).await;
    house.settle().await;
    house.advance(Duration::from_secs(29 * 86_400)).await;
    assert_eq!(counts(&house).await, Counts { sent: 1, waiting: 1, ..Counts::default() });
    house.advance(Duration::from_secs(2 * 86_400)).await;
    assert_eq!(counts(&house).await, Counts { failed: 1, ..Counts::default() });
    register(&house, 2, "ko").await;
    house.settle().await;
    assert_eq!(counts(&house).await.failed, 1);
    house.advance(Duration::from_secs(31 * 86_400)).await;
    assert_eq!(counts(&house).await, Counts::default());
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    for (section, wanted) in [
        (json!({ "from_address": "nobody" }), "from_address"),
        (json!({ "smtp": { "prot": 1 } }), "prot"),
        (json!({ "smtp": { "tls": "ssl" } }), "ssl"),
    ] {
        let house = House::build(&[("services.notifications", section)], async |_| {
            Ok::<_, host::StartError>(Vec::new())
        })
        .await;
        let Err(error) = crate::service(&house.context).await else { panic!("{wanted} is taken") };
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

trait NowPlus {
    fn now_plus(&self, seconds: u64) -> kernel::Timestamp;
}

impl NowPlus for kernel::ManualClock {
    fn now_plus(&self, seconds: u64) -> kernel::Timestamp {
        kernel::Clock::now(self).plus(Duration::from_secs(seconds))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_and_the_contact_that_it_needs_find_each_other_when_they_come_at_once() {
    let house = plain().await;
    let db = house.service("notifications").db.clone();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..40_u128 {
        let (user, mine, others) = (House::user(n), db.clone(), db.clone());
        let notice = Notice::OrderFulfilled { order_id: contracts::OrderId::from(user.uuid()) };
        tasks.spawn(async move {
            let event = format!("evt_{n}");
            let queue = move |tx: &mut db::Tx<'_>| store::queue(tx, &event, user, &notice, testkit::NOON);
            mine.write(queue).await.unwrap();
        });
        tasks.spawn(async move {
            let sealed = "sealed".to_owned();
            let put = move |tx: &mut db::Tx<'_>| {
                store::put_contact(tx, user, &sealed, &sealed, "ko", testkit::NOON).map(drop)
            };
            others.write(put).await.unwrap();
        });
    }
    tasks.join_all().await;
    let left: Result<(i64, i64), db::Error> = db
        .read(|tx| {
            let sql = "SELECT (SELECT COUNT(*) FROM waiting), COUNT(*) FROM notifications \
                       WHERE next_attempt_at IS NOT NULL";
            tx.query_one(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await;
    assert_eq!(left.unwrap(), (0, 40));
}
