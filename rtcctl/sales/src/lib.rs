//! Sales of a shop as comma-separated values.
//!
//! - [`parse`] reads any bytes with flat memory and hands every line on as a [`Sale`] or as a [`Refused`]; it never stops early.
//! - [`Tally`] counts what the lines hold, by the definition that the platform's own totals use.
//!
//! Invariants: a line's `external_id` depends on its invoice and its position in that invoice alone; nothing here knows a
//! file system or a network.

mod header;
mod parse;
mod records;
mod refused;
mod sale;
mod tally;

#[cfg(test)]
mod tests;

pub use parse::{Invoices, Item, Options, Summary, parse};
pub use refused::{Fault, Refused};
pub use sale::{Sale, Transaction};
pub use tally::Tally;

use refused::shown;
