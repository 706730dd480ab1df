//! Fences: commands of work that only one process may do at a time prove, inside their transaction, that it is still
//! theirs to do.
//!
//! Invariant: while [`scope`] runs, every command that this task gives to the fence's database checks the fence first
//! and changes nothing where it fails. A process that was paused past its lease therefore does no harm when it
//! resumes, whatever its clock says.

use std::future::Future;
use std::sync::Arc;

use crate::{Db, Engine, Error, Tx};

type Check = dyn Fn(&mut Tx<'_>) -> Result<(), Error> + Send + Sync;

/// A condition that holds while this process has the right to do the work.
#[derive(Clone)]
pub struct Fence {
    engine: Arc<dyn Engine>,
    check: Arc<Check>,
}

tokio::task_local! {
    static FENCE: Fence;
}

impl Fence {
    /// `check` answers [`Error::Fenced`] once the right is lost. It is asked in the transactions of `db` alone.
    pub fn new(db: &Db, check: impl Fn(&mut Tx<'_>) -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self { engine: db.engine.clone(), check: Arc::new(check) }
    }

    pub(crate) fn check(&self, tx: &mut Tx<'_>) -> Result<(), Error> {
        // What was found stays so until the transaction ends: its commands need not look again.
        let me = Arc::as_ptr(&self.check).cast::<()>() as usize;
        if tx.work().passed.contains(&me) {
            return Ok(());
        }
        (self.check)(&mut tx.shared())?;
        tx.work().passed.push(me);
        Ok(())
    }
}

/// Does `work` behind `fence`.
pub async fn scope<F: Future>(fence: Fence, work: F) -> F::Output {
    FENCE.scope(fence, work).await
}

/// The fence of the current task for commands of this engine.
pub(crate) fn of(engine: &Arc<dyn Engine>) -> Option<Fence> {
    let current = FENCE.try_with(Clone::clone).ok()?;
    Arc::ptr_eq(&current.engine, engine).then_some(current)
}
