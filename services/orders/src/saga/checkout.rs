//! Checkout: from an accepted order to exactly one end.
//!
//! Happy path: reserve stock → hold the money → commit the stock → capture the money → confirmed.
//!
//! | step       | command        | done by          | refused by            | undone by                     |
//! | ---------- | -------------- | ---------------- | --------------------- | ----------------------------- |
//! | Reserving  | ReserveStock   | StockReserved    | StockRefused          | ReleaseStock                  |
//! | Paying     | HoldPayment    | PaymentHeld      | PaymentDeclined       | ReleasePayment + ReleaseStock |
//! | Committing | CommitStock    | StockCommitted   | StockCommitRefused    | ReleasePayment                |
//! | Capturing  | CapturePayment | PaymentCaptured  | PaymentCaptureRefused | ReturnStock                   |
//! | Confirmed  | –              | –                | –                     | RefundPayment + ReturnStock   |
//!
//! Until the money is held a step that does not answer is tried a few times and then undone. From there on only a
//! refusal turns the order back: a commit or a capture whose outcome is unknown is asked again until it is known. A
//! cancellation that comes in between waits for the capture and then refunds it, so that it never races with it.
//! An undoing command is sent again until it is acknowledged: nothing is called rejected or cancelled before.

use serde::{Deserialize, Serialize};

use crate::domain::{EndReason, OrderState};

/// The saga's state, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checkout {
    pub step: Step,
    /// Tries of this step so far, the first counted as 0.
    pub attempt: u32,
    /// The customer wants out, and must wait for the capture.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancel_asked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Reserving,
    Paying,
    Committing,
    Capturing,
    Confirmed,
    Undoing(Undo),
    Ended(OrderState),
}

/// What is still to be given back, and how the order ends then.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Undo {
    pub stock: Option<StockUndo>,
    pub payment: Option<PaymentUndo>,
    pub reason: EndReason,
    pub detail: String,
    pub was_confirmed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockUndo {
    Release,
    Return,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentUndo {
    Release,
    Refund,
}

/// What can happen to a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    StockReserved,
    StockRefused {
        detail: String,
    },
    PaymentHeld,
    PaymentDeclined {
        code: String,
    },
    StockCommitted,
    StockCommitRefused {
        detail: String,
    },
    PaymentCaptured,
    PaymentCaptureRefused {
        code: String,
    },
    StockReleased,
    StockReturned,
    PaymentReleased,
    PaymentRefunded,
    /// The customer (or an operator) cancels.
    Cancel,
    /// The goods were handed over.
    Fulfil,
    /// The step's deadline has passed.
    Deadline,
}

/// What a step does, besides changing the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Enter(OrderState),
    /// Enters the end, with why.
    End {
        reason: EndReason,
        detail: String,
        was_confirmed: bool,
    },
    ReserveStock,
    HoldPayment,
    CommitStock,
    CapturePayment,
    ReleaseStock,
    ReturnStock,
    ReleasePayment,
    RefundPayment,
    PublishPlaced,
    PublishConfirmed,
    PublishFulfilled,
}

/// Every (state, input) is one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Advance {
        state: Checkout,
        effects: Vec<Effect>,
    },
    /// It happened before, or something later has overtaken it. Nothing is to be done.
    AlreadyDone,
    /// It is not allowed here.
    Refused {
        code: &'static str,
        message: &'static str,
    },
}

/// What of the configuration the saga needs.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    pub attempts_max: u32,
}

impl Checkout {
    /// The first state, and what it does.
    pub fn start() -> (Self, Vec<Effect>) {
        let state = Self { step: Step::Reserving, attempt: 0, cancel_asked: false };
        (state, vec![Effect::Enter(OrderState::Reserving), Effect::ReserveStock])
    }

    /// Whether an answer or a deadline is awaited.
    pub fn waits(&self) -> bool {
        !matches!(self.step, Step::Confirmed | Step::Ended(_))
    }

    fn to(&self, step: Step, effects: Vec<Effect>) -> Decision {
        Decision::Advance { state: Self { step, attempt: 0, cancel_asked: self.cancel_asked }, effects }
    }

