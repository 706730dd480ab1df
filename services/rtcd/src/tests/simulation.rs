//! Seeded simulation: shoppers, stock, bank and orders on a bus that duplicates, delays, reorders across keys and
//! forgets offsets, with crashes, clock jumps and a bank that fails. After each seed every invariant must hold.
//!
//! `SIM_SEEDS=1000` runs more seeds, `SIM_SEED=17` replays one.

use std::time::Duration;

use contracts::catalog::{ProductCreated, ProductSnapshot, ProductStatus};
use contracts::inventory::{StockCommitted, StockReleased, StockReserved, StockReturned};
use contracts::orders::{OrderConfirmed, OrderRejected};
use contracts::payments::{PaymentCaptured, PaymentHeld};
use contracts::{OrderId, ProductId, Role, UserId, topics};
use db::{Migration, Migrations, Tx, params};
use host::{Context, Service, StartError, Verdict};
use kernel::id::SplitMix;
use kernel::{Clock, Currency, Envelope, Money};
use messaging::Consumer;
use serde_json::{Value, json};
use testkit::{Call, Faults, House};

const SEEDS_DEFAULT: u64 = 200;
const PRODUCTS: u128 = 3;
const SHOPPERS: u128 = 4;
const STOCK: i64 = 12;
const PRICE: i64 = 1_000;
const FUNDS: i64 = 25_000;

async fn services(context: &Context) -> Result<Vec<Service>, StartError> {
    Ok(vec![
        inventory::service(context).await?,
        orders::service(context).await?,
        payments::service(context).await?,
        analytics::service(context).await?,
        witness(context).await?,
    ])
}

static WITNESS: &[Migrations] = &[
    messaging::MIGRATIONS,
    Migrations {
        component: "witness",
        steps: &[Migration {
            version: 1,
            name: "seen",
            sql: "CREATE TABLE seen (event_id VARCHAR(64) NOT NULL)",
        }],
    },
];

/// Counts effects: it writes down every message that it handles, and its table would take one twice.
async fn witness(context: &Context) -> Result<Service, StartError> {
    fn saw<E>(tx: &mut Tx<'_>, _: &E, envelope: &Envelope) -> kernel::Result<()> {
        tx.execute("INSERT INTO seen (event_id) VALUES (?)", params![envelope.id.to_string()])?;
        Ok(())
    }
    let mut service = Service::builder("witness", context, WITNESS).await?;
    let consumer = Consumer::new("witness.all", &[topics::INVENTORY, topics::PAYMENTS, topics::ORDERS])
        .on::<StockReserved>(saw)
        .on::<StockCommitted>(saw)
        .on::<PaymentHeld>(saw)
        .on::<PaymentCaptured>(saw)
        .on::<OrderConfirmed>(saw);
    service.consume(consumer);
    Ok(service.build())
}

fn product(n: u128) -> ProductSnapshot {
    ProductSnapshot {
        product_id: ProductId::from(House::user(100 + n).uuid()),
        sku: format!("SKU-{n}"),
        name: format!("Product {n}"),
        category: "tea".to_owned(),
        price: Money::new(PRICE, Currency::KRW),
        status: ProductStatus::Active,
        version: 1,
    }
}

/// One run: everything that is random comes from the seed.
struct Run {
    seed: u64,
    random: SplitMix,
    house: House,
    placed: Vec<(UserId, OrderId)>,
    keys: u64,
}

impl Run {
    async fn begin(seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let faults = Faults {
            duplicate: random.below(30),
            delay: random.below(50),
            lose_commit: random.below(15),
            lose_answer: random.below(15),
        };
        let sections = bank_faults(&mut random, seed);
        let house = House::build_with(seed, faults, &[("services.payments", sections)], services).await;
        let run = Self { seed, random, house, placed: Vec::new(), keys: 0 };
        run.open_shop().await;
        run
    }

    async fn open_shop(&self) {
        let admin = self.house.token(House::user(1), Role::Admin);
        for n in 0..PRODUCTS {
            let snapshot = product(n);
            let subject = snapshot.product_id.to_string();
            let event = ProductCreated { product: snapshot };
            self.house.publish(topics::CATALOG, "catalog", &subject, &event).await;
            let path = format!("/api/v1/stock/SKU-{n}/adjustments");
            let body = json!({ "delta": STOCK, "reason": "received" });
            self.house
                .post(&path)
                .token(&admin)
                .key(&format!("open-{n}"))
                .json(&body)
                .send()
                .await
                .expect(201);
        }
        let users: Vec<UserId> = (0..SHOPPERS).map(|n| House::user(10 + n)).collect();
        let body = json!({ "user_ids": users, "amount": { "amount": FUNDS, "currency": "KRW" } });
        let bank = self.house.service("payments").admin.clone();
        Call::new(bank, "POST".parse().unwrap(), "/shoppers/fund").json(&body).send().await.expect(200);
        self.house.settle().await;
    }

