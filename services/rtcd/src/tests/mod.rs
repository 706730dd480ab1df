//! The whole shop in one process.

mod configuration;
mod routes;
mod shop;
mod simulation;
