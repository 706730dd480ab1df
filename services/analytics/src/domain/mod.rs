//! What a transaction is, what a batch adds to the totals, event-time windows, the greatest of many: pure.

mod calendar;
mod deltas;
pub mod durations;
mod news;
#[cfg(test)]
mod tests;
pub mod top;
mod transaction;
pub mod tumble;
mod window;

pub use calendar::{ZONE, month_of, year_in_zone};
pub use deltas::{Deltas, Gross, Sum as LineSum};
pub use news::{News, Sale};
pub use transaction::{
    Outcome, Refusal, RefusalCode, Source, Submission, SubmissionSchema, Transaction, TransactionInput,
};
pub use window::{Minutes, Window, average, minute_of, minute_start};
