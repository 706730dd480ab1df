//! `cargo xtask bench compare`: is `rtcctl load` right? The same load by k6, against the same rtcd.
//!
//! Both place orders at the same constant rate in an open loop, at the same time, and wait for their end: what one of them meets
//! (a longer queue, a pause of the machine, the other's own need of the processor) the other one meets as well. What is judged is the
//! median of the rounds' ratios.
//! `rtcctl load` counts from the time at which a request was due. k6 counts from when it was sent, which is the same
//! moment as long as it has a virtual user free; a round in which it had none (`dropped_iterations`) does not count.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::bench::spread;
use crate::engines::{script, tool};
use crate::platform::{Profile, Server, Shop};
use crate::run::{Outcome, check, root};

const SHOPPERS: usize = 200;
const PRODUCTS: usize = 20;
/// Enough that nothing waits for a connection.
const CONNECTIONS: &str = "512";
/// Of k6: a user at a time waits for one answer. Each costs k6 time and memory.
const VIRTUAL_USERS: u64 = 100;
const AGREEMENT: f64 = 0.05;

#[derive(Debug, Clone, Copy)]
struct Measured {
    achieved_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

struct Wanted {
    rounds: u64,
    seconds: u64,
    rate: u64,
}

/// `rounds` (default 5) of `seconds` (default 10) at `rate` orders a second of each (default 100).
pub fn run(arguments: &[&str]) -> Outcome {
    let number = |index: usize, default: u64| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let wanted = Wanted { rounds: number(0, 5), seconds: number(1, 10), rate: number(2, 100) };
    check(script(&["install", "tools"]))?;
    Profile::Release.build()?;
    let shop = Shop::seeded(Profile::Release, "compare")?;
    let server = shop.serve(&[])?;
    // Warm, and with stock for all rounds.
    ours(&shop, &wanted)?;
    let (mut by_rtcctl, mut by_k6) = (Vec::new(), Vec::new());
    for round in 0..wanted.rounds {
        let prepared = Prepared::for_k6(&shop, &server, &wanted, round)?;
        let (ours, theirs) = std::thread::scope(|scope| {
            let ours = scope.spawn(|| ours(&shop, &wanted));
            let theirs = prepared.run(&wanted);
            (ours.join().unwrap_or_else(|_| Err("rtcctl load was not run".to_owned())), theirs)
        });
        by_rtcctl.push(ours?);
        by_k6.push(theirs?);
    }
    report(&wanted, &by_rtcctl, &by_k6)
}

fn report(wanted: &Wanted, by_rtcctl: &[Measured], by_k6: &[Measured]) -> Outcome {
    println!(
        "{} rounds of {} s, both at once and each at {} orders a second, to their end\n",
        wanted.rounds, wanted.seconds, wanted.rate
    );
    println!("| figure | rtcctl load | k6 | difference |\n| --- | --- | --- | --- |");
    let figures: [(&str, fn(&Measured) -> f64); 3] = [
        ("achieved /s", |measured| measured.achieved_per_s),
        ("p50 ms", |measured| measured.p50_ms),
        ("p99 ms", |measured| measured.p99_ms),
    ];
    let mut apart = Vec::new();
    for (name, figure) in figures {
        let values = |rounds: &[Measured]| rounds.iter().map(figure).collect::<Vec<_>>();
        let (ours, theirs) = (values(by_rtcctl), values(by_k6));
        // Of each round, for both met the same in it.
        let difference = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs - 1.0).collect());
        println!("| {name} | {} | {} | {:+.1} % |", spread(ours), spread(theirs), difference * 100.0);
        if difference.is_nan() || difference.abs() > AGREEMENT {
            apart.push(name);
        }
    }
    match apart.as_slice() {
        [] => Ok(()),
        apart => Err(format!("more than {:.0} % apart: {}", AGREEMENT * 100.0, apart.join(", "))),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn ours(shop: &Shop, wanted: &Wanted) -> Result<Measured, String> {
    let mut load = shop.rtcctl(&["load", "--scenario", "shop", "--orders-only", "--wait-terminal"]);
    load.args(["--rate", &wanted.rate.to_string(), "--duration", &format!("{}s", wanted.seconds)]);
    load.args(["--shoppers", &SHOPPERS.to_string(), "--products", &PRODUCTS.to_string()]);
    load.args(["--connections", CONNECTIONS, "--restock", "1000000", "--progress", "none", "-o", "json"]);
    let ended = load.output().map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_slice(&ended.stdout)
        .map_err(|error| format!("rtcctl load: {error}: {}", String::from_utf8_lossy(&ended.stderr)))?;
    let report = &report["data"];
    Ok(Measured {
        achieved_per_s: report["achieved_per_s"].as_f64().unwrap_or(f64::NAN),
        p50_ms: report["latency"]["p50_ms"].as_f64().unwrap_or(f64::NAN),
        p99_ms: report["latency"]["p99_ms"].as_f64().unwrap_or(f64::NAN),
    })
}

/// A round of k6 that can begin at once.
struct Prepared {
    setup: PathBuf,
    summary: PathBuf,
}

impl Prepared {
    fn for_k6(shop: &Shop, server: &Server, wanted: &Wanted, round: u64) -> Result<Self, String> {
        let (setup, summary) = (shop.data().join("k6-setup.json"), shop.data().join("k6-summary.json"));
        write(&setup, &prepare(server, wanted, round)?)?;
        Ok(Self { setup, summary })
    }

    fn run(&self, wanted: &Wanted) -> Result<Measured, String> {
        let mut k6 = tool("k6");
        k6.args(["run", "--quiet", "--no-usage-report", "--no-color", "--summary-export"]).arg(&self.summary);
        k6.arg("--env").arg(format!("SETUP={}", self.setup.display()));
        k6.arg(root().join("xtask/k6/orders.js"));
        // Its own pauses would be told as the platform's.
        k6.env("GOGC", "800").stdout(Stdio::null());
        check(k6)?;
        let text = std::fs::read_to_string(&self.summary).map_err(|error| error.to_string())?;
        let summary: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let metrics = &summary["metrics"];
        let dropped = metrics["dropped_iterations"]["count"].as_f64();
        if let Some(dropped) = dropped.filter(|dropped| *dropped > 0.0) {
            return Err(format!(
                "k6 had no virtual user free for {dropped} orders: its latencies would flatter"
            ));
        }
        let latency = &metrics["order_latency"];
        let accepted = metrics["orders_accepted"]["count"].as_f64().unwrap_or(f64::NAN);
        Ok(Measured {
            achieved_per_s: accepted / wanted.seconds as f64,
            p50_ms: latency["med"].as_f64().unwrap_or(f64::NAN),
            p99_ms: latency["p(99)"].as_f64().unwrap_or(f64::NAN),
        })
    }
}

fn write(path: &Path, value: &Value) -> Outcome {
    std::fs::write(path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
}

/// The shoppers and products that `rtcctl load` uses, with money for another round.
fn prepare(server: &Server, wanted: &Wanted, round: u64) -> Result<Value, String> {
    let made = server.ask_admin("POST", "/admin/shoppers", Some(&json!({ "count": SHOPPERS })))?;
    let made = made["data"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&Value> = made.iter().map(|shopper| &shopper["user_id"]).collect();
    let tokens: Vec<&Value> = made.iter().map(|shopper| &shopper["access_token"]).collect();
    let path = format!("/api/v1/products?limit={PRODUCTS}");
    let products = server.ask("GET", &path, "", None)?;
    let products: Vec<&Value> =
        products["data"].as_array().into_iter().flatten().map(|product| &product["id"]).collect();
    let amount = json!({ "amount": 10_000_000_000_i64, "currency": "KRW" });
    server.ask_admin("POST", "/admin/shoppers/fund", Some(&json!({ "user_ids": ids, "amount": amount })))?;
    Ok(json!({
        "url": server.api(), "rate": wanted.rate, "seconds": wanted.seconds, "virtual_users": VIRTUAL_USERS,
        "run": format!("k6-{}-{round}", std::process::id()), "tokens": tokens, "products": products,
    }))
}
