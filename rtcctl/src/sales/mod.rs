//! Sales of a shop as comma-separated values, and their way into a running platform.
//!
//! - [`parse`] reads any bytes with flat memory and hands every line on as a [`Sale`] or as a [`Refused`]; it never stops early.
//! - [`Tally`] counts what the lines hold, by the definition that the platform's own totals use.
//! - [`deliver`] sends batches until each of their lines is accepted, known already, or refused for a reason.
//!
//! A line's `external_id` depends on its invoice and its position in that invoice alone, so a second replay is told
//! of duplicates and changes nothing.

mod deliver;
mod files;
mod header;
mod parse;
mod platform;
mod records;
mod refused;
mod sale;
mod tally;

#[cfg(test)]
mod tests;

pub use deliver::{Answer, Delivered, Ingest, NotTaken, Patience, RejectedLine, deliver};
pub use files::{Read, read};
pub use parse::{Invoices, Item, Options, Summary, parse};
pub use platform::{OPERATOR, SalesApi};
pub use records::{LINE_LIMIT, RECORD_LIMIT};
pub use refused::{Fault, Refused};
pub use sale::{Sale, Transaction};
pub use tally::Tally;

use refused::shown;
