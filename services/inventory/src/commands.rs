//! Commands: each is one part of one transaction that reads the reservation, decides, moves stock, and answers.
//!
//! Invariants: a command sends exactly one answer; a reservation whose time is over is expired by whoever meets it
//! before anything is decided; lines are taken in the order of their skus, all or none.

use std::sync::Arc;

use contracts::inventory::{Shortage, StockAdjusted, StockExpired, StockLevel, StockLine, StockLow};
use contracts::topics;
use contracts::{OrderId, UserId};
use db::Tx;
use host::Live;
use kernel::{Clock, Envelope, Error, Result, Timestamp};
use messaging::Outbox;

use crate::Config;
use crate::domain::{
    Act, Item, Line, Mode, MovementKind, Reply, Reservation, State, Trigger, Verdict, decide, fell_low,
    sum_per_sku,
};
use crate::{Metrics, events, store};

/// Where commands are handled.
pub struct Desk {
    outbox: Outbox,
    clock: Arc<dyn Clock>,
    config: Live<Config>,
    metrics: Metrics,
}

/// What a reserve asks for; nothing for the other commands.
pub(crate) struct Ask {
    pub lines: Vec<StockLine>,
    pub expires_at: Timestamp,
}

impl Ask {
    pub(crate) const NOTHING: Ask = Ask { lines: Vec::new(), expires_at: Timestamp::EPOCH };
}

/// How an act went.
enum Effect {
    Full,
    Short,
    /// The order is held with other lines than it asks for now.
    Differs,
}

