//! Platforms compared: OCI lets some be written in two ways.

use oci::Platform;

/// A platform under Linux, without the variant that its architecture always has.
pub fn linux(architecture: &str, variant: Option<&str>) -> Platform {
    let implied = matches!((architecture, variant), ("arm64", Some("v8")) | ("amd64", Some("v1")));
    Platform {
        architecture: architecture.to_owned(),
        os: "linux".to_owned(),
        os_version: None,
        os_features: Vec::new(),
        variant: variant.filter(|variant| !implied && !variant.is_empty()).map(str::to_owned),
    }
}

/// Whether what is built for one runs on the other: `linux/arm64` and `linux/arm64/v8` are one platform.
pub fn same(one: &Platform, other: &Platform) -> bool {
    let plain = |platform: &Platform| linux(&platform.architecture, platform.variant.as_deref());
    one.os == other.os && plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_that_every_arm64_has_makes_no_difference() {
        let parsed = |text: &str| Platform::parse(text).unwrap();
        assert!(same(&parsed("linux/arm64"), &parsed("linux/arm64/v8")));
        assert!(!same(&parsed("linux/arm64"), &parsed("linux/amd64")));
        assert!(!same(&parsed("linux/arm/v7"), &parsed("linux/arm/v6")));
        assert!(!same(&parsed("linux/amd64"), &parsed("windows/amd64")));
    }
}
