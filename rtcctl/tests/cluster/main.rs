//! `rtcctl cluster` as it is used: run by the real kubectl for its tokens, and asking moto.
//!
//! `cargo xtask test cluster` starts what is needed and says where it is: `RTC_TEST_AWS` (moto). kubectl, openssl and
//! python3 are on the path; a test that misses one fails and says which.

mod ground;
mod kubectl;
mod moto;