impl Desk {
    pub fn new(outbox: Outbox, clock: Arc<dyn Clock>, config: Live<Config>, metrics: Metrics) -> Self {
        Self { outbox, clock, config, metrics }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Handles one command for an order and answers it.
    pub(crate) fn handle(
        &self,
        tx: &mut Tx<'_>,
        order_id: OrderId,
        trigger: Trigger,
        ask: &Ask,
        cause: Option<&Envelope>,
    ) -> Result<()> {
        let now = self.clock.now();
        let standing = self.standing(tx, order_id, now)?;
        let from = standing.as_ref().map(|reservation| reservation.state);
        let decision = decide(from, trigger);
        let mut reply = decision.reply;
        let mut reservation = standing.unwrap_or_else(|| Reservation {
            order_id,
            state: State::Released,
            lines: Vec::new(),
            shortages: Vec::new(),
            expires_at: now,
            created_at: now,
        });
        let mut levels = Vec::new();
        if let Verdict::Done(act) = decision.verdict {
            match (self.apply(tx, act, &mut reservation, ask, now, cause)?, act.when_short()) {
                (Effect::Differs, _) => reply = Some(Reply::Refused),
                (Effect::Short, Some((state, refusal))) => {
                    reservation.state = state;
                    reply = Some(refusal);
                    save(tx, &reservation, from)?;
                }
                (Effect::Full | Effect::Short, _) => {
                    reservation.state = act.leads_to();
                    save(tx, &reservation, from)?;
                    levels = levels_of(tx, &reservation)?;
                }
            }
        }
        if let Some(reply) = reply {
            self.metrics.answered(tx, reply);
            events::answer(&self.outbox, tx, reply, &reservation, levels, cause)?;
        }
        Ok(())
    }

    /// The order's reservation, expired where its time is over.
    fn standing(&self, tx: &mut Tx<'_>, order_id: OrderId, now: Timestamp) -> Result<Option<Reservation>> {
        let Some(mut reservation) = store::reservation(tx, order_id)? else { return Ok(None) };
        if reservation.is_due(now) {
            self.expire(tx, &mut reservation)?;
        }
        Ok(Some(reservation))
    }

    /// Does to the stock what an act means.
    fn apply(
        &self,
        tx: &mut Tx<'_>,
        act: Act,
        reservation: &mut Reservation,
        ask: &Ask,
        now: Timestamp,
        cause: Option<&Envelope>,
    ) -> Result<Effect> {
        match act {
            Act::Hold => {
                reservation.expires_at = self.expiry(ask, now);
                // A command that comes after its own time, or asks for nothing, is refused without a shortage.
                if ask.expires_at <= now || ask.lines.is_empty() {
                    return Ok(Effect::Short);
                }
                return self.hold(tx, reservation, &sum_per_sku(&ask.lines), now, cause);
            }
            Act::Extend => {
                if !reservation.is_for(&sum_per_sku(&ask.lines)) {
                    tracing::error!(order = %reservation.order_id, "asked again with other lines");
                    return Ok(Effect::Differs);
                }
                let expires_at = self.expiry(ask, reservation.created_at);
                reservation.expires_at = reservation.expires_at.max(expires_at);
            }
            Act::Settle => self.settle(tx, reservation, now, cause)?,
            Act::Retake => {
                let wanted = reservation.wanted();
                if let Effect::Short = self.hold(tx, reservation, &wanted, now, cause)? {
                    return Ok(Effect::Short);
                }
                self.settle(tx, reservation, now, cause)?;
            }
            Act::LetGo | Act::Expire => let_go(tx, reservation)?,
            Act::Restock => restock(tx, reservation, now)?,
            Act::Mark | Act::Lapse => {}
        }
        Ok(Effect::Full)
    }

    fn expiry(&self, ask: &Ask, from: Timestamp) -> Timestamp {
        ask.expires_at.min(from.plus(self.config.get().reservation_max()))
    }

    /// Holds all lines or none. What is short may still be held by reservations whose time is over.
    fn hold(
        &self,
        tx: &mut Tx<'_>,
        reservation: &mut Reservation,
        wanted: &[StockLine],
        now: Timestamp,
        cause: Option<&Envelope>,
    ) -> Result<Effect> {
        let mut outcome = self.try_hold(tx, wanted, cause)?;
        if outcome.is_err() && self.expire_due(tx, now)? > 0 {
            outcome = self.try_hold(tx, wanted, cause)?;
        }
        Ok(match outcome {
            Ok(lines) => {
                reservation.lines = lines;
                Effect::Full
            }
            Err(shortages) => {
                reservation.shortages = shortages;
                Effect::Short
            }
        })
    }

    fn try_hold(
        &self,
        tx: &mut Tx<'_>,
        wanted: &[StockLine],
        cause: Option<&Envelope>,
    ) -> Result<Result<Vec<Line>, Vec<Shortage>>> {
        let (mut lines, mut held, mut shortages) = (Vec::with_capacity(wanted.len()), Vec::new(), Vec::new());
        let quantity_max = self.config.get().line_quantity_max;
        for StockLine { sku, quantity } in wanted {
            let allowed = (1..=quantity_max).contains(quantity);
            let took = allowed && store::hold(tx, sku, *quantity)?;
            let item = store::item(tx, sku)?;
            let short = |available: i64| Shortage { sku: sku.clone(), requested: *quantity, available };
            let mode = match item {
                None => {
                    shortages.push(short(0));
                    continue;
                }
                Some(item) if took => {
                    held.push((item, *quantity));
                    Mode::ReserveOnOrder
                }
                Some(item) if !allowed => {
                    shortages.push(short(self.orderable(&item)));
                    continue;
                }
                Some(item) if item.mode == Mode::ReserveOnOrder => {
                    shortages.push(short(item.available()));
                    continue;
                }
                Some(item) => item.mode,
            };
            lines.push(Line { sku: sku.clone(), quantity: *quantity, mode, taken: 0 });
        }
        if !shortages.is_empty() {
            for (item, quantity) in held {
                expect(store::let_go(tx, &item.sku, quantity)?, "a line that was just held")?;
            }
            return Ok(Err(shortages));
        }
        for (after, quantity) in held {
            let before = Item { reserved: after.reserved - quantity, ..after.clone() };
            self.tell_if_low(tx, &before, &after, cause)?;
        }
        Ok(Ok(lines))
    }

    /// How much of a sku one order may ask for.
    fn orderable(&self, item: &Item) -> i64 {
        match item.mode {
            Mode::ReserveOnOrder => item.available().min(self.config.get().line_quantity_max),
            Mode::None | Mode::TrackOnly => self.config.get().line_quantity_max,
        }
    }

    fn settle(
        &self,
        tx: &mut Tx<'_>,
        reservation: &mut Reservation,
        now: Timestamp,
        cause: Option<&Envelope>,
    ) -> Result<()> {
        let reference = reservation.order_id.to_string();
        for line in &mut reservation.lines {
            line.taken = match line.mode {
                Mode::None => 0,
                Mode::ReserveOnOrder => {
                    let sold = store::sell_held(tx, &line.sku, line.quantity)?;
                    expect(sold, "stock that a reservation holds")?;
                    line.quantity
                }
                Mode::TrackOnly => self.take_tracked(tx, line, cause)?,
            };
            if line.taken > 0 {
                let kind = MovementKind::Committed;
                store::append_movement(tx, &line.sku, -line.taken, kind, &reference, "", now)?;
            }
        }
        Ok(())
    }

    /// Takes what is there: the order was accepted without a look at the stock, and stock is never below zero.
    fn take_tracked(&self, tx: &mut Tx<'_>, line: &Line, cause: Option<&Envelope>) -> Result<i64> {
        let Some(before) = store::item(tx, &line.sku)? else { return Ok(0) };
        let taken = line.quantity.min(before.available());
        if taken < line.quantity {
            tracing::warn!(sku = %line.sku, sold = line.quantity, taken, "sold more than is on hand");
        }
        if taken == 0 {
            return Ok(0);
        }
        expect(store::change_on_hand(tx, &line.sku, -taken)?, "available stock")?;
        let after = Item { on_hand: before.on_hand - taken, ..before.clone() };
        self.tell_if_low(tx, &before, &after, cause)?;
        Ok(taken)
    }

    fn tell_if_low(
        &self,
        tx: &mut Tx<'_>,
        before: &Item,
        after: &Item,
        cause: Option<&Envelope>,
    ) -> Result<()> {
        if fell_low(before, after) {
            let (available, threshold) = (after.available(), after.low_stock_threshold);
            let event = StockLow { sku: after.sku.clone(), available, threshold };
            self.outbox.send(tx, topics::INVENTORY, &after.sku, &event, cause)?;
        }
        Ok(())
    }

    fn expire(&self, tx: &mut Tx<'_>, reservation: &mut Reservation) -> Result<()> {
        let from = reservation.state;
        if let Verdict::Done(act) = decide(Some(from), Trigger::Expire).verdict {
            let_go(tx, reservation)?;
            reservation.state = act.leads_to();
            save(tx, reservation, Some(from))?;
            self.metrics.expired(tx);
            let order_id = reservation.order_id;
            let event = StockExpired { order_id, levels: levels_of(tx, reservation)? };
            self.outbox.send(tx, topics::INVENTORY, &order_id.to_string(), &event, None)?;
        }
        Ok(())
    }

    /// Ends reservations whose time is over, a batch at most; answers how many.
    pub(crate) fn expire_due(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<usize> {
        let due = store::due(tx, now, self.config.get().expiry_batch)?;
        let count = due.len();
        for mut reservation in due {
            self.expire(tx, &mut reservation)?;
        }
        Ok(count)
    }

    /// Changes what is on hand by hand. A sku that is new begins to exist.
    pub(crate) fn adjust(
        &self,
        tx: &mut Tx<'_>,
        sku: &str,
        delta: i64,
        reason: &str,
        actor: UserId,
    ) -> Result<Item> {
        let now = self.clock.now();
        if delta < 0 {
            self.expire_due(tx, now)?;
        }
        let changed = store::change_on_hand(tx, sku, delta)?;
        let item = match store::item(tx, sku)? {
            Some(item) if changed => item,
            Some(item) => return Err(reserved(&item)),
            None if delta < 0 => return Err(unknown_sku()),
            None => {
                let item = Item {
                    sku: sku.to_owned(),
                    on_hand: delta,
                    reserved: 0,
                    low_stock_threshold: self.config.get().low_stock_threshold,
                    mode: Mode::ReserveOnOrder,
                    version: 1,
                };
                store::insert_item(tx, &item)?;
                item
            }
        };
        store::append_movement(tx, sku, delta, MovementKind::Adjusted, &actor.to_string(), reason, now)?;
        let event = StockAdjusted {
            sku: sku.to_owned(),
            delta,
            on_hand: item.on_hand,
            reserved: item.reserved,
            reason: reason.to_owned(),
            version: item.version,
        };
        self.outbox.send(tx, topics::INVENTORY, sku, &event, None)?;
        let before = Item { on_hand: item.on_hand - delta, ..item.clone() };
        self.tell_if_low(tx, &before, &item, None)?;
        Ok(item)
    }

    /// Changes how a sku is counted. `check` sees the version that the change is based on.
    pub(crate) fn configure(
        &self,
        tx: &mut Tx<'_>,
        sku: &str,
        threshold: i64,
        mode: Mode,
        check: impl FnOnce(i64) -> Result<()>,
    ) -> Result<Item> {
        let before = store::item(tx, sku)?.ok_or_else(unknown_sku)?;
        check(before.version)?;
        if !store::configure(tx, sku, before.version, threshold, mode)? {
            return Err(moved_on());
        }
        let after =
            Item { low_stock_threshold: threshold, mode, version: before.version + 1, ..before.clone() };
        self.tell_if_low(tx, &before, &after, None)?;
        Ok(after)
    }
}

/// What there is now of the skus that a reservation is about.
fn levels_of(tx: &mut Tx<'_>, reservation: &Reservation) -> Result<Vec<StockLevel>> {
    let mut levels = Vec::with_capacity(reservation.lines.len());
    for line in reservation.lines.iter().filter(|line| line.mode != Mode::None) {
        levels.extend(store::item(tx, &line.sku)?.map(|item| StockLevel {
            sku: item.sku,
            on_hand: item.on_hand,
            reserved: item.reserved,
            version: item.version,
        }));
    }
    Ok(levels)
}

fn let_go(tx: &mut Tx<'_>, reservation: &Reservation) -> Result<()> {
    for line in reservation.lines.iter().filter(|line| line.held() > 0) {
        expect(store::let_go(tx, &line.sku, line.held())?, "stock that a reservation holds")?;
    }
    Ok(())
}

fn restock(tx: &mut Tx<'_>, reservation: &Reservation, now: Timestamp) -> Result<()> {
    let reference = reservation.order_id.to_string();
    for line in reservation.lines.iter().filter(|line| line.taken > 0) {
        expect(store::change_on_hand(tx, &line.sku, line.taken)?, "the item of a committed line")?;
        let kind = MovementKind::Returned;
        store::append_movement(tx, &line.sku, line.taken, kind, &reference, "", now)?;
    }
    Ok(())
}

fn save(tx: &mut Tx<'_>, reservation: &Reservation, from: Option<State>) -> Result<()> {
    let Some(from) = from else { return Ok(store::insert_reservation(tx, reservation)?) };
    if store::save_reservation(tx, reservation, from)? { Ok(()) } else { Err(moved_on()) }
}

/// What must be there by the invariants of the tables. Where it is not, nothing of the command takes effect.
fn expect(found: bool, what: &str) -> Result<()> {
    if found { Ok(()) } else { Err(Error::internal(format!("{what} is not there"))) }
}

fn moved_on() -> Error {
    Error::unavailable("stock_moved_on", "somebody else changed this at the same time; nothing was done")
}

pub(crate) fn unknown_sku() -> Error {
    Error::not_found("stock_not_found", "there is no stock under this sku")
}

fn reserved(item: &Item) -> Error {
    let (on_hand, reserved) = (item.on_hand, item.reserved);
    Error::conflict(
        "stock_reserved",
        format!(
            "{on_hand} on hand, of which {reserved} are reserved: no more than the rest can be taken away"
        ),
    )
}
