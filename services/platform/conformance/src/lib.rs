//! What every adapter of a port must do, as suites that are run on each.

pub mod bus;
pub mod cache;
pub mod db;
pub mod objects;
#[cfg(test)]
mod tests;
