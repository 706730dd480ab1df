//! Signing in, refreshing, signing out, and what survives a restart.

use std::time::Duration;

use contracts::topics::USERS;
use contracts::users::{SessionEnd, SessionRevoked};
use db::params;
use serde_json::json;

use super::{PASSWORD, another_process, fixture, sections, text, without_request_id};

#[tokio::test]
async fn who_signs_in_gets_a_pair_of_tokens() {
    let f = fixture().await;
    let kim = f.register("kim@example.kr").await;
    let answer = f.try_sign_in(" KIM@example.kr", PASSWORD).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let signed_in = answer.expect(201);
    assert_eq!((&signed_in["token_type"], &signed_in["expires_in_s"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(signed_in["user"]["id"], kim["id"]);
    let principal = f.users.verifier.verify(text(&signed_in["access_token"])).unwrap();
    assert_eq!(principal.user_id.to_string(), text(&kim["id"]));
    assert!(!principal.email_verified);
    f.house.advance(Duration::from_secs(899)).await;
    f.me(&signed_in).await.expect(200);
    f.house.advance(Duration::from_secs(1)).await;
    f.me(&signed_in).await.expect_problem(401, "token_expired");
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_for_three_days() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let first = f.sign_in("kim@example.kr").await;
    f.house.advance(Duration::from_secs(3 * 86_400 - 1)).await;
    let second = f.try_refresh(&first["refresh_token"]).await.expect(200);
    assert_ne!(first["refresh_token"], second["refresh_token"]);
    f.me(&second).await.expect(200);
    f.house.advance(Duration::from_secs(3 * 86_400)).await;
    f.try_refresh(&second["refresh_token"]).await.expect_problem(401, "refresh_token_invalid");
    for forged in ["", "x", &"y".repeat(10_000)] {
        f.try_refresh(&json!(forged)).await.expect_problem(401, "refresh_token_invalid");
    }
    // An access token is no refresh token.
    f.try_refresh(&first["access_token"]).await.expect_problem(401, "refresh_token_invalid");
}

#[tokio::test]
async fn a_refresh_token_that_comes_back_ends_the_whole_family() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let other_device = f.sign_in("kim@example.kr").await;
    let first = f.sign_in("kim@example.kr").await;
    let second = f.try_refresh(&first["refresh_token"]).await.expect(200);
    let third = f.try_refresh(&second["refresh_token"]).await.expect(200);
    f.house.advance(Duration::from_millis(30_001)).await;
    f.try_refresh(&first["refresh_token"]).await.expect_problem(401, "session_ended");
    for pair in [&first, &second, &third] {
        f.me(pair).await.expect_problem(401, "token_revoked");
        f.try_refresh(&pair["refresh_token"]).await.expect_problem(401, "session_ended");
    }
    f.me(&other_device).await.expect(200);
    f.house.settle().await;
    let revoked = f.house.published::<SessionRevoked>(USERS);
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].reason, SessionEnd::RefreshTokenReused);
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again_and_the_lost_pair_is_dead() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let first = f.sign_in("kim@example.kr").await;
    let lost = f.try_refresh(&first["refresh_token"]).await.expect(200);
    f.house.advance(Duration::from_millis(30_001)).await;
    let lost_too = f.try_refresh(&first["refresh_token"]).await.expect(200);
    assert_ne!(lost["refresh_token"], lost_too["refresh_token"]);
    f.me(&lost).await.expect_problem(401, "token_revoked");
    f.house.advance(Duration::from_millis(30_001)).await;
    let arrived = f.try_refresh(&first["refresh_token"]).await.expect(200);
    f.me(&lost_too).await.expect_problem(401, "token_revoked");
    f.me(&arrived).await.expect(200);
    let next = f.try_refresh(&arrived["refresh_token"]).await.expect(200);
    f.me(&next).await.expect(200);
    assert!(f.house.published::<SessionRevoked>(USERS).is_empty());

    // Whoever holds a pair that was given up holds what was meant for somebody else.
    f.try_refresh(&lost["refresh_token"]).await.expect_problem(401, "session_ended");
    f.me(&next).await.expect_problem(401, "token_revoked");
    f.house.settle().await;
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_stay_signed_in() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let first = f.sign_in("kim@example.kr").await;
    let mut held = first["refresh_token"].clone();
    for _ in 0..3 {
        let (here, there) = tokio::join!(f.try_refresh(&held), f.try_refresh(&held));
        let (here, there) = (here.expect(200), there.expect(200));
        assert_eq!(here["refresh_token"], there["refresh_token"]);
        assert_ne!(here["refresh_token"], held);
        // One of them is slow, until the last moment of the grace.
        f.house.advance(Duration::from_secs(30)).await;
        let slow = f.try_refresh(&held).await.expect(200);
        assert_eq!(slow["refresh_token"], here["refresh_token"]);
        for tab in [&first, &here, &there, &slow] {
            f.me(tab).await.expect(200);
        }
        held = here["refresh_token"].clone();
    }
    f.house.settle().await;
    assert!(f.house.published::<SessionRevoked>(USERS).is_empty());
}

