//! What the embedded profile makes itself, and what another profile does not.

use std::time::Duration;

use contracts::topics::USERS;
use contracts::users::{EmailVerified, UserRegistered};
use serde_json::{Value, json};

use super::{another_process, fixture, fixture_with, sections, text};

#[tokio::test]
async fn the_administrator_and_the_demo_shopper_can_sign_in_and_are_made_once() {
    let f = fixture().await;
    let password = f.house.context.secrets.get("admin_password").unwrap();
    let admin = f.try_sign_in("admin@rtc.local", &password).await.expect(201);
    assert_eq!((text(&admin["user"]["role"]), &admin["user"]["verified"]), ("admin", &json!(true)));
    let demo = f.try_sign_in("demo@rtc.local", "demo shopper 2026").await.expect(201);
    assert_eq!((text(&demo["user"]["role"]), &demo["user"]["verified"]), ("customer", &json!(true)));
    f.house.get("/api/v1/users").token(text(&admin["access_token"])).send().await.expect(200);
    assert_eq!(f.house.published::<UserRegistered>(USERS).len(), 2);
    assert_eq!(f.house.published::<EmailVerified>(USERS).len(), 2);

    let restarted = another_process(&f, &sections()).await;
    restarted.house.settle().await;
    assert!(restarted.house.published::<UserRegistered>(USERS).is_empty());
    f.house.settle().await;
    assert_eq!(f.house.published::<UserRegistered>(USERS).len(), 2);
}

#[tokio::test]
async fn shoppers_are_made_once_and_their_tokens_live_twelve_hours() {
    let f = fixture().await;
    let ask = async |body: Value| {
        let answer = f.admin_call("/shoppers", &body).send().await.expect(200);
        f.house.settle().await;
        answer["data"].as_array().unwrap().clone()
    };
    let first = ask(json!({ "count": 300 })).await;
    let again = ask(json!({ "count": 300 })).await;
    let ids =
        |shoppers: &[Value]| shoppers.iter().map(|one| text(&one["user_id"]).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&first), ids(&again));
    let unique: std::collections::HashSet<_> = ids(&first).into_iter().collect();
    assert_eq!(unique.len(), 300);
    assert_eq!(ids(&ask(json!({ "count": 2, "first": 300 })).await)[0], ids(&first)[299]);
    assert_eq!(f.house.published::<UserRegistered>(USERS).len(), 2 + 301);

    let token = text(&first[299]["access_token"]);
    let principal = f.users.verifier.verify(token).unwrap();
    assert!(principal.email_verified && principal.role == contracts::Role::Customer);
    f.house.advance(Duration::from_secs(12 * 3_600 - 1)).await;
    let me = f.house.get("/api/v1/users/me").token(token).send().await.expect(200);
    assert_eq!(me["email"], "shopper-0300@load.rtc.local");
    f.house.advance(Duration::from_secs(1)).await;
    assert_eq!(f.users.verifier.verify(token).unwrap_err().code(), "token_expired");
    for bad in [json!({ "count": 0 }), json!({ "count": 10_001 }), json!({ "count": 2, "first": 10_000 })] {
        f.admin_call("/shoppers", &bad).send().await.expect_problem(422, "validation_failed");
    }
}

#[tokio::test]
async fn another_profile_makes_nobody_up() {
    let mut sections = sections();
    sections.push(("profile", json!("production")));
    let f = fixture_with(&sections).await;
    f.admin_call("/shoppers", &json!({ "count": 1 })).send().await.expect_problem(403, "embedded_only");
    let list = f.house.get("/api/v1/users").token(&f.admin()).send().await.expect(200);
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn what_has_expired_is_swept() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    f.sign_in("kim@example.kr").await;
    f.ask_for_code("kim@example.kr").await;
    f.try_sign_in("kim@example.kr", "a wrong password 1").await.expect_problem(401, "credentials_wrong");
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        f.users
            .db
            .read_now(|tx| -> Result<i64, db::Error> { tx.query_one(&sql, db::params![], |row| row.get(0)) })
            .unwrap()
    };
    // A failed sign-in is counted for the pair and for the account.
    let tables = [
        ("sessions", 1),
        ("refresh_tokens", 1),
        ("verification_codes", 1),
        ("verification_requests", 1),
        ("lockouts", 2),
    ];
    for (table, rows) in tables {
        assert_eq!(count(table), rows, "{table}");
    }
    f.house.advance(Duration::from_secs(3 * 86_400 + 2)).await;
    for (table, _) in tables {
        assert_eq!(count(table), 0, "{table}");
    }
}
