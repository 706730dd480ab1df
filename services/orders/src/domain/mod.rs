//! What an order is: pure, without I/O.

mod order;
mod pricing;

pub use order::{EndReason, OrderState};
pub use pricing::{KnownProduct, RequestedLine, check_line_count, price};
