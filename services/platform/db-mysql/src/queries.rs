//! Queries: a bounded pool of connections, each query on one snapshot or, where it only looks by key, on none.
//!
//! Invariant: nobody waits for a connection longer than [`WAIT_MAX`]. Who has taken a [turn](db::Turns) finds one free.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use db::{Connection, Error, HOUSE_WAIT_MAX as WAIT_MAX};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use crate::connect::{Connector, Purpose};
use crate::session::Session;

/// What a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// One moment.
    Snapshot,
    /// With each statement another one: no transaction is opened for it.
    Moments,
}

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
        self.lend_until(Instant::now() + WAIT_MAX)
    }

    fn lend_until(&self, until: Instant) -> Result<Loan<'_>, Error> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // The one that was used last is the least likely to have died.
            if let Some(session) = idle.sessions.pop() {
                return Ok(Loan { queries: self, session: Some(session), is_clean: false });
            }
            if idle.open < self.connector.address.pool {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The server may well answer: it is others who do not give back what they have.
                return Err(Error::Busy);
            }
            idle = self.freed.wait_timeout(idle, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        idle.open += 1;
        drop(idle);
        // The loan gives the place back where connecting fails.
        let mut loan = Loan { queries: self, session: None, is_clean: false };
        loan.session = Some(Session::open(&self.connector, Purpose::Queries)?);
        Ok(loan)
    }

    fn run_here(&self, view: View, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        let mut loan = self.lend()?;
        let Some(session) = &mut loan.session else { return Err(Error::Closed) };
        match view {
            View::Snapshot => session.begin_snapshot()?,
            View::Moments => session.begin(),
        }
        query(session);
        loan.is_clean = session.trouble().is_none() && session.commit().is_ok();
        Ok(())
    }

    /// Runs a query on the calling thread. Where that thread also drives others' work, they are told that it waits.
    pub fn run(&self, view: View, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.run_here(view, query)),
            _ => self.run_here(view, query),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::connect::Flavour;

    #[test]
    fn who_finds_all_connections_busy_is_told_so_in_the_end() {
        let address = Address::parse("mysql://shop@127.0.0.1:1/rtc?pool=1").unwrap();
        let queries = Queries::new(Arc::new(Connector::new(address, Flavour::MySql, None)));
        queries.idle.lock().unwrap().open = 1;
        let Err(error) = queries.lend_until(Instant::now()) else { panic!("there is none") };
        assert!(matches!(error, Error::Busy) && error.is_transient(), "{error}");
    }
}
