//! The same suites and scenarios on the engines of production: MariaDB, two brokers that speak Kafka, Redis, S3, SMTP.
//!
//! `cargo xtask test engines` installs and starts what they need. Without it every test fails with a line that says so:
//! none passes by skipping.

mod bus;
mod cache;
mod db;
mod faults;
mod groups;
mod objects;
mod overload;
mod shop;
mod split;
mod streams;
mod support;
