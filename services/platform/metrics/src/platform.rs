//! Databases, cache, runtime and process.

use crate::edges::WORK_BUCKETS;
use crate::{Kind, Label, Metric, SERVICE, Unit, Values, When, counter, gauge, label, seconds};

const OPERATION: Label = label("operation", Values::OneOf(&["read", "write"]));

pub const DB_COMMAND_DURATION: Metric = seconds(
    "rtc_db_command_duration_seconds",
    &WORK_BUCKETS,
    &[SERVICE, OPERATION],
    "host",
    "How long a query took, and a command from its beginning to its commit",
);

pub const DB_WAIT_DURATION: Metric = seconds(
    "rtc_db_wait_duration_seconds",
    &WORK_BUCKETS,
    &[SERVICE, label("asker", Values::OneOf(&["guest", "house"]))],
    "host",
    "How long a query waited for a connection, whether it had one in the end or not",
);

pub const DB_COMMANDS: Metric =
    counter("rtc_db_commands_total", &[SERVICE], "host", "Commands that a database ran");

pub const DB_COMMITS: Metric = counter(
    "rtc_db_commits_total",
    &[SERVICE],
    "host",
    "Transactions that a database committed: with group commit several commands share one",
);

pub const DB_QUEUED: Metric =
    gauge("rtc_db_queued", &[SERVICE], "host", "Commands that wait for a connection or the writer");

pub const DB_ACTIVE: Metric = gauge(
    "rtc_db_active",
    &[SERVICE, OPERATION],
    "host",
    "Queries and commands under way: on a server each has a connection",
);

pub const DB_RETRIES: Metric =
    counter("rtc_db_retries_total", &[SERVICE], "host", "Commands run again after a deadlock or a conflict");

pub const DB_SIZE: Metric = Metric {
    unit: Unit::Bytes,
    ..gauge("rtc_db_size_bytes", &[SERVICE], "host", "Size of an embedded database with its write-ahead log")
};

pub const CACHE_LOOKUPS: Metric = counter(
    "rtc_cache_lookups_total",
    &[label("result", Values::OneOf(&["hit", "miss", "away"]))],
    "cache",
    "What the cache answered: hit, miss, or nothing because it was away",
);

pub const CACHE_OUTAGES: Metric =
    counter("rtc_cache_outages_total", &[], "cache", "How often the cache went away");

pub const CACHE_UP: Metric = gauge("rtc_cache_up", &[], "cache", "1 while the cache answers");

pub const BUILD_INFO: Metric = Metric {
    kind: Kind::Info,
    ..gauge(
        "rtc_build_info",
        &[
            label("version", Values::AtMost(1, "the version of the program")),
            label("profile", Values::OneOf(&["embedded", "production"])),
        ],
        "host",
        "What runs",
    )
};

pub const READY: Metric = gauge("rtc_ready", &[], "rtcd", "1 while the process takes requests");

/// `main` drives requests and pumps; `work` those requests that were let in under overload.
pub const RUNTIMES: [&str; 2] = ["main", "work"];

const RUNTIME: Label = label("runtime", Values::OneOf(&RUNTIMES));

pub const RUNTIME_WORKERS: Metric = gauge(
    "rtc_runtime_workers",
    &[RUNTIME],
    "host",
    "Threads of a runtime: main drives requests and pumps, work what was let in under overload",
);

pub const RUNTIME_BUSY: Metric = Metric {
    unit: Unit::Seconds,
    ..counter(
        "rtc_runtime_busy_seconds_total",
        &[RUNTIME],
        "host",
        "Time that those threads were at work, all together",
    )
};

pub const RUNTIME_QUEUE: Metric = gauge(
    "rtc_runtime_queue_depth",
    &[RUNTIME],
    "host",
    "Tasks that wait for a thread in the queue that all share",
);

pub const RUNTIME_TASKS: Metric = gauge("rtc_runtime_tasks", &[RUNTIME], "host", "Tasks that have not ended");

pub const PROCESS_CPU: Metric = Metric {
    unit: Unit::Seconds,
    ..counter("process_cpu_seconds_total", &[], "host", "Processor time, user and system")
};

