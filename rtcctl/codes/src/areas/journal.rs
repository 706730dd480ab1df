//! Codes of the journal of runs.

use super::codes;

codes! { JOURNAL;
    JRN001 (CONFIGURATION) "the journal cannot be written",
        "its folder cannot be made or written, or the disk is full",
        "mend the permissions or the disk, or choose another place: RTCCTL_JOURNAL=DIR";
    JRN002 (NOT_FOUND) "there is no such run",
        "the id is mistyped, or the run was kept on another machine",
        "rtcctl runs list shows them; last is the latest";
    JRN003 (CONFLICT) "the run cannot be taken up",
        "another process works on it, or it has ended",
        "rtcctl runs show RUN says how it stands";
    JRN004 (INTERNAL) "the journal cannot be read",
        "a file of it was changed by hand or by a broken disk",
        "move that run's folder away; the others are not affected";
}
