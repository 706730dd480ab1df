//! The checkout against participants that fail, repeat, crash and keep silent: every path, not a sample.
//!
//! The participants are models: each remembers its effect by order and answers a command it has seen with the same
//! answer. The harness walks all interleavings of answers, refusals, silence, repetition, cancellation and restarts
//! (a restart is: the stored state and the messages under way, nothing else), and checks the books at every end.

use std::collections::{HashSet, VecDeque};

use super::checkout::{Checkout, Decision, Effect, Input, Policy, Step, next};
use crate::domain::OrderState;

const POLICY: Policy = Policy { attempts_max: 2 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stock {
    Nothing,
    Held,
    Committed,
    Refused,
    Gone,
    Returned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Money {
    Nothing,
    Held,
    Captured,
    Declined,
    Gone,
    Refunded,
}

/// What the participants decide the first time they are asked: each path has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Temper {
    reserve: bool,
    hold: bool,
    commit: bool,
    capture: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    saga: String,
    order: OrderState,
    stock: Stock,
    money: Money,
    /// Commands on their way to each participant: in order, because they share a key.
    to_stock: VecDeque<u8>,
    to_money: VecDeque<u8>,
    from_stock: VecDeque<u8>,
    from_money: VecDeque<u8>,
    cancels: u8,
    silences: u8,
    repeats: u8,
    ends: u8,
}

const COMMANDS: [Effect; 8] = [
    Effect::ReserveStock,
    Effect::CommitStock,
    Effect::ReleaseStock,
    Effect::ReturnStock,
    Effect::HoldPayment,
    Effect::CapturePayment,
    Effect::ReleasePayment,
    Effect::RefundPayment,
];

fn answers() -> [Input; 12] {
    [
        Input::StockReserved,
        Input::StockRefused { detail: "TEA-1: 2 asked, 1 there".to_owned() },
        Input::StockCommitted,
        Input::StockCommitRefused { detail: String::new() },
        Input::StockReleased,
        Input::StockReturned,
        Input::PaymentHeld,
        Input::PaymentDeclined { code: String::new() },
        Input::PaymentCaptured,
        Input::PaymentCaptureRefused { code: String::new() },
        Input::PaymentReleased,
        Input::PaymentRefunded,
    ]
}

fn code_of(input: &Input) -> u8 {
    u8::try_from(answers().iter().position(|answer| answer == input).expect("an answer")).unwrap_or(0)
}

impl World {
    fn saga(&self) -> Checkout {
        serde_json::from_str(&self.saga).expect("a stored saga can be read")
    }

    fn apply(&mut self, state: &Checkout, effects: &[Effect]) {
        self.saga = serde_json::to_string(state).expect("a saga can be stored");
        for effect in effects {
            match effect {
                Effect::Enter(to) => self.enter(*to),
                Effect::End { reason, .. } => self.enter(reason.end()),
                Effect::PublishPlaced => {
                    assert_eq!((self.stock, self.money), (Stock::Committed, Money::Held), "placed too early");
                }
                Effect::PublishConfirmed | Effect::PublishFulfilled => {}
                command => {
                    let index = COMMANDS.iter().position(|one| one == command).expect("a command");
                    let code = u8::try_from(index).unwrap_or(0);
                    if index < 4 { self.to_stock.push_back(code) } else { self.to_money.push_back(code) }
                }
            }
        }
        if matches!(state.step, Step::Ended(_)) {
            self.ends += 1;
        }
    }

    fn enter(&mut self, to: OrderState) {
        assert!(self.order.may_become(to), "{} may not become {to}", self.order);
        self.order = to;
    }

    fn stock_handles(&mut self, command: u8, temper: Temper) {
        let (stock, answer) = match (&COMMANDS[usize::from(command)], self.stock) {
            (Effect::ReserveStock, Stock::Nothing) if temper.reserve => (Stock::Held, Input::StockReserved),
            (Effect::ReserveStock, Stock::Nothing) => (Stock::Refused, answers()[1].clone()),
            (Effect::ReserveStock, Stock::Held | Stock::Committed | Stock::Returned) => {
                (self.stock, Input::StockReserved)
            }
            (Effect::ReserveStock, Stock::Refused | Stock::Gone) => (self.stock, answers()[1].clone()),
            (Effect::CommitStock, Stock::Held) if temper.commit => (Stock::Committed, Input::StockCommitted),
            (Effect::CommitStock, Stock::Held) => (Stock::Gone, answers()[3].clone()),
            (Effect::CommitStock, Stock::Committed | Stock::Returned) => (self.stock, Input::StockCommitted),
            (Effect::CommitStock, _) => (self.stock, answers()[3].clone()),
            (Effect::ReleaseStock, Stock::Committed | Stock::Returned) => {
                panic!("released what was committed")
            }
            (Effect::ReleaseStock, _) => (Stock::Gone, Input::StockReleased),
            (Effect::ReturnStock, Stock::Committed | Stock::Returned) => {
                (Stock::Returned, Input::StockReturned)
            }
            (command, stock) => panic!("{command:?} at {stock:?}"),
        };
        self.stock = stock;
        self.from_stock.push_back(code_of(&answer));
    }

    fn money_handles(&mut self, command: u8, temper: Temper) {
        let (money, answer) = match (&COMMANDS[usize::from(command)], self.money) {
            (Effect::HoldPayment, Money::Nothing) if temper.hold => (Money::Held, Input::PaymentHeld),
            (Effect::HoldPayment, Money::Nothing) => (Money::Declined, answers()[7].clone()),
            (Effect::HoldPayment, Money::Held | Money::Captured | Money::Refunded) => {
                (self.money, Input::PaymentHeld)
            }
            (Effect::HoldPayment, Money::Declined) => (self.money, answers()[7].clone()),
            (Effect::HoldPayment, Money::Gone) => (self.money, Input::PaymentReleased),
            (Effect::CapturePayment, Money::Held) if temper.capture => {
                (Money::Captured, Input::PaymentCaptured)
            }
            (Effect::CapturePayment, Money::Held) => (Money::Gone, answers()[9].clone()),
            (Effect::CapturePayment, Money::Captured | Money::Refunded) => {
                (self.money, Input::PaymentCaptured)
            }
            (Effect::CapturePayment, _) => (self.money, answers()[9].clone()),
            (Effect::ReleasePayment, Money::Captured | Money::Refunded) => {
                panic!("released what was captured")
            }
            (Effect::ReleasePayment, _) => (Money::Gone, Input::PaymentReleased),
            (Effect::RefundPayment, Money::Captured | Money::Refunded) => {
                (Money::Refunded, Input::PaymentRefunded)
            }
            (command, money) => panic!("{command:?} at {money:?}"),
        };
        self.money = money;
        self.from_money.push_back(code_of(&answer));
    }

    fn feed(&mut self, input: &Input) -> bool {
        match next(&self.saga(), input, POLICY) {
            Decision::Advance { state, effects } => {
                self.apply(&state, &effects);
                true
            }
            Decision::AlreadyDone | Decision::Refused { .. } => false,
        }
    }

    /// At rest the books of all three agree (I6).
    fn check_at_rest(&self) {
        assert!(self.ends <= 1, "ended more than once");
        match (&self.saga().step, self.order) {
            (Step::Confirmed, OrderState::Confirmed) | (Step::Ended(_), OrderState::Fulfilled) => {
                assert_eq!((self.stock, self.money), (Stock::Committed, Money::Captured), "{self:?}");
            }
            (Step::Ended(_), OrderState::Rejected | OrderState::Cancelled) => {
                assert!(!matches!(self.stock, Stock::Held | Stock::Committed), "{self:?}");
                assert!(!matches!(self.money, Money::Held | Money::Captured), "{self:?}");
                assert_eq!(
                    self.money == Money::Refunded,
                    self.stock == Stock::Returned && self.money != Money::Gone
                );
            }
            _ => panic!("at rest in the middle: {self:?}"),
        }
    }

    /// All worlds that can follow this one. None: it is at rest.
    fn successors(&self, temper: Temper) -> Vec<World> {
        let mut worlds = Vec::new();
        let mut also = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            worlds.push(world);
        };
        if let Some(&command) = self.to_stock.front() {
            also(&|world| {
                world.to_stock.pop_front();
                world.stock_handles(command, temper);
            });
        }
        if let Some(&command) = self.to_money.front() {
            also(&|world| {
                world.to_money.pop_front();
                world.money_handles(command, temper);
            });
        }
        for from_stock in [true, false] {
            let queue = if from_stock { &self.from_stock } else { &self.from_money };
            let Some(&answer) = queue.front() else { continue };
            let input = answers()[usize::from(answer)].clone();
            let take = |world: &mut World| {
                if from_stock {
                    world.from_stock.pop_front()
                } else {
                    world.from_money.pop_front()
                };
            };
            also(&|world| {
                take(world);
                world.feed(&input);
            });
            if self.repeats > 0 {
                // Handled, and delivered again: the crash between the commit and the offset.
                also(&|world| {
                    world.repeats -= 1;
                    world.feed(&input);
                });
            }
        }
        if self.cancels > 0 {
            also(&|world| {
                world.cancels -= 1;
                world.feed(&Input::Cancel);
            });
        }
        let waits = self.saga().waits();
        let nothing_moves = self.to_stock.is_empty()
            && self.to_money.is_empty()
            && self.from_stock.is_empty()
            && self.from_money.is_empty();
        if waits && (self.silences > 0 || nothing_moves) {
            also(&|world| {
                world.silences = world.silences.saturating_sub(1);
                world.feed(&Input::Deadline);
            });
        }
        worlds
    }
}

