//! Images of nodes: how AWS names them, and which is the last.
//!
//! Source: "Retrieve recommended AMI IDs" and the release notes of the three families. EKS does not say which release is the
//! last; the names of the images do: `amazon-eks-node-al2023-x86_64-standard-1.33-v20260220`,
//! `bottlerocket-aws-k8s-1.33-x86_64-v1.44.0-c1d2a3b4`, `Windows_Server-2022-English-Core-EKS_Optimized-1.33-2026.02.11`.

use crate::{Eks, Error, Result};

/// The images of one kind of nodes for one version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Series {
    /// What the names begin with; the release follows.
    prefix: String,
    family: Family,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    /// `1.33.2-20260220` is the image `…-v20260220`.
    Amazon,
    /// `1.44.0-c1d2a3b4` is the image `…-v1.44.0-c1d2a3b4`.
    Bottlerocket,
    /// `1.33-2026.02.11` is the image `…-1.33-2026.02.11`.
    Windows,
}

impl Series {
    /// The series of a node group, by what EKS calls its images; `None` for images of one's own.
    pub fn of(ami_type: &str, version: &str) -> Option<Self> {
        let amazon =
            |name: String| Some(Self { prefix: format!("{name}-{version}-v"), family: Family::Amazon });
        if let Some(rest) = ami_type.strip_prefix("AL2023_") {
            let (arch, variant) = split(rest)?;
            return amazon(format!("amazon-eks-node-al2023-{arch}-{}", variant.to_lowercase()));
        }
        match ami_type {
            "AL2_x86_64" => return amazon("amazon-eks-node".to_owned()),
            "AL2_x86_64_GPU" => return amazon("amazon-eks-gpu-node".to_owned()),
            "AL2_ARM_64" => return amazon("amazon-eks-arm64-node".to_owned()),
            _ => {}
        }
        if let Some(rest) = ami_type.strip_prefix("BOTTLEROCKET_") {
            let (arch, variant) = split(rest)?;
            let arch = if arch == "arm64" { "aarch64" } else { arch };
            let variant = match variant {
                "" => String::new(),
                variant => format!("-{}", variant.to_lowercase().replace('_', "-")),
            };
            let prefix = format!("bottlerocket-aws-k8s-{version}{variant}-{arch}-v");
            return Some(Self { prefix, family: Family::Bottlerocket });
        }
        let rest = ami_type.strip_prefix("WINDOWS_")?.strip_suffix("_x86_64")?;
        let (edition, year) = rest.split_once('_')?;
        let edition = if edition == "CORE" { "Core" } else { "Full" };
        let prefix = format!("Windows_Server-{year}-English-{edition}-EKS_Optimized-{version}-");
        Some(Self { prefix, family: Family::Windows })
    }

    /// As a filter of EC2.
    pub fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// The last release among names of images.
    pub fn last<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
        names
            .into_iter()
            .filter_map(|name| name.strip_prefix(&self.prefix))
            .filter(|release| release.bytes().next().is_some_and(|first| first.is_ascii_digit()))
            .max_by_key(|release| self.order(release))
            .map(str::to_owned)
    }

    /// Whether a release of an image comes after the one that EKS says a group has.
    pub fn is_behind(&self, group_release: &str, last: &str) -> bool {
        let own = match self.family {
            Family::Amazon => group_release.rsplit('-').next(),
            Family::Bottlerocket => Some(group_release),
            Family::Windows => group_release.split_once('-').map(|(_, release)| release),
        };
        own.is_some_and(|own| self.order(own) < self.order(last))
    }

    fn order(&self, release: &str) -> Vec<u64> {
        let dated = match self.family {
            Family::Bottlerocket => release.split('-').next().unwrap_or_default(),
            Family::Amazon | Family::Windows => release,
        };
        dated.split(['.', '-']).map(|part| part.parse().unwrap_or(0)).collect()
    }
}

/// `x86_64_STANDARD` or `ARM_64_NVIDIA` into the machine and the rest.
fn split(text: &str) -> Option<(&'static str, &str)> {
    for (said, arch) in [("x86_64", "x86_64"), ("ARM_64", "arm64")] {
        if let Some(rest) = text.strip_prefix(said) {
            return Some((arch, rest.trim_start_matches('_')));
        }
    }
    None
}

impl Eks {
    /// The last release of a series, where AWS has one in this region.
    pub(crate) async fn last_image(&self, series: Series) -> Result<(Series, Option<String>)> {
        let name = aws_sdk_ec2::types::Filter::builder().name("name").values(series.pattern()).build();
        let asked = self.ec2.describe_images().owners("amazon").filters(name).into_paginator().items().send();
        let found = asked.collect::<Result<Vec<_>, _>>().await;
        let found = found.map_err(|error| Error::of("ec2:DescribeImages", error))?;
        let last = series.last(found.iter().filter_map(|image| image.name.as_deref()));
        Ok((series, last))
    }
}
