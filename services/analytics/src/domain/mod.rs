//! What a transaction is, what a batch adds to the totals, and the windows of the summary: pure.

mod deltas;
mod transaction;
mod window;

pub use deltas::{Deltas, Gross, Sum};
pub use transaction::{
    Outcome, Refusal, RefusalCode, Source, Submission, SubmissionSchema, Transaction, TransactionInput,
};
pub use window::{Minutes, Window, ZONE, average, minute_of, minute_start};
