//! `rtcctl infra` with the real Terraform and the real AWS provider, against an AWS that answers on this machine.
//!
//! `cargo xtask test infra` starts what is needed and says where it is:
//! `RTC_TEST_AWS` (the address of moto) and `RTC_TEST_TERRAFORM_MIRROR` (a folder of unpacked providers).

mod environments;
mod ground;
mod signals;
