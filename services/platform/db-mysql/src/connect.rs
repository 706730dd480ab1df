//! New connections: one after another where the server does not answer, each with the password of the moment.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use db::Error;
use mysql::consts::CapabilityFlags;
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder, SslOpts};
use tokio::time::Instant;

use crate::address::{Address, Tls};
use crate::{Password, failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than any statement takes that is not a schema change: beyond it the server is as good as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// After so long the server ends a query: that nobody waits for the answer any more it notices only once it has a row to send. Its clock
/// runs while rows are read, too, so that this is a good deal longer than a row is waited for.
const QUERY_MAX: Duration = Duration::from_secs(120);
/// How long nobody tries after a failure: doubled with each, up to the last.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_LAST: Duration = Duration::from_secs(1);

/// Texts mean what they mean in SQLite: `||` joins, `"` quotes names, `\` is a character, 0 is a number like others;
/// and what does not fit is refused.
const SQL_MODE: &str = "STRICT_ALL_TABLES,PIPES_AS_CONCAT,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,\
                        NO_AUTO_VALUE_ON_ZERO,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Commands,
    Queries,
    /// Schema changes: as long as they take, each statement for itself.
    Schema,
    /// Before the schema is there.
    Probe,
}

/// How long a statement waits for a row that others hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockWait {
    /// As little as both servers can: others need the connection.
    Short,
    Long,
}

impl LockWait {
    /// What a connection begins with.
    pub const fn of(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Commands => LockWait::Short,
            Purpose::Queries | Purpose::Schema | Purpose::Probe => LockWait::Long,
        }
    }

    pub const fn seconds(self) -> u32 {
        match self {
            LockWait::Short => 1,
            LockWait::Long => 10,
        }
    }
}

/// Which of the two families of servers it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    MySql,
    MariaDb,
}

impl Flavour {
    /// Compares bytes, and blanks at the end count.
    pub fn collation(self) -> &'static str {
        match self {
            Flavour::MySql => "utf8mb4_0900_bin",
            Flavour::MariaDb => "utf8mb4_nopad_bin",
        }
    }

    /// Sets how long a query of a session may take.
    fn bounds_queries(self) -> String {
        match self {
            Flavour::MySql => format!("SET SESSION max_execution_time = {}", QUERY_MAX.as_millis()),
            Flavour::MariaDb => format!("SET SESSION max_statement_time = {}", QUERY_MAX.as_secs()),
        }
    }
}

#[derive(Default)]
struct Closed {
    failures: u32,
    until: Option<Instant>,
    error: Option<Error>,
}

pub(crate) struct Connector {
    pub address: Address,
    pub flavour: Flavour,
    password: Option<Password>,
    closed: Mutex<Closed>,
}

impl Connector {
    pub fn new(address: Address, flavour: Flavour, password: Option<Password>) -> Self {
        Self { address, flavour, password, closed: Mutex::default() }
    }

    pub fn with_flavour(&self, flavour: Flavour) -> Self {
        Self::new(self.address.clone(), flavour, self.password.clone())
    }

    /// Connects, unless somebody has just tried in vain: then it fails as that did, at once.
    pub fn connect(&self, purpose: Purpose) -> Result<Conn, Error> {
        {
            let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(until), Some(error)) = (closed.until, &closed.error)
                && Instant::now() < until
            {
                return Err(error.clone());
            }
        }
        let connected = self.connect_now(purpose);
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        match &connected {
            Ok(_) => *closed = Closed::default(),
            Err(error) => {
                let wait = BACK_OFF_FIRST.saturating_mul(1 << closed.failures.min(10)).min(BACK_OFF_LAST);
                closed.failures += 1;
                closed.until = Some(Instant::now() + wait);
                closed.error = Some(error.clone());
            }
        }
        connected
    }

    fn connect_now(&self, purpose: Purpose) -> Result<Conn, Error> {
        let password = match &self.password {
            Some(provider) => {
                let secret =
                    provider().map_err(|problem| Error::Unreachable(format!("no password: {problem}")))?;
                Some(secret)
            }
            None => self.address.password.clone(),
        };
        let timeout = (purpose != Purpose::Schema).then_some(ANSWER_TIMEOUT);
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some(self.address.host.clone()))
            .tcp_port(self.address.port)
            .user(Some(self.address.user.clone()))
            .pass(password)
            .db_name((purpose != Purpose::Probe).then(|| self.address.schema.clone()))
            .socket(self.address.socket.as_ref().map(|path| path.to_string_lossy().into_owned()))
            .prefer_socket(false)
            .tcp_connect_timeout(Some(CONNECT_TIMEOUT))
            .read_timeout(timeout)
            .write_timeout(timeout)
            .tcp_keepalive_time_ms(Some(30_000))
            // The session keeps them.
            .stmt_cache_size(0)
            .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
            .ssl_opts(self.tls())
            .init(self.greeting(purpose));
        Conn::new(opts)
            .map_err(|error| failure::of_connecting(&error, &self.address.user, &self.address.server()))
    }

    fn tls(&self) -> Option<SslOpts> {
        let opts = SslOpts::default().with_root_cert_path(self.address.ca.clone());
        match self.address.tls {
            Tls::Off => None,
            Tls::Required => {
                Some(opts.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
            }
            Tls::Verify => Some(opts),
        }
    }

    fn greeting(&self, purpose: Purpose) -> Vec<String> {
        let isolation =
            if purpose == Purpose::Queries { "REPEATABLE READ, READ ONLY" } else { "READ COMMITTED" };
        let lock_wait_s = LockWait::of(purpose).seconds();
        let by_itself = u8::from(purpose != Purpose::Commands);
        let mut greeting = vec![
            format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}"),
            format!(
                "SET SESSION sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {lock_wait_s}, \
                 autocommit = {by_itself}"
            ),
        ];
        if purpose == Purpose::Queries {
            greeting.push(self.flavour.bounds_queries());
        }
        if purpose != Purpose::Probe {
            greeting.push(format!("SET NAMES utf8mb4 COLLATE {}", self.flavour.collation()));
        }
        greeting
    }
}

