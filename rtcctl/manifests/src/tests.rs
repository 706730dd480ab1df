//! What holds of every render, what is refused, and what is found in objects of others.

mod charts;
mod faults;
mod findings;
mod forms;
mod given;
mod properties;
mod snapshots;
mod text;
