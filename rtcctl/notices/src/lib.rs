//! What was released, told to people and programs.
//!
//! ```text
//! Notice ──► masking, fit ──► Slack's blocks | the JSON of a webhook ──► send, until the deadline ──► Delivery
//! ```
//!
//! Invariants:
//! - every text is masked before it is cut to a receiver's limits, and what was cut is said in the notice itself;
//! - the address of a receiver is a secret: it is in no message and in no `Debug`;
//! - [`send`] has no error: a notice that did not arrive is told by its [`Delivery`], and fails no release;
//! - a notice may arrive twice where an answer was lost; a webhook tells the second by its id.

mod delivery;
mod fit;
mod notice;
mod slack;
mod webhook;

pub use delivery::{Delivery, Kind, Limits, Sent, Target, UnfitTarget, send};
pub use masking::masked;
pub use notice::{Link, Notice, Outcome};
pub use slack::message as slack_message;
pub use webhook::{SCHEMA, document as webhook_document, signature};

#[cfg(test)]
mod tests;
