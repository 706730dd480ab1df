//! What an operator should know of a cluster, beside what it is.

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// Something may not be looked at, or AWS did not answer.
    NotSeen,
    ClusterStatus,
    ClusterIssue,
    Insight,
    /// The version of Kubernetes is supported no longer, or soon.
    VersionSupport,
    /// Everybody on the internet reaches the API.
    OpenToAll,
    NoAuditLog,
    /// Who may sign in is in a ConfigMap inside the cluster.
    OldAuthentication,
    Addon,
    NoDeletionProtection,
    GroupIssue,
    GroupStatus,
    /// Fewer machines run than are wanted.
    MissingInstances,
    /// Nodes run an older Kubernetes than the cluster.
    VersionSkew,
    OldImage,
    OneZone,
    NoNodes,
    FewAddresses,
    NoFreePods,
    SurgeNeedsNodes,
    SurgeDoesNotFit,
}

/// One thing to know, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    pub what: What,
    pub severity: Severity,
    pub message: String,
    pub hint: Option<String>,
}

impl Concern {
    pub(crate) fn new(what: What, severity: Severity, message: impl Into<String>) -> Self {
        Self { what, severity, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// From a question that was refused.
    pub fn not_seen(error: &aws::Error) -> Self {
        let concern = Self::new(What::NotSeen, Severity::Warning, format!("not looked at: {error}"));
        match error.kind {
            aws::Kind::Denied => concern.hint(format!("allow {} to whoever looks", error.operation)),
            aws::Kind::Throttled | aws::Kind::Unreachable | aws::Kind::Fault => {
                concern.hint("ask again in a minute")
            }
            _ => concern,
        }
    }
}
