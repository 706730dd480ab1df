//! What is known of a cluster, under codes.

use codes::Code;
use eks::{Concern, What};

use crate::output::{Finding, Report, Severity};

/// Adds what an operator should know; what is wrong makes the answer one of a degraded cluster.
pub fn with_concerns(mut report: Report, concerns: Vec<Concern>) -> Report {
    for concern in concerns {
        let severity = match concern.severity {
            eks::Severity::Info => Severity::Info,
            eks::Severity::Warning => Severity::Warning,
            eks::Severity::Error => Severity::Error,
        };
        if severity == Severity::Error && report.status == "ok" {
            report.status = "degraded";
        }
        let finding = Finding::new(code(concern.what), severity, concern.message);
        report.findings.push(match concern.hint {
            Some(hint) => finding.with_hint(hint),
            None => finding,
        });
    }
    report
}

fn code(what: What) -> &'static Code {
    match what {
        What::NotSeen => &codes::CLU020,
        What::ClusterStatus => &codes::CLU021,
        What::ClusterIssue => &codes::CLU022,
        What::Insight => &codes::CLU023,
        What::VersionSupport => &codes::CLU024,
        What::OpenToAll => &codes::CLU025,
        What::NoAuditLog => &codes::CLU026,
        What::OldAuthentication => &codes::CLU027,
        What::Addon => &codes::CLU028,
        What::NoDeletionProtection => &codes::CLU029,
        What::GroupIssue => &codes::CLU030,
        What::GroupStatus => &codes::CLU031,
        What::MissingInstances => &codes::CLU032,
        What::VersionSkew => &codes::CLU033,
        What::OldImage => &codes::CLU034,
        What::OneZone | What::NoNodes => &codes::CLU035,
        What::FewAddresses => &codes::CLU036,
        What::NoFreePods => &codes::CLU037,
        What::SurgeNeedsNodes | What::SurgeDoesNotFit => &codes::CLU038,
    }
}

/// A dash where there is nothing.
pub fn or_dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    }
}
