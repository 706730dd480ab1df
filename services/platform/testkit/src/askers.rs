//! A database as one on a server is asked, by those whose turn it is: it tells whose questions they were.

use std::sync::{Arc, Mutex, PoisonError};

use db::{Asker, Connection, Db, Dialect, Engine, Error, Job, Stats, Turn, Waiting};

/// Who has asked.
#[derive(Clone, Default)]
pub struct Askers(Arc<Mutex<Vec<Asker>>>);

impl Askers {
    /// `db`, of which no query is answered before its asker had a turn.
    pub fn around(&self, db: Db) -> Db {
        db.around(|engine| Arc::new(Asked { engine, askers: self.clone() }))
    }

    /// Those who have asked since this was last called, one for each query.
    pub fn take(&self) -> Vec<Asker> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Asked {
    engine: Arc<dyn Engine>,
    askers: Askers,
}

impl Engine for Asked {
    fn write(&self, job: Box<dyn Job>) {
        self.engine.write(job);
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.engine.write_lazily(job);
    }

    fn turn(&self, asker: Asker) -> Waiting<'_> {
        self.askers.0.lock().unwrap_or_else(PoisonError::into_inner).push(asker);
        Box::pin(std::future::ready(Ok(Turn::default())))
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.engine.read(query)
    }

    fn look_up(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.engine.look_up(query)
    }

    fn reads_inline(&self) -> bool {
        false
    }

    fn is_commit_ordered(&self) -> bool {
        false
    }

    fn dialect(&self) -> Dialect {
        self.engine.dialect()
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }
}
