//! Codes of looking at events and dead letters.

use super::codes;

codes! { EVENTS;
    EVT001 (NOT_FOUND) "there is no such topic",
        "the topic's name is not one that the platform knows",
        "rtcctl events topics lists them";
    EVT002 (UNAVAILABLE) "the stream of events broke off",
        "the platform stopped or the connection was lost while events were being followed",
        "run the command again with --from at the time of the last event shown; nothing is lost";
    EVT003 (PARTIAL) "dead letters remain after the replay",
        "some failed again, or are waiting behind one that was not replayed",
        "rtcctl events dlq list shows the present error of each";
    EVT004 (PARTIAL) "the read model is not whole",
        "the log had lost some of what it was to be filled with, or somebody called the rebuild back",
        "rtcctl events consumers says which; the service's log says more";
    EVT005 (TIMED_OUT) "the rebuild is still under way",
        "the log is long, or nobody who fills the read model is running",
        "rtcctl events consumers shows how far it is; rtcctl events rebuild GROUP --wait goes on waiting";
}
