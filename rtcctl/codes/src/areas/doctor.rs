//! Codes of the prerequisites that `doctor` checks.

use super::codes;

codes! { DOCTOR;
    DOC001 (CONFIGURATION) "the Rust toolchain is missing or too old",
        "building rtcd needs cargo and rustc of the version that the workspace names",
        "install it from https://rustup.rs; rust-toolchain.toml then selects the version by itself";
    DOC002 (CONFIGURATION) "there is no C compiler",
        "the database engine and the cryptography are compiled from C",
        "install one: apt-get install build-essential";
    DOC003 (CONFIGURATION) "too little disk space",
        "a build needs about 4 GB, the running platform a few hundred MB",
        "free space, or choose another directory with --data";
    DOC004 (CONFIGURATION) "the data directory is not writable",
        "missing permission, a read-only file system, or a file where the directory should be",
        "mend the permissions or choose another directory with --data";
    DOC005 (CONFLICT) "a port is occupied",
        "another program listens on the API port or the admin port",
        "stop that program or choose other ports with --port";
    DOC006 (CONFLICT) "the data directory is locked but its owner does not answer",
        "an rtcd holds the lock and neither answers nor has written run.json: it is starting, draining or stuck",
        "wait a moment; then look at DIR/rtcd.log and at the process that holds DIR/rtcd.lock";
    DOC007 (CONFIGURATION) "flushing to disk is slow",
        "every acknowledged change waits for the disk; a slow fsync bounds how many orders a second are possible",
        "put the data directory on a local solid-state disk";
    DOC008 (CONFIGURATION) "the limit of open files is low",
        "every connection and database file takes a file descriptor",
        "raise it before starting: ulimit -n 8192";
    DOC009 (CONFIGURATION) "the clock is wrong",
        "the system's clock is far from the file system's or before the build of this program; tokens and deadlines depend on it",
        "set the clock, or turn on time synchronisation";
    DOC010 (CONFIGURATION) "this program cannot find its workspace or an rtcd",
        "neither a workspace above this program or this directory nor an rtcd beside it",
        "run inside the workspace, or pass --rtcd to rtcctl up";
}
