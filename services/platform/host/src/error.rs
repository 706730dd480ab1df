//! Why a process does not start: one clear error with a code, a hint and an exit code.

use std::fmt;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("configuration: {0}")]
    Config(String),
    #[error("no service is called {name:?}; there are {known}")]
    UnknownService { name: String, known: String },
    #[error("the data directory {path} cannot be used: {reason}")]
    DataDir { path: PathBuf, reason: String },
    #[error("the data directory {path} is used by another rtcd{holder}")]
    Locked { path: PathBuf, holder: String },
    #[error("the address {address} cannot be listened on: {reason}")]
    Bind { address: String, reason: String },
    #[error("the database {name} cannot be opened: {source}")]
    Database { name: String, source: db::Error },
    #[error("the event bus cannot be opened: {0}")]
    Bus(String),
    #[error("the secret {name} cannot be used: {reason}")]
    Secret { name: String, reason: String },
    /// `name` says which one (a service's name, an address without its password), `detail` what it answered.
    #[error("{which} {name} {problem}: {detail}")]
    Engine { which: Engine, name: String, problem: Problem, detail: String },
    /// Several processes were to be one platform, and this they would each have for themselves.
    #[error("processes cannot share what is configured: {0}")]
    Unshared(String),
    /// `ended` is what it said itself, where it said something: that error is this one's.
    #[error("{name} did not come up: {reason}")]
    Replica { name: String, reason: String, ended: Option<Ended> },
    #[error("{0}")]
    Other(#[from] kernel::Error),
}

/// The error with which a process of ours ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub code: String,
    pub hint: String,
    pub exit: u8,
}

/// A server that services keep their things in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Database,
    Bus,
    Cache,
    Objects,
}

impl Engine {
    pub const ALL: [Engine; 4] = [Engine::Database, Engine::Bus, Engine::Cache, Engine::Objects];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Database => "the database",
            Engine::Bus => "the event bus",
            Engine::Cache => "the cache",
            Engine::Objects => "the object store",
        })
    }
}

/// What is wrong with an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Nobody answers at the address, or not in time.
    Unreachable,
    /// It refuses the user, the password, or a right that is needed.
    AccessDenied,
    TooOld,
    ReadOnly,
    /// It holds another program's things.
    Foreign,
    Full,
    /// The schema, the topic or the bucket is not there and was not to be made.
    Missing,
    /// It is there and set up otherwise: a topic with another number of partitions.
    Mismatch,
    /// Its certificate does not prove that it is the one of the address.
    Untrusted,
    Other,
}

impl Problem {
    pub const ALL: [Problem; 10] = [
        Problem::Unreachable,
        Problem::AccessDenied,
        Problem::TooOld,
        Problem::ReadOnly,
        Problem::Foreign,
        Problem::Full,
        Problem::Missing,
        Problem::Mismatch,
        Problem::Untrusted,
        Problem::Other,
    ];

    fn of(error: &db::Error) -> Option<Self> {
        match error {
            db::Error::Unreachable(_) => Some(Problem::Unreachable),
            db::Error::WrongPassword { .. } | db::Error::NoRight(_) => Some(Problem::AccessDenied),
            db::Error::TooOld { .. } => Some(Problem::TooOld),
            db::Error::ReadOnly => Some(Problem::ReadOnly),
            db::Error::Foreign(_) => Some(Problem::Foreign),
            db::Error::UnknownSchema(_) => Some(Problem::Missing),
            db::Error::Full => Some(Problem::Full),
            _ => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::Unreachable => "does not answer",
            Problem::AccessDenied => "does not let us in",
            Problem::TooOld => "is too old",
            Problem::ReadOnly => "is read-only",
            Problem::Foreign => "belongs to another program",
            Problem::Full => "is full",
            Problem::Missing => "is not there",
            Problem::Mismatch => "is set up otherwise",
            Problem::Untrusted => "cannot be trusted",
            Problem::Other => "cannot be used",
        })
    }
}

/// As `rtcctl`'s exit codes.
const INTERNAL: u8 = 1;
const CONFIGURATION: u8 = 3;
const CONFLICT: u8 = 8;
const UNAVAILABLE: u8 = 9;

/// How an error is told.
struct Told {
    code: &'static str,
    exit: u8,
    hint: &'static str,
}

const fn told(code: &'static str, exit: u8, hint: &'static str) -> Told {
    Told { code, exit, hint }
}

