//! Codes of releases from plan to proof.

use super::codes;

codes! { SHIP;
    SHP001 (USAGE) "this makes no release",
        "a step is left out that another one needs, or that is never left out",
        "leave out what needs it too, or give what it would have given: --image REFERENCE";
    SHP002 (CONFLICT) "this run cannot be gone on with",
        "it is no release, it is over, it is of another environment, or somebody has brought another version since it was begun",
        "rtcctl runs list --open shows those that can be; begin another: what is there already is found";
    SHP003 (REFUSED) "too little is left of an error budget",
        "so much went wrong in the last month that a release is a risk that nobody should take",
        "mend what goes wrong first (rtcctl metrics slo); where this release mends it: --skip budget; the gate then asks only that it makes nothing worse";
    SHP004 (CONFLICT) "a digest is not the one before it",
        "what a step has given is not of what it was given: somebody else pushed, applied or deployed meanwhile",
        "see who; then begin again";
    SHP005 (INCONCLUSIVE) "nothing is known of the error budgets",
        "no objective has a value: nothing was recorded, or nobody came",
        "rtcctl metrics targets shows what is scraped; before the first release of an environment: --skip budget";
    SHP006 (CONFLICT) "the plan is not the one that was judged",
        "the infrastructure or its configuration has changed since",
        "begin again: the new plan is judged anew";
    SHP007 (BREACHED) "a measure is breached after the release",
        "a gate of rtc.toml, or an objective whose budget burns fast or is used up; and before the release it was not, or not so",
        "runs evidence has what was seen; mend it and release again";
    SHP008 (INCONCLUSIVE) "whether the release is well cannot be said",
        "a gate has no data, or too few samples; or an objective, or a figure by which it is compared, has no value any more",
        "wait for samples, then --resume the run: it measures again";
    SHP009 (INTERNAL) "the journal of the release says what cannot be",
        "it was written by another version, or changed by hand",
        "begin another release: what is there already is found";
    SHP010 (ROLLOUT_FAILED) "what runs is not what was built",
        "pods run another digest, or there are none",
        "rtcctl deploy diagnose says why";
    SHP011 (TIMED_OUT) "not done in time",
        "the deadline (--timeout) passed",
        "--resume the run; raise --timeout where it needs more";
    SHP021 (DONE) "a step was left out",
        "--skip, or nothing is there for it to do",
        "what it would have shown is not known";
    SHP022 (DONE) "the run is open",
        "it stopped before its end, and can be gone on with",
        "rtcctl ship --resume RUN";
    SHP023 (DONE) "an objective is not known",
        "it has no value: nothing happened that could be good or bad, or nothing is recorded",
        "rtcctl metrics slo shows which; others have been judged";
    SHP024 (DONE) "a measure stands badly, and not because of the release",
        "it did before anything was changed, and is no worse since",
        "mend it all the same: rtcctl metrics slo shows what burns";
}