    fn shopper(&mut self) -> UserId {
        House::user(10 + u128::from(self.random.below(SHOPPERS as u64)))
    }

    async fn place(&mut self) {
        let user = self.shopper();
        let token = self.house.token(user, Role::Customer);
        let lines: Vec<Value> = (0..=self.random.below(2))
            .map(|_| {
                let n = u128::from(self.random.below(PRODUCTS as u64));
                json!({ "product_id": product(n).product_id, "quantity": 1 + self.random.below(4) })
            })
            .collect();
        self.keys += 1;
        let key = format!("order-{}", self.keys);
        let body = json!({ "lines": lines });
        let mut first: Option<Value> = None;
        // An impatient shopper sends the same request again.
        for _ in 0..=self.random.below(2) {
            let answer = self.house.post("/api/v1/orders").token(&token).key(&key).json(&body).send().await;
            let answer = answer.expect(202);
            assert_eq!(first.get_or_insert_with(|| answer.clone()), &answer, "seed {}", self.seed);
        }
        if let Some(answer) = first {
            self.placed.push((user, serde_json::from_value(answer["id"].clone()).unwrap()));
        }
    }

    async fn cancel(&mut self) {
        let chosen = self.random.below(self.placed.len() as u64);
        let Some((user, order)) = usize::try_from(chosen).ok().and_then(|n| self.placed.get(n).copied())
        else {
            return;
        };
        let token = self.house.token(user, Role::Customer);
        let answer = self.house.post(&format!("/api/v1/orders/{order}/cancel")).token(&token).send().await;
        assert!(matches!(answer.status, 202 | 409), "seed {}: {}", self.seed, answer.text());
    }

    fn jump(&mut self) {
        match self.random.below(4) {
            0 => self.house.clock.advance(Duration::from_secs(45)),
            1 => self.house.clock.advance(Duration::from_secs(700)),
            2 => self.house.clock.advance(Duration::from_millis(10)),
            _ => {
                let back = self.house.clock.now().minus(Duration::from_secs(20));
                self.house.clock.set(back);
            }
        }
    }

    async fn act(&mut self) {
        match self.random.below(100) {
            0..18 => self.place().await,
            18..23 => self.cancel().await,
            23..25 => self.jump(),
            25..27 => self.house.restart(services).await,
            _ => self.house.step_any().await,
        }
    }

    /// The faults end; time passes until nothing is under way.
    async fn end(&mut self) {
        self.house.bus.calm();
        self.house.restart(services).await;
        for _ in 0..75 {
            self.house.settle().await;
            self.house.clock.advance(Duration::from_secs(61));
        }
        self.house.settle().await;
    }

    async fn verdicts(&self) -> Vec<Verdict> {
        let stores: Vec<_> =
            self.house.services.iter().map(|service| (service.name, service.db.clone())).collect();
        let checked = crate::invariants::check(&stores, &self.house.bus, self.house.clock.now()).await;
        checked.expect("oracles that can read their data")
    }

    /// Every published message had its effect, and had it once.
    async fn check_effects(&self) {
        let db = &self.house.service("witness").db;
        let sql = "SELECT COUNT(*), COUNT(DISTINCT event_id) FROM seen";
        let seen: (i64, i64) = db
            .read_now(|tx| tx.query_one(sql, params![], |row| Ok((row.get(0)?, row.get(1)?))))
            .unwrap_or_else(|error: db::Error| panic!("{error}"));
        let house = &self.house;
        let published = house.published::<StockReserved>(topics::INVENTORY).len()
            + house.published::<StockCommitted>(topics::INVENTORY).len()
            + house.published::<PaymentHeld>(topics::PAYMENTS).len()
            + house.published::<PaymentCaptured>(topics::PAYMENTS).len()
            + house.published::<OrderConfirmed>(topics::ORDERS).len();
        let published = i64::try_from(published).unwrap_or(i64::MAX);
        assert_eq!(seen, (published, published), "seed {}: effects, distinct effects, messages", self.seed);
    }

