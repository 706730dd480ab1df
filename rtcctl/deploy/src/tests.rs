//! Tests of the crate.

mod describing;
mod forms;
