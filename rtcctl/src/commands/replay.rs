//! `rtcctl replay`: real sales from CSV files into a running platform.
//!
//! Invariants: what cannot be used is named with file and line and stops nothing; a replay that was cut short is simply
//! repeated, what the platform has already is counted as duplicates.

use std::path::PathBuf;
use std::time::Duration;

use codes::{Code, Error, Result, exit};
use jiff::tz::TimeZone;
use kernel::id::SplitMix;
use kernel::{Currency, Money, Timestamp};
use sales::{Item, Options, Refused, Sale, Tally, Transaction};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::api::REQUEST_TIMEOUT;
use crate::context::{Context, Effect};
use crate::ingest::{Patience, SalesApi, deliver, read};
use crate::local::DataDir;
use crate::output::{Column, Finding, Report, Severity, Table};
use crate::progress::Task;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sales with the columns InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
    /// The name under which the platform keeps these sales; a line is known by this name and its own id
    #[arg(long, value_name = "NAME", default_value = "online-retail", value_parser = source)]
    pub source: String,
    /// Send in so many times real time, by the dates of the lines [default: as fast as possible]
    #[arg(long, value_name = "N", default_value_t = 0.0, hide_default_value = true, value_parser = speed)]
    pub speed: f64,
    /// The currency of the prices
    #[arg(long, value_name = "CODE", default_value = "GBP")]
    pub currency: Currency,
    /// The zone of dates that name none
    #[arg(long, value_name = "ZONE", default_value = "Europe/London")]
    pub zone: String,
    /// Lines in one request
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub batch: u16,
    /// How many refused lines are named; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub findings: usize,
}

fn source(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("1 to 64 letters, digits, dots, dashes and underscores".to_owned()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed >= 0.0 => Ok(speed),
        _ => Err("a number from 0 (as fast as possible)".to_owned()),
    }
}

/// A line that was not used, for the answer.
#[derive(Debug, Serialize)]
struct RefusedLine {
    file: String,
    /// 0 is the file itself.
    line: u64,
    code: &'static str,
    /// The platform's own code, where it was the platform that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    detail: String,
}

#[derive(Debug, Default, Serialize)]
struct FileCount {
    file: String,
    lines: u64,
    malformed: u64,
}

/// What is counted while it goes on.
struct Replay<'a> {
    args: &'a Args,
    target: Option<SalesApi>,
    tally: Tally,
    files: Vec<FileCount>,
    refused: Vec<RefusedLine>,
    findings: Vec<Finding>,
    accepted: u64,
    duplicates: u64,
    rejected: u64,
    malformed: u64,
    retries: u64,
    random: SplitMix,
    pending: Vec<Transaction>,
    /// Where the pending ones stood.
    places: Vec<(usize, u64)>,
    task: Task,
}

impl Replay<'_> {
    fn refuse(&mut self, file: usize, refused: Refused) {
        self.malformed += 1;
        self.files[file].malformed += 1;
        self.name(file, refused.line, refused.fault.code(), None, refused.detail);
    }

    fn name(&mut self, file: usize, line: u64, code: &'static Code, reason: Option<String>, detail: String) {
        if self.refused.len() >= self.args.findings {
            return;
        }
        let path = &self.files[file].file;
        let place = if line == 0 { path.clone() } else { format!("{path}:{line}") };
        let why = reason.as_deref().map(|reason| format!("{reason}: ")).unwrap_or_default();
        self.findings.push(Finding::new(code, Severity::Error, format!("{place}: {why}{detail}")));
        self.refused.push(RefusedLine { file: path.clone(), line, code: code.id, reason, detail });
    }

    /// Sends what is pending.
    async fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.pending);
        let places = std::mem::take(&mut self.places);
        let Some(target) = self.target.as_ref().filter(|_| !batch.is_empty()) else { return Ok(()) };
        let task = &self.task;
        let wait = |why: &Error, pause: Duration| {
            task.state(format!("{}; again in {:.1} s", why.message(), pause.as_secs_f64()));
        };
        let delivered = deliver(target, &batch, Patience::default(), &mut self.random, wait).await?;
        self.accepted += delivered.accepted;
        self.duplicates += delivered.duplicates;
        self.retries += delivered.retries;
        for line in delivered.rejected {
            let (file, number) = places.get(line.index).copied().unwrap_or_default();
            self.rejected += 1;
            self.name(file, number, &codes::RPL031, Some(line.code), line.detail);
        }
        self.task.show(format!("{} accepted, {} duplicates", self.accepted, self.duplicates));
        Ok(())
    }

    fn take(&mut self, file: usize, sale: Sale) {
        self.files[file].lines += 1;
        self.tally.add(&sale.transaction);
        if self.target.is_some() {
            self.places.push((file, sale.line));
            self.pending.push(sale.transaction);
        }
    }

    async fn work(&mut self, options: Options) -> Result<()> {
        let mut reading = read(self.args.files.clone(), options);
        let mut pace = Pace { speed: self.args.speed, first: None };
        while let Some(items) = reading.recv().await {
            for item in items {
                let sale = match item.item {
                    Item::Refused(refused) => {
                        self.refuse(item.file, refused);
                        continue;
                    }
                    Item::Sale(sale) => sale,
                };
                if let Some(due) = pace.due(sale.transaction.occurred_at).filter(|_| self.target.is_some()) {
                    self.flush().await?;
                    sleep_until(due).await;
                }
                self.take(item.file, sale);
                if self.pending.len() >= usize::from(self.args.batch) {
                    self.flush().await?;
                }
            }
        }
        self.flush().await
    }

    fn state(&self) -> String {
        format!(
            "{} lines are accepted, {} were known already; run it again to go on",
            self.accepted, self.duplicates
        )
    }
}

