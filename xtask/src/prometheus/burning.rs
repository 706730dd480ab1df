//! Budgets that burn, seen live: a process of the platform dies under traffic, and a Prometheus whose rules are hurried by a
//! scale tells of it within the minutes that are promised; without traffic and at normal load it is silent.
//!
//! Invariants: the rules are those of life with shorter times, rendered by the same code; the failure is a real one: the
//! entry answers for a service that is no more; everything is stopped, however it ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rtc_metrics::slo::{ALL as SLOS, BURNS, Severity, minutes};

use super::alerts::{FAST, SLOW};
use super::live::{Prometheus, Tools, pause};
use super::{Scale, hurried, proofs};
use crate::platform::{Profile, Server, Shop};
use crate::run::Outcome;

/// A minute of the rules is a second here.
const SCALE: Scale = Scale(60);
/// So often a server scrapes and evaluates in life, at that scale.
const EVERY: &str = "250ms";
const WITHOUT_TRAFFIC: Duration = Duration::from_secs(6);
const NORMAL_LOAD: Duration = Duration::from_secs(20);
/// Between two requests of the load.
const BETWEEN: Duration = Duration::from_millis(25);
const ASKED: &str = "/api/v1/products";

/// One who asks for products, again and again.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU32>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Load {
    fn on(address: String) -> Self {
        let (stop, sent): (Arc<AtomicBool>, Arc<AtomicU32>) = Default::default();
        let (stopped, counted) = (stop.clone(), sent.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if ask(&address).is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                pause(BETWEEN);
            }
        });
        Self { stop, sent, thread: Some(thread) }
    }

    fn sent(&self) -> f64 {
        f64::from(self.sent.load(Ordering::Relaxed))
    }
}

