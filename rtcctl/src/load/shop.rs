//! Shoppers at work: orders, looks at products, sales sent in, and the questions afterwards.
//!
//! Invariant: an order request ends as accepted under an id, as refused, or as unknown; it is called unknown only after
//! it was repeated under its own idempotency key for as long as [`Patience`] lasts.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use kernel::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Failure;
use super::books::{Books, is_terminal};
use super::drive::{Stop, Work};
use super::lane::{Body, Dial, Lane, Reply};
use super::mix::{Action, Mix};
use super::wire::Requests;

/// How long answers are pursued after the sending.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One request.
    pub request: Duration,
    /// Requests whose outcome is open, counted from the end of the sending.
    pub unknown: Duration,
    /// Accepted orders that are not settled, counted from when it is known which there are.
    pub settling: Duration,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

/// The work of a run and its books.
pub struct Shop {
    mix: Mix,
    requests: Requests,
    pub books: RefCell<Books>,
    sending: Cell<bool>,
}

#[derive(Deserialize)]
struct Order<'a> {
    id: &'a str,
    state: &'a str,
    /// Read on its own, so that an unfamiliar step does not make the order unreadable.
    #[serde(default, borrow)]
    history: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Step {
    state: String,
    at: Timestamp,
}

impl Shop {
    pub fn new(mix: Mix, requests: Requests, books: Books) -> Self {
        Self { mix, requests, books: RefCell::new(books), sending: Cell::new(true) }
    }

    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Says that nothing more will be sent, so that what is open is pursued to its end.
    pub fn sending_is_over(&self) {
        self.sending.set(false);
    }

    fn take_order(&self, index: u64, reply: &Reply, after: Duration) -> Result<(), Failure> {
        let order: Order<'_> = serde_json::from_slice(&reply.body).map_err(|_| Failure::BadAnswer)?;
        let mut books = self.books.borrow_mut();
        books.accept(index, self.requests.key(index), order.id, order.state);
        if is_terminal(order.state) {
            books.settled_after(after);
        }
        Ok(())
    }
}

impl Work for Shop {
    type Item = Action;

    fn item(&self, index: u64) -> Action {
        self.mix.action(index)
    }

    fn request(&self, index: u64, item: &Action) -> Request<Full<Bytes>> {
        self.requests.build(index, item)
    }

    fn body(&self, item: &Action) -> Body {
        match item {
            Action::Browse { .. } => Body::Skipped,
            Action::Order { .. } | Action::Ingest { .. } => Body::Kept,
        }
    }

    fn end(
        &self,
        index: u64,
        item: &Action,
        after: Duration,
        outcome: Result<Reply, Failure>,
    ) -> Option<Failure> {
        let is_shed = outcome.as_ref().is_ok_and(was_turned_away);
        let outcome = outcome.and_then(|reply| match reply.status {
            200..=399 => Ok(reply),
            status => Err(Failure::Status(status)),
        });
        let failure = match (item, outcome) {
            (Action::Browse { .. }, outcome) => outcome.err(),
            (Action::Ingest { .. }, Err(failure)) => Some(failure),
            (Action::Ingest { .. }, Ok(reply)) => self.take_sales(&reply).err(),
            (Action::Order { .. }, Ok(reply)) => self.take_order(index, &reply, after).err(),
            (Action::Order { .. }, Err(failure)) => Some(failure),
        };
        if let (Action::Order { .. }, Some(failure)) = (item, failure) {
            let mut books = self.books.borrow_mut();
            match failure {
                Failure::Status(400..=499) => books.refused += 1,
                _ if is_shed => books.shed += 1,
                _ if failure.leaves_the_outcome_open() => books.open.push_back(index),
                _ => {}
            }
        }
        failure
    }
}

impl Shop {
    fn take_sales(&self, reply: &Reply) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Answer {
            accepted: u64,
            duplicates: u64,
            #[serde(default)]
            rejected: Vec<serde::de::IgnoredAny>,
        }
        let answer: Answer = serde_json::from_slice(&reply.body).map_err(|_| Failure::BadAnswer)?;
        let ingest = &mut self.books.borrow_mut().ingest;
        ingest.accepted += answer.accepted;
        ingest.duplicates += answer.duplicates;
        ingest.rejected += answer.rejected.len() as u64;
        Ok(())
    }
}

/// Whether the platform refused at its door, so that nothing was done. Any other 503 may come after an effect.
fn was_turned_away(reply: &Reply) -> bool {
    #[derive(Deserialize)]
    struct Problem<'a> {
        code: &'a str,
    }
    reply.status == 503
        && serde_json::from_slice::<Problem<'_>>(&reply.body)
            .is_ok_and(|problem| problem.code == "overloaded")
}

