//! One order is one trace, across processes, messages and the bank: what a collector gets is one tree.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::platform::{Platform, rtcctl, seeded};

/// A collector that keeps every span.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    came: Arc<Notify>,
}

impl Collector {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (spans, came) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (kept, told) = (spans.clone(), came.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, told) = (kept.clone(), told.clone());
                tokio::spawn(async move { take(stream, &kept, &told).await });
            }
        });
        Self { url, spans, came }
    }

    /// The spans of a trace, once those of every name in `wanted` are there.
    async fn trace_with(&self, is_root: impl Fn(&Span) -> bool, wanted: &[&str]) -> Vec<Span> {
        let find = || {
            let spans = self.spans.lock().unwrap();
            let root = spans.iter().find(|span| is_root(span))?;
            let of: Vec<Span> = spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect();
            let names: HashSet<&str> = of.iter().map(|span| span.name.as_str()).collect();
            wanted.iter().all(|name| names.contains(name)).then_some(of)
        };
        let waiting = async {
            loop {
                let came = self.came.notified();
                if let Some(found) = find() {
                    return found;
                }
                came.await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), waiting).await {
            Ok(found) => found,
            Err(_) => {
                let spans = self.spans.lock().unwrap();
                let names: Vec<String> =
                    spans.iter().map(|span| format!("{} {}", hex(&span.trace_id), span.name)).collect();
                panic!("{wanted:?} did not come together: {names:#?}");
            }
        }
    }
}

