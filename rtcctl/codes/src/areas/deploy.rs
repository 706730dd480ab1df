//! Codes of describing, applying and rolling out a release.

use super::codes;

codes! { DEPLOY;
    DEP001 (CONFIGURATION) "nothing says what is to run",
        "rtc.toml has neither [deploy] nor [environments.NAME.deploy] for the environment",
        "choose another environment with --env, or describe it: docs/MANIFESTS.md";
    DEP002 (CONFIGURATION) "the description cannot be meant",
        "values contradict one another, are missing, or name what is not there",
        "mend every key that the causes name, in rtc.toml";
    DEP003 (CONFIGURATION) "the outputs of the infrastructure are not usable",
        "the file has no output rtc, is of another environment, or nothing has been applied yet",
        "rtcctl infra outputs -o json > FILE and --outputs FILE, or leave --outputs out to ask Terraform";
    DEP004 (USAGE) "it is not said which image",
        "a release is one image, named by its digest",
        "pass --image REPOSITORY@sha256:DIGEST, as rtcctl image push prints it; a tag is looked up";
    DEP005 (USAGE) "this names no image that stays the same",
        "a tag moves, and the registry could not be asked what it stands for",
        "pass --image REPOSITORY@sha256:DIGEST";
    DEP006 (CONFIGURATION) "a manifest cannot be read",
        "the file is not there, or is neither YAML nor JSON",
        "look at the file that the message names";
    DEP008 (CONFIGURATION) "a file cannot be written",
        "the folder is not there, this user may not, or the disk is full",
        "see to what the causes say";
    DEP009 (REFUSED) "a guard does not let this release through",
        "its manifests would lose requests during a rollout",
        "mend what the causes name; rtcctl deploy lint shows everything";
    DEP010 (CONFLICT) "fields are owned by somebody else",
        "another program or person applied other values to the same fields",
        "agree on who owns them; --force-conflicts takes them; nothing was changed";
    DEP011 (REFUSED) "the cluster does not accept the release",
        "objects are not valid there, their kinds are not installed, or a policy refuses them",
        "see to each object that the causes name; nothing was changed";
    DEP012 (DONE) "something is left over",
        "objects of an earlier release are not described any more",
        "rtcctl deploy apply --prune shows them and deletes what may go";
    DEP013 (NOT_FOUND) "there is no such revision",
        "the number is another one, or the revision is too old to be kept",
        "rtcctl deploy history lists what there is";
    DEP014 (NOT_FOUND) "there is nothing to go back to",
        "no earlier revision came through",
        "roll out a version that works: rtcctl deploy rollout --image";
    DEP015 (CONFIGURATION) "the gate is none",
        "the file is not there, is no TOML, or a check of it says nothing",
        "docs/DEPLOY.md shows a gate; every [[check]] has a name, an expr, and min or max";
    DEP016 (USAGE) "this does not go together",
        "one option asks for what another one excludes",
        "see the message";
    DEP017 (CONFLICT) "that run cannot go on",
        "it has ended, another process works on it, a newer revision came, or it is of another cluster",
        "rtcctl runs list and rtcctl deploy history show what there is; begin a new one";
    DEP018 (CONFIGURATION) "a second version has nothing to stand beside",
        "nothing was rolled out yet, what runs was not kept with its description, or no target runs before and after",
        "roll out once with --strategy rolling";
    DEP019 (UNAVAILABLE) "the run stopped half-way",
        "the cluster or the journal could not be reached any more",
        "take it up again: rtcctl deploy rollout --resume RUN; what was done is not done twice";
    DEP020 (ROLLOUT_FAILED) "the rollout failed and was not rolled back",
        "pods of the new version did not become ready, or did not stay so",
        "rtcctl deploy status; rtcctl deploy rollback; the evidence is beside the journal";
    DEP021 (ROLLED_BACK) "the rollout failed and the version before is back",
        "pods of the new version did not become ready, or the gate did not let them through",
        "look at the evidence; what ran before runs again";
    DEP022 (ROLLBACK_FAILED) "the rollout failed, and so did the way back",
        "the version before does not become ready either, or the cluster does not accept it",
        "look at once: rtcctl deploy status, rtcctl deploy diagnose";
    DEP023 (TIMED_OUT) "the rollout is not done in time",
        "the deadline passed while it was under way; what becomes of it is not known",
        "rtcctl deploy status --watch; raise --timeout";
    DEP024 (BREACHED) "the gate saw a threshold breached",
        "every pod runs, and the metrics are worse than allowed",
        "look at what the gate says; rtcctl deploy rollback takes it back";
    DEP025 (INCONCLUSIVE) "the gate could not say",
        "there is no data, there are too few samples, or the metrics cannot be asked",
        "look at rtcctl metrics targets; decide yourself: rtcctl deploy rollback, or leave it";
    DEP026 (INCONCLUSIVE) "a second version waits for somebody",
        "its step wants approval, or the analysis cannot say",
        "rtcctl deploy rollout --resume RUN with --approve, --promote or --abort";
    DEP027 (REFUSED) "there is no room for the release twice",
        "blue-green brings everything up beside what runs, and a quota of the namespace does not hold that",
        "raise the ResourceQuota, name fewer --targets, or roll pod by pod: --strategy rolling; nothing was changed";
    DEP028 (CONFLICT) "another run of the release is under way",
        "somebody rolls out, or a run of theirs waits for a word, however long that takes",
        "wait for it, say how it goes on, or end it: rtcctl deploy rollout --resume RUN; then go on";
    DEP030 (BREACHED) "requests were lost during the rollout",
        "the load that was driven through the entry point did not see every request answered",
        "look at the drain: preStop, the notice, the grace period; rtcctl deploy lint";
    DEP031 (INCONCLUSIVE) "nobody knows whether requests were lost",
        "too few requests were sent, or most of them were refused",
        "look at the address of the entry point (--prove URL) and at the rate";
}
