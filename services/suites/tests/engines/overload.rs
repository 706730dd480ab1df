//! More load than fits (F14, R94): twice and ten times what the shop can do, on MariaDB, a broker and Redis.
//!
//! What it can do is measured in the same run, right before: figures of a busy machine are worth nothing by themselves. The load
//! comes from this machine too, so that what a refusal costs its sender is counted against the shop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::faults::crowd::Records;
use crate::faults::knob;
use crate::faults::shop::{Asker, Said, Shop};
use crate::support::{CONVERGES_WITHIN, Engine};

/// Goodput at twice the peak, of the peak.
const GOODPUT_MIN: f64 = 0.9;
const SHOPPERS: usize = 24;
/// Checkouts under way at once: as many as those who find the peak have, and some more.
const IN_FLIGHT_MAX: usize = 48;
/// More than that no sender of this process sends.
const RATE_MAX: f64 = 2_500.0;
const LIVE_WITHIN: Duration = Duration::from_secs(1);

/// How long the parts of the test take.
struct Plan {
    rounds: usize,
    window: Duration,
    tenfold: Duration,
}

impl Plan {
    fn of_the_day() -> Self {
        let seconds = Duration::from_secs;
        match knob("ENGINES_WHOLE") {
            Some(_) => Self { rounds: 5, window: seconds(8), tenfold: seconds(20) },
            None => Self { rounds: 3, window: seconds(3), tenfold: seconds(4) },
        }
    }
}

/// What is asked for: an order, what a shopper reads, and what an analyst does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Order,
    Read,
    Analyse,
}

const ALL: [What; 3] = [What::Order, What::Read, What::Analyse];

#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    refusals_us: Mutex<Vec<u64>>,
}

/// Everybody who asks, and what they were told.
struct Load {
    asker: Asker,
    analyst: Asker,
    orders: Vec<serde_json::Value>,
    next: AtomicU64,
    tallies: BTreeMap<What, Tally>,
    records: Mutex<Records>,
    /// Keys of orders of which nobody knows what became of them.
    unknown: Mutex<Vec<(String, usize)>>,
}

impl Load {
    fn new(shop: &Shop) -> Arc<Self> {
        let order = |id: &String| json!({ "lines": [{ "product_id": id, "quantity": 1 }] });
        Arc::new(Self {
            asker: shop.asker(0),
            analyst: shop.admin(),
            orders: shop.products.iter().map(|product| order(&product.id)).collect(),
            next: AtomicU64::new(0),
            tallies: ALL.into_iter().map(|what| (what, Tally::default())).collect(),
            records: Mutex::default(),
            unknown: Mutex::default(),
        })
    }

    async fn send(&self, what: What, n: usize, key: &str, wait: &str) -> Result<Said, String> {
        match what {
            What::Order => {
                self.asker
                    .post(&format!("/api/v1/orders{wait}"), Some(key), &self.orders[n % self.orders.len()])
                    .await
            }
            What::Read => self.asker.get("/api/v1/orders?limit=20").await,
            What::Analyse => self.analyst.get("/api/v1/analytics/summary").await,
        }
    }

    /// Asks for one thing and notes what became of it.
    async fn ask(&self, what: What, wait: &str) {
        let tally = &self.tallies[&what];
        tally.sent.fetch_add(1, Ordering::Relaxed);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (n, key) = (usize::try_from(number).unwrap_or(0), format!("overload-{number}"));
        let begun = Instant::now();
        match self.send(what, n, &key, wait).await {
            Ok(said) if said.status < 300 => {
                tally.served.fetch_add(1, Ordering::Relaxed);
                if what == What::Order {
                    self.accepted(&said, &key).await;
                }
            }
            Ok(said) => {
                // By the gate at once, or by a database whose connections were all busy for too long.
                let is_refusal = matches!(&*said.told(), "503 overloaded" | "503 storage_unavailable");
                assert!(is_refusal, "{what:?}: {} {}", said.status, said.body);
                let pause: u64 = said.retry_after.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
                assert!(pause >= 1, "a refusal that does not say when to come again: {:?}", said.retry_after);
                tally.refused.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.refusals_us.lock().await.push(micros);
            }
            Err(_) if what == What::Order => self.unknown.lock().await.push((key, n)),
            Err(_) => {}
        }
    }

    async fn accepted(&self, said: &Said, key: &str) {
        let id = said.body["id"].as_str().expect("an order's id").to_owned();
        let before = self.records.lock().await.accepted.insert(id, key.to_owned());
        assert!(before.is_none_or(|before| before == key), "two keys, one order");
    }

