//! How many events a second become windows, and what listeners cost; run by `cargo xtask bench analytics`.
//!
//! `fill DIR SHAPE COUNT` writes a log, `take DIR exact|bounded` reads all of it with the service's own consumer on SQLite with
//! synchronous=FULL, `listen COUNT CHANGES` has so many listen to the live numbers. Each says what it measured in one line of
//! JSON. Filling is a process of its own so that its memory is not counted.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bus::{Bus, EmbeddedLog, Message};
use contracts::catalog::{ProductVisits, ProductsVisited};
use contracts::inventory::{StockCommitted, StockLevel, StockReserved};
use contracts::orders::{OrderConfirmed, OrderPlaced, OrderSummary, OrderedLine};
use contracts::payments::{PaymentCaptured, PaymentHeld};
use contracts::topics::{self, Topic};
use contracts::{OrderId, PaymentId, ProductId, Role, UserId};
use db::Db;
use futures_util::StreamExt;
use host::{Config, Context, Databases, EmbeddedOnly, Engines, Profile, Secrets, StartError};
use kernel::envelope::Event;
use kernel::id::SplitMix;
use kernel::{Clock, Currency, Envelope, IdSource, ManualClock, Money, Timestamp};
use messaging::Progress;
use serde_json::json;
use testkit::{House, NOON};
use tower::ServiceExt;
use uuid::Uuid;

/// Orders of a shop that is busy: fifty a second, in the time of what happened.
const BETWEEN_ORDERS: Duration = Duration::from_millis(20);
const PRODUCTS: u64 = 2_000;
const PUBLISHED_AT_ONCE: usize = 2_000;

fn id(n: u64) -> Uuid {
    Uuid::from_u128(0x0199_b4a0_0000_7000_8000_0000_0000_0000 + u128::from(n))
}

/// Writes messages to the log.
struct Writer {
    log: EmbeddedLog,
    ids: IdSource,
    clock: Arc<ManualClock>,
    waiting: Vec<Message>,
    written: u64,
}