    fn again(&self, effects: Vec<Effect>) -> Decision {
        Decision::Advance { state: Self { attempt: self.attempt + 1, ..self.clone() }, effects }
    }

    fn ask_cancel(&self) -> Decision {
        if self.cancel_asked {
            return Decision::AlreadyDone;
        }
        Decision::Advance { state: Self { cancel_asked: true, ..self.clone() }, effects: Vec::new() }
    }

    /// Begins to give back, or ends at once where there is nothing to give back.
    fn undo(&self, undo: Undo) -> Decision {
        let mut effects = vec![Effect::Enter(OrderState::Compensating)];
        effects.extend(undo.commands());
        self.to(Step::Undoing(undo), effects)
    }
}

impl Undo {
    fn new(stock: Option<StockUndo>, payment: Option<PaymentUndo>, reason: EndReason, detail: &str) -> Self {
        Self { stock, payment, reason, detail: detail.to_owned(), was_confirmed: false }
    }

    /// The commands whose acknowledgement is outstanding. Money first: the customer waits for that.
    fn commands(&self) -> Vec<Effect> {
        let payment = self.payment.map(|undo| match undo {
            PaymentUndo::Release => Effect::ReleasePayment,
            PaymentUndo::Refund => Effect::RefundPayment,
        });
        let stock = self.stock.map(|undo| match undo {
            StockUndo::Release => Effect::ReleaseStock,
            StockUndo::Return => Effect::ReturnStock,
        });
        payment.into_iter().chain(stock).collect()
    }
}

/// The step function: pure, total, and the only place where a checkout changes.
pub fn next(state: &Checkout, input: &Input, policy: Policy) -> Decision {
    match &state.step {
        Step::Reserving => reserving(state, input, policy),
        Step::Paying => paying(state, input, policy),
        Step::Committing => committing(state, input),
        Step::Capturing => capturing(state, input),
        Step::Confirmed => confirmed(state, input),
        Step::Undoing(undo) => undoing(state, undo, input),
        Step::Ended(end) => ended(*end, input),
    }
}

const NOT_FULFILLABLE: Decision =
    Decision::Refused { code: "order_not_confirmed", message: "only a confirmed order can be fulfilled" };
const NOT_CANCELLABLE: Decision =
    Decision::Refused { code: "order_not_cancellable", message: "this order can no longer be cancelled" };

fn reserving(state: &Checkout, input: &Input, policy: Policy) -> Decision {
    let release =
        |reason, detail: &str| state.undo(Undo::new(Some(StockUndo::Release), None, reason, detail));
    match input {
        Input::StockReserved => state.to(
            Step::Paying,
            vec![Effect::Enter(OrderState::Reserved), Effect::Enter(OrderState::Paying), Effect::HoldPayment],
        ),
        // No shortage is named: the command came after its own time, as after a long outage.
        Input::StockRefused { detail } if detail.is_empty() => {
            release(EndReason::Timeout, "the reservation came too late")
        }
        // Nothing was taken, so there is nothing to give back.
        Input::StockRefused { detail } => state.to(
            Step::Ended(OrderState::Rejected),
            vec![Effect::End { reason: EndReason::OutOfStock, detail: detail.clone(), was_confirmed: false }],
        ),
        Input::Cancel => release(EndReason::ByCustomer, ""),
        Input::Deadline if state.attempt + 1 < policy.attempts_max => state.again(vec![Effect::ReserveStock]),
        Input::Deadline => release(EndReason::Timeout, "stock did not answer"),
        Input::Fulfil => NOT_FULFILLABLE,
        _ => Decision::AlreadyDone,
    }
}

fn paying(state: &Checkout, input: &Input, policy: Policy) -> Decision {
    let release = |payment, reason, detail: &str| {
        state.undo(Undo::new(Some(StockUndo::Release), payment, reason, detail))
    };
    match input {
        Input::PaymentHeld => {
            state.to(Step::Committing, vec![Effect::Enter(OrderState::Paid), Effect::CommitStock])
        }
        Input::PaymentDeclined { code } => release(None, EndReason::PaymentDeclined, code),
        Input::Cancel => release(Some(PaymentUndo::Release), EndReason::ByCustomer, ""),
        Input::Deadline if state.attempt + 1 < policy.attempts_max => state.again(vec![Effect::HoldPayment]),
        Input::Deadline => release(Some(PaymentUndo::Release), EndReason::Timeout, "the bank did not answer"),
        Input::Fulfil => NOT_FULFILLABLE,
        _ => Decision::AlreadyDone,
    }
}