    /// Those who were left without an answer ask again with their key until there is one.
    async fn learn_the_rest(&self) -> usize {
        let unknown = std::mem::take(&mut *self.unknown.lock().await);
        let begun = Instant::now();
        for (key, n) in &unknown {
            loop {
                match self.send(What::Order, *n, key, "").await {
                    Ok(said) if said.status < 300 => break self.accepted(&said, key).await,
                    said => {
                        let said = said.map(|said| said.told());
                        assert!(begun.elapsed() < CONVERGES_WITHIN, "{key}: {said:?}");
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        unknown.len()
    }

    fn count(&self, what: What, count: impl Fn(&Tally) -> &AtomicU64) -> f64 {
        count(&self.tallies[&what]).load(Ordering::Relaxed) as f64
    }

    fn reset(&self) {
        for tally in self.tallies.values() {
            for count in [&tally.sent, &tally.served, &tally.refused] {
                count.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The part of those who asked that were served.
    fn share(&self, what: What) -> f64 {
        self.count(what, |tally| &tally.served) / self.count(what, |tally| &tally.sent).max(1.0)
    }
}

/// How many orders have come to their end, and how many have not.
async fn ends(shop: &Shop) -> (u64, u64) {
    let status = shop.operator(0).get_at_last("/admin/status").await.body;
    let states = status["orders"]["by_state"].as_object().cloned().unwrap_or_default();
    let count = |ended: bool| {
        let is_end = |state: &str| matches!(state, "confirmed" | "rejected" | "cancelled");
        let counts = states.iter().filter(|(state, _)| is_end(state) == ended);
        counts.filter_map(|(_, count)| count.as_u64()).sum()
    };
    (count(true), count(false))
}

/// Orders that came to their end a second, between now and then.
async fn ended_per_second(shop: &Shop, window: Duration) -> f64 {
    let (before, begun) = (ends(shop).await.0, Instant::now());
    tokio::time::sleep(window).await;
    let (after, _) = ends(shop).await;
    (after - before) as f64 / begun.elapsed().as_secs_f64()
}

/// What was accepted has ended: the next measurement begins with nothing under way.
async fn calms_down(shop: &Shop) {
    let begun = Instant::now();
    while ends(shop).await.1 > 0 {
        assert!(begun.elapsed() < CONVERGES_WITHIN, "orders that do not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As much as the shop can do: each shopper waits for the end of an order before the next.
async fn peak(shop: &Shop, load: &Arc<Load>, window: Duration) -> f64 {
    let leaving = Arc::new(AtomicBool::new(false));
    let mut shoppers = JoinSet::new();
    for _ in 0..SHOPPERS {
        let (load, leaving) = (load.clone(), leaving.clone());
        shoppers.spawn(async move {
            while !leaving.load(Ordering::Relaxed) {
                load.ask(What::Order, "?wait=terminal").await;
                load.ask(What::Read, "").await;
                load.ask(What::Analyse, "").await;
            }
        });
    }
    tokio::time::sleep(window / 4).await;
    let peak = ended_per_second(shop, window).await;
    leaving.store(true, Ordering::Relaxed);
    while let Some(shopper) = shoppers.join_next().await {
        shopper.expect("a shopper");
    }
    peak
}

/// So many of each thing a second, whatever becomes of those before.
fn flood(load: &Arc<Load>, rate: f64) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let leaving = Arc::new(AtomicBool::new(false));
    let (load, told) = (load.clone(), leaving.clone());
    let task = tokio::spawn(async move {
        let (begun, mut sent, mut under_way) = (Instant::now(), 0_u64, JoinSet::new());
        let mut turns = tokio::time::interval(Duration::from_millis(5));
        while !told.load(Ordering::Relaxed) {
            turns.tick().await;
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            for _ in sent..due {
                for what in ALL {
                    let load = load.clone();
                    under_way.spawn(async move { load.ask(what, "").await });
                }
            }
            sent = due;
            while let Some(done) = under_way.try_join_next() {
                done.expect("somebody who asks");
            }
        }
        while let Some(done) = under_way.join_next().await {
            done.expect("somebody who asks");
        }
    });
    (leaving, task)
}

async fn flooded(shop: &Shop, load: &Arc<Load>, rate: f64, window: Duration) -> f64 {
    load.reset();
    let (leaving, task) = flood(load, rate.min(RATE_MAX / ALL.len() as f64));
    tokio::time::sleep(window / 4).await;
    let goodput = ended_per_second(shop, window).await;
    leaving.store(true, Ordering::Relaxed);
    task.await.expect("a flood that ends");
    goodput
}

/// Asks for the probes all the time, from a thread that has nothing to do with the load; how long the slowest took, of how many.
struct Watch {
    leaving: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Duration, u64)>,
}

async fn probe(operator: Asker, leaving: Arc<AtomicBool>) -> (Duration, u64) {
    let (mut slowest, mut asked) = (Duration::ZERO, 0);
    while !leaving.load(Ordering::Relaxed) {
        for path in ["/livez", "/readyz"] {
            let begun = Instant::now();
            let said = operator.get(path).await.expect("an answer of a probe");
            assert_eq!(said.status, 200, "{path}: {}", said.body);
            slowest = slowest.max(begun.elapsed());
            asked += 1;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    (slowest, asked)
}

impl Watch {
    fn begin(shop: &Shop) -> Self {
        let leaving = Arc::new(AtomicBool::new(false));
        let (url, token) = (shop.url(0, "admin_url"), shop.replicas[0].operator_token());
        let told = leaving.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async { probe(Asker::new(&url, &token), told).await })
        });
        Self { leaving, thread }
    }

    fn end(self) -> (Duration, u64) {
        self.leaving.store(true, Ordering::Relaxed);
        self.thread.join().expect("probes that are answered")
    }
}

/// While the process runs: a shop on this machine cannot have as many checkouts under way as one on its own.
async fn bound_checkouts(shop: &Shop) {
    let file = shop.data(0).join("rtcd.toml");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let more = format!("\n[services.orders]\nin_flight_max = {IN_FLIGHT_MAX}\n");
    std::fs::write(&file, text + &more).expect("the configuration");
    shop.replicas[0].signal(Signal::HUP);
    let begun = Instant::now();
    loop {
        let status = shop.operator(0).get_at_last("/admin/status").await.body;
        if status["configuration"]["applied"].as_u64().unwrap_or(0) > 0 {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", status["configuration"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_and_ten_times_what_fits_leave_the_goodput_and_the_probes_and_lose_nothing() {
    let plan = Plan::of_the_day();
    let shop = Shop::open(&[Engine::MariaDb, Engine::KafkaB, Engine::Redis], 1).await;
    bound_checkouts(&shop).await;
    let load = Load::new(&shop);
    // Caches, connections and plans of queries are filled.
    peak(&shop, &load, Duration::from_secs(1)).await;
    calms_down(&shop).await;

    let watch = Watch::begin(&shop);
    let (mut peaks, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let peak = peak(&shop, &load, plan.window).await;
        calms_down(&shop).await;
        let twice = flooded(&shop, &load, 2.0 * peak, plan.window).await;
        println!("a peak of {peak:.0} orders a second; {twice:.0} at twice as many");
        calms_down(&shop).await;
        ratios.push(twice / peak);
        peaks.push(peak);
    }
    let (ratio, peak) = (median(ratios.clone()), median(peaks));
    flooded(&shop, &load, 10.0 * peak, plan.tenfold).await;
    let shares = ALL.map(|what| load.share(what));
    let refused = ALL.map(|what| load.count(what, |tally| &tally.refused));
    let mut refusals = Vec::new();
    for tally in load.tallies.values() {
        refusals.append(&mut *tally.refusals_us.lock().await);
    }
    refusals.sort_unstable();
    let unknown = load.learn_the_rest().await;
    let (slowest, asked) = watch.end();
    let figures = format!(
        "goodput at twice the peak of {peak:.0}/s: {ratio:.2} of it ({ratios:.2?}); at ten times served of orders, \
         reads, analyses: {shares:.2?}, refused {refused:?}; {} refusals, the median after {} us; the slowest of \
         {asked} probes after {slowest:?}; {unknown} orders had to be asked for again",
        refusals.len(),
        refusals.get(refusals.len() / 2).unwrap_or(&0)
    );
    println!("{figures}");
    let records = std::mem::take(&mut *load.records.lock().await);
    let (took, states) = shop.converges(&records).await;
    println!("everything ended within {took:?}: {states:?}");
    assert!(ratio >= GOODPUT_MIN, "{figures}");
    assert!(slowest < LIVE_WITHIN, "{figures}");
    // What is worth less goes first: analyses are refused, and no smaller part of them than of reads.
    assert!(refused[2] > 0.0 && shares[2] <= shares[1] + 0.05, "{figures}");
    shop.stop().await;
}
