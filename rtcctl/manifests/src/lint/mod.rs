//! What makes a rollout, a node that goes or a burst cost requests, found before anything is applied.
//!
//! - [`check`] takes objects of whatever origin, whole lists of them: what belongs together is looked at together;
//! - every finding has a code that stays, the object, what is wrong and what helps.
//!
//! Invariants: nothing is reported of what is not in the list, unless the list says that it should be; what
//! [`crate::render()`] makes has no findings.

mod links;
mod pods;
mod rolling;
mod view;

use serde::Serialize;
use serde_json::Value;

use view::View;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Requests are lost, or nothing rolls at all.
    Error,
    /// They are as soon as something else goes wrong too.
    Warning,
}

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    NoReadinessProbe,
    NoPause,
    GraceTooShort,
    AllAtOnce,
    Recreated,
    EvictionBlocked,
    BudgetsOverlap,
    ReplicasFought,
    TagNotDigest,
    NoResources,
    LivenessAsksDependencies,
    NotSpread,
    SecretInTheOpen,
    SelectorMissesTemplate,
    SelectsNothing,
    PortMissing,
    ProbePortMissing,
    NothingToMeasure,
    ScalesNothing,
    NoReadinessGate,
    ReferenceMissing,
}

/// A code with what it means.
pub struct Meaning {
    pub code: Code,
    /// As people and other programs name it.
    pub id: &'static str,
    pub severity: Severity,
    pub title: &'static str,
    pub hint: &'static str,
}

macro_rules! meanings {
    ($(($code:ident, $id:literal, $severity:ident, $title:literal, $hint:literal),)*) => {
        /// Every code there is.
        pub const MEANINGS: [Meaning; [$($id),*].len()] = [
            $(Meaning { code: Code::$code, id: $id, severity: Severity::$severity, title: $title, hint: $hint },)*
        ];
    };
}

meanings![
    (
        NoReadinessProbe,
        "LNT001",
        Error,
        "a container that serves has no readiness probe",
        "without one a pod is sent requests as soon as its process exists; give it a readinessProbe"
    ),
    (
        NoPause,
        "LNT002",
        Error,
        "a pod that serves is told to stop while it is still sent requests",
        "endpoints vanish from nodes some seconds later; give it lifecycle.preStop.sleep of 5 s or more"
    ),
    (
        GraceTooShort,
        "LNT003",
        Error,
        "a pod is killed before it has drained",
        "terminationGracePeriodSeconds has to exceed preStop and the time that the process drains for"
    ),
    (
        AllAtOnce,
        "LNT004",
        Error,
        "a rollout may take every replica at once",
        "set maxUnavailable to 0 and maxSurge to 1 or more"
    ),
    (
        Recreated,
        "LNT005",
        Error,
        "a rollout ends the old before it begins the new",
        "use the strategy RollingUpdate"
    ),
    (
        EvictionBlocked,
        "LNT006",
        Error,
        "a disruption budget allows no eviction, so no node can be emptied",
        "set maxUnavailable to 1, or minAvailable below the least number of replicas"
    ),
    (
        BudgetsOverlap,
        "LNT007",
        Error,
        "pods have two disruption budgets, and eviction refuses those",
        "let one budget select each pod"
    ),
    (
        ReplicasFought,
        "LNT008",
        Error,
        "replicas are set and an autoscaler sets them too",
        "leave spec.replicas out: every apply would undo what the autoscaler decided"
    ),
    (
        TagNotDigest,
        "LNT009",
        Error,
        "an image is named by tag",
        "name it by digest: a tag may be another image on the next node"
    ),
    (
        NoResources,
        "LNT010",
        Error,
        "a container asks for no CPU or memory, or may take any memory",
        "set requests for both and a limit for memory: otherwise it is the first to be evicted, and starves its neighbours"
    ),
    (
        LivenessAsksDependencies,
        "LNT011",
        Error,
        "a liveness probe asks what the readiness probe asks",
        "let it ask for the process alone: when a dependency goes, every pod would be restarted with it"
    ),
    (
        NotSpread,
        "LNT012",
        Warning,
        "replicas may all be on one node",
        "set topologySpreadConstraints over zones and hosts"
    ),
    (
        SecretInTheOpen,
        "LNT013",
        Error,
        "a secret stands in the manifest",
        "refer to a Secret, and change the one that stood here"
    ),
    (
        SelectorMissesTemplate,
        "LNT014",
        Error,
        "a selector does not match the labels of its own pods",
        "the cluster refuses it; let the template carry the selector's labels"
    ),
    (
        SelectsNothing,
        "LNT015",
        Error,
        "something selects pods that nobody makes",
        "compare its selector with the labels of the pods"
    ),
    (
        PortMissing,
        "LNT016",
        Error,
        "a Service leads to a port that its pods do not have",
        "compare targetPort with the ports of the containers"
    ),
    (
        ProbePortMissing,
        "LNT017",
        Error,
        "a probe names a port that the container does not have",
        "name one of its ports"
    ),
    (
        NothingToMeasure,
        "LNT018",
        Error,
        "an autoscaler measures a share of a request that is not made",
        "set the request of that resource on every container"
    ),
    (
        ScalesNothing,
        "LNT019",
        Error,
        "an autoscaler scales what is not there",
        "compare scaleTargetRef with the names of the workloads"
    ),
    (
        NoReadinessGate,
        "LNT020",
        Warning,
        "a rollout does not wait until the load balancer knows the new pods",
        "label the namespace elbv2.k8s.aws/pod-readiness-gate-inject=enabled"
    ),
    (
        ReferenceMissing,
        "LNT021",
        Error,
        "a pod refers to what nobody makes",
        "it would never start; compare the names"
    ),
];

impl Code {
    pub fn meaning(self) -> &'static Meaning {
        // Every code is in the table: a test walks it.
        MEANINGS.iter().find(|meaning| meaning.code == self).unwrap_or(&MEANINGS[0])
    }

    /// `LNT001` and so on.
    pub fn id(self) -> &'static str {
        self.meaning().id
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub id: &'static str,
    /// `Deployment/namespace/name`.
    pub object: String,
    pub message: String,
    pub hint: &'static str,
    pub code: Code,
}

/// Looks at all of them together. The worst come first.
pub fn check(objects: &[Value]) -> Vec<Finding> {
    let flat = view::flatten(objects);
    let view = View::of(&flat);
    let mut findings = Findings::default();
    for workload in &view.workloads {
        pods::check(&view, workload, &mut findings);
        rolling::workload(&view, workload, &mut findings);
    }
    rolling::budgets(&view, &mut findings);
    rolling::autoscalers(&view, &mut findings);
    links::check(&view, &mut findings);
    findings.0.sort();
    findings.0.dedup();
    findings.0
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, code: Code, object: &Value, message: impl Into<String>) {
        let meaning = code.meaning();
        self.0.push(Finding {
            severity: meaning.severity,
            id: meaning.id,
            object: view::name(object),
            message: message.into(),
            hint: meaning.hint,
            code,
        });
    }
}
