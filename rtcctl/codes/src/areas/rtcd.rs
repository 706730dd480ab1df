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
        "there is no room to open or migrate a database, here or at its server; nothing was changed",
        "make room and start again";
    RTD009 (INTERNAL) "a database cannot be opened",
        "the file is damaged, is no database, or a migration failed; the causes say which",
        "restore the file from a backup";
    RTD010 (INTERNAL) "the event log cannot be opened",
        "log.db in the data directory is damaged or cannot be read",
        "look at the causes; restore the file from a backup";
    RTD011 (CONFIGURATION) "a secret cannot be used",
        "its file or variable is missing or empty, others may read the file, or the key is too short; the message says",
        "put the secret where its reference points (secrets.NAME), by default secrets/NAME of the data directory";
    RTD012 (INTERNAL) "rtcd failed while starting",
        "something unexpected; the log has the chain of causes",
        "read the log, then start it again";
    RTD013 (UNAVAILABLE) "the database server does not answer",
        "it is down, still starting, behind a closed port, or the address is wrong",
        "start it, or mend the address; rtcd config shows database and where it was set";
    RTD014 (CONFIGURATION) "the database server does not let rtcd in",
        "the user or the password is wrong, or the user lacks a right that is needed",
        "check the user in the address, the password behind credentials.database, and the user's rights";
    RTD015 (CONFIGURATION) "the database server is too old",
        "commands need row locks, CHECK constraints and common table expressions",
        "run MySQL 8.0.16 or MariaDB 10.6, or anything later";
    RTD016 (CONFLICT) "the database server is read-only",
        "it is a replica, or a primary that was demoted",
        "name the primary; nothing was written";
    RTD017 (CONFLICT) "the schema belongs to another program",
        "it has tables, and none of them is ours; it was not touched",
        "name a schema of our own";
    RTD018 (CONFIGURATION) "the database server has no such schema",
        "it was not made, and the user may not make it",
        "make the schema, or give the user CREATE on it";
    RTD019 (INTERNAL) "the database server cannot be used",
        "it answered something that is in none of the other classes; the message has it",
        "read the server's own log";
    RTD020 (UNAVAILABLE) "no broker of the event bus answers",
        "all of them are down or still starting, or the addresses are wrong",
        "start a broker, or mend the addresses; rtcd config shows bus and where it was set";
    RTD021 (CONFIGURATION) "the event bus does not let rtcd in",
        "the user or the password is wrong, or the user has no right to a topic or a group",
        "check the user in the address, the password behind credentials.bus, and the rights";
    RTD022 (CONFIGURATION) "the broker is too old",
        "it does not speak the versions of the Kafka protocol that are needed",
        "run a broker of Kafka protocol 2.1 or later";
    RTD023 (CONFLICT) "a topic is set up otherwise than it has to be",
        "it has another number of partitions: the order of a key would break",
        "rtcd topics lists what is needed; use topics of our own";
    RTD024 (CONFIGURATION) "a topic is missing",
        "it was not made, and the user may not make it",
        "make the topics that rtcd topics lists, or give the user the right to";
    RTD025 (INTERNAL) "the event bus cannot be used",
        "the broker answered something that is in none of the other classes; the message has it",
        "read the broker's own log";
    RTD026 (UNAVAILABLE) "the cache does not answer",
        "the server is down or still starting, or the address is wrong",
        "start it, or mend the address; rtcd config shows cache and where it was set";
    RTD027 (CONFIGURATION) "the cache does not let rtcd in",
        "the user or the password is wrong, or a command is not allowed",
        "check the user in the address and the password behind credentials.cache";
    RTD028 (CONFIGURATION) "the cache server is too old",
        "commands that are needed came with Redis 6.2",
        "run Redis 6.2 or later";
    RTD029 (INTERNAL) "the cache cannot be used",
        "the server answered something that is in none of the other classes; the message has it",
        "read the server's own log";
    RTD030 (UNAVAILABLE) "the object store does not answer",
        "it is down, or endpoint or region are wrong",
        "start it, or mend the address; rtcd config shows objects and where it was set";
    RTD031 (CONFIGURATION) "the object store does not let rtcd in",
        "the process has no credentials, wrong ones, or no right to the bucket",
        "check the credentials of the process and the policy of the bucket";
    RTD032 (CONFIGURATION) "the bucket is missing",
        "its name is mistyped, or it was not made; rtcd makes none by itself",
        "make the bucket, or mend its name in objects";
    RTD033 (INTERNAL) "the object store cannot be used",
        "it answered something that is in none of the other classes; the message has it",
        "read the store's own log";
    RTD034 (CONFIGURATION) "processes cannot share what is configured",
        "split mode needs a bus, databases and, for more than one replica, a cache outside its processes",
        "start some with scripts/engines start, and pass --config target/engines/rtcd.toml";
    RTD035 (INTERNAL) "a process of split mode did not come up",
        "it ended or hung while it was starting; the message has its last words",
        "read its log, DIR/split/SERVICE-N/rtcd.log";
    RTD036 (CONFIGURATION) "the event bus cannot be trusted",
        "the certificate of a broker is of an authority that is not known here, for another name, or out of date; the message says which",
        "name the file of the authority in the address (?ca=), and brokers as their certificates do";
    RTD037 (CONFIGURATION) "the cache cannot be trusted",
        "the certificate of the server is of an authority that is not known here, for another name, or out of date; the message says which",
        "name the file of the authority in the address (?ca=), and the host as its certificate does";
    RTD038 (CONFIGURATION) "the cache speaks TLS and the address does not, or the other way round",
        "rediss:// is TLS and redis:// is in the open, usually at another port; or both know no version of TLS in common",
        "mend the scheme or the port of cache";
}
