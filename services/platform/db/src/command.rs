//! A command on its way: what it does, what follows from it, and who waits for its answer.
//!
//! Invariants: hooks run where the command's own changes were kept and the transaction was stored, or may have been where they ask
//! for that; whoever gave up before a command began has it not done.

use tokio::sync::oneshot;

use crate::engine::{Connection, Job, Verdict};
use crate::fence::Fence;
use crate::late::{self, End};
use crate::{Error, Tx, Wish};

/// What runs once a command has ended.
pub(crate) struct Hook {
    /// Also where it is not known whether the change was stored.
    pub in_doubt: bool,
    pub run: Box<dyn FnOnce() + Send>,
}

pub(crate) type Wishing = Box<dyn Fn() -> Wish + Send>;

/// A closure on its way through an engine, and who waits for what it answers.
pub(crate) struct Command<F, T, E> {
    wish: Option<Wishing>,
    command: F,
    outcome: Option<Result<T, E>>,
    hooks: Vec<Hook>,
    fence: Option<Fence>,
    reply: Option<oneshot::Sender<Result<T, E>>>,
}

impl<F, T, E> Command<F, T, E> {
    /// `reply`: nobody waits where there is none.
    pub fn new(
        wish: Option<Wishing>,
        command: F,
        fence: Option<Fence>,
        reply: Option<oneshot::Sender<Result<T, E>>>,
    ) -> Self {
        Self { wish, command, outcome: None, hooks: Vec::new(), fence, reply }
    }
}

impl<F, T, E> Job for Command<F, T, E>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send,
    T: Send,
    E: From<Error> + Send,
{
    fn wish(&self) -> Option<Wish> {
        self.wish.as_ref().map(|wish| wish())
    }

    fn run(&mut self, connection: &mut dyn Connection) -> Verdict {
        self.hooks.clear();
        self.outcome = None;
        // The caller gave up before it began: nothing is done, and nobody waits for an answer (R93).
        if self.reply.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return Verdict::Undo;
        }
        let tx = &mut Tx::new(connection, &mut self.hooks);
        let (mark, end) = (tx.work().mark(), tx.work().end);
        let outcome = match self.fence.as_ref().map_or(Ok(()), |fence| fence.check(tx)) {
            Ok(()) => (self.command)(tx).and_then(|done| match end {
                End::OfCommand => late::write(tx).map(|()| done).map_err(E::from),
                End::OfTransaction => Ok(done),
            }),
            Err(error) => Err(error.into()),
        };
        let verdict = if outcome.is_ok() { Verdict::Keep } else { Verdict::Undo };
        if verdict == Verdict::Undo {
            connection.work().undo_to(mark);
        }
        self.outcome = Some(outcome);
        verdict
    }

    fn finish(mut self: Box<Self>, commit: Result<(), Error>) {
        let is_kept = matches!(self.outcome, Some(Ok(_)));
        let in_doubt = matches!(commit, Err(Error::OutcomeUnknown));
        let is_stored = commit.is_ok();
        let result = match (commit, self.outcome.take()) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(Error::Panicked.into()),
            (Err(error), _) => Err(error.into()),
        };
        if is_kept && (is_stored || in_doubt) {
            let due = self.hooks.drain(..).filter(|hook| is_stored || hook.in_doubt);
            due.for_each(|hook| (hook.run)());
        }
        if let Some(reply) = self.reply.take() {
            // Nobody waits any more: the caller gave up, the change stays.
            let _ = reply.send(result);
        }
    }
}
