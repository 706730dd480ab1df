//! The words that every crate of RTC speaks: ids, money, time, events and kinds of error.
//!
//! Nothing here touches the outside world: no I/O, no system clock outside [`time::SystemClock`], no randomness
//! outside [`id::IdSource`]. Everything can be built by a test from a seed.

pub mod envelope;
pub mod error;
pub mod id;
pub mod money;
pub mod percent;
pub mod time;

pub use envelope::{Envelope, EventId};
pub use error::{Error, FieldError, Kind, Result};
pub use id::IdSource;
pub use money::{Currency, Money, MoneyError};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
