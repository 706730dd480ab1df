//! More than one process: replicas of this service, and others that take its word for who calls.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use contracts::Role;
use host::Context;
use messaging::Pump;
use serde_json::{Value, json};
use testkit::{Answer, Call, House};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use web::{
    Caller, Client, Json, Op, Policy, RemoteAuth, RemoteConfig, Routes, SERVICE_TOKEN_HEADER, Server,
    ServerConfig,
};

use super::{Fixture, another_process, fixture, sections, text};
use crate::keys;

const SERVICE_TOKEN: &str = "the house's own token";

async fn refresh(f: &Fixture) {
    let pumps = &f.house.service("users").pumps;
    let pump: &Arc<dyn Pump> = pumps.iter().find(|pump| pump.name() == "users.refresh").unwrap();
    pump.step().await.unwrap();
}

async fn rotate(f: &Fixture) -> Value {
    f.admin_call("/users/keys/rotate", &json!({})).send().await.expect(200)
}

fn signed_by(pair: &Value) -> String {
    use base64::Engine as _;
    let header = text(&pair["access_token"]).split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rotation_in_one_replica_reaches_the_other_and_both_take_the_tokens_of_both() {
    let one = fixture().await;
    let other = another_process(&one, &sections()).await;
    one.register("kim@example.kr").await;
    one.house.advance(Duration::from_secs(300)).await;
    rotate(&one).await;
    // Until it looks the other one signs with the key from before.
    let (new, old) = (one.sign_in("kim@example.kr").await, other.sign_in("kim@example.kr").await);
    assert_ne!(signed_by(&new), signed_by(&old));
    for f in [&one, &other] {
        f.me(&old).await.expect(200);
        f.me(&new).await.expect(200);
    }
    refresh(&other).await;
    assert_eq!(signed_by(&other.sign_in("kim@example.kr").await), signed_by(&new));
    // The key that the rotation published signs next, and the other one knows it by now.
    one.house.advance(Duration::from_secs(300)).await;
    rotate(&one).await;
    let newest = one.sign_in("kim@example.kr").await;
    other.me(&newest).await.expect(200);
    other.me(&new).await.expect(200);
    // What the house no longer publishes the other one forgets.
    one.house.advance(Duration::from_secs(12 * 3_600 + 61)).await;
    refresh(&other).await;
    other.me(&old).await.expect_problem(401, "token_invalid");
}

#[tokio::test]
async fn what_ends_in_one_replica_ends_in_the_other() {
    let one = fixture().await;
    let other = another_process(&one, &sections()).await;
    let user = one.register("kim@example.kr").await;
    let (out, changed) = (one.sign_in("kim@example.kr").await, one.sign_in("kim@example.kr").await);
    let token = text(&out["access_token"]);
    one.house.call("DELETE", "/api/v1/sessions/current").token(token).send().await.expect(204);
    other.me(&out).await.expect(200);
    refresh(&other).await;
    other.me(&out).await.expect_problem(401, "token_revoked");
    other.me(&changed).await.expect(200);

    one.house.clock.advance(Duration::from_secs(5));
    let path = format!("/api/v1/users/{}/role", text(&user["id"]));
    let body = json!({ "role": "seller" });
    let version = user["version"].as_i64().unwrap();
    one.house.call("PUT", &path).token(&one.admin()).if_match(version).json(&body).send().await.expect(200);
    refresh(&other).await;
    other.me(&changed).await.expect_problem(401, "token_revoked");
    one.house.settle().await;
}

#[tokio::test]
async fn replicas_that_made_keys_at_the_same_time_agree_and_nothing_signed_is_lost() {
    let one = fixture().await;
    one.register("kim@example.kr").await;
    let before = one.sign_in("kim@example.kr").await;
    // As if another one had begun in the same moment: rows of each state that are older by their names alone.
    let copy = "INSERT INTO signing_keys (kid, public_x, private_sealed, state, created_at) \
                SELECT '!' || substr(kid, 2), public_x, private_sealed, state, created_at FROM signing_keys";
    one.users
        .db
        .write(move |tx| -> Result<(), db::Error> { tx.execute(copy, db::params![]).map(drop) })
        .await
        .unwrap();
    let kept = keys::key_set(&one.users).await.unwrap().keys.len();
    for _ in 0..2 {
        refresh(&one).await;
    }
    assert_eq!(keys::key_set(&one.users).await.unwrap().keys.len(), kept, "all stay published");
    let after = one.sign_in("kim@example.kr").await;
    assert!(signed_by(&after).starts_with('!'));
    one.me(&before).await.expect(200);
    one.me(&after).await.expect(200);
    one.house.advance(Duration::from_secs(300)).await;
    rotate(&one).await;
    let current = "SELECT COUNT(*) FROM signing_keys WHERE state = 'current'";
    let count: i64 = one
        .users
        .db
        .read_now(|tx| -> Result<_, db::Error> { tx.query_one(current, db::params![], |row| row.get(0)) })
        .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn the_feed_is_for_processes_of_the_house_alone() {
    let f = fixture().await;
    f.house.get("/internal/revocations").send().await.expect_problem(404, "no_such_route");
    let shown = |token: &str| {
        f.house.get("/internal/revocations").header(SERVICE_TOKEN_HEADER.as_str(), token).send()
    };
    shown("").await.expect_problem(404, "no_such_route");
    f.house.context.edge.trust_service_token(SERVICE_TOKEN).unwrap();
    shown("another").await.expect_problem(404, "no_such_route");
    f.house.get("/internal/revocations").token(&f.admin()).send().await.expect_problem(404, "no_such_route");
    let empty = shown(SERVICE_TOKEN).await.expect(200);
    assert_eq!((&empty["sessions"], &empty["tokens"]), (&json!([]), &json!([])));
}

/// Another process: it has a route for whoever is signed in, and asks the users service who that is.
struct Remote {
    house: House,
    auth: Arc<RemoteAuth>,
    router: axum::Router,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

impl Remote {
    async fn of(f: &Fixture) -> Self {
        let _ = f.house.context.edge.trust_service_token(SERVICE_TOKEN);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server = Server::new(listener, f.house.router.clone(), ServerConfig::default());
        let server = tokio::spawn(server.run(stop.clone()));

        let none = async |_: &Context| Ok::<_, host::StartError>(Vec::<host::Service>::new());
        let house = House::build(&[], none).await;
        house.clock.set(f.users.clock.now());
        house.context.edge.trust_service_token(SERVICE_TOKEN).unwrap();
        let users = Client::remote("users", &[url], RemoteConfig::default()).unwrap();
        let auth = RemoteAuth::new(users, house.context.edge.clone(), house.context.revocations.clone());
        let who = async |Caller(caller): Caller| Json(json!({ "user": caller.user_id }));
        let op = Op::new("Who calls").answers::<Value>(200, "The caller");
        let router = Routes::new("orders")
            .get("/api/v1/who", Policy::SignedIn, op, who)
            .into_router(&house.context.edge, ());
        Self { house, auth, router, stop, server }
    }

    async fn who(&self, pair: &Value) -> Answer {
        let call = Call::new(self.router.clone(), Method::GET, "/api/v1/who");
        call.token(text(&pair["access_token"])).send().await
    }
}

#[tokio::test]
async fn keys_rotate_and_another_process_refuses_nobody() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let mut remote = Remote::of(&f).await;
    let mut pairs = vec![f.sign_in("kim@example.kr").await];
    remote.who(&pairs[0]).await.expect_problem(503, "keys_unavailable");
    remote.auth.refresh().await.unwrap();
    assert!(remote.auth.is_loaded());
    for _ in 0..2 {
        f.house.advance(Duration::from_secs(300)).await;
        remote.house.clock.advance(Duration::from_secs(300));
        rotate(&f).await;
        pairs.push(f.sign_in("kim@example.kr").await);
        for pair in &pairs {
            // The first rotation signs with a key that was published before; the second with one that it has to ask for.
            remote.who(pair).await.expect(200);
        }
    }
    let kids: std::collections::HashSet<String> = pairs.iter().map(signed_by).collect();
    assert_eq!(kids.len(), 3);

    // Away: who is known stays known.
    remote.stop.cancel();
    (&mut remote.server).await.unwrap();
    let pair = f.sign_in("kim@example.kr").await;
    remote.auth.refresh().await.unwrap_err();
    remote.who(&pair).await.expect(200);
    assert!(remote.auth.clone().pump().step().await.is_ok(), "it goes on looking");
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_session_in_another_process_too() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let remote = Remote::of(&f).await;
    let (first, bystander) = (f.sign_in("kim@example.kr").await, f.sign_in("kim@example.kr").await);
    let earlier = f.sign_in("kim@example.kr").await;
    f.house
        .call("DELETE", "/api/v1/sessions/current")
        .token(text(&earlier["access_token"]))
        .send()
        .await
        .expect(204);
    remote.auth.refresh().await.unwrap();
    remote.who(&earlier).await.expect_problem(401, "token_revoked");
    let second = f.try_refresh(&first["refresh_token"]).await.expect(200);
    let third = f.try_refresh(&second["refresh_token"]).await.expect(200);
    remote.who(&third).await.expect(200);
    // Beyond the grace in which tabs may come back: somebody else has it.
    f.house.clock.advance(Duration::from_secs(60));
    remote.house.clock.advance(Duration::from_secs(60));
    f.try_refresh(&first["refresh_token"]).await.expect_problem(401, "session_ended");
    remote.auth.refresh().await.unwrap();
    for pair in [&first, &second, &third] {
        remote.who(pair).await.expect_problem(401, "token_revoked");
    }
    remote.who(&bystander).await.expect(200);
    let nobody = f.house.token(House::user(7), Role::Customer);
    remote.who(&json!({ "access_token": nobody })).await.expect_problem(401, "token_invalid");
    f.house.settle().await;
}
