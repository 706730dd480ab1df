//! The same entry over the same services in other processes: real sockets between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use bytes::Bytes;
use contracts::Role;
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use kernel::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::{Answer, Call, House, walk_routes};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use web::{
    ApiResult, Caller, Client, ClientAddress, IfMatch, Json, Limit, Op, Path, Policy, Problem, RemoteConfig,
    Routes, Server, ServerConfig,
};

use crate::{Upstream, router};

#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Thing {
    name: String,
}

fn things() -> Routes<()> {
    let op = || Op::new("Something").answers::<Value>(200, "Something");
    Routes::new("things")
        .get("/api/v1/things", Policy::Public, op(), async || Json(json!([1, 2, 3])))
        .post(
            "/api/v1/things",
            Policy::SignedIn,
            op().body::<Thing>().limit(Limit::per_caller("things", 3, 60)),
            async |Caller(caller): Caller, Json(thing): Json<Thing>| {
                let place = format!("/api/v1/things/{}", thing.name);
                (
                    axum::http::StatusCode::CREATED,
                    [("location", place)],
                    Json(json!({ "by": caller.user_id })),
                )
            },
        )
        .get("/api/v1/things/{id}", Policy::Optional, op(), one)
        .put("/api/v1/things/{id}", Policy::Roles(&[Role::Admin]), op().body::<Thing>(), change)
        .delete("/api/v1/things/{id}", Policy::Roles(&[Role::Seller]), op(), async || {
            axum::http::StatusCode::NO_CONTENT
        })
        .get("/api/v1/seen", Policy::Public, op(), seen)
        .get("/api/v1/address", Policy::Public, op(), async |ClientAddress(from): ClientAddress| {
            Json(json!({ "from": from }))
        })
        .get("/api/v1/fails", Policy::Public, op(), async || -> ApiResult<Json<Value>> {
            Err(Problem(Error::conflict("not_now", "not in this state")))
        })
        .get("/api/v1/panics", Policy::Public, op(), async || -> Json<Value> { panic!("a defect") })
        .get("/api/v1/page", Policy::Public, op(), async || {
            ([("content-type", "text/plain"), ("content-security-policy", "sandbox")], "plain")
        })
        .get("/internal/things", Policy::Service, op(), async || Json(json!("ours")))
}

async fn one(Path(id): Path<u32>, headers: HeaderMap) -> axum::response::Response {
    let tag = web::ETag(7);
    if web::not_modified(&headers, tag) {
        return (axum::http::StatusCode::NOT_MODIFIED, [("etag", tag.header())]).into_response();
    }
    ([("etag", tag.header())], Json(json!({ "id": id }))).into_response()
}

async fn change(base: IfMatch, Json(thing): Json<Thing>) -> ApiResult<Json<Thing>> {
    base.check(7)?;
    Ok(Json(thing))
}

async fn seen(headers: HeaderMap) -> Json<Value> {
    let headers =
        headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or("?"))));
    Json(Value::Object(headers.collect()))
}

/// A server in this process that stands for another one.
struct Process {
    url: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let config = ServerConfig { linger: Duration::ZERO, ..ServerConfig::default() };
        let task = tokio::spawn(Server::new(listener, router, config).run(stop.clone()));
        Self { url, stop, task }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

const TOKEN: &str = "the house's own token";

async fn empty_house() -> House {
    House::build(&[], async |_| Ok::<_, host::StartError>(Vec::<host::Service>::new())).await
}

fn entry(house: &House, client: Client, routes: Routes<()>) -> Router {
    router(&house.context, vec![Upstream { name: "things", routes: routes.table(), client }])
}

fn remote(url: &str) -> Client {
    Client::remote("things", &[url], RemoteConfig::default()).unwrap()
}

/// The service in one process and its entry in another, with the same keys.
async fn split(routes: Routes<()>) -> (House, Process) {
    let mut house = empty_house().await;
    house.context.edge.trust_service_token(TOKEN).unwrap();
    let table = routes.table();
    // The service has an edge of its own: what it counts, the entry does not.
    let service = empty_house().await;
    service.context.edge.trust_service_token(TOKEN).unwrap();
    let edge = web::Edge::new(
        house.context.verifier.clone(),
        web::Limits::new(house.context.clock.clone(), Default::default()),
        web::HttpMetrics::register(&mut Default::default()),
        house.context.edge.pages.clone(),
        house.context.clock.clone(),
        house.context.ids.clone(),
        web::EdgeConfig::default(),
    );
    edge.trust_service_token(TOKEN).unwrap();
    let process = Process::start(routes.into_router(&Arc::new(edge), ())).await;
    let upstream = Upstream { name: "things", routes: table, client: remote(&process.url) };
    house.router = router(&house.context, vec![upstream]);
    (house, process)
}

async fn together(routes: Routes<()>) -> House {
    let mut house = empty_house().await;
    let table = routes.table();
    let local = Client::local(routes.into_router(&house.context.edge, ()));
    house.router = router(&house.context, vec![Upstream { name: "things", routes: table, client: local }]);
    house
}

/// An answer without what differs from one request to the next.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text())
}

