//! Commands as they are typed.

mod beside;
mod cluster;
mod eks;
mod files;
mod guards;
mod looking;
mod told;
