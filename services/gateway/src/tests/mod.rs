//! The entry over two small services of the test's own.

mod remote;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::{Router, routing};
use contracts::Role;
use serde_json::{Value, json};
use testkit::{House, walk_routes};
use web::{Client, Json, Op, Policy, Routes};

use crate::{Upstream, router};

/// Answers with the headers that reached it.
async fn echo(request: Request) -> Json<Value> {
    let headers: serde_json::Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or("?"))))
        .collect();
    Json(Value::Object(headers))
}

fn notes() -> Routes<()> {
    let op = || Op::new("Echo").answers::<Value>(200, "The headers");
    Routes::new("notes")
        .get("/api/v1/notes", Policy::Public, op(), echo)
        .post("/api/v1/notes", Policy::SignedIn, op(), echo)
        .get("/api/v1/notes/{id}", Policy::Optional, op(), echo)
        .delete("/api/v1/notes/{id}", Policy::Roles(&[Role::Admin, Role::Seller]), op(), echo)
}

fn jobs() -> Routes<()> {
    let op = || Op::new("Echo").answers::<Value>(200, "The headers");
    Routes::new("jobs")
        .put("/api/v1/jobs/{id}/files/{file}", Policy::Roles(&[Role::Driver]), op(), echo)
        .patch("/api/v1/jobs/{id}", Policy::SignedIn, op(), echo)
}

async fn house(sections: &[(&str, Value)]) -> House {
    let mut house =
        House::build(sections, async |_| Ok::<_, host::StartError>(Vec::<host::Service>::new())).await;
    let upstream = |name, routes: Routes<()>, extra: Router| {
        let table = routes.table();
        let local = routes.into_router(&house.context.edge, ()).merge(extra);
        Upstream { name, routes: table, client: Client::local(local) }
    };
    // A handler that is in the router and in no table: a back door that must not be one.
    let back_door = Router::new().route("/api/v1/back-door", routing::any(echo));
    let upstreams = vec![upstream("notes", notes(), back_door), upstream("jobs", jobs(), Router::new())];
    house.router = router(&house.context, upstreams);
    house
}

#[tokio::test]
async fn every_route_is_there_and_guarded_by_its_policy() {
    let house = house(&[]).await;
    let table = [notes().table(), jobs().table()].concat();
    let mut n = 0;
    let wrong = walk_routes(&house.router, &table, |role| {
        n += 1;
        house.token(House::user(n), role)
    })
    .await;
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(n, 36);
}

#[tokio::test]
async fn the_walk_finds_a_route_that_is_missing_or_open_to_others() {
    let house = house(&[]).await;
    let token = |role| house.token(House::user(1), role);
    let op = || Op::new("Never").answers::<Value>(200, "Never");
    let absent = Routes::<()>::new("x").get("/api/v1/absent", Policy::Public, op(), echo).table();
    assert_eq!(walk_routes(&house.router, &absent, token).await.len(), 8);
    let stricter =
        Routes::<()>::new("x").post("/api/v1/notes", Policy::Roles(&[Role::Admin]), op(), echo).table();
    let wrong = walk_routes(&house.router, &stricter, token).await;
    assert_eq!(wrong.len(), 5, "{wrong:#?}");
    let looser = Routes::<()>::new("x").post("/api/v1/notes", Policy::Public, op(), echo).table();
    assert_eq!(walk_routes(&house.router, &looser, token).await.len(), 2);
}

