//! Codes of starting, watching, opening and stopping the platform on this machine.

use super::codes;

codes! { RUN;
    RUN001 (CONFIGURATION) "the rtcd binary is not found",
        "rtcctl runs outside the workspace and there is no rtcd beside it, or --rtcd names no executable file",
        "run inside the workspace, put rtcd beside rtcctl, or pass --rtcd PATH";
    RUN002 (CONFIGURATION) "cargo cannot be started",
        "the Rust toolchain is not installed or not on PATH",
        "install it from https://rustup.rs, or pass --rtcd PATH to a built binary";
    RUN003 (INTERNAL) "building rtcd failed",
        "the compiler or the linker reported errors; the causes show them",
        "mend the errors; cargo build -p rtcd shows them in full";
    RUN004 (CONFIGURATION) "rtcd refused to start because of its configuration",
        "a setting of rtcd is missing or wrong; the causes are its own words",
        "follow the hint of rtcd, then run rtcctl up again";
    RUN005 (CONFLICT) "rtcd cannot have what it needs",
        "another rtcd holds the data directory, the database is of a newer version, or a port is occupied",
        "stop the other one (rtcctl down), use the newer binary, or choose --port";
    RUN006 (INTERNAL) "rtcd stopped before it was ready",
        "it met a failure while starting; the causes are the end of its log",
        "read DIR/rtcd.log";
    RUN007 (TIMED_OUT) "rtcd was not ready in time",
        "it is starting slowly (large databases, a slow disk) or hangs; it was left running",
        "look at rtcctl status and DIR/rtcd.log; raise --timeout, or stop it with rtcctl down";
    RUN008 (CONFIGURATION) "the data directory cannot be used",
        "it cannot be created, or files in it cannot be written or read",
        "choose another --data directory, or mend the permissions or the disk space";
    RUN009 (INTERNAL) "rtcd stopped while it was being watched",
        "it crashed or was killed; whatever it acknowledged is on disk",
        "read DIR/rtcd.log, then start again with rtcctl up: it recovers by itself";
    RUN010 (UNAVAILABLE) "the demo shop could not be seeded completely",
        "a request of the seeding failed; the platform itself runs",
        "run rtcctl up again: seeding goes on where it stopped; or pass --seed none";
    RUN011 (CONFLICT) "the process in run.json is not rtcd",
        "rtcd ended without removing run.json and its process id now belongs to another program",
        "nothing was signalled; rtcctl up replaces the stale file";
    RUN012 (TIMED_OUT) "rtcd is still draining",
        "it finishes what it accepted before it ends; the deadline (--timeout) passed first",
        "run rtcctl down again with a longer --timeout; nothing accepted is lost even if it has to be killed";
    RUN013 (DENIED) "rtcd may not be signalled",
        "it belongs to another user",
        "stop it as the user who started it";
    RUN014 (CONFIGURATION) "the environment is not one that runs on this machine",
        "up and down manage the platform on this machine, and the environment names another address",
        "choose an environment of kind embedded, for example --env local";
    RUN015 (NOT_FOUND) "no program to open a page was found",
        "there is neither xdg-open nor another opener, or it failed",
        "open the printed address by hand, or use rtcctl open --print";
    RUN016 (CONFLICT) "the platform runs in one process",
        "processes can be restarted one after the other only where there are several",
        "stop it and start it with rtcctl up --split";
    RUN017 (NOT_FOUND) "there is no such process",
        "the service is mistyped, or has fewer replicas",
        "rtcctl status lists the processes";
}
