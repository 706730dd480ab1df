//! The payment for one order: its states, and what each trigger does in each of them.
//!
//! Invariants:
//! - [`decide`] is the one table: commands, the bank's answers, its call-backs and polling all go through it, so each
//!   transition happens once whoever brings the news first;
//! - a step's intent is a state of its own (`capturing`), stored before the bank is called;
//! - a state that waits for the bank leaves only by an answer of the bank, never by an assumption.

use std::time::Duration;

use contracts::payments::HoldPayment;
use contracts::{OrderId, PaymentId, UserId};
use kernel::{Money, Timestamp};

use crate::bank::{Action, Refusal, Reply};
use crate::words::words;

words! {
    /// Where a payment is.
    pub enum State {
        /// The hold is to be asked for.
        Requested => "requested",
        /// The hold was asked for and no answer came.
        Holding => "holding",
        Held => "held",
        Declined => "declined",
        Capturing => "capturing",
        Captured => "captured",
        Releasing => "releasing",
        /// Also the mark of a release that came before its hold.
        Released => "released",
        /// The bank told of a hold after all was over: it is being undone.
        Voiding => "voiding",
        Voided => "voided",
        Refunding => "refunding",
        Refunded => "refunded",
        /// The hold ended before it was captured.
        Expired => "expired",
    }
}

words! {
    /// A call to the bank. With the order's id it is the key of the operation.
    pub enum Step {
        Hold => "hold",
        Capture => "capture",
        Release => "release",
        Void => "void",
        Refund => "refund",
    }
}

impl State {
    /// What the bank is to be asked in this state.
    pub const fn step(self) -> Option<Step> {
        match self {
            State::Requested | State::Holding => Some(Step::Hold),
            State::Capturing => Some(Step::Capture),
            State::Releasing => Some(Step::Release),
            State::Voiding => Some(Step::Void),
            State::Refunding => Some(Step::Refund),
            State::Held
            | State::Declined
            | State::Captured
            | State::Released
            | State::Voided
            | State::Refunded
            | State::Expired => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    Hold,
    Capture,
    Release,
    Refund,
}

/// What the bank says of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    Held,
    Declined,
    Captured,
    CaptureRefused,
    Released,
    ReleaseRefused,
    Voided,
    VoidRefused,
    Refunded,
    RefundRefused,
    /// The bank let the hold go because it stood too long.
    Expired,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    Command(Command),
    Bank(Fact),
}

impl Trigger {
    pub const ALL: [Trigger; 15] = [
        Trigger::Command(Command::Hold),
        Trigger::Command(Command::Capture),
        Trigger::Command(Command::Release),
        Trigger::Command(Command::Refund),
        Trigger::Bank(Fact::Held),
        Trigger::Bank(Fact::Declined),
        Trigger::Bank(Fact::Captured),
        Trigger::Bank(Fact::CaptureRefused),
        Trigger::Bank(Fact::Released),
        Trigger::Bank(Fact::ReleaseRefused),
        Trigger::Bank(Fact::Voided),
        Trigger::Bank(Fact::VoidRefused),
        Trigger::Bank(Fact::Refunded),
        Trigger::Bank(Fact::RefundRefused),
        Trigger::Bank(Fact::Expired),
    ];
}

/// The event that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Say {
    Held,
    Declined,
    Captured,
    CaptureRefused,
    Released,
    Refunded,
}

/// What a trigger does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Done.
    Move { to: State, say: Option<Say> },
    /// Already done: nothing changes, the answer is given again; none where it is still under way.
    Already(Option<Say>),
    /// Refused: nothing changes; the sender is told what is true instead, where there are words for it.
    Refused { reason: &'static str, say: Option<Say> },
}

const fn to(to: State) -> Decision {
    Decision::Move { to, say: None }
}

const fn and_say(to: State, say: Say) -> Decision {
    Decision::Move { to, say: Some(say) }
}

const fn refused(reason: &'static str, say: Option<Say>) -> Decision {
    Decision::Refused { reason, say }
}

const UNDER_WAY: Decision = Decision::Already(None);

/// The table. `None`: there is no payment for the order yet.
pub const fn decide(state: Option<State>, trigger: Trigger) -> Decision {
    match (state, trigger) {
        (None, Trigger::Command(command)) => match command {
            Command::Hold => to(State::Requested),
            Command::Release => and_say(State::Released, Say::Released),
            Command::Capture => refused("payment_not_found", Some(Say::CaptureRefused)),
            Command::Refund => refused("payment_not_found", None),
        },
        (None, Trigger::Bank(_)) => refused("payment_not_found", None),
        (Some(state), Trigger::Command(command)) => obey(state, command),
        (Some(state), Trigger::Bank(fact)) => learn(state, fact),
    }
}

