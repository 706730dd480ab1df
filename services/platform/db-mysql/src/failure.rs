//! The server's errors, sorted by what is to be done about them.
//!
//! Invariant: the server's texts quote values of rows; of a duplicate only the key's name is kept.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use db::Error;
use mysql::{DriverError, MySqlError};

/// What a failed statement means for the transaction and its connection.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The statement did nothing; the transaction goes on.
    Statement(Error),
    /// The server has undone the transaction, or will have to: run it again.
    Deadlock,
    /// Somebody holds the lock for a long time.
    LockTimeout,
    /// The connection is of no use any more.
    Lost(String),
    /// The server takes no writes: perhaps another one does now.
    ReadOnly,
}

impl Failure {
    pub fn error(&self) -> Error {
        match self {
            Failure::Statement(error) => error.clone(),
            Failure::Deadlock | Failure::LockTimeout => Error::Deadlock,
            Failure::Lost(reason) => Error::Unreachable(reason.clone()),
            Failure::ReadOnly => Error::ReadOnly,
        }
    }
}

/// The key of `Duplicate entry 'x' for key 'products.sku'`.
fn key(message: &str) -> String {
    let key = message.rsplit_once("for key ").map_or("", |(_, key)| key.trim());
    key.trim_matches('\'').to_owned()
}

fn of_server(error: &MySqlError) -> Failure {
    let text = || error.message.clone();
    let statement = Failure::Statement;
    match error.code {
        1062 | 1586 => statement(Error::Unique(key(&error.message))),
        // NOT NULL, too long, out of range, no such value, foreign keys, CHECK on both servers.
        1048 | 1264 | 1364 | 1366 | 1406 | 1451 | 1452 | 3819 | 4025 => statement(Error::Constraint(text())),
        // Each of these has undone the whole transaction, or wants it begun anew.
        1213 | 1020 | 1206 | 1412 => Failure::Deadlock,
        1205 => Failure::LockTimeout,
        // A query took longer than it may.
        1969 | 3024 => statement(Error::Busy),
        1114 | 1021 | 1041 => statement(Error::Full),
        1030 if error.message.contains("28") => statement(Error::Full),
        1290 | 1836 => Failure::ReadOnly,
        1044 | 1142 | 1143 | 1227 | 1370 => statement(Error::NoRight(text())),
        1049 => statement(Error::UnknownSchema(text())),
        // Shutting down, killed, interrupted, lost on the way, too many connections, not ready yet; and no room for another prepared
        // statement: a new connection gives back those of the old one.
        1053
        | 1077
        | 1079
        | 1152
        | 1158..=1161
        | 1184
        | 1317
        | 1927
        | 2006
        | 2013
        | 1040
        | 1203
        | 1461
        | 1226
        | 1135
        | 1129
        | 1047
        | 1615 => Failure::Lost(text()),
        _ => statement(Error::Other(format!("{} ({})", error.message, error.code))),
    }
}

pub(crate) fn of(error: &mysql::Error) -> Failure {
    match error {
        mysql::Error::MySqlError(error) => of_server(error),
        mysql::Error::DriverError(DriverError::MismatchedStmtParams(wanted, given)) => {
            Failure::Statement(Error::Other(format!("{given} parameters for {wanted}")))
        }
        mysql::Error::DriverError(DriverError::PacketTooLarge) => {
            Failure::Statement(Error::Other("more than the server takes in one piece".to_owned()))
        }
        mysql::Error::FromValueError(_) | mysql::Error::FromRowError(_) => {
            Failure::Statement(Error::Other("a value of an unexpected type".to_owned()))
        }
        mysql::Error::IoError(error) => Failure::Lost(error.to_string()),
        mysql::Error::CodecError(error) => Failure::Lost(error.to_string()),
        mysql::Error::TlsError(error) => Failure::Lost(error.to_string()),
        mysql::Error::UrlError(_) => {
            Failure::Statement(Error::Address("the driver does not take it".to_owned()))
        }
        mysql::Error::DriverError(error) => Failure::Lost(error.to_string()),
    }
}

/// Whether no answer came in time, on a connection that was alive when it was asked for.
pub(crate) fn is_overdue(error: &mysql::Error) -> bool {
    let error = match error {
        mysql::Error::IoError(error) => Some(error),
        mysql::Error::CodecError(error) => error.source().and_then(|source| source.downcast_ref()),
        _ => None,
    };
    error.is_some_and(|error: &io::Error| error.kind() == ErrorKind::WouldBlock)
}

/// Why there is no connection.
pub(crate) fn of_connecting(error: &mysql::Error, user: &str, server: &str) -> Error {
    match error {
        mysql::Error::MySqlError(server_error) if matches!(server_error.code, 1045 | 1698 | 1862 | 1820) => {
            Error::WrongPassword { user: user.to_owned() }
        }
        mysql::Error::DriverError(DriverError::UnknownAuthPlugin(_) | DriverError::TlsNotSupported) => {
            Error::Other(format!("{server}: {error}"))
        }
        other => match of(other) {
            Failure::Lost(reason) => Error::Unreachable(format!("{server}: {reason}")),
            failure => failure.error(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: u16, message: &str) -> Failure {
        of_server(&MySqlError { state: "HY000".to_owned(), message: message.to_owned(), code })
    }

    #[test]
    fn a_duplicate_is_known_by_its_key_and_not_by_its_value() {
        let failure = failed(1062, "Duplicate entry 'a@b.example for key x' for key 'users.email_index'");
        assert!(matches!(failure, Failure::Statement(Error::Unique(key)) if key == "users.email_index"));
    }

    #[test]
    fn what_helps_is_told_by_the_kind() {
        assert!(matches!(failed(1213, "Deadlock found"), Failure::Deadlock));
        assert!(matches!(failed(1053, "Server shutdown in progress"), Failure::Lost(_)));
        assert!(matches!(failed(1290, "running with --read-only"), Failure::ReadOnly));
        assert!(matches!(failed(1114, "The table 't' is full"), Failure::Statement(Error::Full)));
        assert!(matches!(failed(1969, "max_statement_time exceeded"), Failure::Statement(Error::Busy)));
        assert!(matches!(failed(4025, "CONSTRAINT `t.n` failed"), Failure::Statement(Error::Constraint(_))));
    }
    #[test]
    fn an_answer_that_does_not_come_is_told_from_a_connection_that_is_gone() {
        let failed = |kind: ErrorKind| mysql::Error::IoError(kind.into());
        assert!(is_overdue(&failed(ErrorKind::WouldBlock)));
        assert!(
            !is_overdue(&failed(ErrorKind::ConnectionReset)) && !is_overdue(&failed(ErrorKind::TimedOut))
        );
    }
}
