//! Tests of the crate: a cluster that is played in a time that stands still between two of its turns.

mod applying;
mod canaries;
mod describing;
mod forms;
mod ground;
mod guards;
mod killed;
mod recognised;
mod rolling;
