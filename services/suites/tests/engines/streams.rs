//! Streams that fall behind, and read models that are filled anew: nothing is lost, and nothing happens twice.
//!
//! `STREAM_RATE=1000 STREAM_SECONDS=60` piles up what comes at that rate in that time (20,000 messages without it).

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bus::{Bus, EmbeddedLog, Message};
use contracts::inventory::StockLow;
use contracts::topics;
use db::{Db, Migration, Migrations, params};
use kernel::envelope::Event;
use kernel::id::SplitMix;
use kernel::{Clock, Envelope, IdSource, SystemClock};
use messaging::{Consumer, Progress, Pump, Stage};
use serde_json::json;
use suites::platform::run;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{CONVERGES_WITHIN, Engine, Engines};

const KEYS: usize = 40;
/// Enough that messages which are all held at once are seen.
const PADDING: usize = 4_096;
/// What draining may add, whatever has piled up.
const GROWTH_MAX: u64 = 48 << 20;
const GROUP: &str = "streams.model";

static TABLES: &[Migrations] = &[
    messaging::MIGRATIONS,
    Migrations {
        component: "streams",
        steps: &[Migration {
            version: 1,
            name: "the last number of each key",
            sql: "CREATE TABLE model (sku VARCHAR(64) NOT NULL PRIMARY KEY, n BIGINT NOT NULL) WITHOUT ROWID",
        }],
    },
];

#[expect(clippy::disallowed_methods, reason = "a test's own knobs, not configuration")]
fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs the rest of a test in a process of its own, where nobody else takes memory. True: this is that process.
async fn alone(test: &str) -> bool {
    const ALONE: &str = "STREAM_ALONE";
    if knob(ALONE).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
    command.args(["--exact", test, "--nocapture"]).env(ALONE, "1").kill_on_drop(true);
    let ended = run(command).await;
    print!("{}", ended.stdout);
    assert!(ended.stdout.contains("1 passed"), "{}", ended.stderr);
    false
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
    pages * rustix::param::page_size() as u64
}

/// Text that does not become smaller by compression: what is packed small on its way is large again where it arrives,
/// and no limit of a request knows how large.
fn padding(n: i64) -> &'static str {
    static NOISE: OnceLock<String> = OnceLock::new();
    const SLICES: usize = 256;
    let noise = NOISE.get_or_init(|| {
        let mut random = SplitMix(1);
        let mut noise = String::with_capacity(SLICES * PADDING);
        while noise.len() < SLICES * PADDING {
            noise.push_str(&format!("{:016x}", random.next()));
        }
        noise
    });
    let slice = usize::try_from(n).unwrap_or(0) % SLICES;
    &noise[slice * PADDING..(slice + 1) * PADDING]
}

/// Numbered messages of some keys, and a model that takes them only in their order: 1, 2, 3 … of each.
struct Stream {
    db: Db,
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    sent: AtomicI64,
}

impl Stream {
    async fn new(db: Db, bus: Arc<dyn Bus>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let preparing = db.clone();
        preparing.migrate(TABLES).await.expect("tables");
        let ids = IdSource::new(clock.clone(), u64::from(std::process::id()));
        Self { db, bus, clock, ids, sent: AtomicI64::new(0) }
    }

    async fn on_files(folder: &Path) -> Self {
        let open = |name: &str| Db::open_sqlite(&folder.join(name)).expect("a database");
        let log = EmbeddedLog::open(open("log.db"), Arc::new(SystemClock)).await.expect("a log");
        Self::new(open("streams.db"), Arc::new(log)).await
    }

    async fn on_engines(engines: &Engines, broker: Engine) -> Self {
        let url = format!("{}/rtc_streams", engines.mysql());
        let open = move || db_mysql::open(&url, db_mysql::Options::default()).expect("a database");
        let db = tokio::task::spawn_blocking(open).await.expect("a database");
        let bus = bus_kafka::open(engines.kafka(broker), bus_kafka::Options::default()).await;
        Self::new(db, bus.expect("a broker")).await
    }

