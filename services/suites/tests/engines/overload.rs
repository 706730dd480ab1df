//! More load than fits (F14, R94): twice and ten times what the shop can do, on MariaDB, a broker and Redis.
//!
//! What it can do is measured in the same run, right before: figures of a busy machine are worth nothing by themselves. The load
//! comes from this machine too, so that what a refusal costs its sender is counted against the shop.
//!
//! Invariants: those who watch (the operator, probes, a few who are refused) share no thread with those who send the load, so that
//! what they see is the shop's; whoever sends has a bounded number of requests under way, as any entry to a shop has, so that a
//! sender that cannot keep up is seen by how many it sent, and not by how long it left answers lying.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::faults::crowd::Records;
use crate::faults::knob;
use crate::faults::shop::{Asker, Said, Shop};
use crate::support::{CONVERGES_WITHIN, Engine};

/// Goodput at twice the peak, of the peak.
const GOODPUT_MIN: f64 = 0.9;
/// The peak after a flood, of the peak before it: what a busy machine takes from it, and no shop that stays broken.
const RECOVERED_MIN: f64 = 0.5;
/// Orders that were really asked for, of the peak: a sender that was too slow has shown nothing.
const TWICE_MIN: f64 = 1.5;
const TENFOLD_MIN: f64 = 2.5;
const SHOPPERS: usize = 24;
/// Checkouts under way at once: as many as those who find the peak have, and some more.
const IN_FLIGHT_MAX: usize = 48;
/// More than that no sender of this process sends.
const RATE_MAX: f64 = 2_500.0;
/// Requests that are under way at once; what would be sent beyond them is not.
const UNDER_WAY_MAX: usize = 1_000;
/// How often there is ten times as much: the refusals of one flood are few.
const TENFOLDS: usize = 2;
/// Analysts who ask one after the other, from a thread that has nothing to do with the load.
const BYSTANDERS: usize = 8;
/// What half of them know by then where they are refused. On a machine that does nothing else it is a few milliseconds.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);
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
}

/// The threads that the load is sent from.
struct Senders(Option<tokio::runtime::Runtime>);

