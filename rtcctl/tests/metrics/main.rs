//! `rtcctl metrics` beside the real things: a Prometheus server, a terminal, the clock.
//!
//! Needs what `scripts/engines install prometheus tmux` installs; what is missing fails by its name. Not part of
//! `cargo test`: `cargo test -p rtcctl --test metrics`, as `cargo xtask test metrics` does.

mod differential;
mod processes;
mod startup;
mod terminal;
