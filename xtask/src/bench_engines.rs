//! `cargo xtask bench engines`: the checkout on MariaDB, a broker, Redis and S3, with one replica of the platform and with two.
//!
//! Engines, platform and load generator are on the same machine. What is told beside rates and latencies is what holds on a
//! busy one too: processor time an order, of each process.
//!
//! Invariant: what was started is stopped, however it ended.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bench::spread;
use crate::engines::script;
use crate::platform::{Profile, Server, Shop};
use crate::run::{Outcome, check, root};

/// The faster of the two brokers. What it holds, and what the cache holds, is gone when they start again.
const BROKER: &str = "kafka-b";
const ENGINES: [&str; 4] = ["mariadb", BROKER, "redis", "s3"];
const WANTED: &str = "400 a second, p99 under 500 ms, relay lag p99 under 200 ms";
const WARM_UP_S: u64 = 3;
const WARM_UPS_MAX: u64 = 40;

struct Wanted {
    rounds: u64,
    seconds: u64,
    rate: u64,
}

/// `rounds` (default 3) of `seconds` (default 10) at `rate` orders a second (default 400).
pub fn run(arguments: &[&str]) -> Outcome {
    let number = |index: usize, default: u64| {
        arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let wanted = Wanted { rounds: number(0, 3), seconds: number(1, 10), rate: number(2, 400) };
    let engines = Engines { home: root().join("target/engines-bench") };
    check(script(&["install"]))?;
    Profile::Release.build()?;
    println!(
        "{} rounds of {} s at {} orders a second, to their end; median (lowest to highest). Wanted: {WANTED}\n",
        wanted.rounds, wanted.seconds, wanted.rate
    );
    println!(
        "| replicas | achieved /s | p50 ms | p99 ms | relay lag p99 ms | confirmed % | ms an order: rtcd | MariaDB | \
         broker | Redis | load |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    [1, 2].into_iter().try_for_each(|replicas| measure(&engines, &wanted, replicas))
}

// ---- the engines ----------------------------------------------------------------------------------------------

struct Engines {
    home: PathBuf,
}

impl Drop for Engines {
    fn drop(&mut self) {
        if let Err(error) = self.script("reset", &[]) {
            eprintln!("warning: {error}");
        }
    }
}

impl Engines {
    fn script(&self, action: &str, names: &[&str]) -> Outcome {
        let mut command = script(&["--home"]);
        command.arg(&self.home).arg(action).args(names);
        check(command)
    }

    fn read(&self, file: &str) -> Result<String, String> {
        let path = self.home.join(file);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// What rtcd is told of them: schemas of this case alone. Each generator signs in as the administrator, from one address.
    fn configuration(&self, replicas: usize) -> Result<String, String> {
        let text = self.read("rtcd.toml")?.replace("/rtc_{service}", &format!("/rtc{replicas}_{{service}}"));
        Ok(text + "\n[limits]\nlogin = 0\n")
    }

    /// The keys of S3.
    fn environment(&self) -> Result<Vec<(String, String)>, String> {
        let text = self.read("aws")?;
        let pairs = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned())).collect())
    }

    fn pid(&self, name: &str) -> Result<u32, String> {
        let text = self.read(&format!("run/{name}/pid"))?;
        let pid = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        pid.ok_or_else(|| format!("{name} does not run"))
    }
}

/// Processor time that a process has used so far, in milliseconds.
fn cpu_ms(pid: u32) -> Result<f64, String> {
    /// The kernel counts in hundredths of a second for whoever reads it, on every machine.
    const TICK_MS: f64 = 10.0;
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // After the name, which may contain anything.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let fields: Vec<f64> = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    Ok(fields.iter().sum::<f64>() * TICK_MS)
}

// ---- one case -------------------------------------------------------------------------------------------------

struct Measured {
    achieved_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    relay_p99_ms: f64,
    confirmed_percent: f64,
    /// rtcd, MariaDB, the broker, Redis, the generators.
    ms_an_order: [f64; 5],
}

