//! Load through the entry point while pods come and go, and whether any of it was lost.
//!
//! Invariant: too few requests never prove anything; what is sent only reads, so that a proof changes nothing.

use std::time::Duration;

use codes::{Error, Result};
use kernel::id::SplitMix;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::{Endpoint, Platform, REQUEST_TIMEOUT};
use crate::context::Context;
use crate::load::{
    Books, Figures, Job, Limits, Mix, Outcome, Pace, Patience, Place, Proportions, Requests, Route, Schedule,
    Stop, Thresholds, Verdict, goods, judge, percent, start,
};
use crate::output::{Finding, Report, Severity};

/// Longer than any rollout; it is stopped when that is over.
const AT_MOST: Duration = Duration::from_secs(24 * 3600);
/// What comes after the last pod has gone is looked at too.
const TAIL: Duration = Duration::from_secs(3);
const PRODUCTS: usize = 50;

#[derive(Debug, Clone, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Drive load through the entry point meanwhile, and fail unless every request was answered; URL is the entry point,
    /// api_url of the environment by default
    #[arg(long, value_name = "URL", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub prove: Option<String>,
    /// With --prove: requests a second
    #[arg(long, value_name = "R", default_value_t = 50.0, requires = "prove", value_parser = rate)]
    pub prove_rate: f64,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a number from 1 to 100000".to_owned()),
    }
}

/// Load that is being driven.
pub struct Proof {
    outcome: oneshot::Receiver<Outcome>,
    stop: watch::Sender<bool>,
    address: String,
    rate: f64,
    // Nobody listens: what counts is said at the end.
    _news: mpsc::UnboundedReceiver<crate::load::News>,
}

/// Where load would be driven: the platform, and its address as the generator takes it.
fn entry(args: &Args, context: &Context) -> Result<Option<(Platform, String, Place)>> {
    let platform = match args.prove.as_deref() {
        None => return Ok(None),
        Some("") => match context.config.text("api_url") {
            Some(url) => at(url)?,
            None => context.platform()?,
        },
        Some(url) => at(url)?,
    };
    let address = platform.api.base().to_string();
    let place = Place::parse(&address).ok_or_else(|| {
        let message = format!("{address} is not a plain http address, and the generator speaks no other");
        Error::new(&codes::LOD004, message)
    })?;
    Ok(Some((platform, address, place)))
}

/// Whether load could be driven at all, without asking anybody.
pub fn check(args: &Args, context: &Context) -> Result<Option<String>> {
    Ok(entry(args, context)?.map(|(_, address, _)| address))
}

/// Begins to drive load, where that was asked for.
pub async fn begin(args: &Args, context: &Context) -> Result<Option<Proof>> {
    let Some((platform, address, place)) = entry(args, context)? else { return Ok(None) };
    let products: Vec<String> = goods(&platform, PRODUCTS).await?.into_iter().map(|one| one.id).collect();
    let now = context.clock.now();
    let run = format!("prove-{:016x}", SplitMix(now.as_millis().unsigned_abs()).next());
    let requests = Requests::new(run, &place, Route::Accept, &products, &[], now).map_err(|error| {
        Error::new(&codes::NET004, "the platform gave an id that cannot be sent back").with_source(&error)
    })?;
    let timeout = Duration::from_secs(10);
    let job = Job {
        schedule: Schedule::constant(args.prove_rate, AT_MOST),
        pace: Pace::precise(),
        limits: Limits { connections: 64, in_flight: 10_000, timeout },
        patience: Patience {
            request: timeout,
            unknown: timeout,
            settling: Duration::ZERO,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
        },
        mix: Mix::new(1, Proportions::Shop { orders_in_100: 0 }, 0, products.len()),
        requests,
        books: Books::default(),
        followers: 0,
        operator: None,
    };
    let (stop, stopping) = watch::channel(false);
    let (sender, news) = mpsc::unbounded_channel();
    let outcome = start(job, place, None, Stop::when(stopping), sender)
        .map_err(|error| Error::internal("cannot start the generator").with_source(&error))?;
    context.progress.say(format!("proving: {} requests a second to {address}", args.prove_rate));
    Ok(Some(Proof { outcome, stop, address, rate: args.prove_rate, _news: news }))
}

fn at(url: &str) -> Result<Platform> {
    let endpoint = Endpoint::new("the entry point", url, None, REQUEST_TIMEOUT)?;
    Ok(Platform { api: endpoint.clone(), admin: endpoint, run: None })
}

/// What a proof came to.
pub struct Proved {
    pub figures: Figures,
    pub verdict: Verdict,
    pub document: Value,
}

impl Proof {
    /// Ends the load a moment after what was proved is over.
    pub async fn end(self) -> Result<Proved> {
        tokio::time::sleep(TAIL).await;
        let _ = self.stop.send(true);
        let outcome =
            self.outcome.await.map_err(|_| Error::internal("the generator ended without an answer"))?;
        let figures = outcome.figures;
        let wanted = Thresholds { min_availability_percent: Some(100.0), max_p99: None };
        let verdict = judge(&figures, &wanted);
        let document = json!({
            "address": self.address, "rate_per_s": self.rate, "figures": figures,
            "verdict": match &verdict {
                Verdict::Kept => "kept",
                Verdict::Breached(_) => "breached",
                Verdict::Inconclusive(_) => "inconclusive",
            },
        });
        Ok(Proved { figures, verdict, document })
    }
}

impl Proved {
    /// The sentence for a person.
    pub fn sentence(&self) -> String {
        let figures = &self.figures;
        let availability = figures.availability_percent.map_or_else(|| "-".to_owned(), percent);
        format!(
            "{availability} of {} requests were answered, {} were not",
            figures.requests, figures.unavailable
        )
    }

    /// Says in a report what became of the requests, and fails it where any was lost.
    pub fn told(self, mut report: Report) -> Report {
        let sentence = self.sentence();
        report = report.with_pairs([("proof", sentence.clone())]);
        if let Value::Object(data) = &mut report.data {
            data.insert("proof".to_owned(), self.document);
        }
        let (code, severity, status) = match &self.verdict {
            Verdict::Kept => return report,
            Verdict::Breached(_) => (&codes::DEP030, Severity::Error, "breached"),
            Verdict::Inconclusive(_) => (&codes::DEP031, Severity::Warning, "inconclusive"),
        };
        let why = match &self.verdict {
            Verdict::Inconclusive(why) => format!("{sentence}: {why}"),
            _ => {
                let errors: Vec<String> =
                    self.figures.errors.iter().map(|(what, count)| format!("{what} {count}")).collect();
                format!("{sentence}: {}", errors.join(", "))
            }
        };
        report
            .with_finding(Finding::new(code, severity, why).with_hint(code.action))
            .with_status(status, code.exit)
    }
}

/// Ends a proof after something that may have failed; what failed is told first.
pub async fn conclude(proof: Option<Proof>, done: Result<Report>) -> Result<Report> {
    let Some(proof) = proof else { return done };
    let proved = proof.end().await?;
    match done {
        Ok(report) => Ok(proved.told(report)),
        Err(error) => Err(error.with_cause(format!("meanwhile {}", proved.sentence()))),
    }
}