#[tokio::test]
async fn answers_are_the_same_whether_a_service_is_here_or_elsewhere() {
    let here = together(things()).await;
    let (there, _process) = split(things()).await;
    let calls: Vec<(&str, &str, Option<Role>, Vec<(&str, &str)>, Option<String>)> = vec![
        ("GET", "/api/v1/things", None, vec![], None),
        ("HEAD", "/api/v1/things", None, vec![], None),
        ("GET", "/api/v1/things?limit=3&cursor=%20x", None, vec![], None),
        ("GET", "/api/v1/things/5", None, vec![], None),
        ("GET", "/api/v1/things/5", None, vec![("if-none-match", "\"7\"")], None),
        ("GET", "/api/v1/things/five", None, vec![], None),
        ("GET", "/api/v1/things/5", None, vec![("authorization", "Bearer bad")], None),
        ("POST", "/api/v1/things", None, vec![], Some(r#"{"name":"a"}"#.into())),
        ("POST", "/api/v1/things", Some(Role::Customer), vec![], Some(r#"{"name":"a"}"#.into())),
        ("POST", "/api/v1/things", Some(Role::Customer), vec![], Some(r#"{"name":"a","x":1}"#.into())),
        ("POST", "/api/v1/things", Some(Role::Customer), vec![], Some("{".into())),
        ("POST", "/api/v1/things", Some(Role::Customer), vec![], Some(r#"{"name":"a"}"#.into())),
        ("PUT", "/api/v1/things/5", Some(Role::Customer), vec![], Some(r#"{"name":"a"}"#.into())),
        ("PUT", "/api/v1/things/5", Some(Role::Admin), vec![], Some(r#"{"name":"a"}"#.into())),
        (
            "PUT",
            "/api/v1/things/5",
            Some(Role::Admin),
            vec![("if-match", "\"6\"")],
            Some(r#"{"name":"a"}"#.into()),
        ),
        (
            "PUT",
            "/api/v1/things/5",
            Some(Role::Admin),
            vec![("if-match", "\"7\"")],
            Some(r#"{"name":"a"}"#.into()),
        ),
        ("DELETE", "/api/v1/things/5", Some(Role::Seller), vec![], None),
        ("DELETE", "/api/v1/things", Some(Role::Seller), vec![], None),
        ("PATCH", "/api/v1/things/5", None, vec![], None),
        ("GET", "/api/v1/fails", None, vec![], None),
        ("GET", "/api/v1/panics", None, vec![], None),
        ("GET", "/api/v1/page", None, vec![], None),
        ("GET", "/api/v1/nothing", None, vec![], None),
        ("GET", "/internal/things", None, vec![], None),
        ("GET", "/internal/things", None, vec![("x-rtc-service-token", TOKEN)], None),
        ("GET", "/api/v1/things", None, vec![("x-rtc-deadline-ms", "0")], None),
        ("GET", "/api/v1/things", None, vec![("x-rtc-deadline-ms", "2000")], None),
        ("GET", "/api/v1/openapi.json", None, vec![], None),
        ("GET", "/", None, vec![], None),
    ];
    for (method, path, role, headers, body) in calls {
        let ask = async |house: &House| {
            let mut call = house.call(method, path).header("x-request-id", "the-same");
            if let Some(role) = role {
                // Each role is somebody else, with limits of their own.
                let n = Role::ALL.iter().position(|it| *it == role).unwrap();
                call = call.token(&house.token(House::user(n as u128), role));
            }
            for (name, value) in &headers {
                call = call.header(name, value);
            }
            if let Some(body) = &body {
                call = call.bytes("application/json", body.as_bytes());
            }
            call.send().await
        };
        let (local, elsewhere) = (ask(&here).await, ask(&there).await);
        assert_eq!(comparable(&local), comparable(&elsewhere), "{method} {path}");
        // The id that the caller gave; none where no route was met.
        assert_eq!(local.header("x-request-id"), elsewhere.header("x-request-id"), "{method} {path}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_in_the_same_words_and_goes_no_further() {
    let here = together(things()).await;
    let (there, process) = split(things()).await;
    let large = "x".repeat(2_000_000);
    let ask = async |house: &House| {
        let call = house.post("/api/v1/things").token(&house.token(House::user(1), Role::Customer));
        let answer =
            call.header("x-request-id", "one").bytes("application/json", large.as_bytes()).send().await;
        (answer.status, answer.text())
    };
    let local = ask(&here).await;
    assert_eq!(local.0, 413);
    assert_eq!(local, ask(&there).await);
    process.stop().await;
    assert_eq!(local, ask(&there).await, "nobody else was needed");
}

#[tokio::test]
async fn every_route_elsewhere_is_there_and_guarded_by_its_policy() {
    let (house, _process) = split(things()).await;
    let mut n = 0;
    let wrong = walk_routes(&house.router, &things().table(), |role| {
        n += 1;
        house.token(House::user(n), role)
    })
    .await;
    // A handler that panics is no open door.
    let wrong: Vec<_> = wrong.iter().filter(|line| !line.contains("/panics")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn a_service_learns_who_calls_and_from_where_and_nothing_that_was_made_up() {
    let (house, _process) = split(things()).await;
    let peer: std::net::SocketAddr = "203.0.113.7:5000".parse().unwrap();
    let router = house.router.clone().layer(axum::Extension(ConnectInfo(peer)));
    let call = |path: &str| {
        Call::new(router.clone(), "GET".parse().unwrap(), path)
            .header("x-forwarded-for", "198.51.100.1")
            .header("x-rtc-service-token", "guessed")
            .header("x-user-id", "1")
            .header("connection", "keep-alive, x-secret")
            .header("x-secret", "1")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .header("idempotency-key", "k")
            .header("authorization", "Bearer x")
            .header("x-request-id", "one")
    };
    let seen = call("/api/v1/seen").send().await.expect(200);
    let mut names: Vec<_> = seen.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "authorization",
        "host",
        // No idempotency-key: this route takes none.
        "traceparent",
        "x-forwarded-for",
        "x-request-id",
        "x-rtc-deadline-ms",
        "x-rtc-service-token",
    ];
    assert_eq!(names, expected, "{seen}");
    assert_eq!(
        (&seen["x-forwarded-for"], &seen["x-rtc-service-token"]),
        (&json!("203.0.113.7"), &json!(TOKEN))
    );
    // The trace goes on; whether it is kept is not the caller's to say.
    assert_eq!(seen["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    let left: u64 = seen["x-rtc-deadline-ms"].as_str().unwrap().parse().unwrap();
    assert!((10_000..15_000).contains(&left), "{left}");
    assert_eq!(call("/api/v1/address").send().await.expect(200)["from"], "203.0.113.7");
}

#[tokio::test]
async fn without_the_houses_token_nobody_says_where_a_request_came_from() {
    let (house, process) = split(things()).await;
    let direct = empty_house().await;
    let router = entry(&direct, remote(&process.url), things());
    let peer: std::net::SocketAddr = "203.0.113.7:5000".parse().unwrap();
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    let seen = Call::new(router, "GET".parse().unwrap(), "/api/v1/address").send().await.expect(200);
    assert_eq!(seen["from"], "127.0.0.1");
    drop(house);
}

#[tokio::test]
async fn a_service_that_is_away_is_503_and_one_that_hangs_is_504() {
    let (house, process) = split(things()).await;
    house.get("/api/v1/things").send().await.expect(200);
    process.stop().await;
    let answer = house.get("/api/v1/things").send().await;
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert!(answer.json["request_id"].is_string());
    answer.expect_problem(503, "service_unavailable");
    // What needs no service is there.
    house.get("/api/v1/openapi.json").send().await.expect(200);
    house.post("/api/v1/things").send().await.expect_problem(401, "token_missing");

    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let router = entry(&house, remote(&url), things());
    let call = Call::new(router, "GET".parse().unwrap(), "/api/v1/things").header("x-rtc-deadline-ms", "100");
    call.send().await.expect_problem(504, "deadline_exceeded");
}

#[tokio::test]
async fn a_handler_that_is_slow_is_504_and_work_that_nobody_waits_for_is_not_begun() {
    let begun = Arc::new(AtomicU32::new(0));
    let count = begun.clone();
    let op = || Op::new("Slow").answers::<Value>(200, "Never");
    let slow =
        Routes::new("things").get("/api/v1/slow", Policy::Public, op(), async move || -> Json<Value> {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        });
    let (house, _process) = split(slow).await;
    let ask = |millis: &str| house.get("/api/v1/slow").header("x-rtc-deadline-ms", millis).send();
    ask("150").await.expect_problem(504, "deadline_exceeded");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
    ask("0").await.expect_problem(504, "deadline_exceeded");
    ask("3").await.expect_problem(504, "deadline_exceeded");
    assert_eq!(begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn streams_pass_as_they_come_and_end_as_they_end() {
    let (feed, fed) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let fed = Arc::new(std::sync::Mutex::new(Some(fed)));
    let op = || Op::new("Stream").answers_raw::<String>(200, "text/event-stream", "Events");
    let events = async move || {
        let fed = fed.lock().unwrap().take().unwrap();
        let body = stream::unfold(fed, async |mut fed| Some((fed.recv().await?, fed)));
        ([("content-type", "text/event-stream")], Body::from_stream(body))
    };
    let upload = async |request: Request| {
        let mut sizes = Vec::new();
        let mut pieces = request.into_body().into_data_stream();
        while let Some(piece) = pieces.next().await {
            sizes.push(piece.unwrap().len());
        }
        Json(json!({ "bytes": sizes.iter().sum::<usize>() }))
    };
    let raw = Op::new("Upload").raw_body::<String>("application/x-ndjson").answers::<Value>(200, "Bytes");
    let routes = Routes::new("things").get("/api/v1/events", Policy::Public, op(), events).post(
        "/api/v1/upload",
        Policy::Public,
        raw,
        upload,
    );
    let (house, _process) = split(routes).await;

    let request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    let response = house.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut heard = response.into_body().into_data_stream();
    for n in 0..3 {
        feed.send(Ok(format!("data: {n}\n\n").into())).await.unwrap();
        assert_eq!(heard.next().await.unwrap().unwrap(), format!("data: {n}\n\n"));
    }
    drop(feed);
    assert!(heard.next().await.is_none(), "a clean end");

    let pieces = stream::iter((0..200).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 10_000]))));
    let request = Request::post("/api/v1/upload").body(Body::from_stream(pieces)).unwrap();
    let response = house.router.clone().oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"bytes":2000000}"#);
}

#[tokio::test]
async fn whoever_leaves_a_stream_ends_it_in_the_service_too() {
    let (gone, is_gone) = tokio::sync::oneshot::channel::<()>();
    let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
    let op = || Op::new("Stream").answers_raw::<String>(200, "text/event-stream", "Events");
    let endless = async move || {
        // Dropped with the stream, and then the other end hears of it.
        let held = gone.lock().unwrap().take();
        let body = stream::unfold((0, held), async |(n, held)| {
            if n > 0 {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, std::io::Error>(Bytes::from("data: 0\n\n")), (n + 1, held)))
        });
        Body::from_stream(body)
    };
    let (house, _process) =
        split(Routes::new("things").get("/api/v1/events", Policy::Public, op(), endless)).await;
    let request = Request::get("/api/v1/events").body(Body::empty()).unwrap();
    let response = house.router.clone().oneshot(request).await.unwrap();
    let mut heard = response.into_body().into_data_stream();
    heard.next().await.unwrap().unwrap();
    drop(heard);
    tokio::time::timeout(Duration::from_secs(10), is_gone).await.unwrap().unwrap_err();
}