fn measure(engines: &Engines, wanted: &Wanted, replicas: usize) -> Outcome {
    engines.script("start", &ENGINES)?;
    engines.script("restart", &[BROKER, "redis"])?;
    let name = format!("bench-engines-{replicas}");
    let first =
        Shop::seeded_on(Profile::Release, &name, &engines.configuration(replicas)?, engines.environment()?)?;
    let mut shops = vec![first];
    for number in 1..replicas {
        let twin = shops[0].twin(&format!("{name}-{number}"))?;
        shops.push(twin);
    }
    let servers: Vec<Server> = shops.iter().map(|shop| shop.serve(&[])).collect::<Result<_, _>>()?;
    shops.iter().enumerate().try_for_each(|(number, shop)| warm_up(shop, wanted, number as u64))?;
    let mut all = Vec::new();
    for round in 0..wanted.rounds {
        all.push(round_of(engines, wanted, &shops, &servers, round + 1)?);
    }
    let column = |value: &dyn Fn(&Measured) -> f64| spread(all.iter().map(value).collect());
    let of_process = |index: usize| column(&|one| one.ms_an_order[index]);
    println!(
        "| {replicas} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        column(&|one| one.achieved_per_s),
        column(&|one| one.p50_ms),
        column(&|one| one.p99_ms),
        column(&|one| one.relay_p99_ms),
        column(&|one| one.confirmed_percent),
        of_process(0),
        of_process(1),
        of_process(2),
        of_process(3),
        of_process(4),
    );
    Ok(())
}

/// Until every order is confirmed: groups are joined then, products known, shoppers and stock there, statements prepared.
fn warm_up(shop: &Shop, wanted: &Wanted, seed: u64) -> Outcome {
    for attempt in 0..WARM_UPS_MAX {
        let report = finish(start(shop, wanted.rate / 4, WARM_UP_S, seed + 10 * attempt)?)?;
        if report.confirmed > 0.0 && report.confirmed >= report.requests {
            return Ok(());
        }
    }
    Err("orders are not confirmed, however often it is tried".to_owned())
}

/// One round: a generator for each replica, all at once, each with its share of the orders.
fn round_of(
    engines: &Engines,
    wanted: &Wanted,
    shops: &[Shop],
    servers: &[Server],
    round: u64,
) -> Result<Measured, String> {
    let engine_pids = ["mariadb", BROKER, "redis"].map(|name| engines.pid(name));
    let engine_pids = engine_pids.into_iter().collect::<Result<Vec<_>, _>>()?;
    let used = || -> Result<[f64; 4], String> {
        let mut used = [0.0; 4];
        for server in servers {
            used[0] += cpu_ms(server.pid())?;
        }
        for (place, pid) in used[1..].iter_mut().zip(&engine_pids) {
            *place = cpu_ms(*pid)?;
        }
        Ok(used)
    };
    let (lag_before, used_before) = (lag(servers)?, used()?);
    let mut loads = Vec::new();
    for (number, shop) in shops.iter().enumerate() {
        let seed = (WARM_UPS_MAX + round) * 10 + number as u64;
        loads.push(start(shop, wanted.rate / shops.len() as u64, wanted.seconds, seed)?);
    }
    let reports: Vec<Report> = loads.into_iter().map(finish).collect::<Result<_, _>>()?;
    let (lag_after, used_after) = (lag(servers)?, used()?);
    let sum = |value: fn(&Report) -> f64| reports.iter().map(value).sum::<f64>();
    // Of two distributions the worse one is told.
    let worst = |value: fn(&Report) -> f64| reports.iter().map(value).fold(0.0, f64::max);
    let orders = sum(|report| report.accepted).max(1.0);
    let mut ms_an_order = [0.0; 5];
    for (place, (after, before)) in ms_an_order.iter_mut().zip(used_after.iter().zip(used_before)) {
        *place = (after - before) / orders;
    }
    ms_an_order[4] = sum(|report| report.cpu_ms) / orders;
    Ok(Measured {
        achieved_per_s: sum(|report| report.achieved_per_s),
        p50_ms: worst(|report| report.p50_ms),
        p99_ms: worst(|report| report.p99_ms),
        relay_p99_ms: quantile(&lag_before, &lag_after, 0.99) * 1_000.0,
        confirmed_percent: sum(|report| report.confirmed) / sum(|report| report.requests).max(1.0) * 100.0,
        ms_an_order,
    })
}

// ---- the generator --------------------------------------------------------------------------------------------

struct Report {
    achieved_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    requests: f64,
    accepted: f64,
    confirmed: f64,
    cpu_ms: f64,
}