/// When a line is due, by the date of the first one.
struct Pace {
    speed: f64,
    first: Option<(Timestamp, Instant)>,
}

impl Pace {
    /// `None` where it is due already.
    fn due(&mut self, at: Timestamp) -> Option<Instant> {
        if self.speed <= 0.0 {
            return None;
        }
        let (first, start) = *self.first.get_or_insert_with(|| (at, Instant::now()));
        let after = at.since(first).as_secs_f64() / self.speed;
        let due = start + Duration::try_from_secs_f64(after).ok()?;
        (due > Instant::now()).then_some(due)
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let zone = TimeZone::get(&args.zone).map_err(|error| {
        Error::new(&codes::RPL032, format!("no zone is called {}", args.zone)).with_source(&error)
    })?;
    let options = Options { currency: args.currency, zone };
    let target = match context.effect {
        Effect::Described => None,
        Effect::Real => {
            let platform = context.platform()?;
            let data = DataDir::new(context.config.data_dir());
            let timeout = context.timeout_or(REQUEST_TIMEOUT);
            let follows = context.config.text("api_url").is_none();
            Some(SalesApi::new(platform.api.base(), data, follows, &args.source, timeout)?)
        }
    };
    let files = args.files.iter().map(|path| context.current_dir.join(path)).collect();
    let shown = args.files.iter().map(|path| path.display().to_string());
    let files_of_args = Args { files, ..args };
    let mut replay = Replay {
        files: shown.map(|file| FileCount { file, ..FileCount::default() }).collect(),
        args: &files_of_args,
        target,
        tally: Tally::default(),
        refused: Vec::new(),
        findings: Vec::new(),
        accepted: 0,
        duplicates: 0,
        rejected: 0,
        malformed: 0,
        retries: 0,
        random: SplitMix(context.clock.now().as_millis().unsigned_abs()),
        pending: Vec::new(),
        places: Vec::new(),
        task: context.progress.task("replay", format!("reading {} files", files_of_args.files.len())),
    };
    context
        .interrupts
        .cost_of_leaving("the batch under way may or may not be taken; a second replay settles it");
    let started = Instant::now();
    let ended = tokio::select! {
        ended = replay.work(options) => Ok(ended),
        signal = context.interrupts.wait() => Err(signal),
    };
    let error = match ended {
        Ok(Ok(())) => return Ok(report(replay, started.elapsed(), context.effect)),
        Ok(Err(error)) => error.with_hint(replay.state()),
        Err(signal) => signal.error(replay.state()),
    };
    replay.task.fail("the replay did not come to its end");
    Err(error)
}

/// The answer, and whether every line was used.
fn report(replay: Replay<'_>, took: Duration, effect: Effect) -> Report {
    let bad = replay.malformed + replay.rejected;
    let tally = &replay.tally;
    let totals: Vec<Money> = tally.totals();
    let data = json!({
        "source": replay.args.source,
        "dry_run": effect == Effect::Described,
        "lines": tally.lines(),
        "invoices": tally.invoices(),
        "cancellations": tally.cancellations(),
        "stock_codes": tally.stock_codes(),
        "totals": totals,
        "accepted": replay.accepted,
        "duplicates": replay.duplicates,
        "rejected": replay.rejected,
        "malformed": replay.malformed,
        "retries": replay.retries,
        "elapsed_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "files": replay.files,
        "refused": replay.refused,
    });
    let mut pairs = vec![
        ("Source", replay.args.source.clone()),
        ("Lines", grouped(tally.lines())),
        (
            "Invoices",
            format!("{} ({} cancellations)", grouped(tally.invoices()), grouped(tally.cancellations())),
        ),
        ("Stock codes", grouped(tally.stock_codes())),
    ];
    let listed: Vec<String> = totals.iter().map(Money::to_string).collect();
    pairs.push(("Total", if listed.is_empty() { "nothing".to_owned() } else { listed.join(", ") }));
    match effect {
        Effect::Described => pairs.push(("Accepted", "nothing was sent (--dry-run)".to_owned())),
        Effect::Real => {
            pairs.push(("Accepted", grouped(replay.accepted)));
            pairs.push(("Duplicates", grouped(replay.duplicates)));
            pairs.push(("Rejected", grouped(replay.rejected)));
        }
    }
    pairs.push(("Malformed", grouped(replay.malformed)));
    pairs.push(("Took", format!("{:.1} s", took.as_secs_f64())));
    let mut files = Table::new([Column::left("file"), Column::right("lines"), Column::right("malformed")]);
    for file in &replay.files {
        files.push([file.file.clone(), grouped(file.lines), grouped(file.malformed)]);
    }
    replay.task.done(format!("{} lines replayed", grouped(tally.lines())));
    let mut report = Report::new("replay", data).with_pairs(pairs).with_table(files);
    report.names = replay.files.iter().map(|file| file.file.clone()).collect();
    report.findings = replay.findings;
    match bad {
        0 => report,
        _ => {
            if bad > replay.refused.len() as u64 {
                let text =
                    format!("{} refused lines in all, the first {} are named", bad, replay.refused.len());
                report = report.with_text(text);
            }
            report.with_status("partial", exit::PARTIAL)
        }
    }
}

/// Thousands apart, as the money is.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