pub const PROCESS_MEMORY: Metric = Metric {
    unit: Unit::Bytes,
    ..gauge("process_resident_memory_bytes", &[], "host", "What the process holds in memory")
};

pub const PROCESS_FDS: Metric = gauge("process_open_fds", &[], "host", "Open file descriptors");

pub const PROCESS_MAX_FDS: Metric =
    gauge("process_max_fds", &[], "host", "How many file descriptors may be open");

pub const PROCESS_START: Metric = Metric {
    unit: Unit::Seconds,
    ..gauge("process_start_time_seconds", &[], "host", "When the process began, in seconds since 1970")
};

pub const PROCESS_THREADS: Metric = gauge("process_threads", &[], "host", "Threads of the process");

pub const TRACE_SPANS: Metric = Metric {
    when: When::Happened,
    ..counter(
        "rtc_trace_spans_total",
        &[label("result", Values::OneOf(&["exported", "failed", "dropped"]))],
        "host",
        "Spans that the collector took, that it did not take, and that did not wait for it because too many did",
    )
};

pub const LOOKS_FAILED: Metric = counter(
    "rtc_looks_failed_total",
    &[label("look", Values::AtMost(64, "what is looked at"))],
    "host",
    "Looks that failed or took too long: what they would tell is absent until one succeeds",
);

/// The longest that a condition has to hold before a rule alarms.
pub const ALERT_AFTER_MAX_SECONDS: u64 = 900;
/// How often a server evaluates rules.
pub const EVALUATED_EVERY_SECONDS: u64 = 15;
/// How often a process adds a point to its own short history.
pub const HISTORY_EVERY_SECONDS: u64 = 5;
/// As many points as it takes to judge the most patient rule: its time, and four evaluations for what begins and ends
/// between two of them.
pub const HISTORY_POINTS: usize =
    ((ALERT_AFTER_MAX_SECONDS + 4 * EVALUATED_EVERY_SECONDS) / HISTORY_EVERY_SECONDS) as usize;

pub const HISTORY_SERIES: Metric =
    gauge("rtc_history_series", &[], "host", "Series of which the process keeps its own short history");

pub const HISTORY_REFUSED: Metric = counter(
    "rtc_history_refused_total",
    &[],
    "host",
    "Samples left out of the process's own history because it has as many series as it may",
);

const PROCESS: Label = label("process", Values::AtMost(16, "services"));
const REPLICA: Label = label("replica", Values::AtMost(64, "replicas"));

pub const SPLIT_UP: Metric = Metric {
    when: When::Split,
    ..gauge("rtc_split_process_up", &[PROCESS, REPLICA], "rtcd", "Whether the process serves")
};

pub const SPLIT_RESTARTS: Metric = Metric {
    when: When::Split,
    ..counter(
        "rtc_split_process_restarts_total",
        &[PROCESS, REPLICA],
        "rtcd",
        "How often it was started again",
    )
};

pub const SPLIT_MEMORY: Metric = Metric {
    when: When::Split,
    unit: Unit::Bytes,
    ..gauge("rtc_split_process_resident_bytes", &[PROCESS, REPLICA], "rtcd", "What it holds in memory")
};

pub(crate) const ALL: [&Metric; 30] = [
    &DB_COMMAND_DURATION,
    &DB_WAIT_DURATION,
    &DB_COMMANDS,
    &DB_COMMITS,
    &DB_QUEUED,
    &DB_ACTIVE,
    &DB_RETRIES,
    &DB_SIZE,
    &CACHE_LOOKUPS,
    &CACHE_OUTAGES,
    &CACHE_UP,
    &BUILD_INFO,
    &READY,
    &RUNTIME_WORKERS,
    &RUNTIME_BUSY,
    &RUNTIME_QUEUE,
    &RUNTIME_TASKS,
    &PROCESS_CPU,
    &PROCESS_MEMORY,
    &PROCESS_FDS,
    &PROCESS_MAX_FDS,
    &PROCESS_START,
    &PROCESS_THREADS,
    &TRACE_SPANS,
    &LOOKS_FAILED,
    &HISTORY_SERIES,
    &HISTORY_REFUSED,
    &SPLIT_UP,
    &SPLIT_RESTARTS,
    &SPLIT_MEMORY,
];
