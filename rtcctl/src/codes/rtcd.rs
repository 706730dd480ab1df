//! Codes that rtcd prints when it does not start. They are explained here because this is where people ask.

use super::codes;

codes! { RTD;
    RTD001 (CONFIGURATION) "the configuration is not valid",
        "a key is unknown, a value has the wrong type, or the file cannot be read; the message names key and source",
        "rtcd config shows every setting, its value and where it came from";
    RTD002 (CONFIGURATION) "--only names no service",
        "the name is mistyped, or the service is not part of this program",
        "rtcd services lists the names";
    RTD003 (CONFIGURATION) "the data directory cannot be used",
        "it cannot be created or written",
        "choose another one with --data, or mend its permissions";
    RTD004 (CONFLICT) "another rtcd uses the data directory",
        "one process at a time has a directory; the message names its process id",
        "stop it (rtcctl down), or choose another directory with --data";
    RTD005 (CONFLICT) "a port is occupied",
        "another program listens on the address, or it is not an address of this machine",
        "choose another one with --api-bind or --admin-bind; port 0 takes a free one";
    RTD006 (CONFLICT) "the database is of a newer version",
        "a newer rtcd has migrated it; an older one could damage it and leaves it alone",
        "run the newer version";
    RTD007 (CONFLICT) "the database is busy",
        "another program holds the file open for writing",
        "close it; rtcd needs its databases for itself";
    RTD008 (INTERNAL) "the disk is full",
        "there is no room to open or migrate a database; nothing was changed",
        "make room and start again";
    RTD009 (INTERNAL) "a database cannot be opened",
        "the file is damaged, is no database, or a migration failed; the causes say which",
        "restore the file from a backup";
    RTD010 (INTERNAL) "the event log cannot be opened",
        "log.db in the data directory is damaged or cannot be read",
        "look at the causes; restore the file from a backup";
    RTD011 (CONFIGURATION) "a secret cannot be read",
        "its file is missing, empty or not readable; only the embedded profile makes its own",
        "put the secret into secrets/ of the data directory, readable by rtcd alone";
    RTD012 (INTERNAL) "rtcd failed while starting",
        "something unexpected; the log has the chain of causes",
        "read the log, then start it again";
}
