//! Why a process does not start: one clear error with a code, a hint and an exit code.

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
    #[error("the secret {name} cannot be read: {reason}")]
    Secret { name: String, reason: String },
    #[error("{0}")]
    Other(#[from] kernel::Error),
}

impl StartError {
    /// Stable, and explained by `rtcctl explain`.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::Config(_) => "RTD001",
            StartError::UnknownService { .. } => "RTD002",
            StartError::DataDir { .. } => "RTD003",
            StartError::Locked { .. } => "RTD004",
            StartError::Bind { .. } => "RTD005",
            StartError::Database { source: db::Error::Newer { .. }, .. } => "RTD006",
            StartError::Database { source: db::Error::Busy, .. } => "RTD007",
            StartError::Database { source: db::Error::Full, .. } => "RTD008",
            StartError::Database { .. } => "RTD009",
            StartError::Bus(_) => "RTD010",
            StartError::Secret { .. } => "RTD011",
            StartError::Other(_) => "RTD012",
        }
    }

    pub fn hint(&self) -> &'static str {
        match self {
            StartError::Config(_) => "`rtcd config` shows every setting, its value and where it came from",
            StartError::UnknownService { .. } => "give --only a comma-separated list of service names",
            StartError::DataDir { .. } => "choose another directory with --data, or mend its permissions",
            StartError::Locked { .. } => {
                "stop the other one (`rtcctl down`), or choose another directory with --data"
            }
            StartError::Bind { .. } => "choose another port (--api-bind, --admin-bind), 0 for a free one",
            StartError::Database { source: db::Error::Newer { .. }, .. } => {
                "this data was written by a newer version: run that version, it is not changed"
            }
            StartError::Database { source: db::Error::Busy, .. } => "another program holds the database open",
            StartError::Database { source: db::Error::Full, .. } => "make room on the disk; nothing was lost",
            StartError::Database { .. } => "look at the file; restore it from a backup if it is damaged",
            StartError::Bus(_) => "look at log.db in the data directory",
            StartError::Secret { .. } => "check the reference (env:, file:) and the file's permissions",
            StartError::Other(_) => "the log says more",
        }
    }

    /// As `rtcctl`'s: 3 configuration, 8 conflict, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Config(_)
            | StartError::UnknownService { .. }
            | StartError::DataDir { .. }
            | StartError::Secret { .. } => 3,
            StartError::Locked { .. } | StartError::Bind { .. } => 8,
            StartError::Database { source: db::Error::Newer { .. } | db::Error::Busy, .. } => 8,
            StartError::Database { .. } | StartError::Bus(_) | StartError::Other(_) => 1,
        }
    }
}