/// Repeats orders whose outcome is open, while others are sent and after, until each is known or patience ends.
pub async fn resolve<D: Dial + 'static>(dial: Rc<D>, shop: Rc<Shop>, patience: Patience, stop: Stop) {
    let mut lane = Lane::new(dial);
    let mut pause = patience.first_pause;
    let mut give_up_at = None;
    loop {
        let sending = shop.sending.get();
        if !sending && give_up_at.is_none() {
            give_up_at = Some(Instant::now() + patience.unknown);
        }
        let is_over = give_up_at.is_some_and(|at| Instant::now() >= at) || (stop.is_asked() && !sending);
        let open = if is_over { None } else { shop.books.borrow_mut().open.pop_front() };
        let Some(index) = open else {
            if is_over || !sending {
                let mut books = shop.books.borrow_mut();
                let rest: Vec<u64> = books.open.drain(..).collect();
                books.unknown.extend(rest);
                return;
            }
            sleep(pause).await;
            continue;
        };
        let item = shop.item(index);
        let deadline = Instant::now() + patience.request;
        let asked_at = Instant::now();
        let outcome = lane.call(deadline, Body::Kept, || shop.request(index, &item)).await;
        let is_known = match outcome {
            Ok(reply) if (200..300).contains(&reply.status) => {
                let known = shop.take_order(index, &reply, asked_at.elapsed()).is_ok();
                shop.books.borrow_mut().recovered += u64::from(known);
                known
            }
            Ok(Reply { status: 408 | 425 | 429, .. }) => false,
            Ok(Reply { status: 400..=499, .. }) => {
                shop.books.borrow_mut().refused += 1;
                true
            }
            Ok(_) | Err(_) => false,
        };
        if is_known {
            pause = patience.first_pause;
        } else {
            shop.books.borrow_mut().open.push_back(index);
            sleep(pause).await;
            pause = (pause * 2).min(patience.longest_pause);
        }
    }
}

/// Asks for every accepted order until all are settled or patience ends. `on_round` is told how many are not.
pub async fn follow<D: Dial + 'static>(
    dial: Rc<D>,
    shop: Rc<Shop>,
    lanes: usize,
    patience: Patience,
    mut stop: Stop,
    mut on_round: impl FnMut(usize),
) {
    let give_up_at = Instant::now() + patience.settling;
    let mut pause = patience.first_pause;
    loop {
        let unsettled: Vec<usize> = {
            let books = shop.books.borrow();
            (0..books.accepted.len()).filter(|&place| !books.accepted[place].is_settled()).collect()
        };
        on_round(unsettled.len());
        if unsettled.is_empty() || stop.is_asked() || Instant::now() >= give_up_at {
            return;
        }
        let unsettled = Rc::new(unsettled);
        let next = Rc::new(Cell::new(0));
        let mut asking = JoinSet::new();
        for _ in 0..lanes.min(unsettled.len()) {
            let (dial, shop, unsettled, next) = (dial.clone(), shop.clone(), unsettled.clone(), next.clone());
            let stop = stop.clone();
            asking.spawn_local(async move {
                let mut lane = Lane::new(dial);
                while let Some(&place) = unsettled.get(next.replace(next.get() + 1)) {
                    if Instant::now() >= give_up_at || stop.is_asked() {
                        return;
                    }
                    ask(&mut lane, &shop, place, patience.request).await;
                }
            });
        }
        while asking.join_next().await.is_some() {}
        if shop.books.borrow().accepted.iter().all(super::books::Accepted::is_settled) {
            continue;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(patience.longest_pause),
            () = stop.asked() => {}
        }
    }
}

async fn ask<D: Dial>(lane: &mut Lane<D>, shop: &Shop, place: usize, timeout: Duration) {
    let (id, index) = {
        let books = shop.books.borrow();
        (books.accepted[place].id.clone(), books.accepted[place].index)
    };
    let Action::Order { shopper, .. } = shop.item(index) else { return };
    let outcome =
        lane.call(Instant::now() + timeout, Body::Kept, || shop.requests.look_at_order(&id, shopper)).await;
    let reply = match outcome {
        Ok(reply) => reply,
        Err(_) => return sleep(Duration::from_millis(20)).await,
    };
    let mut books = shop.books.borrow_mut();
    match reply.status {
        200 => {
            let Ok(order) = serde_json::from_slice::<Order<'_>>(&reply.body) else { return };
            books.accepted[place].state = order.state.into();
            if is_terminal(order.state)
                && let Some(took) = took(&order)
            {
                books.settled_after(took);
            }
        }
        // It may be there in the next round; if not, that is what the report has to say.
        404 => books.accepted[place].state = "missing".into(),
        _ => {}
    }
}

/// From the first step of an order to the first terminal one, by the platform's own clock.
fn took(order: &Order<'_>) -> Option<Duration> {
    let history: Vec<Step> = serde_json::from_str(order.history?.get()).ok()?;
    let began = history.first()?;
    let ended = history.iter().find(|step| is_terminal(&step.state))?;
    Some(ended.at.since(began.at))
}
