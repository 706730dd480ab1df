//! `rtcctl infra` with the real Terraform and the real AWS provider, against an AWS that answers on this machine.
//!
//! `cargo xtask test infra` starts what is needed and says where it is:
//! `RTC_TEST_AWS` (the address of moto) and `RTC_TEST_TERRAFORM_MIRROR` (a folder of unpacked providers). Tests run one
//! after another: each begins with an AWS that has nothing in it.

mod bucket;
mod environments;
mod exceptions;
mod ground;
mod provider;
mod signals;
mod streams;