#[tokio::test]
async fn tabs_that_come_back_together_after_a_lost_answer_get_the_same_pair_too() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let first = f.sign_in("kim@example.kr").await;
    let lost = f.try_refresh(&first["refresh_token"]).await.expect(200);
    f.house.advance(Duration::from_secs(600)).await;
    let token = &first["refresh_token"];
    let (here, there) = tokio::join!(f.try_refresh(token), f.try_refresh(token));
    let (here, there) = (here.expect(200), there.expect(200));
    assert_eq!(here["refresh_token"], there["refresh_token"]);
    f.me(&here).await.expect(200);
    f.me(&there).await.expect(200);
    f.me(&lost).await.expect_problem(401, "token_revoked");
}

#[tokio::test]
async fn a_lost_answer_is_believed_as_long_as_the_token_would_have_lived() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let first = f.sign_in("kim@example.kr").await;
    f.house.advance(Duration::from_secs(3_600)).await;
    let second = f.try_refresh(&first["refresh_token"]).await.expect(200);
    f.house.advance(Duration::from_secs(3 * 86_400 - 3_600)).await;
    f.try_refresh(&first["refresh_token"]).await.expect_problem(401, "refresh_token_invalid");
    // That it came too late has ended nothing.
    f.try_refresh(&second["refresh_token"]).await.expect(200);
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once_and_no_other() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let (here, there) = (f.sign_in("kim@example.kr").await, f.sign_in("kim@example.kr").await);
    let newer = f.try_refresh(&here["refresh_token"]).await.expect(200);
    let delete = f.house.call("DELETE", "/api/v1/sessions/current").token(text(&newer["access_token"]));
    delete.send().await.expect(204);
    for pair in [&here, &newer] {
        f.me(pair).await.expect_problem(401, "token_revoked");
        f.try_refresh(&pair["refresh_token"]).await.expect_problem(401, "session_ended");
    }
    f.me(&there).await.expect(200);
    f.house.settle().await;
    assert_eq!(f.house.published::<SessionRevoked>(USERS)[0].reason, SessionEnd::SignedOut);
}

#[tokio::test]
async fn what_ended_stays_ended_after_a_restart() {
    let f = fixture().await;
    let kim = f.register("kim@example.kr").await;
    let (ended, kept) = (f.sign_in("kim@example.kr").await, f.sign_in("kim@example.kr").await);
    let replaced = f.try_refresh(&kept["refresh_token"]).await.expect(200);
    f.house.advance(Duration::from_millis(30_001)).await;
    let arrived = f.try_refresh(&kept["refresh_token"]).await.expect(200);
    let lee = f.register("lee@example.kr").await;
    let before = f.sign_in("lee@example.kr").await;
    let role = format!("/api/v1/users/{}/role", text(&lee["id"]));
    let put = f.house.call("PUT", &role).token(&f.admin()).json(&json!({ "role": "seller" }));
    put.if_match(1).send().await.expect(200);
    let after = f.sign_in("lee@example.kr").await;
    let delete = f.house.call("DELETE", "/api/v1/sessions/current").token(text(&ended["access_token"]));
    delete.send().await.expect(204);
    f.house.settle().await;

    let restarted = another_process(&f, &sections()).await;
    let verify = |pair: &serde_json::Value| restarted.users.verifier.verify(text(&pair["access_token"]));
    for gone in [&ended, &replaced, &before] {
        assert_eq!(verify(gone).unwrap_err().code(), "token_revoked");
    }
    assert_eq!(verify(&arrived).unwrap().user_id.to_string(), text(&kim["id"]));
    assert_eq!(verify(&after).unwrap().role, contracts::Role::Seller);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_cannot_be_told_apart() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.admin_call("/shoppers", &json!({ "count": 1 })).send().await.expect(200);
    f.house.settle().await;
    let mut answers = Vec::new();
    for email in ["kim@example.kr", "nobody@example.kr", "shopper-0001@load.rtc.local"] {
        let before = f.users.hasher.verifications();
        answers.push(without_request_id(f.try_sign_in(email, "a wrong password 1").await));
        assert_eq!(f.users.hasher.verifications() - before, 1, "{email}");
    }
    assert_eq!((answers[0].0, &answers[0].1["code"]), (401, &json!("credentials_wrong")));
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[tokio::test]
async fn a_weak_hash_is_replaced_when_its_password_is_seen() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let stored = async |f: &super::Fixture| -> String {
        let index = f.users.vault.index("email", "kim@example.kr");
        let sql = "SELECT password_hash FROM users WHERE email_index = ?";
        f.users
            .db
            .read_now(|tx| tx.query_one(sql, params![index], |row| row.get(0)))
            .map_err(|e: db::Error| e)
            .unwrap()
    };
    let weak = stored(&f).await;
    assert!(weak.starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    f.sign_in("kim@example.kr").await;
    assert_eq!(stored(&f).await, weak);

    let strong = another_process(&f, &[("limits", json!({ "login": 0 }))]).await;
    strong.try_sign_in("kim@example.kr", "a wrong password 1").await.expect_problem(401, "credentials_wrong");
    assert_eq!(stored(&f).await, weak);
    strong.sign_in("kim@example.kr").await;
    let hash = stored(&f).await;
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    f.sign_in("kim@example.kr").await;
    assert_eq!(stored(&f).await, hash);
}
