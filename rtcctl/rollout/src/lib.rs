//! What a rollout on Kubernetes is doing, from what the API says, and what to do next about it.
//!
//! - [`objects`] are the fields of the API's objects that matter; [`world`] keeps those that belong to the workloads
//!   that are watched, from their watches;
//! - [`verdict`] says whether it is done; [`failure`] what is wrong with a pod, under the codes of [`code`];
//! - [`tree`] lays the workloads out for a screen;
//! - [`canary`] and [`lifecycle`] are the machines of a canary and of a whole rollout, kept in a journal;
//! - [`evidence`] says what to collect before anything is rolled back, and masks what must not be collected.
//!
//! Invariant: nothing here waits, reads a clock, or speaks to anybody; the same input gives the same answer.

pub mod canary;
pub mod code;
pub mod evidence;
pub mod failure;
pub mod lifecycle;
pub mod objects;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod verdict;
pub mod world;
