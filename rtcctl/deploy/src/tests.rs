//! Tests of the crate: a cluster that is played in a time that stands still between two of its turns; what is in
//! [`clusters`] and [`killed`] also on the one that `RTC_TEST_KUBECONFIG` names.

mod applying;
mod canaries;
mod clusters;
mod colours;
mod describing;
mod eye;
mod ground;
mod guards;
mod killed;
mod killed_beside;
mod left_beside;
mod masked;
mod recognised;
mod returning;
mod rolling;
mod standing;
mod switching;