const fn obey(state: State, command: Command) -> Decision {
    use Decision::Already;
    use State::*;
    match (command, state) {
        (Command::Hold, Requested | Holding | Releasing | Voiding) => UNDER_WAY,
        (Command::Hold, Held | Capturing | Captured | Refunding | Refunded) => Already(Some(Say::Held)),
        (Command::Hold, Declined) => Already(Some(Say::Declined)),
        (Command::Hold, Released | Voided) => refused("hold_released", Some(Say::Released)),
        (Command::Hold, Expired) => refused("hold_expired", Some(Say::Declined)),

        (Command::Capture, Requested | Holding) => refused("not_held_yet", None),
        (Command::Capture, Held) => to(Capturing),
        (Command::Capture, Capturing) => UNDER_WAY,
        (Command::Capture, Captured | Refunding | Refunded) => Already(Some(Say::Captured)),
        (Command::Capture, Declined) => refused("declined", Some(Say::CaptureRefused)),
        (Command::Capture, Releasing | Released | Voiding | Voided) => {
            refused("hold_released", Some(Say::CaptureRefused))
        }
        (Command::Capture, Expired) => refused("hold_expired", Some(Say::CaptureRefused)),

        (Command::Release, Requested | Holding | Held) => to(Releasing),
        (Command::Release, Releasing | Voiding) => UNDER_WAY,
        (Command::Release, Released | Voided | Declined | Expired) => Already(Some(Say::Released)),
        (Command::Release, Capturing) => refused("capture_under_way", None),
        (Command::Release, Captured) => refused("captured", Some(Say::Captured)),
        (Command::Release, Refunding) => refused("refund_under_way", None),
        (Command::Release, Refunded) => refused("refunded", Some(Say::Refunded)),

        (Command::Refund, Captured) => to(Refunding),
        (Command::Refund, Refunding) => UNDER_WAY,
        (Command::Refund, Refunded) => Already(Some(Say::Refunded)),
        (Command::Refund, Requested | Holding | Capturing | Releasing | Voiding) => {
            refused("another_step_under_way", None)
        }
        (Command::Refund, Held) => refused("not_captured", Some(Say::Held)),
        (Command::Refund, Declined | Released | Voided | Expired) => {
            refused("nothing_captured", Some(Say::Refunded))
        }
    }
}

const fn learn(state: State, fact: Fact) -> Decision {
    use State::*;
    const SAME: Decision = Decision::Already(None);
    const CONTRADICTION: Decision = refused("contradiction", None);
    match (fact, state) {
        (Fact::Held, Requested | Holding) => and_say(Held, Say::Held),
        // We had given up, and the money is held after all.
        (Fact::Held, Declined | Released) => to(Voiding),
        (Fact::Held, _) => SAME,

        (Fact::Declined, Requested | Holding) => and_say(Declined, Say::Declined),
        (Fact::Declined, Declined | Releasing | Released | Voiding | Voided) => SAME,
        (Fact::Declined, Held | Capturing | Captured | Refunding | Refunded | Expired) => CONTRADICTION,

        (Fact::Captured, Capturing) => and_say(Captured, Say::Captured),
        (Fact::Captured, Captured | Refunding | Refunded) => SAME,
        (Fact::Captured, _) => CONTRADICTION,

        (Fact::CaptureRefused, Capturing) => and_say(Expired, Say::CaptureRefused),
        (Fact::CaptureRefused, Expired) => SAME,
        (Fact::CaptureRefused, _) => CONTRADICTION,

        (Fact::Released, Releasing) => and_say(Released, Say::Released),
        (Fact::Released, Released | Voiding | Voided) => SAME,
        (Fact::Released, _) => CONTRADICTION,

        // Only a capture stands in the way of a release.
        (Fact::ReleaseRefused, Releasing) => and_say(Captured, Say::Captured),
        (Fact::ReleaseRefused, Captured | Refunding | Refunded) => SAME,
        (Fact::ReleaseRefused, _) => CONTRADICTION,

        (Fact::Voided, Voiding) => and_say(Voided, Say::Released),
        (Fact::Voided, Voided) => SAME,
        (Fact::Voided, _) => CONTRADICTION,

        (Fact::VoidRefused, Voiding) => and_say(Captured, Say::Captured),
        (Fact::VoidRefused, Captured | Refunding | Refunded) => SAME,
        (Fact::VoidRefused, _) => CONTRADICTION,

        (Fact::Refunded, Refunding) => and_say(Refunded, Say::Refunded),
        (Fact::Refunded, Refunded) => SAME,
        (Fact::Refunded, _) => CONTRADICTION,

        // Money is owed: it stays in `refunding`, is tried again and shows in the reconciliation.
        (Fact::RefundRefused, _) => CONTRADICTION,

        (Fact::Expired, Held) => to(Expired),
        (Fact::Expired, _) => SAME,
    }
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    pub order_id: OrderId,
    pub payment_id: PaymentId,
    /// Absent on the mark that a release left before its hold.
    pub user_id: Option<UserId>,
    pub amount: Option<Money>,
    pub account: Option<String>,
    pub state: State,
    /// Why it was declined or the hold ended.
    pub code: Option<String>,
    pub held_minor: i64,
    pub captured_minor: i64,
    pub refunded_minor: i64,
    /// Calls of the present step whose outcome is not known.
    pub attempts: u32,
    /// When the bank is asked next; absent where nothing is asked.
    pub next_attempt_at: Option<Timestamp>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Where in a trace its last command was handled: what the bank answers goes on there.
    pub traceparent: Option<String>,
}