    /// One writer at a time: the order of a key is that of its numbers.
    async fn publish(&self, count: usize) {
        let messages = (0..count).map(|_| {
            let sent = self.sent.fetch_add(1, Ordering::SeqCst);
            let padding = padding(sent);
            let (key, n) = (sent % KEYS as i64, sent / KEYS as i64 + 1);
            let sku = format!("SKU-{key}");
            let data = json!({ "sku": sku, "available": n, "threshold": 5, "padding": padding });
            let envelope = Envelope {
                id: self.ids.next(),
                event_type: StockLow::TYPE.to_owned(),
                source: "streams".to_owned(),
                subject: sku.clone(),
                sequence: n,
                time: self.clock.now(),
                correlation_id: None,
                causation_id: None,
                traceparent: None,
                data: serde_json::value::to_raw_value(&data).expect("JSON"),
            };
            let payload = serde_json::to_string(&envelope).expect("JSON").into();
            Message { topic: topics::INVENTORY.name.into(), key: sku, payload }
        });
        self.bus.publish(messages.collect()).await.expect("a bus that takes them");
    }

    fn pump(&self) -> Arc<dyn Pump> {
        let consumer = Consumer::new(GROUP, &[topics::INVENTORY])
            .on::<StockLow>(|tx, event, _| {
                let last = "SELECT n FROM model WHERE sku = ?";
                let last: Option<i64> = tx.query_opt(last, params![event.sku], |row| row.get(0))?;
                if last.unwrap_or(0) + 1 != event.available {
                    let text = format!("{} {} after {last:?}", event.sku, event.available);
                    return Err(kernel::Error::conflict("out_of_order", text));
                }
                let sql =
                    "INSERT INTO model (sku, n) VALUES (?, ?) ON CONFLICT (sku) DO UPDATE SET n = excluded.n";
                tx.execute(sql, params![event.sku, event.available])?;
                Ok(())
            })
            .rebuilds(|tx| Ok(tx.execute("DELETE FROM model", params![]).map(drop)?));
        Arc::new(consumer.start(self.db.clone(), self.bus.clone(), self.clock.clone()))
    }

    /// How many messages have taken effect.
    async fn handled(&self) -> i64 {
        let numbers = self.db.read(|tx| tx.query("SELECT n FROM model", params![], |row| row.get::<i64>(0)));
        let numbers: Result<Vec<i64>, db::Error> = numbers.await;
        numbers.expect("the model").into_iter().sum()
    }

