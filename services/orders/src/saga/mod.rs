//! The orders saga: its pure step function, and the runner that persists it.

mod checkout;
#[cfg(test)]
mod harness;
mod runner;

pub use checkout::Input;
pub use runner::{Advanced, KIND, Runner};