#[tokio::test]
async fn what_is_in_no_table_is_not_there() {
    let house = house(&[]).await;
    for path in ["/api/v1/back-door", "/api/v1/nothing", "/etc/passwd", "/api/v1/notes/1/2", "/api/v1/notes/"]
    {
        house.get(path).send().await.expect_problem(404, "no_such_route");
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v1/notes", "GET, HEAD, POST"),
        ("TRACE", "/api/v1/notes", "GET, HEAD, POST"),
        ("GET", "/api/v1/jobs/1", "PATCH"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = house.call(method, path).send().await;
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        answer.expect_problem(405, "method_not_allowed");
    }
    assert_eq!(house.call("HEAD", "/api/v1/notes").send().await.status, 200);
}

#[tokio::test]
async fn nobody_can_claim_to_be_somebody_by_a_header() {
    let house = house(&[]).await;
    let names = [
        "x-user-id",
        "x-user",
        "X-Principal",
        "x-auth-request-user",
        "x-role",
        "x-forwarded-for",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
        "te",
        "keep-alive",
        "proxy-authorization",
        "x-secret",
    ];
    let mut call = house.get("/api/v1/notes").header("connection", "x-secret, accept, authorization");
    for name in names {
        call = call.header(name, "203.0.113.7");
    }
    let call = call.header("authorization", "Bearer x").header("x-request-id", "one").header("accept", "a/b");
    let seen = call.send().await.expect(200);
    let left: Vec<_> = seen.as_object().unwrap().keys().cloned().collect();
    assert_eq!(left, ["authorization", "x-request-id"], "{seen}");
}

#[tokio::test]
async fn only_our_own_proxy_says_where_a_request_came_from() {
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;
    let house = house(&[("server.trusted_proxies", json!(["10.0.0.1", "::ffff:10.0.0.3"]))]).await;
    let believed = async |peer: &str| {
        let peer: SocketAddr = peer.parse().unwrap();
        let router = house.router.clone().layer(axum::Extension(ConnectInfo(peer)));
        let call = testkit::Call::new(router, axum::http::Method::GET, "/api/v1/notes");
        let call = call.header("x-forwarded-for", "203.0.113.7").header("x-user-id", "1");
        let seen = call.send().await.expect(200);
        assert!(seen.get("x-user-id").is_none());
        seen.get("x-forwarded-for").is_some()
    };
    for proxy in ["10.0.0.1:5000", "[::ffff:10.0.0.1]:5000", "10.0.0.3:5000", "[::ffff:10.0.0.3]:5000"] {
        assert!(believed(proxy).await, "{proxy}");
    }
    for other in ["10.0.0.2:5000", "[::ffff:10.0.0.2]:5000", "[2001:db8::1]:5000"] {
        assert!(!believed(other).await, "{other}");
    }
    // As the file may change while the entry runs.
    let config = web::EdgeConfig { trusted_proxies: vec!["10.0.0.2".parse().unwrap()], ..Default::default() };
    house.context.edge.reconfigure(config, std::collections::HashMap::new());
    assert!(believed("10.0.0.2:5000").await && !believed("10.0.0.1:5000").await);
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let origins = json!(["https://shop.example.kr/", "*", "not an\norigin"]);
    let house = house(&[("server.allowed_origins", origins)]).await;
    let preflight = |origin: &str| {
        house
            .call("OPTIONS", "/api/v1/notes")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,idempotency-key")
            .send()
    };
    let answer = preflight("https://shop.example.kr").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example.kr"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    assert!(answer.header("access-control-allow-credentials").is_none());
    for origin in ["https://evil.example", "null", "https://shop.example.kr.evil.example"] {
        assert_eq!(preflight(origin).await.header("access-control-allow-origin"), None, "{origin}");
    }
    let answer = house.get("/api/v1/notes").header("origin", "https://shop.example.kr").send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example.kr"));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));

    let closed = self::house(&[]).await;
    let answer = closed.get("/api/v1/notes").header("origin", "https://shop.example.kr").send().await;
    assert!(answer.header("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn the_description_lists_every_route_and_is_sent_once() {
    let house = house(&[]).await;
    let answer = house.get("/api/v1/openapi.json").send().await;
    let tag = answer.header("etag").unwrap().to_owned();
    let document = answer.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    for route in [notes().table(), jobs().table()].concat() {
        let method = route.method.as_str().to_ascii_lowercase();
        assert!(document["paths"][route.path][&method].is_object(), "{method} {}", route.path);
    }
    assert!(document["paths"]["/api/v1/openapi.json"]["get"].is_object());
    assert!(document["paths"]["/"].is_null(), "pages are no part of the API");
    let again =
        house.get("/api/v1/openapi.json").header("if-none-match", &format!("W/\"x\", {tag}")).send().await;
    assert_eq!((again.status, again.bytes.len()), (304, 0));
    assert_eq!(house.get("/api/v1/openapi.json").header("if-none-match", "\"x\"").send().await.status, 200);
}

#[tokio::test]
async fn every_answer_keeps_a_browser_from_harm() {
    let house = house(&[]).await;
    for path in ["/", "/mail", "/api/v1/notes", "/api/v1/openapi.json", "/nothing"] {
        let answer = house.get(path).send().await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"), "{path}");
        assert!(answer.header("cache-control").is_some(), "{path}");
    }
    assert_eq!(house.get("/api/v1/notes").send().await.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_page_runs_its_own_script_and_nothing_else() {
    let house = house(&[]).await;
    for path in ["/", "/mail"] {
        let answer = house.get(path).send().await;
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = answer.header("content-security-policy").unwrap().to_owned();
        assert!(policy.contains("script-src 'sha256-") && policy.contains("style-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let html = answer.text();
        assert_eq!((html.matches("<script").count(), html.matches("<style").count()), (1, 1), "{path}");
        for never in [" onclick=", " style=\"", "innerHTML", "http://", "https://", "eval("] {
            assert!(!html.contains(never), "{path} has {never}");
        }
        assert!(html.contains("name=\"viewport\"") && html.contains("lang=\"ko\""), "{path}");
    }
}

#[tokio::test]
async fn production_has_no_mailbox_page() {
    let house = house(&[("profile", json!("production"))]).await;
    house.get("/mail").send().await.expect_problem(404, "no_such_route");
    assert_eq!(house.get("/").send().await.status, 200);
}

#[tokio::test]
async fn two_services_with_one_route_do_not_start() {
    let house = House::build(&[], async |_| Ok::<_, host::StartError>(Vec::<host::Service>::new())).await;
    let twice = || Upstream {
        name: "notes",
        routes: notes().table(),
        client: Client::local(notes().into_router(&house.context.edge, ())),
    };
    let built = std::panic::AssertUnwindSafe(|| router(&house.context, vec![twice(), twice()]));
    let panic = std::panic::catch_unwind(built).map(drop).unwrap_err();
    let said = panic.downcast_ref::<String>().map_or("", String::as_str);
    assert!(said.contains("both serve"), "{said}");
}

#[tokio::test]
async fn a_problem_of_the_entry_is_a_problem_like_any_other() {
    let house = house(&[]).await;
    let problem = house.get("/nothing").send().await;
    let headers: &HeaderMap = &problem.headers;
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(problem.json["status"], 404);
}
