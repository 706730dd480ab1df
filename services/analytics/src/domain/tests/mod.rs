//! Windows and counters by themselves.

mod top;
mod tumble;
