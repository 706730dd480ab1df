//! A reservation: `held → committed | released | expired`, once; `committed → returned`.
//!
//! Beside these, three states that hold no stock: `refused` (there was too little), `lapsed` (it expired and its order
//! is over: no late commit takes it anew), and `released` before it was ever reserved, the mark that refuses a late
//! reserve.

use std::fmt;
use std::str::FromStr;

use contracts::OrderId;
use contracts::inventory::{Shortage, StockLine};
use kernel::Timestamp;
use serde::{Deserialize, Serialize};

use super::Mode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Held,
    Committed,
    Released,
    Expired,
    Returned,
    Refused,
    Lapsed,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Held,
        State::Committed,
        State::Released,
        State::Expired,
        State::Returned,
        State::Refused,
        State::Lapsed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            State::Held => "held",
            State::Committed => "committed",
            State::Released => "released",
            State::Expired => "expired",
            State::Returned => "returned",
            State::Refused => "refused",
            State::Lapsed => "lapsed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let state = State::ALL.into_iter().find(|state| state.as_str() == text);
        state.ok_or_else(|| format!("not a state of a reservation: {text:?}"))
    }
}

/// What one order has of one sku.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub sku: String,
    pub quantity: i64,
    /// The sku's mode when the line was reserved: a later change of mode does not touch what was promised.
    pub mode: Mode,
    /// What left the shelf when it was committed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub taken: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Line {
    /// What this line has in `reserved` while its reservation is held.
    pub const fn held(&self) -> i64 {
        match self.mode {
            Mode::ReserveOnOrder => self.quantity,
            Mode::None | Mode::TrackOnly => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    pub order_id: OrderId,
    pub state: State,
    /// One line a sku, in the order of the skus.
    pub lines: Vec<Line>,
    /// What was missing when it was refused or lapsed.
    pub shortages: Vec<Shortage>,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
}

impl Reservation {
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == State::Held && self.expires_at <= now
    }

    pub fn is_for(&self, wanted: &[StockLine]) -> bool {
        self.lines.len() == wanted.len()
            && self.lines.iter().zip(wanted).all(|(a, b)| a.sku == b.sku && a.quantity == b.quantity)
    }

    pub fn wanted(&self) -> Vec<StockLine> {
        let wanted = |line: &Line| StockLine { sku: line.sku.clone(), quantity: line.quantity };
        self.lines.iter().map(wanted).collect()
    }
}

/// What can happen to a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    Reserve,
    Commit,
    Release,
    Return,
    /// Its time is over.
    Expire,
}

impl Trigger {
    pub const ALL: [Trigger; 5] =
        [Trigger::Reserve, Trigger::Commit, Trigger::Release, Trigger::Return, Trigger::Expire];
}

/// What is done to the stock and to the reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Hold all lines, or refuse.
    Hold,
    /// Move the expiry, where the new one is later.
    Extend,
    /// What is held leaves the shelf.
    Settle,
    /// Hold all lines anew and settle them, or lapse.
    Retake,
    /// What is held becomes available.
    LetGo,
    /// The same because its time is over.
    Expire,
    /// What had left the shelf comes back.
    Restock,
    /// Leave a mark for what was never reserved.
    Mark,
    /// The order is over: it will not be taken anew.
    Lapse,
}

impl Act {
    pub const fn leads_to(self) -> State {
        match self {
            Act::Hold | Act::Extend => State::Held,
            Act::Settle | Act::Retake => State::Committed,
            Act::LetGo | Act::Mark => State::Released,
            Act::Expire => State::Expired,
            Act::Restock => State::Returned,
            Act::Lapse => State::Lapsed,
        }
    }

    /// Where there is too little stock, and what is said then; for the two acts that need some.
    pub const fn when_short(self) -> Option<(State, Reply)> {
        match self {
            Act::Hold => Some((State::Refused, Reply::Refused)),
            Act::Retake => Some((State::Lapsed, Reply::CommitRefused)),
            _ => None,
        }
    }
}

/// Which event answers a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reply {
    Reserved,
    Refused,
    Committed,
    CommitRefused,
    Released,
    Returned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Done(Act),
    /// The same step was finished before; nothing changes.
    AlreadyDone,
    /// Not in this state; nothing changes.
    Refused,
}

/// What a trigger does and what is said of it. An act that finds too little stock says the refusal instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    pub verdict: Verdict,
    /// `None` only for [`Trigger::Expire`], which nobody has asked for.
    pub reply: Option<Reply>,
}

/// The transition table. `None`: the order was never heard of.
///
/// A command whose step is finished gets the answer that it got then: a saga that asks again because an answer was
/// lost must not read another one. Releasing what is committed is refused with the truth, [`Reply::Committed`]; what
/// is committed comes back by [`Trigger::Return`] only. Undoing tolerates that there is nothing to undo.
pub const fn decide(state: Option<State>, trigger: Trigger) -> Decision {
    use State::{Committed, Expired, Held, Lapsed, Refused, Released, Returned};
    match (trigger, state) {
        (Trigger::Reserve, None) => done(Act::Hold, Reply::Reserved),
        (Trigger::Reserve, Some(Held)) => done(Act::Extend, Reply::Reserved),
        (Trigger::Reserve, Some(Committed | Expired | Returned)) => already(Reply::Reserved),
        (Trigger::Reserve, Some(Refused)) => already(Reply::Refused),
        (Trigger::Reserve, Some(Released | Lapsed)) => refused(Reply::Refused),

        (Trigger::Commit, Some(Held)) => done(Act::Settle, Reply::Committed),
        (Trigger::Commit, Some(Expired)) => done(Act::Retake, Reply::Committed),
        (Trigger::Commit, Some(Committed | Returned)) => already(Reply::Committed),
        (Trigger::Commit, Some(Lapsed)) => already(Reply::CommitRefused),
        (Trigger::Commit, None | Some(Released | Refused)) => refused(Reply::CommitRefused),

        (Trigger::Release, None) => done(Act::Mark, Reply::Released),
        (Trigger::Release, Some(Held)) => done(Act::LetGo, Reply::Released),
        (Trigger::Release, Some(Expired)) => done(Act::Lapse, Reply::Released),
        (Trigger::Release, Some(Released | Returned | Refused | Lapsed)) => already(Reply::Released),
        (Trigger::Release, Some(Committed)) => refused(Reply::Committed),

        (Trigger::Return, None) => done(Act::Mark, Reply::Returned),
        (Trigger::Return, Some(Held)) => done(Act::LetGo, Reply::Returned),
        (Trigger::Return, Some(Expired)) => done(Act::Lapse, Reply::Returned),
        (Trigger::Return, Some(Committed)) => done(Act::Restock, Reply::Returned),
        (Trigger::Return, Some(Returned | Released | Refused | Lapsed)) => already(Reply::Returned),

        (Trigger::Expire, Some(Held)) => Decision { verdict: Verdict::Done(Act::Expire), reply: None },
        (Trigger::Expire, Some(Expired | Lapsed)) => Decision { verdict: Verdict::AlreadyDone, reply: None },
        (Trigger::Expire, None | Some(Committed | Released | Returned | Refused)) => {
            Decision { verdict: Verdict::Refused, reply: None }
        }
    }
}

const fn done(act: Act, reply: Reply) -> Decision {
    Decision { verdict: Verdict::Done(act), reply: Some(reply) }
}

const fn already(reply: Reply) -> Decision {
    Decision { verdict: Verdict::AlreadyDone, reply: Some(reply) }
}

const fn refused(reply: Reply) -> Decision {
    Decision { verdict: Verdict::Refused, reply: Some(reply) }
}
