//! Commands as they are typed.

mod beside;
mod cluster;
mod clusters;
mod eks;
mod files;
mod guards;
mod looking;
mod told;
