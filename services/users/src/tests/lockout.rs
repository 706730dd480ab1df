//! Ten failures in fifteen minutes lock a pair of address and account out; a hundred lock the account out everywhere.

use std::time::Duration;

use super::{Fixture, PASSWORD, another_process, fixture, sections};
use crate::domain::lockout::Rules;
use crate::store::codes;

const HERE: &str = "198.51.100.7";
const THERE: &str = "203.0.113.9";

#[tokio::test]
async fn ten_failures_lock_the_pair_out_and_only_the_pair() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.register("lee@example.kr").await;
    for _ in 0..10 {
        let wrong = f.try_sign_in_from(HERE, "kim@example.kr", "a wrong password 1").await;
        wrong.expect_problem(401, "credentials_wrong");
    }
    let before = f.users.hasher.verifications();
    let locked = f.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await;
    assert_eq!(locked.header("retry-after"), Some("900"));
    locked.expect_problem(429, "locked_out");
    assert_eq!(f.users.hasher.verifications(), before);
    f.try_sign_in_from(THERE, "kim@example.kr", PASSWORD).await.expect(201);
    f.try_sign_in_from(HERE, "lee@example.kr", PASSWORD).await.expect(201);

    // A restart forgets nothing.
    let restarted = another_process(&f, &sections()).await;
    let again = restarted.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await;
    again.expect_problem(429, "locked_out");

    f.house.advance(Duration::from_secs(899)).await;
    f.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await.expect_problem(429, "locked_out");
    f.house.advance(Duration::from_secs(1)).await;
    f.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_success_forgets_the_failures_before_it() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    for _ in 0..3 {
        for _ in 0..9 {
            let wrong = f.try_sign_in_from(HERE, "kim@example.kr", "a wrong password 1").await;
            wrong.expect_problem(401, "credentials_wrong");
        }
        f.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await.expect(201);
    }
}

#[tokio::test]
async fn an_account_that_does_not_exist_is_locked_in_the_same_way() {
    let f = fixture().await;
    for _ in 0..10 {
        let wrong = f.try_sign_in_from(HERE, "nobody@example.kr", "a wrong password 1").await;
        wrong.expect_problem(401, "credentials_wrong");
    }
    let locked = f.try_sign_in_from(HERE, "nobody@example.kr", "a wrong password 1").await;
    locked.expect_problem(429, "locked_out");
}

#[tokio::test]
async fn attempts_at_the_same_moment_do_not_get_past_the_limit_together() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let before = f.users.hasher.verifications();
    let attempts = (0..20).map(|_| f.try_sign_in_from(HERE, "kim@example.kr", "a wrong password 1"));
    let answers = futures_util::future::join_all(attempts).await;
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert_eq!((refused, f.users.hasher.verifications() - before), (10, 10));
}

/// Fails `times` times at one account, nine times from each address, which locks no pair out.
async fn fail_from_everywhere(f: &Fixture, email: &str, times: usize) {
    for n in 0..times {
        let address = format!("203.0.113.{}", 10 + n / 9);
        let wrong = f.try_sign_in_from(&address, email, "a wrong password 1").await;
        wrong.expect_problem(401, "credentials_wrong");
    }
}

#[tokio::test]
async fn a_hundred_failures_from_many_addresses_lock_the_account_out_everywhere() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.register("lee@example.kr").await;
    for email in ["kim@example.kr", "nobody@example.kr"] {
        fail_from_everywhere(&f, email, 100).await;
        let before = f.users.hasher.verifications();
        let locked = f.try_sign_in_from(HERE, email, PASSWORD).await;
        assert_eq!(locked.header("retry-after"), Some("900"), "{email}");
        locked.expect_problem(429, "locked_out");
        assert_eq!(f.users.hasher.verifications(), before);
    }
    f.try_sign_in_from(HERE, "lee@example.kr", PASSWORD).await.expect(201);

    // A restart forgets nothing.
    let restarted = another_process(&f, &sections()).await;
    let again = restarted.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await;
    again.expect_problem(429, "locked_out");

    f.house.advance(Duration::from_secs(900)).await;
    f.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn a_success_forgets_the_failures_of_every_address() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    fail_from_everywhere(&f, "kim@example.kr", 99).await;
    f.try_sign_in_from(HERE, "kim@example.kr", PASSWORD).await.expect(201);
    for _ in 0..9 {
        let wrong = f.try_sign_in_from(HERE, "kim@example.kr", "a wrong password 1").await;
        wrong.expect_problem(401, "credentials_wrong");
    }
    f.try_sign_in_from(THERE, "kim@example.kr", PASSWORD).await.expect(201);
}

#[tokio::test]
async fn an_address_that_is_locked_out_adds_nothing_to_the_count_of_the_account() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    for n in 0..120 {
        let status = f.try_sign_in_from(HERE, "kim@example.kr", "a wrong password 1").await.status;
        assert_eq!(status, if n < 10 { 401 } else { 429 });
    }
    f.try_sign_in_from(THERE, "kim@example.kr", PASSWORD).await.expect(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_come_at_once_are_all_counted() {
    let f = fixture().await;
    let rules = Rules { failures_max: 10, window: Duration::from_secs(900) };
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let db = f.users.db.clone();
        tasks.spawn(async move {
            db.write(move |tx| -> Result<bool, db::Error> {
                let Ok(counted) =
                    codes::lockout(tx, "somebody", testkit::NOON)?.attempt(testkit::NOON, rules)
                else {
                    return Ok(false);
                };
                codes::put_lockout(tx, "somebody", &counted, testkit::NOON)?;
                Ok(true)
            })
            .await
            .unwrap()
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|allowed| *allowed).count(), 10);
}
