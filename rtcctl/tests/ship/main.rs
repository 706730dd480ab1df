//! `rtcctl ship` from end to end: the real Terraform and its AWS provider against moto, a real registry, a real Prometheus,
//! and a cluster: that of `RTC_TEST_KUBECONFIG`, or an API of this process.
//!
//! `cargo xtask test ship` starts what is needed and says where it is: `RTC_TEST_AWS`, `RTC_TEST_TERRAFORM_MIRROR`,
//! `RTC_TEST_REGISTRY` and `RTC_TEST_PROMETHEUS` (the program).

mod ground;
mod kills;
mod releases;
