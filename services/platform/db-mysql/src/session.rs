//! One connection inside one transaction after the other.
//!
//! Invariants:
//! - once a statement has met a deadlock, a lock time-out or a broken connection, every later one of the same
//!   transaction fails without being sent: the server may have ended the transaction, and what came after would be a
//!   transaction of its own;
//! - what went wrong is remembered here, so a closure that hides an error is not committed.

use std::collections::HashMap;
use std::sync::Arc;

use db::{Connection, End, Error, Param, Reads, Row, RowSource, ValueRef, Work};
use mysql::consts::ColumnType;
use mysql::prelude::Queryable;
use mysql::{Conn, Params, Statement, Value};

use crate::connect::{Connector, LockWait, Purpose};
use crate::failure::{self, Failure};
use crate::sql::{self, Count, Translated};

/// Statement texts remembered with their translation; texts are few, so this only bounds a defect.
const TEXTS_MAX: usize = 1_024;
/// Statements that the server keeps ready, per connection.
const PREPARED_MAX: usize = 384;
/// The character set of bytes.
const BINARY: u16 = 63;

/// A statement as the server reads it, and the same with locks.
struct Text {
    translated: Translated,
    locked: String,
    shared: String,
}

/// The statements that are ready on a connection.
#[derive(Default)]
struct Prepared {
    by_text: HashMap<String, (Statement, u64)>,
    uses: u64,
}

impl Prepared {
    fn get(&mut self, conn: &mut Conn, text: &str) -> Result<Statement, mysql::Error> {
        self.uses += 1;
        if let Some((statement, used)) = self.by_text.get_mut(text) {
            *used = self.uses;
            return Ok(statement.clone());
        }
        let statement = conn.prep(text)?;
        if self.by_text.len() >= PREPARED_MAX {
            let oldest = self.by_text.iter().min_by_key(|(_, (_, used))| *used).map(|(text, _)| text.clone());
            if let Some((old, _)) = oldest.and_then(|oldest| self.by_text.remove(&oldest)) {
                conn.close(old)?;
            }
        }
        self.by_text.insert(text.to_owned(), (statement.clone(), self.uses));
        Ok(statement)
    }
}

pub(crate) struct Session {
    conn: Conn,
    connector: Arc<Connector>,
    purpose: Purpose,
    texts: HashMap<String, Arc<Text>>,
    prepared: Prepared,
    trouble: Option<Failure>,
    /// The last failure was an answer that did not come in time: asking again takes as long again.
    is_overdue: bool,
    met_duplicate: bool,
    work: Work,
    lock_wait: LockWait,
    /// Statements sent in this transaction, and those of them that may have changed something.
    sent: u64,
    changes: u64,
    /// Whether there is a transaction to end.
    is_open: bool,
    /// Savepoints that are set with the first change after them.
    pending: Vec<u32>,
}

fn values(params: &[Param<'_>]) -> Params {
    if params.is_empty() {
        return Params::Empty;
    }
    let value = |param: &Param<'_>| match param {
        Param::Null => Value::NULL,
        Param::Int(int) => Value::Int(*int),
        Param::Text(text) => Value::Bytes(text.as_bytes().to_vec()),
        Param::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    };
    Params::Positional(params.iter().map(value).collect())
}

struct Answer<'a>(&'a mysql::Row);

impl RowSource for Answer<'_> {
    fn value(&self, column: usize) -> Result<ValueRef<'_>, Error> {
        let decode = |problem: String| Error::Decode { column, problem };
        let value = self.0.as_ref(column).ok_or_else(|| decode("there is no such column".to_owned()))?;
        Ok(match value {
            Value::NULL => ValueRef::Null,
            Value::Int(int) => ValueRef::Int(*int),
            Value::UInt(int) => {
                ValueRef::Int(i64::try_from(*int).map_err(|error| decode(error.to_string()))?)
            }
            Value::Float(real) => ValueRef::Real(f64::from(*real)),
            Value::Double(real) => ValueRef::Real(*real),
            Value::Bytes(bytes) => {
                let columns = self.0.columns_ref();
                let of = columns.get(column).ok_or_else(|| decode("there is no such column".to_owned()))?;
                let text = || std::str::from_utf8(bytes).map_err(|error| decode(error.to_string()));
                match of.column_type() {
                    // A sum of integers comes as a decimal number.
                    ColumnType::MYSQL_TYPE_NEWDECIMAL | ColumnType::MYSQL_TYPE_DECIMAL => {
                        number(text()?, &decode)?
                    }
                    _ if of.character_set() == BINARY => ValueRef::Blob(bytes),
                    _ => ValueRef::Text(text()?),
                }
            }
            Value::Date(..) | Value::Time(..) => return Err(decode("times are integers here".to_owned())),
        })
    }
}

