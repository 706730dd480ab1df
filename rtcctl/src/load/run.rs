//! A whole run: send, pursue what is open, follow what was accepted.
//!
//! Invariant: the generator lives on a thread of its own with a runtime of its own, so that nothing else that the tool
//! does delays what is due.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::books::{Books, IngestFigures, OrderFigures};
use super::drive::{Limits, Stop, Tick, drive};
use super::lane::{Body, Dial, Lane};
use super::measure::Figures;
use super::mix::Mix;
use super::pace::Pace;
use super::place::{Place, RunFile, TcpDial};
use super::schedule::Schedule;
use super::shop::{Patience, Shop, follow, resolve};
use super::wire::Requests;

/// Who signs in for what only an operator may send; access tokens live a quarter of an hour.
#[derive(Clone)]
pub struct Operator {
    pub email: String,
    pub password: String,
    pub renew_every: Duration,
}

/// Everything that is decided before the first request.
pub struct Job {
    pub schedule: Schedule,
    pub pace: Pace,
    pub limits: Limits,
    pub patience: Patience,
    pub mix: Mix,
    pub requests: Requests,
    pub books: Books,
    /// Connections that ask for accepted orders after the sending; none when nobody waits for them.
    pub followers: usize,
    pub operator: Option<Operator>,
}

/// What is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum News {
    Sending(Tick),
    /// The sending is over; so many orders have an open outcome.
    Resolving(usize),
    /// So many accepted orders are not settled.
    Settling(usize),
}

/// What the run came to.
#[derive(Debug)]
pub struct Outcome {
    pub figures: Figures,
    pub orders: OrderFigures,
    pub ingest: IngestFigures,
    pub stopped_early: bool,
    pub journal: io::Result<()>,
}

/// Runs `job` on a thread of its own against `place`.
pub fn start(
    job: Job,
    place: Place,
    run_file: Option<RunFile>,
    stop: Stop,
    news: mpsc::UnboundedSender<News>,
) -> io::Result<oneshot::Receiver<Outcome>> {
    let (sender, receiver) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        let local = LocalSet::new();
        let dial = Rc::new(TcpDial::new(place, run_file));
        // Whoever started this and went away wants to hear nothing more.
        let tell = move |what: News| {
            let _ = news.send(what);
        };
        let outcome = local.block_on(&runtime, run(job, dial, stop, tell));
        drop(sender.send(outcome));
    })?;
    Ok(receiver)
}

/// The run itself. Must be called inside a `LocalSet`.
pub async fn run<D: Dial + 'static>(job: Job, dial: Rc<D>, stop: Stop, tell: impl Fn(News)) -> Outcome {
    let shop = Rc::new(Shop::new(job.mix, job.requests, job.books));
    let renewing = job.operator.map(|operator| {
        tokio::task::spawn_local(renew(dial.clone(), shop.clone(), operator, job.patience.request))
    });
    let resolving = tokio::task::spawn_local(resolve(dial.clone(), shop.clone(), job.patience, stop.clone()));
    let on_tick = |tick: Tick| {
        if let Some(journal) = &mut shop.books.borrow_mut().journal {
            journal.flush();
        }
        tell(News::Sending(tick));
    };
    let sent =
        drive(job.schedule, job.pace, job.limits, dial.clone(), shop.clone(), stop.clone(), on_tick).await;
    let (measures, sent_for) = sent;
    shop.sending_is_over();
    tell(News::Resolving(shop.books.borrow().open.len()));
    // The task holds nothing but its own state; if it panicked, what is open is counted as unknown.
    let _ = resolving.await;
    if job.followers > 0 {
        let on_round = |unsettled| tell(News::Settling(unsettled));
        follow(dial, shop.clone(), job.followers, job.patience, stop.clone(), on_round).await;
    }
    if let Some(renewing) = renewing {
        renewing.abort();
    }
    let key = |index| shop.requests().key(index);
    let journal = shop.books.borrow_mut().close_journal(key);
    let books = shop.books.borrow();
    Outcome {
        figures: measures.figures(sent_for),
        orders: books.figures(key),
        ingest: books.ingest,
        stopped_early: measures.requests < job.schedule.total(),
        journal,
    }
}

async fn renew<D: Dial + 'static>(dial: Rc<D>, shop: Rc<Shop>, operator: Operator, timeout: Duration) {
    #[derive(serde::Deserialize)]
    struct Session {
        access_token: String,
    }
    const AGAIN: Duration = Duration::from_secs(5);
    let body = serde_json::json!({ "email": operator.email, "password": operator.password }).to_string();
    let mut lane = Lane::new(dial);
    let mut pause = operator.renew_every;
    loop {
        sleep(pause).await;
        let request = || {
            let mut request = Request::new(Full::new(Bytes::from(body.clone())));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = Uri::from_static("/api/v1/sessions");
            request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request
        };
        let outcome = lane.call(Instant::now() + timeout, Body::Kept, request).await;
        let session = outcome.ok().and_then(|reply| serde_json::from_slice::<Session>(&reply.body).ok());
        pause = match session {
            Some(session) if shop.requests().sign_in(&session.access_token).is_ok() => operator.renew_every,
            _ => AGAIN,
        };
    }
}
