//! What can go wrong at the database, sorted by what the caller can do about it.

/// A failure of the database.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A unique key is taken already.
    #[error("unique key violated: {0}")]
    Unique(String),
    /// A CHECK, NOT NULL or foreign key constraint.
    #[error("constraint violated: {0}")]
    Constraint(String),
    /// Others hold the database, or all connections to it; try again.
    #[error("the database is busy")]
    Busy,
    /// The disk or the quota is full: nothing was written, reads go on.
    #[error("the disk is full")]
    Full,
    #[error("input or output failed: {0}")]
    Io(String),
    #[error("the database file is not a database or is damaged: {0}")]
    Corrupt(String),
    /// A newer version has migrated this database.
    #[error("{component} is at schema version {found}, this program knows {known}")]
    Newer { component: String, found: u32, known: u32 },
    #[error("a row that must be there is not")]
    NoRow,
    #[error("column {column}: {problem}")]
    Decode { column: usize, problem: String },
    /// The command panicked; its changes are rolled back.
    #[error("the command panicked")]
    Panicked,
    /// The work that this command belongs to has been taken over by another process; nothing was changed.
    #[error("another process has taken this work over")]
    Fenced,
    /// The server does not answer: it is down, starting, or has no connection to spare.
    #[error("the database server does not answer: {0}")]
    Unreachable(String),
    #[error("the database server refuses the user {user} or the password")]
    WrongPassword { user: String },
    /// Signed in, but not allowed to do what is needed.
    #[error("the database server does not allow this: {0}")]
    NoRight(String),
    #[error("the database server has no schema {0}")]
    UnknownSchema(String),
    #[error("the database server is {found}, too old: {needed} or later is needed")]
    TooOld { found: String, needed: String },
    /// A replica, or a primary that was demoted: reads go on.
    #[error("the database server is read-only")]
    ReadOnly,
    /// The schema holds tables that are not ours; nothing was touched.
    #[error("the schema {0} belongs to another program: it has tables, but none of ours")]
    Foreign(String),
    /// The address is no address of a database.
    #[error("not an address of a database: {0}")]
    Address(String),
    /// Others held what was needed for too long, again and again; nothing was changed.
    #[error("others hold the rows that are needed")]
    Deadlock,
    /// The connection broke while the commit was under way: it may have happened or not.
    #[error("it is not known whether this was stored")]
    OutcomeUnknown,
    /// The engine is shutting down.
    #[error("the database is closed")]
    Closed,
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// The same command may succeed later.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Error::Busy
                | Error::Full
                | Error::Io(_)
                | Error::Fenced
                | Error::Unreachable(_)
                | Error::WrongPassword { .. }
                | Error::ReadOnly
                | Error::Deadlock
                | Error::OutcomeUnknown
                | Error::Closed
        )
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Full => kernel::Error::unavailable(
                "storage_full",
                "there is no room to store this; nothing was changed",
            )
            .with_retry_after(30)
            .with_source(error),
            Error::OutcomeUnknown => kernel::Error::unavailable(
                "storage_outcome_unknown",
                "it is not known whether this was stored; ask again with the same Idempotency-Key",
            )
            .with_source(error),
            error if error.is_transient() => kernel::Error::unavailable(
                "storage_unavailable",
                "the storage does not answer; nothing was changed",
            )
            .with_source(error),
            other => kernel::Error::internal(other),
        }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return Error::Other(error.to_string());
        };
        let text = message.clone().unwrap_or_else(|| failure.to_string());
        match failure.code {
            ErrorCode::ConstraintViolation if text.contains("UNIQUE") => Error::Unique(text),
            ErrorCode::ConstraintViolation => Error::Constraint(text),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Busy,
            ErrorCode::DiskFull => Error::Full,
            ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly => Error::Io(text),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Error::Corrupt(text),
            _ => Error::Other(text),
        }
    }
}
