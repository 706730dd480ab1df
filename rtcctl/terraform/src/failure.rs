//! What went wrong, from the words of Terraform: it has one exit code for everything.
//!
//! Invariants: what is not recognised is [`Failure::Other`] and never guessed; only reading and planning may be done
//! again, and only after what is known to pass by itself.

use crate::stream::{Diagnostic, Severity};

/// Who holds a state, as Terraform's `Lock Info` says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    pub id: String,
    /// Where the state is.
    pub path: String,
    /// For example `OperationTypeApply`.
    pub operation: String,
    /// `user@host`
    pub who: String,
    /// When it was taken, as Terraform writes it: `2026-11-21 09:30:00.1 +0000 UTC`.
    pub created: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another run holds the state.
    Locked(Lock),
    /// The state has changed since the plan.
    StalePlan,
    /// `prevent_destroy` stands against it.
    Prevented {
        address: String,
    },
    /// AWS does not know us, or no longer.
    Credentials,
    /// We are known and may not.
    Denied,
    /// `terraform init` has not been run, or for another configuration.
    Uninitialised,
    /// The configuration or a variable is wrong.
    Configuration,
    ProviderCrashed,
    /// The state could not be written: it lies beside the configuration, and nowhere else.
    StateNotSaved,
    /// It passes by itself: a throttled or broken request.
    Transient,
    Other,
}

impl Failure {
    /// Whether planning again may help. An apply is never repeated: it begins with a new plan.
    pub fn is_transient(&self) -> bool {
        matches!(self, Failure::Transient)
    }
}

/// The words by which a failure is known, the surer ones first.
const WORDS: [(&str, fn() -> Failure); 33] = [
    ("Failed to save state", || Failure::StateNotSaved),
    ("Failed to persist state", || Failure::StateNotSaved),
    ("errored.tfstate", || Failure::StateNotSaved),
    ("Saved plan is stale", || Failure::StalePlan),
    ("Saved plan does not match the given state", || Failure::StalePlan),
    ("Plugin did not respond", || Failure::ProviderCrashed),
    ("The plugin encountered an error", || Failure::ProviderCrashed),
    ("Request cancelled", || Failure::ProviderCrashed),
    ("panic: ", || Failure::ProviderCrashed),
    ("Backend initialization required", || Failure::Uninitialised),
    ("Backend configuration changed", || Failure::Uninitialised),
    ("Module not installed", || Failure::Uninitialised),
    ("Module source has changed", || Failure::Uninitialised),
    ("Required plugins are not installed", || Failure::Uninitialised),
    ("Inconsistent dependency lock file", || Failure::Uninitialised),
    ("No valid credential sources", || Failure::Credentials),
    ("failed to refresh cached credentials", || Failure::Credentials),
    ("ExpiredToken", || Failure::Credentials),
    ("InvalidClientTokenId", || Failure::Credentials),
    ("UnrecognizedClientException", || Failure::Credentials),
    ("AccessDenied", || Failure::Denied),
    ("UnauthorizedOperation", || Failure::Denied),
    ("ThrottlingException", || Failure::Transient),
    ("RequestLimitExceeded", || Failure::Transient),
    ("Rate exceeded", || Failure::Transient),
    ("SlowDown", || Failure::Transient),
    ("connection reset by peer", || Failure::Transient),
    ("TLS handshake timeout", || Failure::Transient),
    ("i/o timeout", || Failure::Transient),
    ("StatusCode: 503", || Failure::Transient),
    ("Reference to undeclared", || Failure::Configuration),
    ("Failed to read variables file", || Failure::Configuration),
    ("Invalid target \"", || Failure::Configuration),
];

/// Judges the errors of a run and what it wrote beside them. The first that is recognised decides, the locked state and
/// the state that was not saved before all.
pub fn judge<'a>(diagnostics: impl Iterator<Item = &'a Diagnostic> + Clone, talk: &str) -> Failure {
    let errors = diagnostics.filter(|diagnostic| diagnostic.severity == Severity::Error);
    let texts = || {
        errors
            .clone()
            .map(|error| format!("{}\n{}", error.summary, error.detail))
            .chain(std::iter::once(talk.to_owned()))
    };
    if let Some(lock) = texts().find_map(|text| lock(&text)) {
        return Failure::Locked(lock);
    }
    if let Some(error) = errors.clone().find(|error| error.summary == "Instance cannot be destroyed") {
        return Failure::Prevented { address: prevented(error) };
    }
    for (words, failure) in WORDS {
        if texts().any(|text| text.contains(words)) {
            return failure();
        }
    }
    // What points into the configuration and failed before anything was asked of AWS.
    let is_configuration = |error: &Diagnostic| {
        error.range.is_some()
            && error.address.is_none()
            && ["Invalid", "Unsupported", "Missing", "Unknown", "No value for required variable", "Argument"]
                .iter()
                .any(|words| error.summary.starts_with(words))
    };
    if errors.clone().any(is_configuration) {
        return Failure::Configuration;
    }
    Failure::Other
}

/// "Resource aws_db_instance.primary has lifecycle.prevent_destroy set, but …": the address may be in the text alone.
fn prevented(error: &Diagnostic) -> String {
    error
        .address
        .clone()
        .or_else(|| {
            let rest = error.detail.split("Resource ").nth(1)?;
            rest.split_whitespace().next().map(str::to_owned)
        })
        .unwrap_or_default()
}

