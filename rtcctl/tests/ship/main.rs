//! `rtcctl ship` from end to end: the real Terraform and its AWS provider against moto, a real registry, a real Prometheus,
//! and a cluster: that of `RTC_TEST_KUBECONFIG`, or an API of this process.
//!
//! `cargo xtask test ship` starts what is needed and says where it is: `RTC_TEST_AWS`, `RTC_TEST_TERRAFORM_MIRROR`,
//! `RTC_TEST_REGISTRY`, `RTC_TEST_PROMETHEUS` and `RTC_TEST_PROGRAM` (the programs; the latter is rtcd).

mod ground;
mod kills;
mod releases;
mod shop;
mod stops;
mod terminal;
