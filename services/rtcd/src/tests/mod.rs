//! The whole shop in one process.

mod routes;
mod shop;
mod simulation;