impl Writer {
    async fn send<E: Event>(&mut self, topic: Topic, source: &str, subject: &str, event: &E) {
        let envelope = Envelope {
            id: self.ids.next(),
            event_type: E::TYPE.to_owned(),
            source: source.to_owned(),
            subject: subject.to_owned(),
            sequence: 1,
            time: self.clock.now(),
            correlation_id: Some(subject.to_owned()),
            causation_id: None,
            traceparent: None,
            data: serde_json::value::to_raw_value(event).expect("an event is JSON"),
        };
        let payload = serde_json::to_string(&envelope).expect("an envelope is JSON").into();
        self.waiting.push(Message { topic: topic.name.into(), key: subject.to_owned(), payload });
        self.written += 1;
        if self.waiting.len() >= PUBLISHED_AT_ONCE {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let messages = std::mem::take(&mut self.waiting);
        self.log.publish(messages).await.expect("a log that takes messages");
    }
}

fn order(n: u64, placed_at: Timestamp, skus: impl Iterator<Item = u64>) -> OrderSummary {
    let line = |sku: u64| OrderedLine {
        product_id: ProductId::from(id(sku)),
        sku: format!("SKU-{sku:07}"),
        name: format!("A product with the number {sku}"),
        category: format!("category {}", sku % 12),
        quantity: 1,
        unit_price: Money::new(1_000 + i64::try_from(sku % 9_000).unwrap_or(0), Currency::KRW),
    };
    let lines: Vec<OrderedLine> = skus.map(line).collect();
    let total = lines.iter().map(|line| line.unit_price.minor).sum();
    OrderSummary {
        order_id: OrderId::from(id(n)),
        user_id: UserId::from(id(n % 5_000)),
        lines,
        total: Money::new(total, Currency::KRW),
        placed_at,
    }
}

async fn fill(directory: &Path, shape: &str, count: u64) -> serde_json::Value {
    let clock = Arc::new(ManualClock::at(NOON));
    let db = Db::open_sqlite(&directory.join("bus.db")).expect("a database");
    let log = EmbeddedLog::open(db, clock.clone()).await.expect("a log");
    let ids = IdSource::new(clock.clone(), 1);
    let mut writer = Writer { log, ids, clock: clock.clone(), waiting: Vec::new(), written: 0 };
    let mut random = SplitMix(7);
    let mut n = 0;
    while writer.written < count {
        n += 1;
        clock.advance(BETWEEN_ORDERS);
        let placed_at = clock.now().minus(Duration::from_millis(random.below(3_000)));
        // The lesser numbers are bought more often.
        let mut popular = || {
            let bound = random.below(PRODUCTS) + 1;
            random.below(bound)
        };
        let skus: Vec<u64> = match shape {
            "mix" => vec![popular(), popular()],
            // Each of a million once, in no order.
            "keys" => vec![n * 611_953 % 1_000_000],
            _ => vec![popular()],
        };
        let order = order(n, placed_at, skus.iter().copied());
        let subject = order.order_id.to_string();
        if shape != "mix" {
            writer.send(topics::ORDERS, "orders", &subject, &OrderConfirmed { order }).await;
            continue;
        }
        let (order_id, amount) = (order.order_id, order.total);
        let payment_id = PaymentId::from(id(n));
        let levels = |moved: i64| -> Vec<StockLevel> {
            let level = |sku: &u64| StockLevel {
                sku: format!("SKU-{sku:07}"),
                on_hand: 1_000 - moved,
                reserved: 1 - moved,
                version: i64::try_from(2 * n).unwrap_or(0) + moved,
            };
            skus.iter().map(level).collect()
        };
        let reserved = StockReserved { order_id, expires_at: clock.now(), levels: levels(0) };
        writer.send(topics::INVENTORY, "inventory", &subject, &reserved).await;
        writer
            .send(topics::PAYMENTS, "payments", &subject, &PaymentHeld { order_id, payment_id, amount })
            .await;
        writer.send(topics::ORDERS, "orders", &subject, &OrderPlaced { order: order.clone() }).await;
        let committed = StockCommitted { order_id, levels: levels(1) };
        writer.send(topics::INVENTORY, "inventory", &subject, &committed).await;
        let captured = PaymentCaptured { order_id, payment_id, amount };
        writer.send(topics::PAYMENTS, "payments", &subject, &captured).await;
        writer.send(topics::ORDERS, "orders", &subject, &OrderConfirmed { order }).await;
        if n % 50 == 0 {
            let visits = (0..200).map(|n| ProductVisits {
                product_id: ProductId::from(id(n)),
                views: 5,
                cart_additions: 1,
            });
            let event = ProductsVisited { second: clock.now(), visits: visits.collect() };
            writer.send(topics::CATALOG_VISITS, "catalog", "visits", &event).await;
        }
    }
    writer.flush().await;
    json!({ "messages": writer.written })
}

/// The most memory that this process has had resident, in MB.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0.0);
    kilobytes / 1_000.0
}

/// Processor time of all threads so far, in seconds.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

async fn context(directory: &Path, totals: &str) -> Context {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(NOON));
    let config = Config::for_tests(directory, &[("services.analytics", json!({ "product_totals": totals }))])
        .expect("a good configuration");
    let ids = IdSource::new(clock.clone(), 2);
    let db = Db::open_sqlite(&directory.join("bus.db")).expect("a database");
    let log = EmbeddedLog::open(db, clock.clone()).await.expect("a log");
    let databases = Databases::of(&config, Arc::new(EmbeddedOnly));
    let engines = Engines::embedded(&config, &ids, Arc::new(log), databases);
    let secrets = Secrets::new(Some(directory.join("secrets")), Profile::Embedded);
    Context::new(config, clock, ids, engines, secrets).expect("a context")
}

