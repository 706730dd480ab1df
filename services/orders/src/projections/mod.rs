//! Read models fed by other services' events.

pub mod products;
