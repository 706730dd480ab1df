//! What services say to each other: ids, topics, events and commands. Data only, no behaviour.
//!
//! Invariant: a message that was ever published can still be read. Fields are added with a default and never change
//! their meaning; anything else is a new version. `golden.rs` holds one text of each version.

pub mod catalog;
pub mod ids;
pub mod inventory;
pub mod orders;
pub mod payments;
pub mod role;
pub mod topics;
pub mod users;

#[cfg(test)]
mod golden;

pub use ids::*;
pub use role::Role;

/// Gives a message its type name: `events! { OrderPlaced => "rtc.orders.order_placed.v1" }`.
macro_rules! events {
    ($($name:ident => $type:literal),+ $(,)?) => {
        $(impl kernel::envelope::Event for $name {
            const TYPE: &'static str = $type;
        })+
    };
}
pub(crate) use events;
