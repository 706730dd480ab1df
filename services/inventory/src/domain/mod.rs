//! The rules, free of database, network and clock: what a reservation may become, and what stock is.

mod reservation;
mod stock;
#[cfg(test)]
mod tests;

pub use reservation::{Act, Decision, Line, Reply, Reservation, State, Trigger, Verdict, decide};
pub use stock::{Item, Mode, MovementKind, fell_low, sum_per_sku};