fn committing(state: &Checkout, input: &Input) -> Decision {
    match input {
        Input::StockCommitted => {
            state.to(Step::Capturing, vec![Effect::CapturePayment, Effect::PublishPlaced])
        }
        Input::StockCommitRefused { detail } => {
            let reason = if state.cancel_asked { EndReason::ByCustomer } else { EndReason::OutOfStock };
            state.undo(Undo::new(None, Some(PaymentUndo::Release), reason, detail))
        }
        Input::Cancel => state.ask_cancel(),
        Input::Deadline => state.again(vec![Effect::CommitStock]),
        Input::Fulfil => NOT_FULFILLABLE,
        _ => Decision::AlreadyDone,
    }
}

fn capturing(state: &Checkout, input: &Input) -> Decision {
    match input {
        Input::PaymentCaptured => {
            let mut effects = vec![Effect::Enter(OrderState::Confirmed), Effect::PublishConfirmed];
            if !state.cancel_asked {
                return state.to(Step::Confirmed, effects);
            }
            let undo = refund();
            effects.push(Effect::Enter(OrderState::Compensating));
            effects.extend(undo.commands());
            state.to(Step::Undoing(undo), effects)
        }
        Input::PaymentCaptureRefused { code } => {
            let reason = if state.cancel_asked { EndReason::ByCustomer } else { EndReason::PaymentDeclined };
            state.undo(Undo::new(Some(StockUndo::Return), None, reason, code))
        }
        Input::Cancel => state.ask_cancel(),
        Input::Deadline => state.again(vec![Effect::CapturePayment]),
        Input::Fulfil => NOT_FULFILLABLE,
        _ => Decision::AlreadyDone,
    }
}

fn refund() -> Undo {
    Undo {
        was_confirmed: true,
        ..Undo::new(Some(StockUndo::Return), Some(PaymentUndo::Refund), EndReason::ByCustomer, "")
    }
}

fn confirmed(state: &Checkout, input: &Input) -> Decision {
    match input {
        Input::Cancel => state.undo(refund()),
        Input::Fulfil => state.to(
            Step::Ended(OrderState::Fulfilled),
            vec![Effect::Enter(OrderState::Fulfilled), Effect::PublishFulfilled],
        ),
        _ => Decision::AlreadyDone,
    }
}

fn undoing(state: &Checkout, undo: &Undo, input: &Input) -> Decision {
    let mut rest = undo.clone();
    match (input, undo.stock, undo.payment) {
        (Input::StockReleased, Some(StockUndo::Release), _)
        | (Input::StockReturned, Some(StockUndo::Return), _) => {
            rest.stock = None;
        }
        (Input::PaymentReleased, _, Some(PaymentUndo::Release))
        | (Input::PaymentRefunded, _, Some(PaymentUndo::Refund)) => rest.payment = None,
        (Input::Deadline, _, _) => return state.again(undo.commands()),
        (Input::Cancel, _, _) if undo.reason.end() != OrderState::Cancelled => return NOT_CANCELLABLE,
        (Input::Fulfil, _, _) => return NOT_FULFILLABLE,
        _ => return Decision::AlreadyDone,
    }
    if rest.stock.is_some() || rest.payment.is_some() {
        return state.to(Step::Undoing(rest), Vec::new());
    }
    let Undo { reason, detail, was_confirmed, .. } = rest;
    state.to(Step::Ended(reason.end()), vec![Effect::End { reason, detail, was_confirmed }])
}

fn ended(end: OrderState, input: &Input) -> Decision {
    match (input, end) {
        (Input::Cancel, OrderState::Cancelled) | (Input::Fulfil, OrderState::Fulfilled) => {
            Decision::AlreadyDone
        }
        (Input::Cancel, _) => NOT_CANCELLABLE,
        (Input::Fulfil, _) => NOT_FULFILLABLE,
        _ => Decision::AlreadyDone,
    }
}
