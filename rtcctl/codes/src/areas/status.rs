//! Codes of the findings that `status` reports.

use super::codes;

codes! { STATUS;
    STA001 (BREACHED) "an invariant is violated",
        "the durable data contradicts one of the promises of the platform: a defect, or a hand in the database",
        "stop writing if money or stock is concerned, keep the data directory, and report the violations";
    STA002 (UNAVAILABLE) "a service is not ready",
        "it is starting or draining, or could not take up its work",
        "wait a moment; if it stays, read DIR/rtcd.log for that service";
    STA003 (INCONCLUSIVE) "an invariant could not be checked",
        "the platform could not say whether the invariant holds",
        "read the note of the invariant; run the check again when all services are ready";
    STA004 (BREACHED) "dead letters are waiting",
        "a consumer gave up on an event; later events of the same key wait behind it",
        "look at them with rtcctl events dlq list, mend the cause, then rtcctl events dlq replay";
    STA005 (NOT_FOUND) "a service of rtc.toml is not running here",
        "rtcd was started with --only, or is of another version than rtc.toml",
        "start the whole platform with rtcctl up";
    STA006 (CONFIGURATION) "the configuration file was changed and cannot be used",
        "it does not parse, names what does not exist, or what the processes cannot share; everything stays as it was",
        "mend the file: it is read again within seconds";
    STA007 (CONFIGURATION) "settings wait for the next start",
        "they were changed in the configuration file and cannot change while the platform runs",
        "take them back, or restart with rtcctl down and rtcctl up; docs/CONFIGURATION.md says which change at once";
}
