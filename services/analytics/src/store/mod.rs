//! All SQL of the service.

pub mod orders;
mod rows;
mod schema;
pub mod totals;
pub mod transactions;

pub use schema::MIGRATIONS;
