//! What a scan found, basic or enhanced.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_sdk_ecr::types::{EnhancedImageScanFinding, ImageIdentifier, ImageScanFinding};
use kernel::Timestamp;

use crate::images::at;
use crate::{Ecr, Error, Result};

/// How bad a finding is ("FindingSeverity", API reference); enhanced scans say `UNTRIAGED` for what nobody judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Undefined,
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 6] = [
        Severity::Undefined,
        Severity::Informational,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Undefined => "UNDEFINED",
            Severity::Informational => "INFORMATIONAL",
            Severity::Low => "LOW",
            Severity::Medium => "MEDIUM",
            Severity::High => "HIGH",
            Severity::Critical => "CRITICAL",
        }
    }

    /// What a scanner calls it; what is not known is undefined.
    fn of(text: &str) -> Self {
        text.parse().unwrap_or(Severity::Undefined)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|severity| severity.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().rev().map(|severity| severity.as_str()).collect();
            format!("one of {}", words.join(", "))
        })
    }
}

/// How far the scan is ("ScanStatus", API reference).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing more is to be waited for. Enhanced scans go on for as long as the image is watched: `ACTIVE`.
    Done,
    Running,
    /// There will be no findings: ECR's word for why, and its explanation.
    Impossible {
        status: String,
        reason: String,
    },
}

/// One weakness in one package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub severity: Severity,
    /// `CVE-2024-…`
    pub name: String,
    pub package: String,
    pub version: String,
    /// The version that has it no more, where there is one.
    pub fixed_in: Option<String>,
    pub url: Option<String>,
}

/// Everything that is known of one image, the worst first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub state: State,
    pub completed_at: Option<Timestamp>,
    /// As the scanner counts; may be more than the list has.
    pub counts: BTreeMap<Severity, u64>,
    pub list: Vec<Finding>,
}

impl Findings {
    /// How many are at least so bad.
    pub fn at_least(&self, severity: Severity) -> u64 {
        self.counts.range(severity..).map(|(_, count)| count).sum()
    }
}

impl Ecr {
    /// Asks for a scan. One that was made within 24 hours is not made again ("StartImageScan"), which is no failure.
    pub async fn start_scan(&self, repository: &str, digest: &str) -> Result<()> {
        let started = self
            .client
            .start_image_scan()
            .set_registry_id(self.account.clone())
            .repository_name(repository)
            .image_id(ImageIdentifier::builder().image_digest(digest).build())
            .send()
            .await
            .map_err(|error| Error::of("ecr:StartImageScan", error));
        match started {
            Err(error) if error.code.as_deref() == Some("LimitExceededException") => Ok(()),
            other => other.map(drop),
        }
    }

    /// The findings of an image. `None` where it was never scanned.
    pub async fn findings(&self, repository: &str, digest: &str) -> Result<Option<Findings>> {
        let mut found =
            Findings { state: State::Running, completed_at: None, counts: BTreeMap::new(), list: Vec::new() };
        let mut page_token = None;
        // Every page says the same of all.
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            let page = self
                .client
                .describe_image_scan_findings()
                .set_registry_id(self.account.clone())
                .repository_name(repository)
                .image_id(ImageIdentifier::builder().image_digest(digest).build())
                .set_next_token(page_token)
                .send()
                .await
                .map_err(|error| Error::of("ecr:DescribeImageScanFindings", error));
            let page = match page {
                Ok(page) => page,
                Err(error) if error.code.as_deref() == Some("ScanNotFoundException") => return Ok(None),
                Err(error) => return Err(error),
            };
            if let Some(status) = page.image_scan_status() {
                let word = status.status().map_or("", |status| status.as_str());
                found.state = state(word, status.description().unwrap_or_default());
            }
            if let Some(findings) = page.image_scan_findings() {
                found.completed_at = findings.image_scan_completed_at().map(at);
                for (severity, &count) in findings.finding_severity_counts().into_iter().flatten() {
                    let count = u64::try_from(count).unwrap_or(0);
                    // Words that are not known are counted together.
                    counts.insert(severity.as_str().to_owned(), count);
                }
                found.list.extend(findings.findings().iter().map(basic));
                for finding in findings.enhanced_findings() {
                    enhanced(finding, &mut found.list);
                }
            }
            page_token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if page_token.is_none() {
                break;
            }
        }
        for (word, count) in counts {
            *found.counts.entry(Severity::of(&word)).or_default() += count;
        }
        if found.counts.is_empty() {
            for finding in &found.list {
                *found.counts.entry(finding.severity).or_default() += 1;
            }
        }
        found.list.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.cmp(b)));
        Ok(Some(found))
    }
}

