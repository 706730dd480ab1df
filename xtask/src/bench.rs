//! `cargo xtask bench orders`: the checkout under load, load generator and platform on the same machine.
//!
//! Every measurement is repeated and the median is told with its spread: these figures move with whatever else the
//! machine does, and only those of one run may be compared.

use serde_json::Value;

use crate::platform::{Profile, Server, Shop};
use crate::run::Outcome;

/// One line of the table: a load, and what is asked of it.
struct Case {
    name: &'static str,
    wanted: &'static str,
    arguments: &'static [&'static str],
    only: Option<&'static str>,
}

const CASES: [Case; 5] = [
    Case {
        name: "one order alone, to its end",
        wanted: "p50 < 15 ms",
        arguments: &[
            "--scenario",
            "shop",
            "--orders-only",
            "--wait-terminal",
            "--rate",
            "20",
            "--connections",
            "4",
        ],
        only: None,
    },
    Case {
        name: "orders to their end, 1,000 a second",
        wanted: "p99 < 250 ms",
        arguments: &[
            "--scenario",
            "shop",
            "--orders-only",
            "--wait-terminal",
            "--rate",
            "1000",
            "--connections",
            "512",
        ],
        only: None,
    },
    Case {
        name: "orders to their end, 1,300 a second",
        wanted: "how far it goes",
        arguments: &[
            "--scenario",
            "shop",
            "--orders-only",
            "--wait-terminal",
            "--rate",
            "1300",
            "--connections",
            "512",
        ],
        only: None,
    },
    Case {
        name: "accepting alone, 2,000 a second",
        wanted: "2,000 a second",
        arguments: &[
            "--scenario",
            "shop",
            "--orders-only",
            "--settle-timeout",
            "0s",
            "--rate",
            "2000",
            "--connections",
            "128",
        ],
        only: Some("users,catalog,orders,payments"),
    },
    Case {
        name: "GET /products/{id}, 20,000 a second",
        wanted: "20,000 a second",
        arguments: &["--scenario", "browse", "--rate", "20000", "--connections", "64"],
        only: None,
    },
];

struct Measured {
    achieved_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    availability: f64,
    fsyncs_per_order: Option<f64>,
    resident_mb: f64,
}

/// `rounds` repetitions of each case (default 3) of `seconds` (default 10): `cargo xtask bench orders 5 20`.
pub fn orders(arguments: &[&str]) -> Outcome {
    let number = |index: usize, default: u64| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (rounds, seconds) = (number(0, 3), number(1, 10));
    Profile::Release.build()?;
    let shop = Shop::seeded(Profile::Release, "bench")?;
    println!("{rounds} rounds of {seconds} s each; median (lowest to highest)\n");
    println!(
        "| load | wanted | achieved /s | p50 ms | p99 ms | answered % | fsyncs an order | resident MB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for case in &CASES {
        let mut measured = Vec::new();
        for _ in 0..rounds {
            measured.push(measure(&shop, case, seconds)?);
        }
        let column = |value: fn(&Measured) -> f64| spread(measured.iter().map(value).collect());
        let fsyncs: Vec<f64> = measured.iter().filter_map(|one| one.fsyncs_per_order).collect();
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            case.name,
            case.wanted,
            column(|one| one.achieved_per_s),
            column(|one| one.p50_ms),
            column(|one| one.p99_ms),
            column(|one| one.availability),
            if fsyncs.is_empty() { "–".to_owned() } else { spread(fsyncs) },
            column(|one| one.resident_mb),
        );
    }
    Ok(())
}

pub fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(low), Some(middle), Some(high)) => format!("{middle:.1} ({low:.1} to {high:.1})"),
        _ => "–".to_owned(),
    }
}

fn measure(shop: &Shop, case: &Case, seconds: u64) -> Result<Measured, String> {
    let server = match case.only {
        // Nothing ends there: what is under way would soon be more than is let in.
        Some(only) => {
            shop.serve_with(&["--only", only], &[("RTC_SERVICES__ORDERS__IN_FLIGHT_MAX", "1000000")])?
        }
        None => shop.serve(&[])?,
    };
    let duration = format!("{seconds}s");
    let mut load = shop.rtcctl(&["load", "--duration", &duration, "--shoppers", "200", "--products", "20"]);
    load.args(["--progress", "none", "-o", "json"]).args(case.arguments);
    if case.only.is_none() {
        // Stock is inventory's, which does not run where accepting is measured alone.
        load.args(["--restock", "1000000"]);
    }
    // What is set up first (shoppers, stock) is not part of the measurement, but its commits are few.
    let before = commits(&server)?;
    let ended = load.output().map_err(|error| error.to_string())?;
    let after = commits(&server)?;
    let report: Value = serde_json::from_slice(&ended.stdout)
        .map_err(|error| format!("{}: {error}: {}", case.name, String::from_utf8_lossy(&ended.stderr)))?;
    let report = &report["data"];
    let orders = report["orders"]["accepted"].as_f64().filter(|orders| *orders > 0.0);
    Ok(Measured {
        achieved_per_s: report["achieved_per_s"].as_f64().unwrap_or(0.0),
        p50_ms: report["latency"]["p50_ms"].as_f64().unwrap_or(f64::NAN),
        p99_ms: report["latency"]["p99_ms"].as_f64().unwrap_or(f64::NAN),
        availability: report["availability_percent"].as_f64().unwrap_or(0.0),
        fsyncs_per_order: orders.map(|orders| (after.0 - before.0) / orders),
        resident_mb: after.1,
    })
}

/// Commits so far, each of which is one fsync of a write-ahead log, and the memory in use in MB.
fn commits(server: &Server) -> Result<(f64, f64), String> {
    let status = server.ask_admin("GET", "/admin/status", None)?;
    let services = status["services"].as_array().into_iter().flatten();
    let commits = services.map(|service| service["commits"].as_f64().unwrap_or(0.0)).sum::<f64>();
    let log = status["log"]["commits"].as_f64().unwrap_or(0.0);
    Ok((commits + log, status["resident_bytes"].as_f64().unwrap_or(0.0) / 1e6))
}
