//! Commands as they are typed.

mod cluster;
mod files;
mod looking;