fn ask(address: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(
        format!("GET {ASKED} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn free_address() -> Result<String, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
}

/// A shop in two processes: the catalog, and the entry with everything else.
struct House {
    behind: Shop,
    /// Of the API and of the operator's port.
    addresses: [String; 2],
    catalog: Option<Server>,
    entry: Server,
    _front: Shop,
}

const THE_REST: &str = "gateway,users,inventory,orders,payments,notifications,analytics";

impl House {
    fn open() -> Result<Self, String> {
        let behind = Shop::seeded_on(Profile::Dev, "burning-catalog", "", Vec::new())?;
        let front = behind.twin("burning-entry")?;
        let addresses = [free_address()?, free_address()?];
        let upstreams = format!("[upstreams]\ncatalog = [\"http://{}\"]\n", addresses[0]);
        let file = front.data().join("rtcd.toml");
        std::fs::write(&file, upstreams).map_err(|error| format!("{}: {error}", file.display()))?;
        let entry = front.serve(&["--only", THE_REST])?;
        let mut house = Self { behind, addresses, catalog: None, entry, _front: front };
        house.start_catalog()?;
        Ok(house)
    }

    fn targets(&self) -> Vec<String> {
        let servers = [Some(&self.entry), self.catalog.as_ref()];
        let bare = |server: &Server| server.admin().trim_start_matches("http://").to_owned();
        servers.into_iter().flatten().map(bare).collect()
    }

    /// Nobody tells it to stop.
    fn kill_catalog(&mut self) {
        self.catalog = None;
    }

    fn start_catalog(&mut self) -> Outcome {
        let [api, admin] = &self.addresses;
        self.catalog = Some(self.behind.serve_at([api, admin], &["--only", "catalog"])?);
        Ok(())
    }
}

fn firing(prometheus: &Prometheus) -> Result<Vec<String>, String> {
    let series = prometheus.query("ALERTS{alertstate=\"firing\"}")?;
    let name = |one: &serde_json::Value| {
        let label = |name: &str| one["metric"][name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", label("alertname"), label("slo")).trim().to_owned()
    };
    Ok(series.iter().map(name).collect())
}

fn number(prometheus: &Prometheus, expression: &str) -> Result<Option<f64>, String> {
    let series = prometheus.query(expression)?;
    Ok(series.first().and_then(|one| one["value"][1].as_str()?.parse().ok()))
}

/// Nothing fires for as long as this.
fn silent(prometheus: &Prometheus, when: &str, lasting: Duration) -> Outcome {
    let steps = lasting.as_millis() / 250;
    for _ in 0..steps {
        let firing = firing(prometheus)?;
        if !firing.is_empty() {
            return Err(format!("{when}: {} fires", firing.join(", ")));
        }
        pause(Duration::from_millis(250));
    }
    Ok(())
}

/// Waits until what fires is as wanted, and says after how many minutes of the rules.
#[expect(clippy::disallowed_methods, reason = "a check of a running server measures real time")]
fn minutes_until(
    prometheus: &Prometheus,
    within: f64,
    wanted: impl Fn(&[String]) -> bool,
) -> Result<f64, String> {
    let began = std::time::Instant::now();
    loop {
        let now = firing(prometheus)?;
        let passed = began.elapsed().as_secs_f64() * f64::from(SCALE.0) / 60.0;
        if wanted(&now) {
            return Ok(passed);
        }
        if passed > within {
            return Err(format!("after {passed:.1} min of the rules there fire: {}", now.join(", ")));
        }
        pause(Duration::from_millis(50));
    }
}

fn fires(name: &str) -> impl Fn(&[String]) -> bool {
    move |firing| firing.iter().any(|one| one == name)
}

/// Requests are counted where they come in alone, although two processes worked on each.
fn counted_once(prometheus: &Prometheus, load: &Load) -> Outcome {
    let requests = &rtc_metrics::HTTP_SERVER_REQUEST_DURATION;
    let route = format!("http_route=\"{ASKED}\"");
    let sum = |hop: &str| format!("sum({})", requests.count(&format!("{route}, hop=\"{hop}\"")));
    let mut seen = (None, None, 0.0);
    for _ in 0..40 {
        let before = load.sent();
        let (entered, inner) = (number(prometheus, &sum("entry"))?, number(prometheus, &sum("inner"))?);
        seen = (entered, inner, before);
        // Two scrapes of load may be on their way.
        let agrees = |count: Option<f64>| count.is_some_and(|count| (count - before).abs() <= 40.0);
        if before > 100.0 && agrees(entered) && agrees(inner) {
            return Ok(());
        }
        pause(Duration::from_millis(250));
    }
    Err(format!(
        "{} requests were sent, {:?} are counted at the entry and {:?} behind it",
        seen.2, seen.0, seen.1
    ))
}

pub fn run(tools: &Tools) -> Outcome {
    let mut house = House::open()?;
    let prometheus =
        Prometheus::start(tools, "burning", EVERY, &house.targets(), &[("slo", hurried(SCALE))])?;
    silent(&prometheus, "without traffic", WITHOUT_TRAFFIC)?;
    let ratios = prometheus.query("rtc:slo_error_ratio:rate5m{slo=\"availability\"}")?;
    if !ratios.is_empty() {
        return Err(format!("without traffic there is a ratio of errors: {ratios:?}"));
    }

    let load = Load::on(house.entry.api().trim_start_matches("http://").to_owned());
    silent(&prometheus, "at normal load", NORMAL_LOAD)?;
    counted_once(&prometheus, &load)?;

    house.kill_catalog();
    let promised = |severity| f64::from(proofs::first_to_fire(&SLOS[0], severity).1);
    let within = promised(Severity::Page);
    let page = minutes_until(&prometheus, within, fires(&format!("{FAST} availability")))
        .map_err(|reason| format!("no page within {within} min: {reason}"))?;
    let within = promised(Severity::Ticket);
    let ticket = minutes_until(&prometheus, within, fires(&format!("{SLOW} availability")))
        .map_err(|reason| format!("no ticket within {within} min: {reason}"))?;
    // It is told after a minute, and may have been up when it was scraped last.
    minutes_until(&prometheus, 4.0, fires("RtcTargetDown"))
        .map_err(|reason| format!("a process that was killed is no target that is down: {reason}"))?;
    let ratio = number(&prometheus, "rtc:slo_error_ratio:rate5m{slo=\"availability\"}")?;
    let others: Vec<String> = firing(&prometheus)?
        .into_iter()
        .filter(|one| one.contains(' ') && !one.ends_with(" availability"))
        .collect();
    if !others.is_empty() {
        return Err(format!("what is well fires too: {}", others.join(", ")));
    }

    house.start_catalog()?;
    // The last failures have to leave the longest of the short windows; the entry tries the process again after a while.
    let pages = BURNS.iter().filter(|burn| burn.severity == Severity::Page);
    let let_go = pages.map(|burn| minutes(burn.short)).fold(0.0, f64::max) + 10.0;
    let is_over =
        |firing: &[String]| !firing.iter().any(|one| one.starts_with(FAST) || one == "RtcTargetDown");
    let over = minutes_until(&prometheus, let_go, is_over)
        .map_err(|reason| format!("the page is not taken back within {let_go} min: {reason}"))?;
    eprintln!(
        "  at a {}th of the time, {} requests, {:.0} % of the last failed: paged after {page:.1} min, ticket {ticket:.1} min later, page over {over:.1} min after the process came back",
        SCALE.0,
        load.sent(),
        ratio.unwrap_or(f64::NAN) * 100.0,
    );
    Ok(())
}
