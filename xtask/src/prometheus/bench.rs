//! `cargo xtask bench metrics`: how long the tool takes to start, and to show the platform on one screen from a Prometheus
//! server and from the platform's own history.
//!
//! Invariant: what is told is the whole time of the program, from its start to its end; what the server had of it stands
//! beside it, by the server's own count, and no other load is on either.

use std::process::Stdio;
use std::time::Duration;

use super::live::{Prometheus, Tools, load, own_rules};
use crate::bench::spread;
use crate::platform::{Profile, Shop};
use crate::run::Outcome;

const STARTS: usize = 51;
const SCREENS: usize = 21;

/// The time of a whole run of a program, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "a measurement of other programs is of real time")]
fn timed(mut command: std::process::Command) -> Result<f64, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let shown = format!("{command:?}");
    let began = std::time::Instant::now();
    let status = command.status().map_err(|error| format!("{shown}: {error}"))?;
    let took: Duration = began.elapsed();
    if status.success() { Ok(took.as_secs_f64() * 1_000.0) } else { Err(format!("{shown}: {status}")) }
}

fn repeated(times: usize, make: impl Fn() -> std::process::Command) -> Result<String, String> {
    // The first one fetches the program from disk.
    timed(make())?;
    let times: Result<Vec<f64>, String> = (0..times).map(|_| timed(make())).collect();
    times.map(spread)
}

/// What the server has counted of its own answers: how many, and the milliseconds that they took, side by side or not.
fn served(prometheus: &Prometheus) -> Result<(f64, f64), String> {
    let page = prometheus.get("/metrics")?;
    let sum = |name: &str| -> f64 {
        let of = page.lines().filter(|line| line.starts_with(name) && line.contains("handler=\"/api/v1/"));
        of.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let name = "prometheus_http_request_duration_seconds";
    Ok((sum(&format!("{name}_count")), sum(&format!("{name}_sum")) * 1_000.0))
}

pub fn run(arguments: &[&str]) -> Outcome {
    let rounds: usize = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(SCREENS);
    let tools = Tools::find()?;
    Profile::Release.build()?;
    let start = repeated(STARTS, || {
        let mut command = Profile::Release.program("rtcctl");
        command.arg("--version");
        command
    })?;

    let shop = Shop::seeded(Profile::Release, "bench-metrics")?;
    let server = shop.serve(&[])?;
    let admin = server.admin().trim_start_matches("http://").to_owned();
    let prometheus = Prometheus::start(&tools, "bench", "2s", &[admin], &own_rules()?)?;
    load(&shop)?;
    let screen = || shop.rtcctl(&["metrics", "summary"]);
    let before = served(&prometheus)?;
    let whole = repeated(rounds, || {
        let mut command = screen();
        command.env("RTCCTL_PROMETHEUS_URL", prometheus.url());
        command
    })?;
    let after = served(&prometheus)?;
    let each = |of: fn(&(f64, f64)) -> f64| (of(&after) - of(&before)) / (rounds + 1) as f64;
    let own = repeated(rounds, screen)?;

    println!("median (lowest to highest) in ms, release build; {STARTS} starts, {rounds} screens\n");
    println!("| what | wanted | ms |\n| --- | --- | --- |");
    println!("| `rtcctl --version` | < 20 ms | {start} |");
    println!("| `rtcctl metrics summary`, from Prometheus | < 150 ms over the server's time | {whole} |");
    println!(
        "| the server's time in it, added up over {:.0} answers side by side | | {:.1} |",
        each(|of| of.0),
        each(|of| of.1)
    );
    println!("| `rtcctl metrics summary`, from the platform's own history | | {own} |");
    Ok(())
}