    /// An order that was rejected gave back its stock itself: nothing is left to time out.
    async fn check_released(&self) {
        let released = self.house.published::<StockReleased>(topics::INVENTORY);
        let reserved = self.house.published::<StockReserved>(topics::INVENTORY);
        for rejected in self.house.published::<OrderRejected>(topics::ORDERS) {
            let id = rejected.order.order_id;
            if rejected.reason == "payment_declined" && reserved.iter().any(|event| event.order_id == id) {
                let gave_back = released.iter().any(|event| event.order_id == id)
                    || self
                        .house
                        .published::<StockReturned>(topics::INVENTORY)
                        .iter()
                        .any(|event| event.order_id == id);
                assert!(gave_back, "seed {}: {id} was declined and kept its stock", self.seed);
            }
        }
    }

    async fn check(&self) {
        self.check_effects().await;
        self.check_released().await;
        for verdict in self.verdicts().await {
            assert!(verdict.holds(), "seed {}: {} {:?}", self.seed, verdict.id, verdict.violations);
        }
        let sold = self.check_orders().await;
        let admin = self.house.token(House::user(1), Role::Admin);
        for n in 0..PRODUCTS {
            let item =
                self.house.get(&format!("/api/v1/stock/SKU-{n}")).token(&admin).send().await.expect(200);
            let sold = sold.get(&format!("SKU-{n}")).copied().unwrap_or(0);
            assert_eq!(item["on_hand"], STOCK - sold, "seed {}: SKU-{n} {item}", self.seed);
            assert_eq!(item["reserved"], 0, "seed {}: SKU-{n}", self.seed);
        }
    }

    /// Every accepted order has ended; answers what was sold.
    async fn check_orders(&self) -> std::collections::BTreeMap<String, i64> {
        let mut sold = std::collections::BTreeMap::new();
        for (user, order) in &self.placed {
            let token = self.house.token(*user, Role::Customer);
            let view =
                self.house.get(&format!("/api/v1/orders/{order}")).token(&token).send().await.expect(200);
            let state = view["state"].as_str().unwrap_or_default();
            assert!(
                matches!(state, "confirmed" | "rejected" | "cancelled"),
                "seed {}: {order} is {state}: {view}",
                self.seed
            );
            if state == "confirmed" {
                for line in view["lines"].as_array().into_iter().flatten() {
                    let sku = line["sku"].as_str().unwrap_or_default().to_owned();
                    *sold.entry(sku).or_insert(0) += line["quantity"].as_i64().unwrap_or(0);
                }
            }
        }
        sold
    }
}

fn bank_faults(random: &mut SplitMix, seed: u64) -> Value {
    let mut percent = |most: u64| random.below(most);
    json!({ "faults": {
        "seed": seed, "declines": percent(10), "timeouts_after": percent(15), "timeouts_before": percent(10),
        "late_arrivals": percent(10), "server_errors": percent(10), "resets": percent(10), "callbacks": percent(50),
        "duplicate_callbacks": percent(30), "late_callbacks": percent(30), "clock_skew": seed.is_multiple_of(3),
    } })
}

async fn simulate(seed: u64) -> (usize, usize) {
    let mut run = Run::begin(seed).await;
    for _ in 0..150 {
        run.act().await;
    }
    run.end().await;
    run.check().await;
    let orders = run.placed.len();
    let confirmed = run.house.published::<OrderConfirmed>(topics::ORDERS).len();
    (orders, confirmed)
}

#[expect(clippy::disallowed_methods, reason = "a test's own knobs, not configuration")]
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
    }
}

#[test]
fn whatever_the_bus_the_bank_and_the_clock_do_every_order_ends_once_and_the_books_agree() {
    let (mut orders, mut confirmed) = (0, 0);
    for seed in seeds() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ran = std::panic::catch_unwind(|| runtime.block_on(simulate(seed)));
        match ran {
            Ok((all, good)) => {
                orders += all;
                confirmed += good;
            }
            Err(panic) => {
                eprintln!("seed {seed} failed; replay it with SIM_SEED={seed} cargo test -p rtcd simulation");
                std::panic::resume_unwind(panic);
            }
        }
    }
    // A simulation in which nothing succeeds, or nothing fails, shows nothing.
    assert!(confirmed > 0 && confirmed < orders, "{confirmed} of {orders} confirmed");
}