/// Walks every path and returns how many worlds there were.
fn walk(temper: Temper, cancels: u8, silences: u8, repeats: u8) -> (usize, HashSet<OrderState>) {
    let mut first = World {
        saga: String::new(),
        order: OrderState::Placed,
        stock: Stock::Nothing,
        money: Money::Nothing,
        to_stock: VecDeque::new(),
        to_money: VecDeque::new(),
        from_stock: VecDeque::new(),
        from_money: VecDeque::new(),
        cancels,
        silences,
        repeats,
        ends: 0,
    };
    let (state, effects) = Checkout::start();
    first.apply(&state, &effects);
    let (mut seen, mut open, mut ends) = (HashSet::new(), vec![first], HashSet::new());
    while let Some(world) = open.pop() {
        if !seen.insert(world.clone()) {
            continue;
        }
        let quiet = world.to_stock.is_empty()
            && world.to_money.is_empty()
            && world.from_stock.is_empty()
            && world.from_money.is_empty();
        if quiet && !world.saga().waits() {
            world.check_at_rest();
            ends.insert(world.order);
        }
        open.extend(world.successors(temper));
    }
    (seen.len(), ends)
}

fn tempers() -> impl Iterator<Item = Temper> {
    (0..16_u8).map(|bits| Temper {
        reserve: bits & 1 == 0,
        hold: bits & 2 == 0,
        commit: bits & 4 == 0,
        capture: bits & 8 == 0,
    })
}

