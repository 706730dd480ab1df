//! All SQL of the service.

pub mod products;
mod rows;
mod schema;
pub mod totals;
pub mod transactions;
pub mod windows;

pub use schema::MIGRATIONS;
