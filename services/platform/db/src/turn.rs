//! Who asks, and whose turn it is: a query takes a thread only once its engine has a connection for it.
//!
//! Invariants:
//! - what does not come from outside is the house's own, and goes first: pumps, probes, operators;
//! - a turn that was given is used at once, or given back: never kept by somebody who is not looking.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::Error;

/// Whose question it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asker {
    /// Somebody outside, of whom there may be any number.
    Guest,
    /// A pump, an operator, a measurement.
    #[default]
    House,
}

tokio::task_local! {
    static ASKER: Asker;
}

impl Asker {
    /// Does `work`, whose questions are this one's.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        ASKER.scope(self, work)
    }

    /// Who asks in the current task.
    pub fn current() -> Self {
        ASKER.try_with(|asker| *asker).unwrap_or_default()
    }
}

/// The right to run a query now, given back when it is dropped.
#[derive(Default)]
pub struct Turn(Option<Box<dyn Any + Send>>);

impl Turn {
    /// `place` is dropped with it.
    pub fn of(place: impl Any + Send) -> Self {
        Self(Some(Box::new(place)))
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Turn" } else { "Turn(free)" })
    }
}

/// How an engine says whose turn it is.
pub type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Turn, Error>> + Send + 'a>>;

#[cfg(test)]
mod tests;
