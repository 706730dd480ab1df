//! The same suites and scenarios on the engines of production: MariaDB, two brokers that speak Kafka, Redis, S3, SMTP.
//!
//! `cargo xtask test engines` installs and starts what they need. Without it every test fails with a line that says so:
//! none passes by skipping. Those of `kafka_tls` are there with the feature of that name (`cargo xtask test kafka-tls`).

mod bus;
mod cache;
mod cache_tls;
mod db;
mod faults;
mod groups;
#[cfg(feature = "kafka-tls")]
mod kafka_tls;
mod objects;
mod overload;
mod shop;
mod split;
mod streams;
mod support;
