//! The whole shop in one process.

mod configuration;
mod operator;
mod routes;
mod shop;
mod simulation;
