//! Signing up, one's own data, roles, the list.

use std::collections::HashMap;

use contracts::topics::USERS;
use contracts::users::{RoleChanged, UserRegistered};
use contracts::{Role, UserId};
use serde_json::json;
use testkit::House;

use super::{PASSWORD, fixture, fixture_with, sections, text};

#[tokio::test]
async fn one_address_has_one_account_however_it_is_spelled() {
    let f = fixture().await;
    let view = f.register("Kim@Example.kr").await;
    assert_eq!((text(&view["email"]), text(&view["role"])), ("kim@example.kr", "customer"));
    assert_eq!(view["verified"], false);
    assert!(view.get("password").is_none() && view.get("password_hash").is_none());
    let again = json!({ "email": " kim@EXAMPLE.kr ", "password": PASSWORD, "name": "Kim" });
    f.house.post("/api/v1/users").json(&again).send().await.expect_problem(409, "email_taken");
    assert_eq!(f.house.published::<UserRegistered>(USERS).len(), 3);
    let event = f.house.published::<UserRegistered>(USERS).pop().unwrap();
    assert_eq!(f.users.vault.open(&event.email).unwrap(), "kim@example.kr");
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said_field_by_field() {
    let f = fixture().await;
    let post = async |body| f.house.post("/api/v1/users").json(&body).send().await;
    let body =
        json!({ "email": "kim", "password": "password123", "name": " ", "phone": "call me", "locale": "fr" });
    let problem = post(body).await.expect_problem(422, "validation_failed");
    let mut pointers: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| text(&error["pointer"])).collect();
    pointers.dedup();
    assert_eq!(pointers, ["/email", "/password", "/name", "/phone", "/locale"]);
    for password in ["short", "1234567890", &"x".repeat(129)] {
        let body = json!({ "email": "kim@example.kr", "password": password, "name": "Kim" });
        let problem = post(body).await.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/password");
    }
    let body = json!({ "email": "kim@example.kr", "password": PASSWORD, "name": "Kim", "role": "admin" });
    post(body).await.expect_problem(400, "unknown_field");
}

#[tokio::test]
async fn a_registration_sent_twice_under_one_key_is_one() {
    let f = fixture().await;
    let body =
        json!({ "email": "kim@example.kr", "password": PASSWORD, "name": "Kim", "phone": "010-1234-5678" });
    let post = async |body| f.house.post("/api/v1/users").key("k1").json(body).send().await;
    let (first, second) = (post(&body).await, post(&body).await);
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(second.header("location"), first.header("location"));
    assert_eq!(first.expect(201), second.expect(201));
    let other = json!({ "email": "lee@example.kr", "password": PASSWORD, "name": "Lee" });
    post(&other).await.expect_problem(422, "idempotency_key_reused");
    f.house.settle().await;
}

#[tokio::test]
async fn users_change_their_own_data_and_never_by_an_old_version() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let signed_in = f.sign_in("kim@example.kr").await;
    let token = text(&signed_in["access_token"]);
    let patch = |body| f.house.call("PATCH", "/api/v1/users/me").token(token).json(&body);
    patch(json!({ "name": "Lee" })).send().await.expect_problem(428, "if_match_required");
    let changed =
        patch(json!({ "name": "Lee", "phone": "+82 10 1234 5678" })).if_match(1).send().await.expect(200);
    assert_eq!((text(&changed["name"]), text(&changed["phone"])), ("Lee", "+82 10 1234 5678"));
    patch(json!({ "name": "Park" })).if_match(1).send().await.expect_problem(412, "stale_version");
    let cleared = patch(json!({ "phone": null })).if_match(2).send().await.expect(200);
    assert!(cleared.get("phone").is_none() && cleared["name"] == "Lee");
    patch(json!({ "role": "admin" })).if_match(3).send().await.expect_problem(400, "unknown_field");
    patch(json!({ "name": null })).if_match(2).send().await.expect_problem(412, "stale_version");

    let me = f.me(&signed_in).await;
    assert_eq!(me.header("etag"), Some("\"3\""));
    let again = f.house.get("/api/v1/users/me").token(token).header("if-none-match", "\"3\"").send().await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
}

