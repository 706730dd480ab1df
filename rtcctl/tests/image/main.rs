//! `rtcctl image` with the real rtcd, a real registry, and readers of images that are not ours.
//!
//! `cargo xtask test image` starts what is needed and says where it is: `RTC_TEST_REGISTRY` (host and port of a
//! registry), `AWS_ENDPOINT_URL` (moto), `RTC_TEST_PROGRAM` (rtcd). skopeo and umoci are on the path, and
//! what is unpacked is entered as root.

mod ecr;
mod full;
mod ground;
mod readers;
mod registry;
mod reproducible;