    async fn reaches(&self, wanted: i64) -> Duration {
        let begun = Instant::now();
        loop {
            let handled = self.handled().await;
            if handled == wanted {
                return begun.elapsed();
            }
            assert!(handled < wanted, "{handled} took effect of {wanted}");
            if begun.elapsed() > CONVERGES_WITHIN {
                let letters = messaging::list_dead_letters(&self.db, 3).await.expect("dead letters");
                let views = messaging::projections(&self.db).await.expect("projections");
                let mut lag = self.bus.lag().await.expect("the groups");
                lag.retain(|lag| lag.group == GROUP);
                panic!("{handled} of {wanted} took effect: {letters:?}\n{views:?}\n{lag:?}");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Each message took effect once, in the order of its key: any other was refused.
    async fn is_complete(&self) {
        self.reaches(self.sent.load(Ordering::SeqCst)).await;
        assert_eq!(messaging::count_dead_letters(&self.db).await.expect("a count"), 0);
    }
}

/// Turns a pump as the host does.
struct Turning {
    pump: Arc<dyn Pump>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Turning {
    fn start(pump: Arc<dyn Pump>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (turned, told) = (pump.clone(), stop.clone());
        let task = tokio::spawn(async move {
            while !told.load(Ordering::SeqCst) {
                match turned.step().await {
                    Ok(Progress::Worked) => {}
                    Ok(Progress::Idle) => {
                        let pause = turned.interval().min(Duration::from_millis(200));
                        let _ = tokio::time::timeout(pause, turned.wake().notified()).await;
                    }
                    Err(error) if error.kind().is_transient() => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{}", error.chain()),
                }
            }
            turned.finish().await;
        });
        Self { pump, stop, task }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.pump.wake().notify_one();
        self.task.await.expect("a pump that ends");
    }
}

/// Publishes so many a second until it is told to stop.
fn flow(stream: &Arc<Stream>, rate: u64) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stream, told) = (stream.clone(), stop.clone());
    let task = tokio::spawn(async move {
        let mut turns = tokio::time::interval(Duration::from_millis(100));
        while !told.load(Ordering::SeqCst) {
            turns.tick().await;
            stream.publish(usize::try_from(rate / 10).expect("a rate")).await;
        }
    });
    (stop, task)
}

async fn catches_up(what: &str, stream: Stream, piled: u64, rate: u64) -> u64 {
    let stream = Arc::new(stream);
    let pump = Turning::start(stream.pump());
    stream.publish(500).await;
    stream.reaches(500).await;
    pump.stop().await;
    let mut left = usize::try_from(piled).expect("a number");
    while left > 0 {
        stream.publish(left.min(250)).await;
        left -= left.min(250);
    }
    let (before, begun) = (resident(), Instant::now());
    let pump = Turning::start(stream.pump());
    let (stop, input) = flow(&stream, rate);
    let mut most = before;
    let handled = loop {
        tokio::time::sleep(Duration::from_millis(25)).await;
        most = most.max(resident());
        let (handled, sent) = (stream.handled().await, stream.sent.load(Ordering::SeqCst));
        if handled + i64::try_from(rate).expect("a rate") >= sent {
            break handled - 500;
        }
        assert!(begun.elapsed() < Duration::from_secs(900), "{handled} of {sent} took effect");
    };
    let drained = handled as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::SeqCst);
    input.await.expect("an input that ends");
    stream.is_complete().await;
    pump.stop().await;
    let growth = most - before;
    println!(
        "{what}: {piled} messages of {PADDING} bytes drained at {drained:.0}/s with {rate}/s coming in, in {:?}; \
         {} MiB resident, {:.1} MiB more at most",
        begun.elapsed(),
        before >> 20,
        growth as f64 / f64::from(1 << 20)
    );
    assert!(drained >= 2.0 * rate as f64, "{what}: drained at {drained:.0}/s, with {rate}/s coming in");
    growth
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_was_away_catches_up_at_least_twice_as_fast_as_messages_come() {
    let name = "streams::a_consumer_that_was_away_catches_up_at_least_twice_as_fast_as_messages_come";
    if !alone(name).await {
        return;
    }
    let rate = knob("STREAM_RATE").unwrap_or(400);
    let piled = rate * knob("STREAM_SECONDS").unwrap_or(50);
    let folder = tempfile::tempdir().expect("a directory");
    let growth = catches_up("the embedded log", Stream::on_files(folder.path()).await, piled, rate).await;
    assert!(growth < GROWTH_MAX, "memory grew by {growth} bytes");
    // What one of them makes a process take is not given back: whoever is bounded comes first.
    for broker in [Engine::KafkaB, Engine::KafkaA] {
        let engines = Engines::start(&[Engine::MariaDb, broker]).await;
        let stream = Stream::on_engines(&engines, broker).await;
        let growth = catches_up(&format!("{broker:?} and MariaDB"), stream, piled, rate).await;
        // Broker A gives out a whole backlog in one answer, whatever a client asks for (docs/ENGINES.md).
        assert!(growth < GROWTH_MAX || broker == Engine::KafkaA, "{broker:?}: memory grew by {growth} bytes");
    }
}

/// Two replicas read the same places of the log, while messages come and an operator wants rebuilds.
async fn is_rebuilt_while_live(broker: Engine) {
    let engines = Engines::start(&[Engine::MariaDb, broker]).await;
    let stream = Arc::new(Stream::on_engines(&engines, broker).await);
    let replicas = [Turning::start(stream.pump()), Turning::start(stream.pump())];
    for _ in 0..8 {
        stream.publish(250).await;
    }
    stream.reaches(2_000).await;
    let (stop, input) = flow(&stream, 200);
    let mut slowest = Duration::ZERO;
    for round in 0..3 {
        if round == 0 {
            let spoil = "UPDATE model SET n = n - 1 WHERE sku = 'SKU-7'";
            let spoilt = stream.db.write(|tx| tx.execute(spoil, params![])).await;
            assert!(matches!(spoilt, Ok(1)), "{spoilt:?}");
        }
        let asked = Instant::now();
        let now = stream.clock.now();
        messaging::rebuild(&stream.db, stream.bus.as_ref(), GROUP, now)
            .await
            .expect("a rebuild that is taken");
        loop {
            let view = messaging::projections(&stream.db).await.expect("the projection").remove(0);
            if view.stage == Stage::Live {
                break;
            }
            assert!(asked.elapsed() < CONVERGES_WITHIN, "{view:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        slowest = slowest.max(asked.elapsed());
    }
    stop.store(true, Ordering::SeqCst);
    input.await.expect("an input that ends");
    stream.is_complete().await;
    let sent = stream.sent.load(Ordering::SeqCst);
    println!("{broker:?}: 3 rebuilds of up to {sent} messages under 200/s, the slowest in {slowest:?}");
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_rebuilt_by_two_replicas_under_live_traffic_on_broker_a() {
    is_rebuilt_while_live(Engine::KafkaA).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_rebuilt_by_two_replicas_under_live_traffic_on_broker_b() {
    is_rebuilt_while_live(Engine::KafkaB).await;
}