#[tokio::test]
async fn somebody_elses_account_does_not_exist() {
    let f = fixture().await;
    let kim = f.register("kim@example.kr").await;
    let path = format!("/api/v1/users/{}", text(&kim["id"]));
    let id: UserId = text(&kim["id"]).parse().unwrap();
    for role in Role::ALL {
        let other = f.house.get(&path).token(&f.house.token(House::user(5), role)).send().await;
        match role {
            Role::Admin => assert_eq!(other.expect(200)["email"], "kim@example.kr"),
            _ => drop(other.expect_problem(404, "user_not_found")),
        }
    }
    f.house.get(&path).token(&f.house.token(id, Role::Customer)).send().await.expect(200);
    f.house.get(&path).send().await.expect_problem(401, "token_missing");
    f.house.get("/api/v1/users/usr_x").token(&f.admin()).send().await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_change_of_role_acts_at_once() {
    let f = fixture().await;
    let kim = f.register("kim@example.kr").await;
    let signed_in = f.sign_in("kim@example.kr").await;
    let path = format!("/api/v1/users/{}/role", text(&kim["id"]));
    let put = async |token: &str, version: i64, role: &str| {
        let call = f.house.call("PUT", &path).token(token).if_match(version);
        call.json(&json!({ "role": role })).send().await
    };
    let own = text(&signed_in["access_token"]);
    put(own, 1, "admin").await.expect_problem(403, "role_required");
    assert_eq!(put(&f.admin(), 1, "analyst").await.expect(200)["role"], "analyst");
    f.me(&signed_in).await.expect_problem(401, "token_revoked");

    // The clock has not moved, and still the next token is good and has the new role.
    let refreshed = f.try_refresh(&signed_in["refresh_token"]).await.expect(200);
    assert_eq!(f.me(&refreshed).await.expect(200)["role"], "analyst");
    let id: UserId = text(&kim["id"]).parse().unwrap();
    let principal = f.users.verifier.verify(text(&refreshed["access_token"])).unwrap();
    assert_eq!(principal.role, Role::Analyst);

    // The same role again is no change and ends nothing.
    put(&f.admin(), 2, "analyst").await.expect(200);
    f.me(&refreshed).await.expect(200);
    f.house.settle().await;
    let events = f.house.published::<RoleChanged>(USERS);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].user_id, events[0].old, events[0].new), (id, Role::Customer, Role::Analyst));
    assert!(events[0].tokens_valid_from <= principal.issued_at);
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let f = fixture().await;
    let list = f.house.get("/api/v1/users").token(&f.admin()).send().await.expect(200);
    let admin = list["data"].as_array().unwrap().iter().find(|user| user["role"] == "admin").unwrap().clone();
    let path = format!("/api/v1/users/{}/role", text(&admin["id"]));
    let put = f.house.call("PUT", &path).token(&f.admin()).json(&json!({ "role": "customer" }));
    let put = put.if_match(admin["version"].as_i64().unwrap());
    put.send().await.expect_problem(409, "last_admin");
}

#[tokio::test]
async fn a_role_is_never_given_by_an_old_version() {
    let f = fixture().await;
    let kim = f.register("kim@example.kr").await;
    let path = format!("/api/v1/users/{}/role", text(&kim["id"]));
    let token = f.admin();
    let put = |role: &str| f.house.call("PUT", &path).token(&token).json(&json!({ "role": role }));
    put("seller").send().await.expect_problem(428, "if_match_required");
    let changed = put("seller").if_match(1).send().await;
    assert_eq!(changed.header("etag"), Some("\"2\""));
    changed.expect(200);
    // Another administrator, who has not seen that, changes nothing, not even to what it is already.
    put("admin").if_match(1).send().await.expect_problem(412, "stale_version");
    put("seller").if_match(1).send().await.expect_problem(412, "stale_version");
    f.house.settle().await;
    assert_eq!(f.house.published::<RoleChanged>(USERS).len(), 1);
    let read = f.house.get(&format!("/api/v1/users/{}", text(&kim["id"]))).token(&token).send().await;
    let read = read.expect(200);
    assert_eq!((&read["role"], &read["version"]), (&json!("seller"), &json!(2)));
}

#[tokio::test]
async fn a_list_gives_everybody_exactly_once_while_others_sign_up() {
    let f = fixture().await;
    for n in 0..12 {
        f.register(&format!("user{n}@example.kr")).await;
        if n % 4 == 0 {
            f.house.advance(std::time::Duration::from_millis(1)).await;
        }
    }
    let token = f.admin();
    for sort in ["created_at", "-created_at"] {
        let before = f.house.get("/api/v1/users?limit=250").token(&token).send().await.expect(200);
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut path = format!("/api/v1/users?limit=5&sort={sort}");
        let mut latecomer = 0;
        loop {
            let page = f.house.get(&path).token(&token).send().await.expect(200);
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= 5);
            data.iter().for_each(|user| *seen.entry(text(&user["id"]).to_owned()).or_default() += 1);
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v1/users?limit=5&sort={sort}&cursor={cursor}");
            if latecomer < 3 {
                latecomer += 1;
                let order = sort.replace('-', "minus");
                f.register(&format!("late{latecomer}.{order}@example.kr")).await;
            }
        }
        assert!(seen.values().all(|times| *times == 1));
        for user in before["data"].as_array().unwrap() {
            assert!(seen.contains_key(text(&user["id"])), "{sort}: {user}");
        }
    }
    let cursor = f.house.get("/api/v1/users?limit=1").token(&token).send().await.expect(200);
    let forged = format!("/api/v1/users?sort=-created_at&cursor={}", text(&cursor["next_cursor"]));
    f.house.get(&forged).token(&token).send().await.expect_problem(422, "validation_failed");
    f.house
        .get("/api/v1/users?sort=email")
        .token(&token)
        .send()
        .await
        .expect_problem(422, "validation_failed");
    let customer = f.house.token(House::user(1), Role::Customer);
    f.house.get("/api/v1/users").token(&customer).send().await.expect_problem(403, "role_required");
}

#[tokio::test]
async fn signing_up_signing_in_and_refreshing_have_limits() {
    let cheap: Vec<_> = sections().into_iter().filter(|(key, _)| *key != "limits").collect();
    let f = fixture_with(&cheap).await;
    let post = async |path: &str, body| f.house.post(path).json(&body).send().await.status;
    let refresh = json!({ "refresh_token": "x" });
    for (path, quota, body) in [
        ("/api/v1/users", 3, json!({ "email": "x", "password": "x", "name": "x" })),
        ("/api/v1/sessions", 5, json!({ "email": "nobody@example.kr", "password": "x" })),
        ("/api/v1/sessions/refresh", 10, refresh),
    ] {
        for _ in 0..quota {
            assert_ne!(post(path, body.clone()).await, 429, "{path}");
        }
        assert_eq!(post(path, body).await, 429, "{path}");
    }
}
