//! Shoppers who keep ordering, whatever happens, and remember what they were told.
//!
//! Invariant: who does not know whether an order was accepted asks again with the same key until somebody says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kernel::id::SplitMix;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::faults::shop::{Asker, Shop};

/// How long somebody may be left not knowing.
const KNOWN_WITHIN: Duration = Duration::from_secs(60);
const PAUSE_MS: u64 = 120;

/// What became of one key.
#[derive(Debug, Default)]
pub struct Records {
    /// The ids of orders, and the keys that they answer to.
    pub accepted: BTreeMap<String, String>,
    /// Refused for good, by status and code.
    pub refused: BTreeMap<String, u64>,
    /// Answers that said nothing about the order: none at all, or an error of the server.
    pub unknown: BTreeMap<String, u64>,
    /// The longest time between asking and knowing.
    pub slowest: Duration,
}

impl Records {
    fn merge(&mut self, other: Records) {
        for (id, key) in other.accepted {
            let before = self.accepted.insert(id, key);
            assert_eq!(before, None, "two keys, one order");
        }
        for (into, from) in [(&mut self.refused, other.refused), (&mut self.unknown, other.unknown)] {
            for (what, count) in from {
                *into.entry(what).or_default() += count;
            }
        }
        self.slowest = self.slowest.max(other.slowest);
    }

    pub fn unknown_count(&self) -> u64 {
        self.unknown.values().sum()
    }
}

pub struct Crowd {
    leaving: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
    shoppers: JoinSet<Records>,
}

struct Member {
    askers: Vec<Asker>,
    products: Vec<String>,
    random: SplitMix,
    name: String,
    leaving: Arc<AtomicBool>,
    accepted: Arc<AtomicU64>,
}

impl Crowd {
    /// So many shoppers, each with one order after the other, at any of the shop's doors.
    pub fn gather(shop: &Shop, size: u64, random: &mut SplitMix) -> Self {
        let (leaving, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut shoppers = JoinSet::new();
        let run = random.next() % 1_000_000;
        for n in 0..size {
            let member = Member {
                askers: shop.askers(),
                products: shop.products.iter().map(|product| product.id.clone()).collect(),
                random: SplitMix(random.next()),
                name: format!("c{run}-{n}"),
                leaving: leaving.clone(),
                accepted: accepted.clone(),
            };
            shoppers.spawn(member.shop());
        }
        Self { leaving, accepted, shoppers }
    }

    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Waits until so many more orders were accepted, and answers how long that took.
    pub async fn orders_again(&self, more: u64) -> Duration {
        let (begun, from) = (Instant::now(), self.accepted());
        while self.accepted() < from + more {
            assert!(begun.elapsed() < KNOWN_WITHIN, "no orders are accepted any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    /// Nobody begins anything new; everybody learns what became of his order.
    pub async fn leave(mut self) -> Records {
        self.leaving.store(true, Ordering::Relaxed);
        let mut records = Records::default();
        while let Some(one) = self.shoppers.join_next().await {
            records.merge(one.expect("a shopper"));
        }
        records
    }
}

impl Member {
    async fn shop(mut self) -> Records {
        let mut records = Records::default();
        let mut orders = 0;
        while !self.leaving.load(Ordering::Relaxed) {
            orders += 1;
            let key = format!("{}-{orders}", self.name);
            let product = &self.products[pick(&mut self.random, self.products.len())];
            let quantity = 1 + self.random.below(3);
            let order = json!({ "lines": [{ "product_id": product, "quantity": quantity }] });
            self.order(&key, &order, &mut records).await;
            tokio::time::sleep(Duration::from_millis(self.random.below(PAUSE_MS))).await;
        }
        records
    }

    async fn order(&mut self, key: &str, order: &Value, records: &mut Records) {
        let begun = Instant::now();
        let mut door = pick(&mut self.random, self.askers.len());
        loop {
            let said = match self.askers[door].post("/api/v1/orders", Some(key), order).await {
                Ok(answer) if answer.status < 300 => {
                    let id = answer.body["id"].as_str().expect("an order's id").to_owned();
                    records.accepted.insert(id, key.to_owned());
                    self.accepted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Ok(answer) if answer.status < 500 && answer.status != 429 => {
                    *records.refused.entry(answer.told()).or_default() += 1;
                    break;
                }
                Ok(answer) => answer.told(),
                Err(trouble) => trouble,
            };
            *records.unknown.entry(said).or_default() += 1;
            assert!(begun.elapsed() < KNOWN_WITHIN, "{key}: nobody says what became of it");
            tokio::time::sleep(Duration::from_millis(100 + self.random.below(200))).await;
            door = (door + 1) % self.askers.len();
        }
        records.slowest = records.slowest.max(begun.elapsed());
    }
}

pub fn pick(random: &mut SplitMix, among: usize) -> usize {
    usize::try_from(random.below(among as u64)).unwrap_or(0)
}

/// The ids of `orders`, each once.
pub fn ids(orders: &[Value]) -> BTreeSet<String> {
    let ids: BTreeSet<String> =
        orders.iter().filter_map(|order| order["id"].as_str().map(str::to_owned)).collect();
    assert_eq!(ids.len(), orders.len(), "an order is listed twice");
    ids
}