// ---- the first look -------------------------------------------------------------------------------------------

/// The oldest servers that keep CHECK constraints and have a binary collation in which blanks count.
const MYSQL_NEEDED: (u32, u32, u32) = (8, 0, 17);
const MARIADB_NEEDED: (u32, u32, u32) = (10, 6, 0);

/// `10.11.6-MariaDB-0+deb12u1` or `8.0.36`; MariaDB behind an old proxy says `5.5.5-10.11.6-MariaDB`.
pub(crate) fn version(text: &str) -> (Flavour, (u32, u32, u32)) {
    let flavour = if text.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
    let text = text.strip_prefix("5.5.5-").filter(|_| flavour == Flavour::MariaDb).unwrap_or(text);
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (flavour, (next(), next(), next()))
}

pub(crate) fn check_version(text: &str) -> Result<Flavour, Error> {
    let (flavour, found) = version(text);
    let (name, needed) = match flavour {
        Flavour::MySql => ("MySQL", MYSQL_NEEDED),
        Flavour::MariaDb => ("MariaDB", MARIADB_NEEDED),
    };
    if found >= needed {
        return Ok(flavour);
    }
    let (major, minor, patch) = needed;
    Err(Error::TooOld { found: text.to_owned(), needed: format!("{name} {major}.{minor}.{patch}") })
}

fn failed(error: &mysql::Error) -> Error {
    failure::of(error).error()
}

/// Looks at the server, makes the schema where it is missing and we may, and answers how to connect from now on.
pub(crate) fn probe(address: Address, password: Option<Password>) -> Result<Arc<Connector>, Error> {
    let connector = Connector::new(address, Flavour::MySql, password);
    let mut conn = connector.connect(Purpose::Probe)?;
    let sql = "SELECT VERSION(), CAST(@@global.read_only AS CHAR)";
    let found: Option<(String, String)> = conn.query_first(sql).map_err(|error| failed(&error))?;
    let (server, read_only) = found.ok_or(Error::NoRow)?;
    let flavour = check_version(&server)?;
    if !matches!(read_only.as_str(), "0" | "OFF") {
        return Err(Error::ReadOnly);
    }
    let schema = &connector.address.schema;
    if let Err(error) = conn.query_drop(format!("USE `{schema}`")) {
        create(&mut conn, schema, flavour, &error)?;
    }
    let tables = tables(&mut conn)?;
    if !tables.is_empty() && !tables.iter().any(|table| table == crate::migrate::TABLE) {
        return Err(Error::Foreign(schema.clone()));
    }
    Ok(Arc::new(connector.with_flavour(flavour)))
}

/// Makes the schema that could not be used for the reason `unusable`.
fn create(conn: &mut Conn, schema: &str, flavour: Flavour, unusable: &mysql::Error) -> Result<(), Error> {
    let mysql::Error::MySqlError(reason) = unusable else { return Err(failed(unusable)) };
    let is_unknown = reason.code == 1049;
    let collation = flavour.collation();
    let sql = format!("CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4 COLLATE {collation}");
    let created = conn.query_drop(sql).and_then(|()| conn.query_drop(format!("USE `{schema}`")));
    created.map_err(|error| match failed(&error) {
        Error::NoRight(_) if is_unknown => Error::UnknownSchema(schema.to_owned()),
        Error::NoRight(_) => Error::NoRight(format!("to use the schema {schema}")),
        other => other,
    })
}

/// The tables of the schema in use.
pub(crate) fn tables(conn: &mut Conn) -> Result<Vec<String>, Error> {
    let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()";
    conn.query(sql).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_by_name() {
        for good in ["8.0.36", "8.4.0-commercial", "10.6.0-MariaDB", "5.5.5-10.11.6-MariaDB-log", "9.1.0"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for old in ["5.7.44-log", "8.0.15", "10.5.23-MariaDB", "5.5.5-10.4.1-MariaDB"] {
            assert!(matches!(check_version(old), Err(Error::TooOld { found, .. }) if found == old));
        }
    }
}