fn start(shop: &Shop, rate: u64, seconds: u64, seed: u64) -> Result<Child, String> {
    let mut load: Command = shop.rtcctl(&["load", "--scenario", "shop", "--orders-only", "--wait-terminal"]);
    load.args([
        "--rate",
        &rate.to_string(),
        "--duration",
        &format!("{seconds}s"),
        "--seed",
        &seed.to_string(),
    ]);
    load.args(["--shoppers", "200", "--products", "20", "--connections", "512", "--restock", "1000000"]);
    load.args(["--progress", "none", "-o", "json"]);
    load.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())
}

fn finish(load: Child) -> Result<Report, String> {
    let pid = load.id();
    let mut stdout = Vec::new();
    let mut load = load;
    if let Some(mut out) = load.stdout.take() {
        std::io::Read::read_to_end(&mut out, &mut stdout).map_err(|error| error.to_string())?;
    }
    // It has said all, and is not waited for yet: what it used can still be read.
    let cpu_ms = cpu_ms(pid).unwrap_or(0.0);
    let ended = load.wait_with_output().map_err(|error| error.to_string())?;
    let report: Value = serde_json::from_slice(&stdout)
        .map_err(|error| format!("rtcctl load: {error}: {}", String::from_utf8_lossy(&ended.stderr)))?;
    let report = &report["data"];
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    Ok(Report {
        achieved_per_s: number(&report["achieved_per_s"]),
        p50_ms: report["latency"]["p50_ms"].as_f64().unwrap_or(f64::NAN),
        p99_ms: report["latency"]["p99_ms"].as_f64().unwrap_or(f64::NAN),
        requests: number(&report["requests"]),
        accepted: number(&report["orders"]["accepted"]),
        confirmed: number(&report["orders"]["by_state"]["confirmed"]),
        cpu_ms,
    })
}

// ---- the relays -----------------------------------------------------------------------------------------------

/// How many messages waited up to how many seconds, over all services and replicas; the bounds rise.
fn lag(servers: &[Server]) -> Result<Vec<(f64, f64)>, String> {
    let mut buckets: Vec<(f64, f64)> = Vec::new();
    for server in servers {
        for (bound, count) in lag_of(&server.metrics()?) {
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((bound, count)),
            }
        }
    }
    buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    Ok(buckets)
}

fn lag_of(page: &str) -> Vec<(f64, f64)> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("rtc_relay_lag_seconds_bucket{"));
    let bucket = |line: &str| {
        let (labels, value) = line.split_once("} ")?;
        let bound = labels.split_once("le=\"")?.1.split_once('"')?.0;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, value.split_whitespace().next()?.parse().ok()?))
    };
    lines.filter_map(bucket).collect()
}

/// As Prometheus does it: evenly spread within a bucket.
fn quantile(before: &[(f64, f64)], after: &[(f64, f64)], q: f64) -> f64 {
    let earlier =
        |bound: f64| before.iter().find(|(known, _)| *known == bound).map_or(0.0, |(_, count)| *count);
    let counts: Vec<(f64, f64)> =
        after.iter().map(|(bound, count)| (*bound, count - earlier(*bound))).collect();
    let Some(total) = counts.last().map(|(_, count)| *count).filter(|total| *total > 0.0) else {
        return f64::NAN;
    };
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in counts {
        if count >= total * q {
            let share = if count > below { (total * q - below) / (count - below) } else { 1.0 };
            return if bound.is_finite() { low + (bound - low) * share } else { low };
        }
        (low, below) = (bound, count);
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_is_read_from_what_came_between_two_pages() {
        let page = |fast: u32, all: u32| {
            format!(
                "# TYPE rtc_relay_lag_seconds histogram\n\
                 rtc_relay_lag_seconds_bucket{{le=\"0.1\",service=\"orders\"}} {fast}\n\
                 rtc_relay_lag_seconds_bucket{{le=\"0.2\",service=\"orders\"}} {all}\n\
                 rtc_relay_lag_seconds_bucket{{le=\"+Inf\",service=\"orders\"}} {all}\n\
                 rtc_relay_lag_seconds_count{{service=\"orders\"}} {all}\n"
            )
        };
        let (before, after) = (lag_of(&page(50, 50)), lag_of(&page(140, 150)));
        // Of 100 messages 90 took up to 100 ms: the 95th lies in the middle of the others.
        assert!((quantile(&before, &after, 0.95) - 0.15).abs() < 1e-9);
        assert!((quantile(&before, &after, 0.45) - 0.05).abs() < 1e-9);
        assert!(quantile(&before, &before, 0.99).is_nan());
    }
}
