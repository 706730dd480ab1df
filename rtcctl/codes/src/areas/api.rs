//! Codes of talking to a running platform over HTTP.

use super::codes;

codes! { API;
    NET001 (UNAVAILABLE) "the platform is not running",
        "the data directory has no run.json of a living rtcd",
        "start it with rtcctl up, or name the right directory with --data";
    NET002 (UNAVAILABLE) "the platform does not answer",
        "nothing listens at the address, or the connection broke off, also after retries",
        "look at the log of rtcd (DIR/rtcd.log); nothing that was not acknowledged has to be assumed done";
    NET003 (TIMED_OUT) "the platform did not answer in time",
        "the deadline (--timeout) passed before the answer; a request that changes something may still take effect",
        "look at the state before repeating; raise --timeout when the platform is merely busy";
    NET004 (INTERNAL) "the answer is not understood",
        "the address belongs to something else, or rtcctl and rtcd are of different versions",
        "compare rtcctl version with the version that rtcctl status shows";
    API001 (USAGE) "the platform refused the request as invalid",
        "a field of the request is missing or wrong; the causes name the fields",
        "mend what the causes name";
    API002 (DENIED) "the platform does not accept the credentials",
        "the token is missing, wrong or expired",
        "check the admin_token setting, or that DIR/secrets/admin_token belongs to the running platform";
    API003 (DENIED) "the caller may not do this",
        "the credentials are good, but the role is not sufficient",
        "use credentials with the role that the message names";
    API004 (NOT_FOUND) "the platform knows no such thing",
        "the id, topic or path does not exist, or belongs to somebody else",
        "list what exists first";
    API005 (CONFLICT) "the state of the thing does not allow this",
        "somebody changed it in the meantime, or it is in a state that forbids the action",
        "read the current state and decide again";
    API006 (UNAVAILABLE) "a limit of the platform is reached",
        "too many requests from this caller",
        "wait as long as the message says, then repeat";
    API007 (UNAVAILABLE) "the platform cannot serve this now",
        "a part that is needed is starting, draining or overloaded",
        "repeat in a moment; rtcctl status shows which service is not ready";
    API008 (TIMED_OUT) "the platform gave up waiting for one of its parts",
        "a deadline inside the platform passed; the outcome is unknown",
        "look at the state before repeating";
    API009 (INTERNAL) "the platform failed on its own side",
        "a defect in a service; its log has the details under the request id in the message",
        "search DIR/rtcd.log for the request id";
}