/// The `Lock Info` of an error, whether its block is indented or framed.
pub fn lock(text: &str) -> Option<Lock> {
    let (_, block) = text.split_once("Lock Info:")?;
    let mut lock = Lock::default();
    for line in block.lines() {
        let line = line.trim_start_matches([' ', '│', '\t']).trim_end();
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim().to_owned();
        match name {
            "ID" => lock.id = value,
            "Path" => lock.path = value,
            "Operation" => lock.operation = value,
            "Who" => lock.who = value,
            "Created" => lock.created = value,
            _ => {}
        }
    }
    (!lock.id.is_empty()).then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Position, Range};

    fn error(summary: &str, detail: &str) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            summary: summary.to_owned(),
            detail: detail.to_owned(),
            address: None,
            range: None,
        }
    }

    const LOCKED: &str = "Error message: operation error S3: PutObject, https response error StatusCode: 412\n\
        Lock Info:\n  ID:        5b0c8b1e-1111-2222-3333-444455556666\n  Path:      rtc-state/dev/terraform.tfstate\n  \
        Operation: OperationTypeApply\n  Who:       kim@build-7\n  Version:   1.11.4\n  \
        Created:   2026-11-21 09:30:00.123456789 +0000 UTC\n  Info:      \n\n\nTerraform acquires a state lock";

    fn held() -> Lock {
        Lock {
            id: "5b0c8b1e-1111-2222-3333-444455556666".to_owned(),
            path: "rtc-state/dev/terraform.tfstate".to_owned(),
            operation: "OperationTypeApply".to_owned(),
            who: "kim@build-7".to_owned(),
            created: "2026-11-21 09:30:00.123456789 +0000 UTC".to_owned(),
        }
    }

    #[test]
    fn a_held_lock_says_who_and_since_when() {
        let failure = judge([error("Error acquiring the state lock", LOCKED)].iter(), "");
        assert_eq!(failure, Failure::Locked(held()));
    }

    #[test]
    fn a_lock_in_a_frame_on_stderr_is_read_as_well() {
        let framed: String = LOCKED.lines().map(|line| format!("│ {line}\n")).collect();
        assert_eq!(judge([].iter(), &framed), Failure::Locked(held()));
    }

    #[test]
    fn each_failure_is_known_by_its_words() {
        for (summary, detail, failure) in [
            ("Saved plan is stale", "The given plan file can no longer be applied", Failure::StalePlan),
            (
                "Plugin did not respond",
                "The plugin encountered an error, and failed to respond",
                Failure::ProviderCrashed,
            ),
            ("Backend initialization required, please run \"terraform init\"", "", Failure::Uninitialised),
            ("No valid credential sources found", "Please see …", Failure::Credentials),
            (
                "reading EC2 VPC (vpc-1)",
                "api error UnauthorizedOperation: You are not authorized",
                Failure::Denied,
            ),
            ("reading EC2 VPC (vpc-1)", "api error RequestLimitExceeded: slow down", Failure::Transient),
            ("Failed to save state", "Error saving state: no route to host", Failure::StateNotSaved),
            ("creating EC2 VPC", "api error VpcLimitExceeded: too many", Failure::Other),
        ] {
            assert_eq!(judge([error(summary, detail)].iter(), ""), failure, "{summary}");
        }
    }

    #[test]
    fn a_state_that_was_not_saved_outweighs_what_else_went_wrong() {
        let errors = [
            error("creating x", "connection reset by peer"),
            error("Failed to save state", "no route to host"),
        ];
        assert_eq!(judge(errors.iter(), ""), Failure::StateNotSaved);
    }

    #[test]
    fn prevention_names_the_resource() {
        let detail =
            "Resource module.rds.aws_db_instance.primary has lifecycle.prevent_destroy set, but the plan …";
        assert_eq!(
            judge([error("Instance cannot be destroyed", detail)].iter(), ""),
            Failure::Prevented { address: "module.rds.aws_db_instance.primary".to_owned() }
        );
    }

    #[test]
    fn a_wrong_configuration_is_told_from_a_refusal_of_aws() {
        let range = Some(Range { filename: "main.tf".to_owned(), start: Position { line: 3 } });
        let wrong = Diagnostic { range, ..error("Unsupported argument", "An argument named …") };
        assert_eq!(judge([wrong.clone()].iter(), ""), Failure::Configuration);
        let of_aws = Diagnostic { address: Some("aws_vpc.main".to_owned()), ..wrong };
        assert_eq!(judge([of_aws].iter(), ""), Failure::Other);
    }

    #[test]
    fn warnings_decide_nothing() {
        let warning = Diagnostic { severity: Severity::Warning, ..error("Saved plan is stale", "") };
        assert_eq!(judge([warning].iter(), ""), Failure::Other);
    }

    #[test]
    fn only_what_passes_by_itself_may_be_tried_again() {
        let transient: Vec<Failure> =
            WORDS.iter().map(|(_, failure)| failure()).filter(Failure::is_transient).collect();
        assert!(!transient.is_empty() && transient.iter().all(|failure| *failure == Failure::Transient));
    }
}
