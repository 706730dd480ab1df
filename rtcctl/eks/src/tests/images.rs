//! Names of images, and which release is the last.

use crate::Series;

#[test]
fn each_kind_of_nodes_has_its_images() {
    for (ami_type, pattern) in [
        ("AL2023_x86_64_STANDARD", "amazon-eks-node-al2023-x86_64-standard-1.33-v*"),
        ("AL2023_ARM_64_STANDARD", "amazon-eks-node-al2023-arm64-standard-1.33-v*"),
        ("AL2023_x86_64_NEURON", "amazon-eks-node-al2023-x86_64-neuron-1.33-v*"),
        ("AL2023_ARM_64_NVIDIA", "amazon-eks-node-al2023-arm64-nvidia-1.33-v*"),
        ("AL2_x86_64", "amazon-eks-node-1.33-v*"),
        ("AL2_x86_64_GPU", "amazon-eks-gpu-node-1.33-v*"),
        ("AL2_ARM_64", "amazon-eks-arm64-node-1.33-v*"),
        ("BOTTLEROCKET_x86_64", "bottlerocket-aws-k8s-1.33-x86_64-v*"),
        ("BOTTLEROCKET_ARM_64", "bottlerocket-aws-k8s-1.33-aarch64-v*"),
        ("BOTTLEROCKET_x86_64_NVIDIA_FIPS", "bottlerocket-aws-k8s-1.33-nvidia-fips-x86_64-v*"),
        ("WINDOWS_CORE_2022_x86_64", "Windows_Server-2022-English-Core-EKS_Optimized-1.33-*"),
        ("WINDOWS_FULL_2025_x86_64", "Windows_Server-2025-English-Full-EKS_Optimized-1.33-*"),
    ] {
        assert_eq!(Series::of(ami_type, "1.33").unwrap().pattern(), pattern, "{ami_type}");
    }
    for own in ["CUSTOM", "unknown", "", "AL2023_riscv"] {
        assert_eq!(Series::of(own, "1.33"), None, "{own}");
    }
}

#[test]
fn the_last_release_is_the_latest_and_not_the_last_of_the_alphabet() {
    for (ami_type, names, last, own, is_behind) in [
        (
            "AL2023_x86_64_STANDARD",
            [
                "amazon-eks-node-al2023-x86_64-standard-1.33-v20260220",
                "amazon-eks-node-al2023-x86_64-standard-1.33-v20251231",
            ],
            "20260220",
            "1.33.4-20260110",
            true,
        ),
        (
            "BOTTLEROCKET_x86_64",
            [
                "bottlerocket-aws-k8s-1.33-x86_64-v1.9.2-ffffffff",
                "bottlerocket-aws-k8s-1.33-x86_64-v1.44.0-0badcafe",
            ],
            "1.44.0-0badcafe",
            "1.9.2-ffffffff",
            true,
        ),
        (
            "WINDOWS_CORE_2022_x86_64",
            [
                "Windows_Server-2022-English-Core-EKS_Optimized-1.33-2026.02.11",
                "Windows_Server-2022-English-Core-EKS_Optimized-1.33-2026.01.14",
            ],
            "2026.02.11",
            "1.33-2026.02.11",
            false,
        ),
    ] {
        let series = Series::of(ami_type, "1.33").unwrap();
        assert_eq!(series.last(names).as_deref(), Some(last));
        assert_eq!(series.is_behind(own, last), is_behind, "{own}");
    }
    let series = Series::of("AL2_x86_64", "1.30").unwrap();
    assert_eq!(series.last(["amazon-eks-node-1.3-v20260220", "amazon-eks-node-1.30-vnext"]), None);
}