/// The bank's answer to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub fact: Fact,
    pub amount_minor: i64,
    pub code: Option<Refusal>,
}

impl Answer {
    pub fn new(step: Step, reply: &Reply) -> Self {
        let fact = match (step, reply.result.is_ok()) {
            (Step::Hold, true) => Fact::Held,
            (Step::Hold, false) => Fact::Declined,
            (Step::Capture, true) => Fact::Captured,
            (Step::Capture, false) => Fact::CaptureRefused,
            (Step::Release, true) => Fact::Released,
            (Step::Release, false) => Fact::ReleaseRefused,
            (Step::Void, true) => Fact::Voided,
            (Step::Void, false) => Fact::VoidRefused,
            (Step::Refund, true) => Fact::Refunded,
            (Step::Refund, false) => Fact::RefundRefused,
        };
        match reply.result {
            Ok(done) => Self { fact, amount_minor: done.amount_minor, code: None },
            Err(refusal) => Self { fact, amount_minor: 0, code: Some(refusal) },
        }
    }

    pub fn expired() -> Self {
        Self { fact: Fact::Expired, amount_minor: 0, code: Some(Refusal::HoldExpired) }
    }
}

/// The key under which the bank is asked for a step: the same at every try.
pub fn key_of(order_id: OrderId, step: Step) -> String {
    format!("{order_id}:{}", step.as_str())
}

/// The order and the step of a key, where the key is one of ours.
pub fn read_key(key: &str) -> Option<(OrderId, Step)> {
    let (order, step) = key.split_once(':')?;
    Some((order.parse().ok()?, step.parse().ok()?))
}

impl Step {
    pub const fn action(self) -> Action {
        match self {
            Step::Hold => Action::Hold,
            Step::Capture => Action::Capture,
            Step::Release | Step::Void => Action::Release,
            Step::Refund => Action::Refund,
        }
    }
}

impl Payment {
    /// A payment that begins with a command: `requested` by a hold, or the mark that a release leaves.
    pub fn new(order_id: OrderId, payment_id: PaymentId, state: State, now: Timestamp) -> Self {
        Self {
            order_id,
            payment_id,
            user_id: None,
            amount: None,
            account: None,
            state,
            code: None,
            held_minor: 0,
            captured_minor: 0,
            refunded_minor: 0,
            attempts: 0,
            next_attempt_at: state.step().map(|_| now),
            version: 1,
            created_at: now,
            updated_at: now,
            traceparent: None,
        }
    }

    pub fn requested(command: &HoldPayment, payment_id: PaymentId, now: Timestamp) -> Self {
        Self {
            user_id: Some(command.user_id),
            amount: Some(command.amount),
            account: command.account.clone(),
            ..Self::new(command.order_id, payment_id, State::Requested, now)
        }
    }

    fn enter(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.attempts = 0;
        self.next_attempt_at = state.step().map(|_| now);
        self.updated_at = now;
        self.version += 1;
    }

    pub fn obey(&mut self, command: Command, now: Timestamp) -> Decision {
        let decision = decide(Some(self.state), Trigger::Command(command));
        if let Decision::Move { to, .. } = decision {
            self.enter(to, now);
        }
        decision
    }

    pub fn learn(&mut self, answer: &Answer, now: Timestamp) -> Decision {
        let decision = decide(Some(self.state), Trigger::Bank(answer.fact));
        if let Decision::Move { to, .. } = decision {
            match answer.fact {
                Fact::Held => self.held_minor = answer.amount_minor,
                Fact::Captured => self.captured_minor = answer.amount_minor,
                Fact::Refunded => self.refunded_minor = answer.amount_minor,
                Fact::ReleaseRefused | Fact::VoidRefused => {
                    self.captured_minor = self.amount.map_or(0, |amount| amount.minor);
                }
                _ => {}
            }
            if matches!(answer.fact, Fact::Declined | Fact::CaptureRefused | Fact::Expired) {
                self.code = answer.code.map(|code| code.as_str().to_owned());
            }
            self.enter(to, now);
        }
        decision
    }

    /// The outcome of a call is not known: it is asked for later.
    pub fn wait(&mut self, delay: Duration, now: Timestamp) {
        if self.state == State::Requested {
            self.state = State::Holding;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.next_attempt_at = Some(now.plus(delay));
        self.updated_at = now;
        self.version += 1;
    }
}
