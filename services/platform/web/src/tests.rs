//! The edge's promises over a small router of its own.

mod counted;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use contracts::{Role, SessionId, UserId};
use db::{Db, params};
use kernel::{Clock, Error, IdSource, ManualClock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt;

use crate::auth::{self, Claims};
use crate::*;

#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    text: String,
    #[serde(default)]
    tags: Vec<u8>,
}

struct House {
    router: Router,
    clock: Arc<ManualClock>,
    db: Db,
    revocations: Arc<Revocations>,
    signer: jsonwebtoken::EncodingKey,
    table: Vec<RouteInfo>,
}

async fn create(State(db): State<Db>, Keyed { key, body }: Keyed<Note>) -> ApiResult<Answer> {
    let answer = db
        .write(move |tx| {
            once(tx, &key, Timestamp::EPOCH, |tx| {
                if body.text == "missing" {
                    return Err(Error::not_found("gone", "not there"));
                }
                if body.text == "conflict" {
                    return Err(Error::conflict("taken", "taken"));
                }
                tx.execute("INSERT INTO notes (body) VALUES (?)", params![body.text])?;
                let count: i64 = tx.query_one("SELECT COUNT(*) FROM notes", params![], |row| row.get(0))?;
                Answer::json(201, &serde_json::json!({ "count": count }))
            })
        })
        .await?;
    Ok(answer)
}

fn routes() -> Routes<Db> {
    Routes::new("notes")
        .post(
            "/api/v1/notes",
            Policy::SignedIn,
            Op::new("Write a note").body::<Note>().answers::<Value>(201, "Written").needs_idempotency_key(),
            create,
        )
        .post(
            "/api/v1/echo",
            Policy::Public,
            Op::new("Echo").body::<Note>().answers::<Note>(200, "The same"),
            async |Json(note): Json<Note>| Json(note),
        )
        .get(
            "/api/v1/admin",
            Policy::Roles(&[Role::Admin]),
            Op::new("Admins only").answers::<String>(200, "Hello"),
            async || "hello",
        )
        .get(
            "/api/v1/limited",
            Policy::Public,
            Op::new("Limited").answers::<String>(200, "Hello").limit(Limit::per_address("limited", 3, 60)),
            async || "hello",
        )
        .get(
            "/api/v1/panics",
            Policy::Public,
            Op::new("Panics").answers::<String>(200, "Never"),
            async || -> String { panic!("a defect") },
        )
}

async fn house() -> House {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
    let shared: Arc<dyn Clock> = clock.clone();
    let revocations = Arc::new(Revocations::default());
    let verifier = Arc::new(TokenVerifier::new(shared.clone(), revocations.clone()));
    let pair = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap();
    let x = {
        use aws_lc_rs::signature::KeyPair;
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())
    };
    verifier.add_key("k1", &x).unwrap();
    let signer = jsonwebtoken::EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
    let mut registry = prometheus_client::registry::Registry::default();
    let edge = Arc::new(Edge::new(
        verifier,
        Limits::new(shared.clone(), HashMap::new()),
        HttpMetrics::register(&mut registry),
        Pages::new(b"key"),
        shared.clone(),
        IdSource::new(shared, 3),
        EdgeConfig::default(),
    ));
    let db = Db::in_memory().unwrap();
    static TABLES: &[db::Migrations] = &[
        IDEMPOTENCY_MIGRATIONS,
        db::Migrations {
            component: "notes",
            steps: &[db::Migration { version: 1, name: "notes", sql: "CREATE TABLE notes (body TEXT)" }],
        },
    ];
    db.migrate(TABLES).await.unwrap();
    let table = routes().table();
    House { router: routes().into_router(&edge, db.clone()), clock, db, revocations, signer, table }
}

impl House {
    fn claims(&self, user: u128, role: Role) -> Claims {
        let now = self.clock.now().as_millis();
        Claims {
            iss: auth::ISSUER.to_owned(),
            aud: auth::AUDIENCE.to_owned(),
            sub: UserId::from(uuid::Uuid::from_u128(user)),
            role,
            sid: SessionId::from(uuid::Uuid::from_u128(user)),
            jti: "j".to_owned(),
            verified: true,
            iat_ms: now,
            iat: now / 1_000,
            exp: now / 1_000 + 900,
        }
    }

    fn sign(&self, claims: &Claims) -> String {
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
        header.kid = Some("k1".to_owned());
        jsonwebtoken::encode(&header, claims, &self.signer).unwrap()
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, Value, http::HeaderMap) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let value =
            serde_json::from_slice(&bytes).unwrap_or(Value::String(String::from_utf8_lossy(&bytes).into()));
        (parts.status, value, parts.headers)
    }

    async fn echo(&self, body: &str) -> (u16, String) {
        let (status, value, _) =
            self.send("POST", "/api/v1/echo", &[("content-type", "application/json")], body).await;
        (status.as_u16(), value["code"].as_str().unwrap_or("").to_owned())
    }
}