impl Senders {
    fn hire() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        Self(Some(runtime.worker_threads(2).enable_all().build().expect("a runtime")))
    }

    fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until the end").handle()
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Everybody who asks, and what they were told.
struct Load {
    senders: Senders,
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
            senders: Senders::hire(),
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
        match self.send(what, n, &key, wait).await {
            Ok(said) if said.status < 300 => {
                tally.served.fetch_add(1, Ordering::Relaxed);
                if what == What::Order {
                    self.accepted(&said, &key).await;
                }
            }
            Ok(said) => {
                check_refusal(what, &said);
                tally.refused.fetch_add(1, Ordering::Relaxed);
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
    async fn learn_the_rest(self: &Arc<Self>) -> usize {
        let unknown = std::mem::take(&mut *self.unknown.lock().await);
        let count = unknown.len();
        let rest = Arc::new(Mutex::new(unknown));
        let mut shoppers = JoinSet::new();
        for _ in 0..SHOPPERS {
            let (load, rest) = (self.clone(), rest.clone());
            shoppers.spawn_on(async move { load.learn_one_by_one(&rest).await }, self.senders.handle());
        }
        while let Some(shopper) = shoppers.join_next().await {
            shopper.expect("a shopper");
        }
        count
    }

    async fn learn_one_by_one(&self, rest: &Mutex<Vec<(String, usize)>>) {
        loop {
            let Some((key, n)) = rest.lock().await.pop() else { return };
            let begun = Instant::now();
            loop {
                match self.send(What::Order, n, &key, "").await {
                    Ok(said) if said.status < 300 => break self.accepted(&said, &key).await,
                    said => {
                        let said = said.map(|said| said.told());
                        assert!(begun.elapsed() < CONVERGES_WITHIN, "{key}: {said:?}");
                    }
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
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

/// By the gate at once, or by a database whose connections are all busy for too long; and it says when to come again.
fn check_refusal(what: What, said: &Said) {
    let is_refusal = matches!(&*said.told(), "503 overloaded" | "503 storage_unavailable");
    assert!(is_refusal, "{what:?}: {} {}", said.status, said.body);
    let pause: u64 = said.retry_after.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
    assert!(pause >= 1, "a refusal that does not say when to come again: {:?}", said.retry_after);
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
        let (shopper, leaving) = (load.clone(), leaving.clone());
        let shops = async move {
            while !leaving.load(Ordering::Relaxed) {
                shopper.ask(What::Order, "?wait=terminal").await;
                shopper.ask(What::Read, "").await;
                shopper.ask(What::Analyse, "").await;
            }
        };
        shoppers.spawn_on(shops, load.senders.handle());
    }
    tokio::time::sleep(window / 4).await;
    let peak = ended_per_second(shop, window).await;
    leaving.store(true, Ordering::Relaxed);
    while let Some(shopper) = shoppers.join_next().await {
        shopper.expect("a shopper");
    }
    peak
}

/// So many of each thing a second, whatever becomes of those before, as long as one sender can have so many under way.
fn flood(load: &Arc<Load>, rate: f64) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let leaving = Arc::new(AtomicBool::new(false));
    let (senders, load, told) = (load.senders.handle().clone(), load.clone(), leaving.clone());
    let task = senders.spawn(async move {
        let (begun, mut sent, mut under_way) = (Instant::now(), 0_u64, JoinSet::new());
        let mut turns = tokio::time::interval(Duration::from_millis(5));
        while !told.load(Ordering::Relaxed) {
            turns.tick().await;
            let due = (begun.elapsed().as_secs_f64() * rate) as u64;
            while let Some(done) = under_way.try_join_next() {
                done.expect("somebody who asks");
            }
            for _ in sent..due {
                for what in ALL {
                    if under_way.len() < UNDER_WAY_MAX {
                        let load = load.clone();
                        under_way.spawn(async move { load.ask(what, "").await });
                    }
                }
            }
            sent = due;
        }
        while let Some(done) = under_way.join_next().await {
            done.expect("somebody who asks");
        }
    });
    (leaving, task)
}

/// What became of a flood.
#[derive(Debug)]
struct Flooded {
    goodput: f64,
    /// Orders that were asked for in a second.
    asked: f64,
}

async fn flooded(shop: &Shop, load: &Arc<Load>, rate: f64, window: Duration) -> Flooded {
    load.reset();
    let (leaving, task) = flood(load, rate.min(RATE_MAX / ALL.len() as f64));
    tokio::time::sleep(window / 4).await;
    let (before, begun) = (load.count(What::Order, |tally| &tally.sent), Instant::now());
    let goodput = ended_per_second(shop, window).await;
    let asked = (load.count(What::Order, |tally| &tally.sent) - before) / begun.elapsed().as_secs_f64();
    leaving.store(true, Ordering::Relaxed);
    task.await.expect("a flood that ends");
    Flooded { goodput, asked }
}

/// Watches until it is told to leave, from a thread of its own.
struct Watch<T> {
    leaving: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<T>,
}

impl<T: Send + 'static> Watch<T> {
    fn begin<F>(watches: impl FnOnce(Arc<AtomicBool>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = T>,
    {
        let leaving = Arc::new(AtomicBool::new(false));
        let told = leaving.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async { watches(told).await })
        });
        Self { leaving, thread }
    }

    fn end(self) -> T {
        self.leaving.store(true, Ordering::Relaxed);
        self.thread.join().expect("somebody who watches to the end")
    }
}

/// Asks for the probes all the time; how long the slowest took, of how many.
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

/// A few analysts, who tell how long it took where they were refused, in milliseconds.
async fn stand_by(analyst: Asker, leaving: Arc<AtomicBool>) -> Vec<f64> {
    let mut bystanders = JoinSet::new();
    for _ in 0..BYSTANDERS {
        let (analyst, leaving) = (analyst.clone(), leaving.clone());
        bystanders.spawn(async move {
            let mut refusals = Vec::new();
            while !leaving.load(Ordering::Relaxed) {
                let begun = Instant::now();
                match analyst.get("/api/v1/analytics/summary").await {
                    Ok(said) if said.status >= 300 => {
                        check_refusal(What::Analyse, &said);
                        refusals.push(begun.elapsed().as_secs_f64() * 1e3);
                    }
                    _ => {}
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            refusals
        });
    }
    bystanders.join_all().await.concat()
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

/// Of figures that there are: what nobody has seen has no median.
fn median(mut figures: Vec<f64>) -> f64 {
    assert!(!figures.is_empty(), "nothing was measured");
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

    let operator = shop.operator(0);
    let watch = Watch::begin(|leaving| probe(operator, leaving));
    let (mut peaks, mut ratios) = (Vec::new(), Vec::new());
    peaks.push(peak(&shop, &load, plan.window).await);
    for _ in 0..plan.rounds {
        calms_down(&shop).await;
        let before = *peaks.last().expect("the peak before");
        let twice = flooded(&shop, &load, 2.0 * before, plan.window).await;
        calms_down(&shop).await;
        let after = peak(&shop, &load, plan.window).await;
        let Flooded { goodput, asked } = twice;
        println!(
            "peaks of {before:.0} and {after:.0} orders a second; {goodput:.0} where {asked:.0} were asked for"
        );
        assert!(
            before > 0.0 && after >= RECOVERED_MIN * before,
            "a flood from which the shop has not come back"
        );
        assert!(
            asked >= TWICE_MIN * before,
            "no flood: {asked:.0} of {before:.0} orders a second were asked for"
        );
        // What others do on this machine comes and goes: what fits is what fitted before and after.
        ratios.push(goodput / before.min(after));
        peaks.push(after);
    }
    let (ratio, peak) = (median(ratios.clone()), median(peaks));
    let (mut refusals, mut tenfolds) = (Vec::new(), Vec::new());
    for _ in 0..TENFOLDS {
        calms_down(&shop).await;
        let analyst = shop.admin();
        let bystanders = Watch::begin(|leaving| stand_by(analyst, leaving));
        let tenfold = flooded(&shop, &load, 10.0 * peak, plan.tenfold).await;
        let met = bystanders.end();
        assert!(!met.is_empty(), "nobody who stood by was refused: {tenfold:?}");
        refusals.extend(met);
        tenfolds.push(tenfold);
    }
    let refused_ms = median(refusals);
    let shares = ALL.map(|what| load.share(what));
    let refused = ALL.map(|what| load.count(what, |tally| &tally.refused));
    let unknown = load.learn_the_rest().await;
    let (slowest, probes) = watch.end();
    let figures = format!(
        "goodput at twice the peak of {peak:.0}/s: {ratio:.2} of it ({ratios:.2?}); ten times: {tenfolds:.0?}; of the last served \
         of orders, reads, analyses: {shares:.2?}, refused {refused:?}; of the refusals that bystanders met the median \
         after {refused_ms:.1} ms; the slowest of {probes} probes after {slowest:?}; {unknown} orders had to be asked for again",
    );
    println!("{figures}");
    let records = std::mem::take(&mut *load.records.lock().await);
    let (took, states) = shop.converges(&records).await;
    println!("everything ended within {took:?}: {states:?}");
    assert!(ratio >= GOODPUT_MIN, "{figures}");
    assert!(tenfolds.iter().all(|tenfold| tenfold.asked >= TENFOLD_MIN * peak), "{figures}");
    assert!(slowest < LIVE_WITHIN, "{figures}");
    assert!(refused_ms < REFUSED_WITHIN.as_secs_f64() * 1e3, "{figures}");
    // What is worth less goes first: analyses are refused, and no smaller part of them than of reads.
    assert!(refused[2] > 0.0 && shares[2] <= shares[1] + 0.05, "{figures}");
    shop.stop().await;
}
