//! The whole shop in one process.

mod configuration;
mod metrics;
mod operator;
mod routes;
mod shop;
mod simulation;
