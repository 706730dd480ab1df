//! Commands as they are typed.

mod cluster;
mod guards;
mod files;
mod looking;
