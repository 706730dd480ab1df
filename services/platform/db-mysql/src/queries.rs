//! Queries: a bounded pool of connections, each query on one snapshot.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use db::{Connection, Error};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::connect::{Connector, Purpose};
use crate::session::Session;

#[derive(Default)]
struct Idle {
    sessions: Vec<Session>,
    /// Open ones, the idle included.
    open: usize,
}

pub(crate) struct Queries {
    connector: Arc<Connector>,
    idle: Mutex<Idle>,
    freed: Condvar,
}

/// A connection on loan. It comes back when it is dropped, and is closed if it did not come back clean.
struct Loan<'a> {
    queries: &'a Queries,
    session: Option<Session>,
    is_clean: bool,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let session = self.session.take().filter(|_| self.is_clean);
        let mut idle = self.queries.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match session {
            Some(session) => idle.sessions.push(session),
            None => idle.open -= 1,
        }
        drop(idle);
        self.queries.freed.notify_one();
    }
}

impl Queries {
    pub fn new(connector: Arc<Connector>) -> Self {
        Self { connector, idle: Mutex::default(), freed: Condvar::new() }
    }

    fn lend(&self) -> Result<Loan<'_>, Error> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // The one that was used last is the least likely to have died.
            if let Some(session) = idle.sessions.pop() {
                return Ok(Loan { queries: self, session: Some(session), is_clean: false });
            }
            if idle.open < self.connector.address.pool {
                break;
            }
            idle = self.freed.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
        idle.open += 1;
        drop(idle);
        // The loan gives the place back where connecting fails.
        let mut loan = Loan { queries: self, session: None, is_clean: false };
        loan.session = Some(Session::open(&self.connector, Purpose::Queries)?);
        Ok(loan)
    }

    fn run_here(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        let mut loan = self.lend()?;
        let Some(session) = &mut loan.session else { return Err(Error::Closed) };
        session.begin();
        query(session);
        loan.is_clean = session.trouble().is_none() && session.commit().is_ok();
        Ok(())
    }

    /// Runs a query on the calling thread. Where that thread also drives others' work, they are told that it waits.
    pub fn run(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.run_here(query)),
            _ => self.run_here(query),
        }
    }
}