fn told_of_engine(which: Engine, problem: Problem) -> Told {
    use Problem::{AccessDenied, Foreign, Full, Mismatch, Missing, ReadOnly, TooOld, Unreachable, Untrusted};
    match (which, problem) {
        (_, Full) => told("RTD008", INTERNAL, "make room, on the disk or at the server; nothing was lost"),
        (Engine::Database, Unreachable) => told(
            "RTD013",
            UNAVAILABLE,
            "start the server, or mend the address: `rtcd config` shows `database`",
        ),
        (Engine::Database, AccessDenied) => told(
            "RTD014",
            CONFIGURATION,
            "check the user in the address, the password behind credentials.database, and the user's rights",
        ),
        (Engine::Database, TooOld) => {
            told("RTD015", CONFIGURATION, "run MySQL 8.0.16 or MariaDB 10.6, or anything later")
        }
        (Engine::Database, ReadOnly) => {
            told("RTD016", CONFLICT, "name the primary: this is a replica, or a primary that was demoted")
        }
        (Engine::Database, Foreign) => {
            told("RTD017", CONFLICT, "name a schema of our own: this one was not touched")
        }
        (Engine::Database, Missing) => {
            told("RTD018", CONFIGURATION, "make the schema, or let the user make it (CREATE on rtc_%)")
        }
        (Engine::Database, _) => told("RTD019", INTERNAL, "the server's own log says more"),
        (Engine::Bus, Unreachable) => {
            told("RTD020", UNAVAILABLE, "start a broker, or mend the addresses: `rtcd config` shows `bus`")
        }
        (Engine::Bus, AccessDenied) => told(
            "RTD021",
            CONFIGURATION,
            "check the user in the address, the password behind credentials.bus, and the rights on topics and groups",
        ),
        (Engine::Bus, TooOld) => told("RTD022", CONFIGURATION, "run a broker of Kafka protocol 2.1 or later"),
        (Engine::Bus, Mismatch | Foreign) => told(
            "RTD023",
            CONFLICT,
            "`rtcd topics` lists what is needed; changing partitions would break the order of a key",
        ),
        (Engine::Bus, Missing) => told(
            "RTD024",
            CONFIGURATION,
            "make the topics that `rtcd topics` lists, or let the user make them",
        ),
        (Engine::Bus, Untrusted) => told(
            "RTD036",
            CONFIGURATION,
            "name the file of the authority in the address (?ca=), and brokers as their certificates do",
        ),
        (Engine::Bus, _) => told("RTD025", INTERNAL, "the broker's own log says more"),
        (Engine::Cache, Unreachable) => {
            told("RTD026", UNAVAILABLE, "start the server, or mend the address: `rtcd config` shows `cache`")
        }
        (Engine::Cache, AccessDenied) => told(
            "RTD027",
            CONFIGURATION,
            "check the user in the address and the password behind credentials.cache",
        ),
        (Engine::Cache, TooOld) => told("RTD028", CONFIGURATION, "run Redis 6.2 or later"),
        (Engine::Cache, Untrusted) => told(
            "RTD037",
            CONFIGURATION,
            "name the file of the authority in the address (?ca=), and the host as its certificate does",
        ),
        (Engine::Cache, Mismatch) => told(
            "RTD038",
            CONFIGURATION,
            "rediss:// is TLS and redis:// is in the open: mend the scheme or the port of `cache`",
        ),
        (Engine::Cache, _) => told("RTD029", INTERNAL, "the server's own log says more"),
        (Engine::Objects, Unreachable) => told(
            "RTD030",
            UNAVAILABLE,
            "start the store, or mend endpoint and region: `rtcd config` shows `objects`",
        ),
        (Engine::Objects, AccessDenied) => {
            told("RTD031", CONFIGURATION, "check the credentials of the process and the bucket's policy")
        }
        (Engine::Objects, Missing) => {
            told("RTD032", CONFIGURATION, "make the bucket, or mend its name: none is made by itself")
        }
        (Engine::Objects, _) => told("RTD033", INTERNAL, "the store's own log says more"),
    }
}

impl StartError {
    fn ended(&self) -> Option<&Ended> {
        match self {
            StartError::Replica { ended, .. } => ended.as_ref(),
            _ => None,
        }
    }

    fn told(&self) -> Told {
        match self {
            StartError::Config(_) => told(
                "RTD001",
                CONFIGURATION,
                "`rtcd config` shows every setting, its value and where it came from",
            ),
            StartError::UnknownService { .. } => {
                told("RTD002", CONFIGURATION, "give --only a comma-separated list of service names")
            }
            StartError::DataDir { .. } => {
                told("RTD003", CONFIGURATION, "choose another directory with --data, or mend its permissions")
            }
            StartError::Locked { .. } => told(
                "RTD004",
                CONFLICT,
                "stop the other one (`rtcctl down`), or choose another directory with --data",
            ),
            StartError::Bind { .. } => {
                told("RTD005", CONFLICT, "choose another port (--api-bind, --admin-bind), 0 for a free one")
            }
            StartError::Database { source: db::Error::Newer { .. }, .. } => told(
                "RTD006",
                CONFLICT,
                "this data was written by a newer version: run that version, it is not changed",
            ),
            StartError::Database { source: db::Error::Busy, .. } => {
                told("RTD007", CONFLICT, "another program holds the database open")
            }
            StartError::Database { source: db::Error::Address(_), .. } => told(
                "RTD001",
                CONFIGURATION,
                "an address is mysql://user@host:port/schema; `rtcd config` shows where it was set",
            ),
            StartError::Database { source, .. } => match Problem::of(source) {
                Some(problem) => told_of_engine(Engine::Database, problem),
                None => {
                    told("RTD009", INTERNAL, "look at the file; restore it from a backup if it is damaged")
                }
            },
            StartError::Bus(_) => told("RTD010", INTERNAL, "look at log.db in the data directory"),
            StartError::Secret { .. } => told(
                "RTD011",
                CONFIGURATION,
                "check the reference (file:, env:), the file and its permissions",
            ),
            StartError::Engine { which, problem, .. } => told_of_engine(*which, *problem),
            StartError::Unshared(_) => told(
                "RTD034",
                CONFIGURATION,
                "name engines that processes share: `scripts/engines start` starts some, --config target/engines/rtcd.toml names them",
            ),
            StartError::Replica { .. } => {
                told("RTD035", INTERNAL, "its log says more; the other processes were stopped again")
            }
            StartError::Other(_) => told("RTD012", INTERNAL, "the log says more"),
        }
    }

    /// Stable, and explained by `rtcctl explain`.
    pub fn code(&self) -> &str {
        self.ended().map_or(self.told().code, |ended| &ended.code)
    }

    pub fn hint(&self) -> &str {
        self.ended().map_or(self.told().hint, |ended| &ended.hint)
    }

    /// As `rtcctl`'s: 3 configuration and credentials, 8 conflict, 9 unreachable, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        self.ended().map_or(self.told().exit, |ended| ended.exit)
    }
}