use axum::http;

#[tokio::test]
async fn bad_bodies_are_refused_with_a_code_and_a_place() {
    let house = house().await;
    assert_eq!(house.echo(r#"{"text":"hi"}"#).await, (200, String::new()));
    for (body, status, code) in [
        ("{", 400, "malformed_json"),
        ("", 400, "malformed_json"),
        ("{\"text\":\"\u{1}\"}", 400, "malformed_json"),
        (r#"{"text":"a","admin":true}"#, 400, "unknown_field"),
        (r#"{"text":"a","text":"b"}"#, 400, "duplicate_field"),
        (r#"{"text":5}"#, 422, "validation_failed"),
        (r#"{"text":"a","tags":[1,999]}"#, 422, "validation_failed"),
        (r#"{}"#, 422, "validation_failed"),
        (r#"[]"#, 422, "validation_failed"),
        (r#"["by position",[]]"#, 422, "validation_failed"),
        (r#"{"text":"a"} trailing"#, 400, "malformed_json"),
    ] {
        assert_eq!(house.echo(body).await, (status, code.to_owned()), "{body}");
    }
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(house.echo(&deep).await, (400, "json_too_deep".to_owned()));
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(2_000_000));
    assert_eq!(house.echo(&large).await, (413, "body_too_large".to_owned()));
    let (status, value, _) =
        house.send("POST", "/api/v1/echo", &[("content-type", "text/plain")], "{}").await;
    assert_eq!((status.as_u16(), &value["code"]), (415, &Value::from("unsupported_media_type")));
    let json = [("content-type", "application/json")];
    let (_, value, headers) =
        house.send("POST", "/api/v1/echo", &json, r#"{"text":"a","tags":[1,999]}"#).await;
    assert_eq!(value["errors"][0]["pointer"], "/tags/1");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(value["request_id"].as_str(), headers["x-request-id"].to_str().ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_cut_off() {
    let house = house().await;
    let stream = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let request = Request::builder()
        .method("POST")
        .uri("/api/v1/echo")
        .header("content-type", "application/json")
        .body(Body::from_stream(stream))
        .unwrap();
    let response = house.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let house = house().await;
    let good = house.sign(&house.claims(1, Role::Admin));
    let admin = async |token: &str| {
        let value = format!("Bearer {token}");
        house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16()
    };
    assert_eq!(admin(&good).await, 200);
    assert_eq!(admin(&house.sign(&house.claims(2, Role::Customer))).await, 403);
    assert_eq!(house.send("GET", "/api/v1/admin", &[], "").await.0.as_u16(), 401);

    let mut parts: Vec<&str> = good.split('.').collect();
    let payload = parts[1].to_owned();
    parts[2] = "AAAA";
    assert_eq!(admin(&parts.join(".")).await, 401);
    let none = format!("eyJhbGciOiJub25lIiwia2lkIjoiazEifQ.{payload}.");
    assert_eq!(admin(&none).await, 401);
    let other_audience = house.sign(&Claims { aud: "other".to_owned(), ..house.claims(1, Role::Admin) });
    assert_eq!(admin(&other_audience).await, 401);
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = Some("k2".to_owned());
    let unknown_key = jsonwebtoken::encode(&header, &house.claims(1, Role::Admin), &house.signer).unwrap();
    assert_eq!(admin(&unknown_key).await, 401);
    let hmac = jsonwebtoken::Header { kid: Some("k1".to_owned()), ..Default::default() };
    let confused = jsonwebtoken::encode(
        &hmac,
        &house.claims(1, Role::Admin),
        &jsonwebtoken::EncodingKey::from_secret(b"k1"),
    )
    .unwrap();
    assert_eq!(admin(&confused).await, 401);

    house.clock.advance(Duration::from_secs(901));
    assert_eq!(admin(&good).await, 401);
}

#[tokio::test]
async fn an_ended_session_and_a_changed_role_end_tokens_at_once() {
    let house = house().await;
    let claims = house.claims(1, Role::Admin);
    let value = format!("Bearer {}", house.sign(&claims));
    let status =
        async || house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16();
    assert_eq!(status().await, 200);
    house.revocations.require_newer(claims.sub, house.clock.now().plus(Duration::from_millis(1)));
    assert_eq!(status().await, 401);
    let other = house.claims(2, Role::Admin);
    let value = format!("Bearer {}", house.sign(&other));
    let until = house.clock.now().plus(Duration::from_secs(900));
    house.revocations.require_newer_in_session(claims.sid, until, until);
    assert_eq!(house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16(), 200);
    house.revocations.require_newer_in_session(other.sid, house.clock.now(), until);
    assert_eq!(house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16(), 200);
    let later = house.clock.now().plus(Duration::from_millis(1));
    house.revocations.require_newer_in_session(other.sid, later, until);
    assert_eq!(house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16(), 401);
    let third = house.claims(3, Role::Admin);
    let value = format!("Bearer {}", house.sign(&third));
    assert_eq!(house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16(), 200);
    house.revocations.revoke_session(third.sid, until);
    assert_eq!(house.send("GET", "/api/v1/admin", &[("authorization", &value)], "").await.0.as_u16(), 401);
}

#[tokio::test]
async fn one_key_has_one_effect_and_one_answer() {
    let house = house().await;
    let value = format!("Bearer {}", house.sign(&house.claims(1, Role::Customer)));
    let post = async |key: &str, body: &str| {
        let headers = [
            ("authorization", value.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        house.send("POST", "/api/v1/notes", &headers, body).await
    };
    let first = post("k", r#"{"text":"one"}"#).await;
    let second = post("k", r#"{"text":"one"}"#).await;
    assert_eq!((first.0.as_u16(), second.0.as_u16()), (201, 201));
    assert_eq!(first.1, second.1);
    assert_eq!(second.2["idempotent-replayed"], "true");
    assert!(!first.2.contains_key("idempotent-replayed"));
    let reused = post("k", r#"{"text":"two"}"#).await;
    assert_eq!((reused.0.as_u16(), reused.1["code"].as_str()), (422, Some("idempotency_key_reused")));

    // A stored failure is given again; a conflict is tried anew.
    assert_eq!(post("m", r#"{"text":"missing"}"#).await.0.as_u16(), 404);
    assert_eq!(post("m", r#"{"text":"missing"}"#).await.2["idempotent-replayed"], "true");
    assert_eq!(post("c", r#"{"text":"conflict"}"#).await.0.as_u16(), 409);
    assert!(!post("c", r#"{"text":"conflict"}"#).await.2.contains_key("idempotent-replayed"));

    let headers = [("authorization", value.as_str()), ("content-type", "application/json")];
    let without = house.send("POST", "/api/v1/notes", &headers, r#"{"text":"one"}"#).await;
    assert_eq!((without.0.as_u16(), without.1["code"].as_str()), (400, Some("idempotency_key_required")));
    assert_eq!(post("bad key", "{}").await.0.as_u16(), 400);

    let later = Timestamp::EPOCH.plus(Duration::from_secs(8 * 86_400));
    assert_eq!(house.db.write(move |tx| sweep(tx, later)).await.unwrap(), 2);
}

#[tokio::test]
async fn a_limit_refuses_says_when_to_come_back_and_refills() {
    let house = house().await;
    for left in [2, 1, 0] {
        let (status, _, headers) = house.send("GET", "/api/v1/limited", &[], "").await;
        assert_eq!(status.as_u16(), 200);
        assert!(headers["ratelimit"].to_str().unwrap().starts_with(&format!("\"limited\";r={left}")));
    }
    let (status, _, headers) =
        house.send("GET", "/api/v1/limited", &[("x-forwarded-for", "1.2.3.4")], "").await;
    assert_eq!(status.as_u16(), 429);
    assert_eq!(headers["retry-after"], "20");
    house.clock.advance(Duration::from_secs(20));
    assert_eq!(house.send("GET", "/api/v1/limited", &[], "").await.0.as_u16(), 200);
}

#[tokio::test]
async fn a_panic_and_an_unknown_method_are_problems() {
    let house = house().await;
    let (status, value, _) = house.send("GET", "/api/v1/panics", &[], "").await;
    assert_eq!((status.as_u16(), value["code"].as_str()), (500, Some("internal")));
    assert!(!value.to_string().contains("defect"));
    assert_eq!(house.send("DELETE", "/api/v1/echo", &[], "").await.0.as_u16(), 405);
}

#[test]
fn a_cursor_works_only_for_its_list() {
    let pages = Pages::new(b"one key");
    let page = pages.page("orders?user=1", 2, vec![1, 2, 3], |row| *row).unwrap();
    assert_eq!(page.data, [1, 2]);
    let cursor = page.next_cursor.unwrap();
    assert_eq!(pages.decode::<i32>("orders?user=1", Some(&cursor)).unwrap(), Some(2));
    assert!(pages.decode::<i32>("orders?user=2", Some(&cursor)).is_err());
    assert!(Pages::new(b"another").decode::<i32>("orders?user=1", Some(&cursor)).is_err());
    for forged in ["", "AAAA", "🎈", &cursor[1..]] {
        assert!(pages.decode::<i32>("orders?user=1", Some(forged)).is_err());
    }
    assert!(pages.page("x", 3, vec![1, 2, 3], |row| *row).unwrap().next_cursor.is_none());
}

#[test]
fn a_cursor_outlives_the_rotation_of_its_key_and_not_the_end_of_it() {
    let cursor = |pages: &Pages| pages.encode("notes", &7).unwrap();
    let reads = |pages: &Pages, cursor: &str| pages.decode::<i32>("notes", Some(cursor)).ok().flatten();
    let pages = Pages::new(b"old");
    let of_old = cursor(&pages);
    let clone = pages.clone();
    pages.rotate(&["new", "old"]);
    let of_new = cursor(&clone);
    assert_ne!(of_old, of_new);
    assert_eq!((reads(&clone, &of_old), reads(&clone, &of_new)), (Some(7), Some(7)));
    assert_eq!(reads(&Pages::new(b"new"), &of_new), Some(7), "the first one signs");
    pages.rotate(&["new"]);
    assert_eq!((reads(&clone, &of_old), reads(&clone, &of_new)), (None, Some(7)));
    let none: [&str; 0] = [];
    pages.rotate(&none);
    assert_eq!(reads(&pages, &of_new), Some(7), "without keys nothing changes");
}

/// An edge of its own, with nothing but a route that says how long it may take.
fn edge_and_router() -> (Arc<Edge>, Router) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
    let revocations = Arc::new(Revocations::default());
    let edge = Arc::new(Edge::new(
        Arc::new(TokenVerifier::new(clock.clone(), revocations)),
        Limits::new(clock.clone(), HashMap::from([("looks".to_owned(), 2)])),
        HttpMetrics::register(&mut prometheus_client::registry::Registry::default()),
        Pages::new(b"key"),
        clock.clone(),
        IdSource::new(clock, 3),
        EdgeConfig::default(),
    ));
    let left = async |axum::Extension(deadline): axum::Extension<Deadline>| {
        deadline.left(tokio::time::Instant::now()).as_millis().to_string()
    };
    let op = Op::new("Look").answers::<String>(200, "What is left").limit(Limit::per_address("looks", 9, 60));
    let router = Routes::new("notes").get("/look", Policy::Public, op, left).into_router(&edge, ());
    (edge, router)
}

#[tokio::test(start_paused = true)]
async fn requests_that_begin_after_a_change_have_all_of_it() {
    let (edge, router) = edge_and_router();
    let look = async || {
        let request = Request::get("/look").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let policy = response.headers().get("ratelimit-policy").cloned();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let policy = policy.map(|policy| policy.to_str().unwrap().to_owned());
        (status, policy, String::from_utf8(body.to_vec()).unwrap())
    };
    let of = |quota: u32| Some(format!("\"looks\";q={quota};w=60"));
    assert_eq!(look().await, (200, of(2), "15000".to_owned()));
    assert_eq!(look().await.0, 200);
    assert_eq!(look().await.0, 429);
    let config = EdgeConfig { request_timeout: Duration::from_secs(1), ..EdgeConfig::default() };
    edge.reconfigure(config.clone(), HashMap::from([("looks".to_owned(), 0)]));
    assert_eq!(look().await, (200, None, "1000".to_owned()), "0 switches a limit off");
    edge.reconfigure(EdgeConfig { concurrency_max: 0, ..config.clone() }, HashMap::new());
    assert_eq!(look().await.0, 503, "there is no place at work");
    edge.reconfigure(config, HashMap::new());
    assert_eq!(look().await.0, 429, "what was used up stays used up");
}

#[test]
fn the_house_knows_its_own_while_its_token_is_rotated() {
    let (edge, _) = edge_and_router();
    assert!(edge.service_token().is_none());
    edge.trust_service_tokens(&["new", "old"]).unwrap();
    assert_eq!(edge.service_token().unwrap(), "new");
    assert!(edge.service_token().unwrap().is_sensitive());
    assert!(edge.trust_service_tokens(&["a\nb"]).is_err(), "no header can carry this");
    assert_eq!(edge.service_token().unwrap(), "new", "and nothing was changed");
}

#[tokio::test]
async fn the_document_describes_every_route() {
    let house = house().await;
    let document = document(&house.table, "0.1.0");
    assert_eq!(document["openapi"], "3.1.0");
    let post = &document["paths"]["/api/v1/notes"]["post"];
    assert_eq!(post["security"][0]["bearer"], serde_json::json!([]));
    assert_eq!(
        post["requestBody"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Note"
    );
    assert!(document["components"]["schemas"]["ProblemBody"].is_object());
    assert_eq!(document["paths"]["/api/v1/admin"]["get"]["x-roles"][0], "admin");
}