/// Reads requests of one connection, each with a length.
async fn take(mut stream: TcpStream, kept: &Mutex<Vec<Span>>, told: &Notify) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            if !more(&mut stream, &mut buffer).await {
                return;
            }
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).expect("a length");
        let whole = end + 4 + length.trim().parse::<usize>().expect("a number");
        while buffer.len() < whole {
            if !more(&mut stream, &mut buffer).await {
                return;
            }
        }
        let request = ExportTraceServiceRequest::decode(&buffer[end + 4..whole]).expect("protobuf of OTLP");
        let spans = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        kept.lock().unwrap().extend(spans.flat_map(|scope| scope.spans));
        told.notify_waiters();
        buffer.drain(..whole);
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = vec![0; 16 * 1024];
    match stream.read(&mut chunk).await {
        Ok(0) | Err(_) => false,
        Ok(read) => {
            buffer.extend_from_slice(&chunk[..read]);
            true
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SERVICES: &str = "users,catalog,inventory,orders,payments,notifications,analytics";

/// A process with every service, and the entry before it in another one.
async fn two_processes(data: &Path, collector: &str) -> (Platform, Platform) {
    let traced = |data: &Path| {
        let mut command = Platform::command(data, 0, 0);
        command
            .env("RTC_TELEMETRY__OTLP_ENDPOINT", collector)
            .env("RTC_TELEMETRY__SAMPLING_RATIO", "1.0")
            .env("RTC_LOG__LEVEL", "warn");
        command
    };
    let mut services = traced(data);
    services.args(["--only", SERVICES]);
    let services = Platform::spawn(services, data).await;
    let entry_data = data.with_file_name("entry");
    std::fs::create_dir_all(entry_data.join("secrets")).unwrap();
    for secret in ["service_token", "cursor_key", "vault_key", "admin_token"] {
        let from = data.join("secrets").join(secret);
        if from.is_file() {
            std::fs::copy(from, entry_data.join("secrets").join(secret)).unwrap();
        }
    }
    let url = services.run["api_url"].as_str().unwrap();
    let upstreams: Vec<String> = SERVICES.split(',').map(|name| format!("{name} = [\"{url}\"]\n")).collect();
    std::fs::write(entry_data.join("rtcd.toml"), format!("[upstreams]\n{}", upstreams.concat())).unwrap();
    let mut entry = traced(&entry_data);
    entry.args(["--only", "gateway"]);
    let entry = Platform::spawn(entry, &entry_data).await;
    (services, entry)
}

async fn ask(platform: &Platform, port: &str, path: &str, token: &str, body: Option<&Value>) -> Value {
    let url = format!("{}{path}", platform.run[port].as_str().unwrap());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let request = match body {
        Some(body) => client.post(url).json(body).header("idempotency-key", "one-trace"),
        None => client.get(url),
    };
    let request = if token.is_empty() { request } else { request.bearer_auth(token) };
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{path}: {status}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn open_metrics(platform: &Platform) -> String {
    let url = format!("{}/metrics", platform.run["admin_url"].as_str().unwrap());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
    let request = client.get(url).header("accept", "application/openmetrics-text; version=1.0.0");
    request.send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_order_is_one_trace_across_processes_sagas_and_consumers() {
    let collector = Collector::open().await;
    let directory = seeded().await;
    let data = directory.path().join("data");
    let (services, entry) = two_processes(&data, &collector.url).await;
    let operator = services.operator_token();
    let made = ask(&services, "admin_url", "/admin/shoppers", &operator, Some(&json!({ "count": 1 }))).await;
    let (user, token) = (&made["data"][0]["user_id"], made["data"][0]["access_token"].as_str().unwrap());
    let funds = json!({ "user_ids": [user], "amount": { "amount": 100_000_000, "currency": "KRW" } });
    ask(&services, "admin_url", "/admin/shoppers/fund", &operator, Some(&funds)).await;
    let products = ask(&entry, "api_url", "/api/v1/products", "", None).await;
    let product = &products["data"][0]["id"];
    let order = json!({ "lines": [{ "product_id": product, "quantity": 1 }] });
    let order = ask(&entry, "api_url", "/api/v1/orders?wait=terminal", token, Some(&order)).await;
    assert_eq!(order["state"], "confirmed", "{order}");

    let is_root = |span: &Span| {
        span.name == "POST /api/v1/orders"
            && span.kind == SpanKind::Server as i32
            && span.parent_span_id.is_empty()
    };
    let wanted = [
        "POST /api/v1/orders",
        "send rtc.inventory.commands",
        "process rtc.inventory.commands",
        "send rtc.inventory",
        "process rtc.inventory",
        "send rtc.payments.commands",
        "process rtc.payments.commands",
        "send rtc.payments",
        "process rtc.payments",
        "send rtc.orders",
        "process rtc.orders",
    ];
    let trace = collector.trace_with(is_root, &wanted).await;
    // The duration of the request leads to its trace.
    let exemplar = format!("# {{trace_id=\"{}\"}}", hex(&trace[0].trace_id));
    for platform in [&services, &entry] {
        let page = open_metrics(platform).await;
        let mut buckets = page.lines().filter(|line| line.contains("http_route=\"/api/v1/orders\""));
        assert!(buckets.any(|line| line.contains(&exemplar)), "{exemplar} is not in {page}");
    }
    // What is still in the queues of the processes comes with their end.
    rtcctl(&data, &["down"]).await.expect(0);
    entry.kill().await;
    let trace = collector.trace_with(is_root, &wanted).await;

    let by_id: HashMap<&[u8], &Span> = trace.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), trace.len(), "no span comes twice");
    let roots: Vec<&Span> = trace.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    let parent = |span: &Span| by_id.get(span.parent_span_id.as_slice()).copied();
    let kind = |span: &Span| SpanKind::try_from(span.kind).unwrap();
    for span in trace.iter().filter(|span| !span.parent_span_id.is_empty()) {
        let above = parent(span).unwrap_or_else(|| panic!("{} has no parent in the trace", span.name));
        let fits = match kind(span) {
            // Between the processes: the entry's call is the parent of what it calls.
            SpanKind::Client => kind(above) == SpanKind::Server,
            SpanKind::Server => kind(above) == SpanKind::Client && above.name == span.name,
            SpanKind::Producer => matches!(kind(above), SpanKind::Server | SpanKind::Consumer),
            SpanKind::Consumer => {
                kind(above) == SpanKind::Producer && above.name[5..] == span.name["process ".len()..]
            }
            _ => false,
        };
        assert!(fits, "{:?} {} under {:?} {}", kind(span), span.name, kind(above), above.name);
    }
    let count =
        |name: &str, of: SpanKind| trace.iter().filter(|span| span.name == name && kind(span) == of).count();
    assert_eq!(count("POST /api/v1/orders", SpanKind::Server), 2, "in the entry and in the service");
    assert_eq!(count("POST /api/v1/orders", SpanKind::Client), 1);
    // reserve and commit; hold and capture.
    assert_eq!(count("process rtc.inventory.commands", SpanKind::Consumer), 2);
    assert_eq!(count("process rtc.payments.commands", SpanKind::Consumer), 2);
    // The way from the bank's last answer up to the caller.
    let confirmed = trace.iter().find(|span| span.name == "process rtc.orders").unwrap();
    let mut way = vec![confirmed.name.as_str()];
    let mut at = confirmed;
    while let Some(above) = parent(at) {
        way.push(&above.name);
        at = above;
    }
    assert!(way.len() >= 4 && way.last() == Some(&"POST /api/v1/orders"), "{way:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_orders_go_on_and_it_is_said_once() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    // A port on which nobody listens: it was free a moment ago, and is held without being listened on.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let mut command = Platform::command(&data, 0, 0);
    command
        .env("RTC_TELEMETRY__OTLP_ENDPOINT", format!("http://{}", nobody.local_addr().unwrap()))
        .env("RTC_TELEMETRY__SAMPLING_RATIO", "1.0")
        .env("RTC_LOG__LEVEL", "warn")
        .stderr(log);
    let platform = Platform::spawn(command, &data).await;
    let load = ["load", "--duration", "4s", "--rate", "20", "--shoppers", "4", "--progress", "none"];
    rtcctl(&data, &load).await.expect(0);
    platform.invariants_hold().await;
    rtcctl(&data, &["down"]).await.expect(0);
    let said = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert_eq!(said.matches("the collector of traces does not take them").count(), 1, "{said}");
}
