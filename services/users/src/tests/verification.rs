//! Codes: sent, brute-forced, expired, and never taken for a token.

use std::time::Duration;

use contracts::topics::USERS;
use contracts::users::{EmailVerified, VerificationRequested};
use serde_json::json;

use super::{fixture, text, without_request_id};
use crate::domain::secret::Secret;

#[tokio::test]
async fn a_code_that_comes_back_verifies_the_address() {
    let f = fixture().await;
    let kim = f.register("kim@example.kr").await;
    let signed_in = f.sign_in("kim@example.kr").await;
    assert_eq!(f.ask_for_code("kim@example.kr").await.status, 202);
    let code = f.code_sent();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
    f.confirm(" KIM@example.kr", &format!(" {} ", code.to_lowercase())).await.expect(200);
    assert_eq!(f.me(&signed_in).await.expect(200)["verified"], true);
    let refreshed = f.try_refresh(&signed_in["refresh_token"]).await.expect(200);
    assert!(f.users.verifier.verify(text(&refreshed["access_token"])).unwrap().email_verified);
    let verified = f.house.published::<EmailVerified>(USERS).pop().unwrap();
    assert_eq!(verified.user_id.to_string(), text(&kim["id"]));
    // Once.
    f.confirm("kim@example.kr", &code).await.expect_problem(422, "validation_failed");
}

#[tokio::test]
async fn five_wrong_tries_kill_a_code() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.ask_for_code("kim@example.kr").await;
    let code = f.code_sent();
    let wrong = if code == "AAAAAA" { "BBBBBB" } else { "AAAAAA" };
    for _ in 0..4 {
        f.confirm("kim@example.kr", wrong).await.expect_problem(422, "validation_failed");
    }
    // The fifth try may still be the right one; here it is not.
    f.confirm("kim@example.kr", wrong).await.expect_problem(422, "validation_failed");
    f.confirm("kim@example.kr", &code).await.expect_problem(422, "validation_failed");
    f.ask_for_code("kim@example.kr").await;
    f.confirm("kim@example.kr", &f.code_sent()).await.expect(200);
}

#[tokio::test]
async fn a_code_lives_three_minutes_and_only_the_newest_is_good() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.ask_for_code("kim@example.kr").await;
    let first = f.code_sent();
    f.house.advance(Duration::from_secs(180)).await;
    f.confirm("kim@example.kr", &first).await.expect_problem(422, "validation_failed");
    f.ask_for_code("kim@example.kr").await;
    let second = f.code_sent();
    f.ask_for_code("kim@example.kr").await;
    let third = f.code_sent();
    if second != third {
        f.confirm("kim@example.kr", &second).await.expect_problem(422, "validation_failed");
    }
    f.house.advance(Duration::from_secs(179)).await;
    f.confirm("kim@example.kr", &third).await.expect(200);
}

#[tokio::test]
async fn five_codes_are_sent_in_an_hour() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    for minute in 0..5 {
        assert_eq!(f.ask_for_code("kim@example.kr").await.status, 202, "{minute}");
        f.house.advance(Duration::from_secs(60)).await;
    }
    let refused = f.ask_for_code("kim@example.kr").await;
    assert_eq!(refused.header("retry-after"), Some("3300"));
    refused.expect_problem(429, "too_many_codes");
    assert_eq!(f.house.published::<VerificationRequested>(USERS).len(), 5);
    f.house.advance(Duration::from_secs(3_300)).await;
    assert_eq!(f.ask_for_code("kim@example.kr").await.status, 202);
}

#[tokio::test]
async fn nothing_tells_whether_there_is_somebody_to_send_a_code_to() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let addresses = ["kim@example.kr", "nobody@example.kr", "demo@rtc.local"];
    for n in 0..6 {
        let mut asked = Vec::new();
        let mut tried = Vec::new();
        for address in addresses {
            asked.push(without_request_id(f.ask_for_code(address).await));
            tried.push(without_request_id(f.confirm(address, "??????").await));
            tried.push(without_request_id(f.confirm(address, "000000").await));
        }
        assert!(asked.iter().all(|answer| *answer == asked[0]), "{n}: {asked:?}");
        assert!(tried.iter().all(|answer| *answer == tried[0]), "{n}: {tried:?}");
    }
    // To one alone of the three something was sent.
    assert_eq!(f.house.published::<VerificationRequested>(USERS).len(), 5);
}

#[tokio::test]
async fn a_code_is_no_token_and_a_token_is_no_code() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.register("lee@example.kr").await;
    f.ask_for_code("kim@example.kr").await;
    let code = f.code_sent();
    f.try_refresh(&json!(code)).await.expect_problem(401, "refresh_token_invalid");
    let signed_in = f.sign_in("kim@example.kr").await;
    f.confirm("kim@example.kr", text(&signed_in["refresh_token"]))
        .await
        .expect_problem(422, "validation_failed");
    // A code is good for its own address alone.
    f.ask_for_code("lee@example.kr").await;
    f.confirm("lee@example.kr", &code).await.expect_problem(422, "validation_failed");
    f.confirm("kim@example.kr", &code).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_that_are_asked_for_at_once_stay_within_the_hours_limit() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let users = f.users.clone();
        tasks.spawn(async move {
            crate::verification::request(&users, &Secret::new("kim@example.kr")).await.is_ok()
        });
    }
    let sent = tasks.join_all().await.into_iter().filter(|sent| *sent).count();
    assert_eq!(sent, f.users.config.codes_per_hour as usize);
    f.house.settle().await;
}