#[test]
fn every_step_fails_and_the_books_agree_at_every_end() {
    for temper in tempers() {
        let (_, ends) = walk(temper, 0, 0, 0);
        let all_good = temper.reserve && temper.hold && temper.commit && temper.capture;
        assert_eq!(ends.contains(&OrderState::Confirmed), all_good, "{temper:?}");
        assert_eq!(ends.len(), 1);
    }
}

#[test]
fn every_step_happens_twice_every_deadline_fires_and_a_cancel_comes_at_any_moment() {
    let mut worlds = 0;
    let mut ends = HashSet::new();
    for temper in tempers() {
        let (seen, found) = walk(temper, 2, 3, 2);
        worlds += seen;
        ends.extend(found);
    }
    assert!(worlds > 10_000, "the walk is too small to mean anything: {worlds}");
    assert_eq!(ends, HashSet::from([OrderState::Confirmed, OrderState::Rejected, OrderState::Cancelled]));
}

#[test]
fn every_pair_of_state_and_input_has_an_answer_and_a_repetition_never_moves_twice() {
    let mut states = vec![Checkout::start().0];
    let mut inputs = answers().to_vec();
    inputs.extend([Input::Cancel, Input::Fulfil, Input::Deadline]);
    let mut index = 0;
    while let Some(state) = states.get(index).cloned() {
        index += 1;
        for input in &inputs {
            let Decision::Advance { state: after, .. } = next(&state, input, POLICY) else { continue };
            if !matches!(input, Input::Deadline) {
                let again = next(&after, input, POLICY);
                assert!(
                    !matches!(again, Decision::Advance { .. }),
                    "{input:?} moves {after:?} a second time"
                );
            }
            let bounded = Checkout { attempt: after.attempt.min(3), ..after };
            if !states.contains(&bounded) {
                states.push(bounded);
            }
        }
    }
    assert!(states.len() > 20, "{}", states.len());
}
