//! Commands as they are typed.

mod cluster;
mod files;
mod guards;
mod looking;
