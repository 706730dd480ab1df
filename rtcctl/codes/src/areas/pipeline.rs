//! Codes of pipelines in Jenkins.

use super::codes;

codes! { PIPELINE;
    PIP001 (CONFIGURATION) "no Jenkins is known",
        "the environment has no jenkins, and there is no [jenkins] url",
        "set jenkins = \"https://…\" for the environment in rtc.toml, [jenkins] url, or RTCCTL_JENKINS";
    PIP002 (CONFIGURATION) "the settings of Jenkins do not go together",
        "there is a user without a token or a token without a user, or the address itself signs in",
        "set user and token in [jenkins]; the token by reference: env:NAME, file:PATH or cmd:COMMAND";
    PIP003 (DENIED) "Jenkins does not know us",
        "there is no user and token, they are wrong or revoked, or a login page stands before it",
        "make an API token in Jenkins (your name, Security) and set [jenkins] user and token in your own configuration";
    PIP004 (DENIED) "Jenkins does not let us",
        "the user lacks a permission, or the request was taken for a forged one",
        "the message names what is missing; with an API token instead of a password no crumb is asked for";
    PIP005 (NOT_FOUND) "there is no such job or build",
        "its name is mistyped, it was deleted, or the user may not see it",
        "rtcctl pipeline list shows the jobs; a branch is named with --branch";
    PIP006 (UNAVAILABLE) "Jenkins does not answer",
        "it is being started again, is overloaded, or the line to it is down",
        "try again; a build goes on without us, and pipeline run --follow takes it up again";
    PIP007 (CONFIGURATION) "that is no Jenkins",
        "something else answers at the address, or Jenkins is at another one",
        "look at the address in rtc.toml; the cause tells what answered";
    PIP008 (USAGE) "the parameters are wrong",
        "the job does not take them, or not with these values; nothing was started",
        "rtcctl pipeline params NAME shows what the job takes";
    PIP009 (CONFLICT) "the job cannot be built now",
        "it is disabled, is no job, or Jenkins refuses to queue it, as before it shuts down",
        "enable it, or try again when Jenkins is up";
    PIP010 (PIPELINE_FAILED) "the build failed",
        "a stage of the pipeline failed",
        "rtcctl pipeline logs NAME --build N shows why";
    PIP011 (PIPELINE_UNSTABLE) "the build is unstable",
        "it ended, and something in it says that its result is not to be relied on, most often tests",
        "rtcctl pipeline logs NAME --build N shows why";
    PIP012 (PIPELINE_ABORTED) "the build was aborted",
        "somebody stopped it, a question was answered with no, or nothing was there to build",
        "rtcctl pipeline status NAME --build N tells more";
    PIP013 (QUEUE_GONE) "the wish to build is gone",
        "somebody took it out of the queue, or Jenkins has forgotten it, which it does five minutes after it left",
        "start it again; rtcctl pipeline status NAME shows whether a build came of it";
    PIP014 (TIMED_OUT) "it is not over in time",
        "the deadline (--timeout) passed; the build goes on in Jenkins",
        "follow it again with rtcctl pipeline run --follow URL, or stop it with rtcctl pipeline stop";
    PIP015 (USAGE) "this names no job",
        "a name is a short name of rtc.toml, folders and job with slashes between them, or an address with /job/ in it",
        "rtcctl pipeline list shows the names";
    PIP016 (NOT_FOUND) "nobody is asked anything",
        "the build waits for no answer, or somebody else has given it",
        "rtcctl pipeline status NAME shows what the build does";
    PIP017 (USAGE) "it is not said which question is meant",
        "the build waits with several",
        "name one with --id";
    PIP018 (CONFIGURATION) "the description of a job is wrong",
        "a file of the folder of jobs does not say what it should",
        "mend the line that the message names; pipelines/jenkins/jobs/README.md has every key";
    PIP019 (CONFLICT) "some jobs must not be changed",
        "they were made by somebody else, are of another kind, or hold what would be lost",
        "the causes name each; --adopt takes over jobs that others made";
    PIP020 (CONFLICT) "somebody else changed the job",
        "its definition is another one than the one that was compared; nothing was overwritten",
        "look at the difference again, then repeat";
    PIP021 (CONFIGURATION) "Jenkins did not take over a definition",
        "it drops what it does not know without a word: most often a plug-in is missing",
        "install the plug-in that the element belongs to, then run pipeline sync again";
    PIP022 (USAGE) "a password stands on the command line",
        "the parameter is a password, and what stands there is seen by others and kept by the shell",
        "give a reference: -p NAME=env:VARIABLE, file:PATH or cmd:COMMAND";
    PIP023 (INTERNAL) "Jenkins answers something unexpected",
        "it refused the request for a reason of its own, or its answer is not understood",
        "see the causes, and the log of Jenkins";
    PIP024 (UNAVAILABLE) "it is not known whether a build was asked for",
        "after the wish was sent the connection broke off, or a proxy answered in the place of Jenkins, or the answer names no item",
        "rtcctl pipeline status NAME shows whether one came of it, before you repeat";
    PIP030 (DONE) "the stages are not told",
        "the plug-in pipeline-rest-api is not installed, or the job is no pipeline; nor are questions told then",
        "install it for stages and questions; logs and results do not need it";
    PIP031 (DONE) "the build waits for an answer",
        "a step of the pipeline asks somebody",
        "rtcctl pipeline input NAME approve, or abort";
    PIP032 (DONE) "jobs are described no more",
        "their files are gone from the folder of jobs; Jenkins still has them and may still build them",
        "rtcctl pipeline sync --prune deletes them, with all their builds";
}
