//! The stable codes of what can go wrong with a rollout, with what there is to say about each, offline.
//!
//! Invariants: a code, once published, keeps its meaning and is never given to something else; a failure cannot be
//! told without one.

use serde::{Serialize, Serializer};

/// When a failure of this code ends a rollout, unless the failure itself says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// At once: it does not pass by itself.
    AtOnce,
    /// When it came more often than is allowed.
    Counted,
    /// Not by itself: it may pass, and only the time without progress ends it.
    Passing,
}

macro_rules! codes {
    ($($name:ident $id:literal $ending:ident $summary:literal, $cause:literal, $action:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $summary] $name,)*
        }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// Three letters for the area, three digits.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $id,)* }
            }

            pub fn ending(self) -> Ending {
                match self { $(Code::$name => Ending::$ending,)* }
            }

            /// What happened, in one line.
            pub fn summary(self) -> &'static str {
                match self { $(Code::$name => $summary,)* }
            }

            /// Why it happens.
            pub fn cause(self) -> &'static str {
                match self { $(Code::$name => $cause,)* }
            }

            /// What to do about it.
            pub fn action(self) -> &'static str {
                match self { $(Code::$name => $action,)* }
            }
        }
    };
}

codes! {
    ImageMissing "ROL001" AtOnce "the image is not in the registry",
        "the tag or the digest was never pushed, was deleted by a lifecycle rule, or the repository is another one",
        "push it, or name one that exists: rtcctl image ls shows what there is";
    PlatformMissing "ROL002" AtOnce "the image has nothing for the machine of the node",
        "it was built for another architecture than the node's",
        "build it for both platforms, or keep the pods on nodes of the other architecture";
    PullDenied "ROL003" AtOnce "the registry does not let the node pull the image",
        "the node's role may not read the repository, or the pull secret is missing or expired; some registries say the same of what is not there",
        "give the node role read access to the repository; check the repository's policy and imagePullSecrets";
    RegistryAway "ROL004" Passing "the registry does not answer, or not now",
        "a limit of requests, a failure on its side, or no way to it from the node's network",
        "wait; look at endpoints, routes and name resolution of the node's subnet when it does not pass";
    ImageUnusable "ROL005" AtOnce "the image cannot be used as it is named",
        "the reference is malformed, its signature is not accepted, or pulling is forbidden and the node does not have it",
        "mend the image's reference or imagePullPolicy";
    PullFailed "ROL006" Passing "the image cannot be pulled",
        "the node says so without a reason that is known",
        "look at the events of the pod";
    Crashed "ROL010" Counted "a container ends again and again",
        "the program ended by itself, with the exit code in the message",
        "read its last log, and what changed since the last good revision";
    OutOfMemory "ROL011" Counted "a container was killed because its memory was used up",
        "it needs more than its limit, at the start or under load",
        "raise the memory limit, or find what it is used for";
    ConfigMissing "ROL012" AtOnce "a ConfigMap or Secret that the pod needs is missing, or a key in it",
        "it was not applied, has another name, or lies in another namespace",
        "apply what the message names, or mark the reference optional";
    WrongFormat "ROL013" AtOnce "the program is for another machine",
        "the node cannot execute the binary: it was built for another architecture, or is no program at all",
        "build the image for the node's architecture; rtcctl image inspect shows what it is for";
    StartRefused "ROL014" AtOnce "a container cannot be started",
        "the command does not exist in the image, may not be executed, or the security context forbids it",
        "mend the command, the image or the security context";
    NeverReady "ROL015" Passing "a container runs and does not become ready",
        "its readiness probe fails: the program is not up yet, waits for something, or the probe asks the wrong thing",
        "look at the probe's answer in the message and at the container's log";
    StartupProbe "ROL016" Counted "a container is killed before it is up",
        "its start-up probe failed until its patience was used up",
        "raise failureThreshold × periodSeconds above the longest start, or find what the start waits for";
    LivenessProbe "ROL017" Counted "a container is killed by its liveness probe",
        "it stopped answering, or the probe is stricter than the program under load",
        "look at the probe's answer; a liveness probe should not depend on other services";
    InitFailed "ROL018" Counted "an init container fails",
        "what has to be done before the start is not done",
        "read the init container's log";
    GateClosed "ROL019" Passing "the pods are ready, and something outside does not agree",
        "a readiness gate is not open: the load balancer's health check does not succeed yet",
        "look at the target group's health check: path, port, security group";
    NoRoom "ROL020" Passing "no node has room for a pod",
        "processor, memory, pods or addresses of the nodes are used up",
        "add nodes or lower the requests; rtcctl cluster capacity shows what is free";
    Tainted "ROL021" Passing "the nodes keep the pod away",
        "every node that has room has a taint that the pod does not tolerate",
        "tolerate the taint, or add nodes without it";
    NoMatch "ROL022" Passing "no node is as the pod wants it",
        "its node selector, affinity or topology spread matches none",
        "mend the selector, or label the nodes";
    VolumeUnbound "ROL023" Passing "the pod's volume is where no node is, or nowhere",
        "a claim is not bound, or its volume lies in a zone without a free node",
        "look at the claim and its storage class";
    NodeComing "ROL024" Passing "a node is coming",
        "there was no room, and the autoscaler is adding a node",
        "wait; it takes one to five minutes";
    NoSandbox "ROL025" Passing "the node cannot give the pod a network",
        "no free address in the subnet, or the network plug-in is not up",
        "look at the subnet's free addresses: rtcctl cluster capacity";
    Gated "ROL026" Passing "the pod is held back from scheduling",
        "a scheduling gate is set, and whoever set it has not lifted it",
        "look at who sets it: a quota or a queue controller";
    QuotaExceeded "ROL030" Passing "the quota of the namespace is used up",
        "the pods of both versions together are more than it allows",
        "raise the quota, or let old pods go first (maxUnavailable above 0)";
    QuotaDemands "ROL031" AtOnce "the quota of the namespace demands what the pod does not say",
        "a quota on requests or limits refuses containers without them",
        "set the requests and limits that the message names";
    Refused "ROL032" AtOnce "the pods are refused by admission",
        "a webhook, a policy or a limit range does not let them in",
        "do what the message says, or ask whoever owns the policy";
    PodSecurity "ROL033" AtOnce "the pods are refused by Pod Security",
        "the namespace enforces a standard that the security context does not keep",
        "set in the security context what the message names";
    WebhookAway "ROL034" Passing "an admission webhook does not answer",
        "the service behind it is down, and it is set to fail closed",
        "bring the webhook's service up";
    NotCreated "ROL035" Passing "the pods cannot be created",
        "a service account is missing, or the API refuses for a reason that is not known",
        "do what the message says";
    BudgetDeadlock "ROL036" Passing "a disruption budget never lets a pod go",
        "it demands as many healthy pods as there are, so that a node can never be emptied",
        "allow one disruption: maxUnavailable 1, or minAvailable below the replicas";
    NodeLost "ROL040" Passing "a node is lost",
        "it stopped reporting: it was terminated, has no memory left, or its network is cut",
        "wait for the pods to be made elsewhere; look at the instance";
    Evicted "ROL041" Passing "a pod was evicted",
        "the node ran short of memory, disk or processes, or is being emptied",
        "raise the requests to what is used, or add nodes";
    Preempted "ROL042" Passing "a pod had to give way to a more important one",
        "the scheduler made room for a pod of higher priority",
        "add nodes, or raise the priority class";
    NodeRefused "ROL043" Passing "the node refused a pod that it was given",
        "its room was taken in between, or a device is missing",
        "nothing if it passes; look at the node otherwise";
    VolumeFailed "ROL046" Passing "a volume cannot be mounted",
        "it is attached elsewhere, its file system cannot be reached, or the driver is not up",
        "look at the driver's pods, and at who has the volume";
    JobFailed "ROL050" AtOnce "a job failed",
        "its pods failed more often than it allows, or its time was up",
        "read the last pod's log; a migration that failed half-way says how far it got";
    DeadlineExceeded "ROL060" AtOnce "the rollout made no progress within its own deadline",
        "the controller gave up: progressDeadlineSeconds passed without a new available pod",
        "look at the pods' states below";
    NoActivity "ROL061" AtOnce "nothing has moved for too long",
        "no pod, container or count changed during the time without activity, and nothing says why",
        "look at the pods' states below; raise --no-activity when this is normal";
    OutOfTime "ROL062" AtOnce "the rollout is not done within the given time",
        "the deadline passed while it was still under way; what becomes of it is not known",
        "rtcctl deploy status shows where it stands; raise --timeout";
    Deleted "ROL063" AtOnce "what was rolled out was deleted",
        "somebody deleted the workload while it was watched",
        "find out who; apply it again";
    Recreated "ROL064" AtOnce "what was rolled out was deleted and made anew",
        "there is a workload of the same name that is not the one that was applied",
        "find out who; apply again";
    Paused "ROL065" Passing "the rollout is paused",
        "spec.paused is set, so the controller does nothing",
        "resume it: kubectl rollout resume";
    WrongDigest "ROL066" AtOnce "the pods run another image than was rolled out",
        "a tag was moved, or an admission webhook changed the image",
        "deploy by digest; look for a webhook that rewrites images";
    Superseded "ROL067" AtOnce "somebody else rolled something else out meanwhile",
        "the workload's template was changed after this rollout began",
        "agree on who deploys; rtcctl deploy history shows both";
    OnDelete "ROL068" Passing "the old pods stay until somebody deletes them",
        "the update strategy is OnDelete",
        "delete the old pods one by one, or use RollingUpdate";
    StuckPod "ROL069" Passing "a broken pod of an older revision holds the set up",
        "a StatefulSet goes on only when each pod is ready, and does not replace a broken one by itself, also not after a rollback",
        "delete the pod that the message names; the set makes it anew from the present template";
}

impl Code {
    pub fn named(id: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.id() == id)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Code::named(&id).ok_or_else(|| serde::de::Error::custom(format!("no such code: {id:?}")))
    }
}