fn number<'a>(text: &str, decode: &dyn Fn(String) -> Error) -> Result<ValueRef<'a>, Error> {
    if text.contains('.') {
        return text.parse().map(ValueRef::Real).map_err(|_| decode(format!("not a number: {text:?}")));
    }
    text.parse().map(ValueRef::Int).map_err(|_| decode(format!("{text} does not fit into 64 bits")))
}

/// The number behind `name` in `Records: 64  Duplicates: 3  Warnings: 0`.
fn counted(info: &str, name: &str) -> Option<usize> {
    let rest = info.split_once(name)?.1.trim_start();
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Session {
    pub fn open(connector: &Arc<Connector>, purpose: Purpose) -> Result<Self, Error> {
        Ok(Self {
            conn: connector.connect(purpose)?,
            connector: connector.clone(),
            purpose,
            texts: HashMap::new(),
            prepared: Prepared::default(),
            trouble: None,
            is_overdue: false,
            met_duplicate: false,
            work: Work::new(End::OfTransaction),
            lock_wait: LockWait::of(purpose),
            sent: 0,
            changes: 0,
            is_open: false,
            pending: Vec::new(),
        })
    }

    /// Forgets the transaction before.
    pub fn begin(&mut self) {
        self.trouble = None;
        self.met_duplicate = false;
        self.work.clear();
        self.sent = 0;
        self.changes = 0;
        self.is_open = false;
        self.pending.clear();
    }

    /// Forgets the transaction before; from here on statements wait so long for locks.
    pub fn begin_with(&mut self, wait: LockWait) -> Result<(), Failure> {
        self.begin();
        if self.lock_wait != wait {
            let sql = format!("SET SESSION innodb_lock_wait_timeout = {}", wait.seconds());
            self.conn.query_drop(sql).map_err(|error| failure::of(&error))?;
            self.lock_wait = wait;
        }
        Ok(())
    }

    /// Begins a transaction that sees one moment. Its connection may have died while it was idle: then it has a new one.
    pub fn begin_snapshot(&mut self) -> Result<(), Error> {
        self.begin();
        let sql = "START TRANSACTION READ ONLY";
        if let Err(error) = self.conn.query_drop(sql) {
            match failure::of(&error) {
                Failure::Lost(_) => {
                    self.replace(self.connector.connect(self.purpose)?);
                    self.conn.query_drop(sql).map_err(|error| self.fail(&error))?;
                }
                failure => return Err(failure.error()),
            }
        }
        self.sent = 1;
        self.is_open = true;
        Ok(())
    }

    fn replace(&mut self, conn: Conn) {
        self.conn = conn;
        self.prepared = Prepared::default();
    }

    /// How many statements so far may have changed something.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    /// Whether a key was found taken.
    pub fn met_duplicate(&self) -> bool {
        self.met_duplicate
    }

    /// `Err` where it is not certain that the transaction was committed.
    pub fn commit(&mut self) -> Result<(), Failure> {
        if !self.is_open {
            return Ok(());
        }
        self.conn.query_drop("COMMIT").map_err(|error| failure::of(&error))
    }

    /// `Err` where the connection is of no use any more.
    pub fn rollback(&mut self) -> Result<(), Failure> {
        // What was asked last may still be answered: nothing that is read from here on belongs to its question.
        if let Some(lost @ Failure::Lost(_)) = &self.trouble {
            return Err(lost.clone());
        }
        if !self.is_open {
            return Ok(());
        }
        self.conn.query_drop("ROLLBACK").map_err(|error| failure::of(&error))
    }

    fn text(&mut self, sql: &str) -> Result<Arc<Text>, Error> {
        if let Some(known) = self.texts.get(sql) {
            return Ok(known.clone());
        }
        let translated = sql::translate(sql, self.connector.flavour.collation())?;
        let with = |locks: &str| {
            if translated.is_read { format!("{} {locks}", translated.sql) } else { String::new() }
        };
        let (locked, shared) = (with("FOR UPDATE"), with("LOCK IN SHARE MODE"));
        let text = Arc::new(Text { translated, locked, shared });
        if self.texts.len() >= TEXTS_MAX {
            self.texts.clear();
        }
        self.texts.insert(sql.to_owned(), text.clone());
        Ok(text)
    }

    fn check(&self) -> Result<(), Error> {
        self.trouble.as_ref().map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn fail(&mut self, error: &mysql::Error) -> Error {
        self.is_overdue = failure::is_overdue(error);
        let failure = failure::of(error);
        let said = failure.error();
        match failure {
            Failure::Statement(Error::Unique(_)) => self.met_duplicate = true,
            Failure::Statement(_) => {}
            trouble => self.trouble = Some(trouble),
        }
        said
    }

    /// Sets the savepoints that were only noted so far.
    fn set_savepoints(&mut self) -> Result<(), Error> {
        for depth in std::mem::take(&mut self.pending) {
            self.send(&format!("SAVEPOINT part{depth}"))?;
        }
        Ok(())
    }

    fn send(&mut self, sql: &str) -> Result<(), Error> {
        self.check()?;
        self.count();
        self.changes += 1;
        self.conn.query_drop(sql).map_err(|error| self.fail(&error))
    }

    /// A statement is sent: outside of a query it opens a transaction.
    fn count(&mut self) {
        self.sent += 1;
        self.is_open |= self.purpose == Purpose::Commands;
    }

    /// A query's connection may have died while it was idle: before anything was read a new one does as well.
    fn replace_if_stale(&mut self) -> bool {
        let is_lost = matches!(self.trouble, Some(Failure::Lost(_)));
        let is_stale = is_lost && !self.is_overdue;
        if self.purpose != Purpose::Queries || self.is_open || self.sent != 1 || !is_stale {
            return false;
        }
        match self.connector.connect(self.purpose) {
            Ok(conn) => {
                self.replace(conn);
                self.begin();
                true
            }
            Err(_) => false,
        }
    }

    fn query_once(
        &mut self,
        sql: &str,
        params: Params,
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.count();
        let mut failed = None;
        let mut outcome = Ok(());
        let statement = match self.prepared.get(&mut self.conn, sql) {
            Ok(statement) => statement,
            Err(error) => return Err(self.fail(&error)),
        };
        match self.conn.exec_iter(statement, params) {
            Ok(rows) => {
                for row in rows {
                    match row {
                        Ok(row) => match each(&Row::new(&Answer(&row))) {
                            Ok(true) => {}
                            Ok(false) => break,
                            Err(error) => {
                                outcome = Err(error);
                                break;
                            }
                        },
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                }
            }
            Err(error) => failed = Some(error),
        }
        match failed {
            Some(error) => Err(self.fail(&error)),
            None => outcome,
        }
    }
}

impl Connection for Session {
    fn work(&mut self) -> &mut Work {
        &mut self.work
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, Error> {
        self.check()?;
        let text = self.text(sql)?;
        let translated = &text.translated;
        if translated.is_schema && self.sent > 0 {
            return Err(Error::Other("a schema change would commit what was done before it".to_owned()));
        }
        self.set_savepoints()?;
        self.count();
        self.changes += 1;
        let done = self.prepared.get(&mut self.conn, &translated.sql).and_then(|statement| {
            let done = self.conn.exec_iter(statement, values(params))?;
            let affected = usize::try_from(done.affected_rows()).unwrap_or(usize::MAX);
            Ok((affected, done.info_str().into_owned()))
        });
        match done {
            Ok((affected, info)) => Ok(match translated.count {
                Count::AsItIs | Count::IfAbsent => affected,
                Count::Given => counted(&info, "Records:").unwrap_or(affected.min(1)),
                Count::New => match (counted(&info, "Records:"), counted(&info, "Duplicates:")) {
                    (Some(given), Some(there)) => given.saturating_sub(there),
                    _ => affected,
                },
            }),
            Err(mysql::Error::MySqlError(error))
                if translated.count == Count::IfAbsent && matches!(error.code, 1062 | 1586) =>
            {
                Ok(0)
            }
            Err(error) => Err(self.fail(&error)),
        }
    }

    fn execute_batch(&mut self, sql: &str) -> Result<(), Error> {
        for statement in sql::statements(sql) {
            self.execute(&statement, &[])?;
        }
        Ok(())
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        reads: Reads,
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.check()?;
        let known = self.text(sql)?;
        let locks = self.purpose == Purpose::Commands && known.translated.is_read;
        let text = match reads {
            Reads::Locked if locks => known.locked.as_str(),
            Reads::Shared if locks => known.shared.as_str(),
            _ => known.translated.sql.as_str(),
        };
        let mut seen = false;
        let done = self.query_once(text, values(params), &mut |row| {
            seen = true;
            each(row)
        });
        if done.is_err() && !seen && self.replace_if_stale() {
            return self.query_once(text, values(params), each);
        }
        done
    }

    fn savepoint(&mut self, depth: u32) -> Result<(), Error> {
        self.pending.push(depth);
        Ok(())
    }

    fn release(&mut self, depth: u32) -> Result<(), Error> {
        // The server forgets it with the commit, or when the next one of this name is set.
        self.pending.retain(|pending| *pending != depth);
        Ok(())
    }

    fn undo_to(&mut self, depth: u32) -> Result<(), Error> {
        if self.pending.contains(&depth) {
            // Nothing was changed since.
            return self.release(depth);
        }
        self.send(&format!("ROLLBACK TO SAVEPOINT part{depth}"))
    }
}
