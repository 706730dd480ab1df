//! Open-loop load: requests are due at times fixed in advance, and a slow server does not slow the clock.
//!
//! - [`Schedule`] says when request *i* is due; [`Mix`] says what it is; both are functions of *i* and a seed alone.
//! - [`drive`] sends them over a bounded pool of kept-alive connections and [`Measures`] the time from *due* to answered,
//!   so that a stall is seen by every request that fell into it and not by one (no coordinated omission).
//! - [`shop`] keeps account of orders: a POST whose outcome is unknown is repeated under its own idempotency key until it
//!   is known which orders exist, and accepted ones are followed to their end.
//! - [`judge`] compares the figures with thresholds and can say that there are too few of them to tell.

mod books;
mod drive;
mod lane;
mod measure;
mod mix;
mod pace;
mod place;
mod run;
mod schedule;
mod setup;
mod shop;
mod verdict;
mod wire;

#[cfg(test)]
mod tests;

pub use books::{Books, IngestFigures, Journal, JournalLine, OrderFigures};
pub use drive::{Limits, Stop, Tick, Work, drive};
pub use lane::{Body, Dial, Lane, Reply};
pub use measure::{Failure, Figures, Measures, Spread};
pub use mix::{Action, Mix, Proportions};
pub use pace::Pace;
pub use place::{Place, RunFile, TcpDial};
pub use run::{Job, News, Operator, Outcome, run, start};
pub use schedule::Schedule;
pub use setup::{Goods, RENEW_EVERY, Setup, Wanted, goods, operator_password, prepare, sign_in};
pub use shop::{Patience, Shop, follow, resolve};
pub use verdict::{Thresholds, Verdict, judge, percent};
pub use wire::{Requests, Route};
