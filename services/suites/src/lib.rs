//! Tests of the binaries as processes: started, killed, starved and asked, over loopback.

#[cfg(test)]
mod analytics;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod kill;
pub mod platform;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod traces;