fn state(status: &str, reason: &str) -> State {
    match status {
        "COMPLETE" | "ACTIVE" => State::Done,
        "IN_PROGRESS" | "PENDING" | "" => State::Running,
        other => State::Impossible { status: other.to_owned(), reason: reason.to_owned() },
    }
}

fn basic(finding: &ImageScanFinding) -> Finding {
    let attribute = |key: &str| {
        let found = finding.attributes().iter().find(|attribute| attribute.key() == key);
        found.and_then(|attribute| attribute.value()).map(str::to_owned)
    };
    Finding {
        severity: finding.severity().map_or(Severity::Undefined, |severity| Severity::of(severity.as_str())),
        name: finding.name().unwrap_or("?").to_owned(),
        package: attribute("package_name").unwrap_or_default(),
        version: attribute("package_version").unwrap_or_default(),
        fixed_in: attribute("fixed_in_version"),
        url: finding.uri().map(str::to_owned),
    }
}

/// One line for each package that has it.
fn enhanced(finding: &EnhancedImageScanFinding, list: &mut Vec<Finding>) {
    let details = finding.package_vulnerability_details();
    let severity = finding.severity().map_or(Severity::Undefined, Severity::of);
    let name = details
        .and_then(|details| details.vulnerability_id())
        .or_else(|| finding.title())
        .unwrap_or("?")
        .to_owned();
    let url = details.and_then(|details| details.source_url()).map(str::to_owned);
    let packages = details.map(|details| details.vulnerable_packages()).unwrap_or_default();
    if packages.is_empty() {
        let (package, version) = (String::new(), String::new());
        list.push(Finding { severity, name, package, version, fixed_in: None, url });
        return;
    }
    for package in packages {
        list.push(Finding {
            severity,
            name: name.clone(),
            package: package.name().unwrap_or_default().to_owned(),
            version: package.version().unwrap_or_default().to_owned(),
            fixed_in: package
                .fixed_in_version()
                .filter(|version| *version != "NotAvailable")
                .map(str::to_owned),
            url: url.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_read_in_any_case() {
        assert!(Severity::Critical > Severity::High && Severity::High > Severity::Medium);
        assert_eq!("high".parse(), Ok(Severity::High));
        assert!("hihg".parse::<Severity>().is_err());
        assert_eq!(Severity::of("UNTRIAGED"), Severity::Undefined);
    }

    #[test]
    fn what_is_at_least_so_bad_is_counted() {
        let counts = [(Severity::Low, 5), (Severity::High, 2), (Severity::Critical, 1)].into();
        let found = Findings { state: State::Done, completed_at: None, counts, list: Vec::new() };
        assert_eq!((found.at_least(Severity::High), found.at_least(Severity::Undefined)), (3, 8));
    }

    #[test]
    fn a_status_says_whether_to_wait() {
        assert_eq!(state("COMPLETE", ""), State::Done);
        assert_eq!(state("ACTIVE", ""), State::Done);
        assert_eq!(state("PENDING", ""), State::Running);
        assert!(matches!(state("UNSUPPORTED_IMAGE", "no layers"), State::Impossible { .. }));
    }
}
