//! Checks I1–I3 on durable rows alone: movements are replayed, holds are added up, and both are compared with the
//! figures that the service goes by.
//!
//! Invariant: nothing here uses the code that keeps those figures; one read sees one commit.

use std::collections::HashMap;

use contracts::OrderId;
use db::{Db, Error, Tx};
use host::Verdict;

use crate::domain::{Item, Line, Mode, MovementKind, State};
use crate::store;

/// What the movements of one sku add up to.
#[derive(Default)]
struct Replay {
    on_hand: i64,
    lowest: i64,
    /// Stock that people put there, less what they took away.
    received: i64,
    /// Stock that left with orders, less what came back.
    committed: i64,
    /// The first movement that does not say what the replay says.
    differs: Option<String>,
}

/// What the movements of one order add up to.
#[derive(Default)]
struct Traffic {
    sold: i64,
    returned: i64,
}

#[derive(Default)]
struct Books {
    items: Vec<Item>,
    replays: HashMap<String, Replay>,
    held: HashMap<String, i64>,
    traffic: HashMap<OrderId, Traffic>,
    i3: Option<Verdict>,
}

/// I1, I2 and I3 as of one commit.
pub async fn verdicts(db: &Db) -> Result<Vec<Verdict>, Error> {
    let books = db.read(read).await?;
    let mut i1 = Verdict::new("I1", "no oversell: what is committed and held was received");
    let mut i2 = Verdict::new("I2", "on_hand and reserved are never negative and equal movements and holds");
    let i3 = books.i3.unwrap_or_else(|| Verdict::new("I3", I3_TITLE));
    let none = Replay::default();
    for item in &books.items {
        let replay = books.replays.get(&item.sku).unwrap_or(&none);
        let held = books.held.get(&item.sku).copied().unwrap_or(0);
        i1.look(oversold(item, replay, held));
        i2.look(miscounted(item, replay, held));
    }
    let known: std::collections::HashSet<&str> = books.items.iter().map(|item| item.sku.as_str()).collect();
    for sku in books.replays.keys().chain(books.held.keys()).filter(|sku| !known.contains(sku.as_str())) {
        i2.look(Some(format!("{sku}: has movements or holds and is no stock item")));
    }
    Ok(vec![i1, i2, i3])
}

/// The state of every order's reservation.
pub async fn reservations(db: &Db) -> Result<HashMap<OrderId, State>, Error> {
    db.read(|tx| {
        let mut states = HashMap::new();
        store::each_state(tx, |order_id, state| {
            states.insert(order_id, state);
        })?;
        Ok(states)
    })
    .await
}

const I3_TITLE: &str = "each reservation ends at most once, and its movements tell the same";

fn read(tx: &mut Tx<'_>) -> Result<Books, Error> {
    let mut books = Books::default();
    let mut strangers = Vec::new();
    store::each_item(tx, |item| {
        books.items.push(item);
        Ok(())
    })?;
    store::each_movement(tx, |sku, delta, on_hand, kind, reference| {
        let replay = match books.replays.get_mut(sku) {
            Some(replay) => replay,
            None => books.replays.entry(sku.to_owned()).or_default(),
        };
        replay.on_hand += delta;
        replay.lowest = replay.lowest.min(replay.on_hand);
        if replay.on_hand != on_hand && replay.differs.is_none() {
            replay.differs =
                Some(format!("a movement says {on_hand} on hand, the sum is {}", replay.on_hand));
        }
        match kind {
            MovementKind::Adjusted => replay.received += delta,
            MovementKind::Committed | MovementKind::Returned => replay.committed -= delta,
        }
        if kind == MovementKind::Adjusted {
            return Ok(());
        }
        let Ok(order_id) = reference.parse::<OrderId>() else {
            strangers.push(format!("{sku}: a movement for {reference:?}, which is no order"));
            return Ok(());
        };
        let traffic = books.traffic.entry(order_id).or_default();
        match kind {
            MovementKind::Returned => traffic.returned += delta,
            MovementKind::Committed | MovementKind::Adjusted => traffic.sold -= delta,
        }
        Ok(())
    })?;
    let mut i3 = Verdict::new("I3", I3_TITLE);
    store::each_reservation(tx, |order_id, state, lines| {
        if state == State::Held {
            for line in &lines {
                *books.held.entry(line.sku.clone()).or_default() += line.held();
            }
        }
        let traffic = books.traffic.remove(&order_id).unwrap_or_default();
        i3.look(ended_twice(order_id, state, &lines, &traffic));
        Ok(())
    })?;
    for order_id in books.traffic.keys() {
        i3.look(Some(format!("{order_id}: has movements and no reservation")));
    }
    for stranger in strangers {
        i3.look(Some(stranger));
    }
    books.held.retain(|_, held| *held != 0);
    books.i3 = Some(i3);
    Ok(books)
}

fn oversold(item: &Item, replay: &Replay, held: i64) -> Option<String> {
    let Replay { received, committed, .. } = replay;
    if replay.lowest < 0 {
        return Some(format!("{}: the movements go down to {}", item.sku, replay.lowest));
    }
    (committed + held > *received)
        .then(|| format!("{}: {committed} committed and {held} held of {received} received", item.sku))
}

fn miscounted(item: &Item, replay: &Replay, held: i64) -> Option<String> {
    let Item { sku, on_hand, reserved, .. } = item;
    if *on_hand < 0 || *reserved < 0 || item.available() < 0 {
        return Some(format!("{sku}: {on_hand} on hand, {reserved} reserved"));
    }
    if *on_hand != replay.on_hand {
        return Some(format!("{sku}: {on_hand} on hand, the movements sum to {}", replay.on_hand));
    }
    if *reserved != held {
        return Some(format!("{sku}: {reserved} reserved, the reservations hold {held}"));
    }
    replay.differs.as_ref().map(|differs| format!("{sku}: {differs}"))
}

/// What leaves the shelf leaves once, with a committed reservation; what comes back comes back once.
fn ended_twice(order_id: OrderId, state: State, lines: &[Line], traffic: &Traffic) -> Option<String> {
    let taken: i64 = lines.iter().map(|line| line.taken).sum();
    let (sold, returned) = match state {
        State::Committed => (taken, 0),
        State::Returned => (taken, taken),
        State::Held | State::Released | State::Expired | State::Refused | State::Lapsed => (0, 0),
    };
    if (traffic.sold, traffic.returned) != (sold, returned) {
        let Traffic { sold, returned } = traffic;
        return Some(format!("{order_id}: is {state} with {sold} sold and {returned} returned"));
    }
    let partial = |line: &&Line| line.mode == Mode::ReserveOnOrder && line.taken != line.quantity;
    let settled = matches!(state, State::Committed | State::Returned);
    let line = lines.iter().find(partial).filter(|_| settled)?;
    Some(format!("{order_id}: {} of {} were taken of {}", line.taken, line.quantity, line.sku))
}