async fn take(directory: &Path, totals: &str) -> serde_json::Value {
    let context = context(directory, totals).await;
    let service = analytics::service(&context).await.expect("a service");
    let pump = service.pumps.iter().find(|pump| pump.name() == "analytics.shop").expect("a consumer");
    let (before, began) = (cpu_s(), tokio::time::Instant::now());
    while pump.step().await.expect("a step") == Progress::Worked {}
    let (seconds, cpu_s) = (began.elapsed().as_secs_f64(), cpu_s() - before);
    let metrics = context.encode_metrics();
    let counted = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.trim().parse::<u64>().ok();
        metrics.lines().find_map(of).unwrap_or(0)
    };
    let letters = messaging::count_dead_letters(&service.db).await.expect("a count");
    let products = service.db.read(|tx| {
        tx.query_one("SELECT COUNT(*) FROM shop_products", db::params![], |row| row.get::<i64>(0))
    });
    let products: Result<i64, db::Error> = products.await;
    json!({
        "seconds": seconds, "cpu_s": cpu_s, "peak_mb": peak_mb(), "counted": counted("rtc_analytics_events_total"),
        "dead_letters": letters, "products": products.expect("a count"), "commits": service.db.stats().commits,
        "database_mb": std::fs::metadata(directory.join("analytics.db")).map_or(0.0, |file| file.len() as f64 / 1e6),
    })
}

type Chunks = Pin<Box<BodyDataStream>>;

async fn listen(listeners: usize, changes: u64) -> serde_json::Value {
    let house =
        House::build(&[], async |context| Ok::<_, StartError>(vec![analytics::service(context).await?]))
            .await;
    let sell = async |n: u64| {
        let order = order(n, NOON, (0..3).map(|line| n * 3 + line));
        let subject = order.order_id.to_string();
        house.publish(topics::ORDERS, "orders", &subject, &OrderConfirmed { order }).await;
        house.settle().await;
    };
    for n in 0..200 {
        sell(n).await;
    }
    let token = house.token(House::user(1), Role::Analyst);
    let before_mb = peak_mb();
    let mut ears: Vec<Chunks> = Vec::with_capacity(listeners);
    for _ in 0..listeners {
        let request = http::Request::builder()
            .uri("/api/v1/analytics/stream")
            .header("authorization", format!("Bearer {token}"))
            .body(Body::empty())
            .expect("a request");
        let response = house.router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let mut chunks = Box::pin(response.into_body().into_data_stream());
        // The opening and the state of now.
        for _ in 0..2 {
            chunks.next().await.expect("a chunk").expect("a body that goes on");
        }
        ears.push(chunks);
    }
    let computations = |house: &House| {
        let metrics = house.context.encode_metrics();
        let of = |line: &str| {
            line.strip_prefix("rtc_analytics_live_computations_total ")?.trim().parse::<u64>().ok()
        };
        metrics.lines().find_map(of).unwrap_or(0)
    };
    let (computed, mut settle_s, mut fan_out_s, mut bytes) = (computations(&house), 0.0, 0.0, 0);
    for n in 0..changes {
        let began = tokio::time::Instant::now();
        sell(1_000 + n).await;
        settle_s += began.elapsed().as_secs_f64();
        let began = tokio::time::Instant::now();
        for ear in &mut ears {
            bytes = ear.next().await.expect("a chunk").expect("a body that goes on").len();
        }
        fan_out_s += began.elapsed().as_secs_f64();
    }
    json!({
        "listeners": listeners, "changes": changes, "computations": computations(&house) - computed,
        "computation_ms": settle_s * 1e3 / changes as f64, "fan_out_ms": fan_out_s * 1e3 / changes as f64,
        "event_bytes": bytes, "kb_a_listener": (peak_mb() - before_mb) * 1e3 / listeners as f64,
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let measured = match words.as_slice() {
        ["fill", directory, shape, count] => {
            runtime.block_on(fill(Path::new(directory), shape, number(count)))
        }
        ["take", directory, totals] => runtime.block_on(take(Path::new(directory), totals)),
        ["listen", listeners, changes] => {
            let listeners = usize::try_from(number(listeners)).unwrap_or(0);
            runtime.block_on(listen(listeners, number(changes)))
        }
        // Whoever runs all benches of the workspace wants none of this.
        _ => return,
    };
    println!("{measured}");
}
