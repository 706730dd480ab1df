//! A database that writes down which statements its commands have run, and how they have read.

use std::sync::{Arc, Mutex};

use db::{Connection, Db, Engine, Error, Job, Param, Reads, Row, Stats, Verdict, Work};

/// Statements in their order.
#[derive(Default)]
pub struct Recorder(Mutex<Vec<(String, Option<Reads>)>>);

impl Recorder {
    fn note(&self, sql: &str, reads: Option<Reads>) {
        self.0.lock().unwrap().push((sql.to_owned(), reads));
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    /// How many statements begin like this.
    pub fn count(&self, with: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(sql, _)| sql.starts_with(with)).count()
    }

    /// How the rows of a table were read.
    pub fn reads_of(&self, table: &str) -> Vec<Reads> {
        let of = format!("FROM {table} ");
        let all = self.0.lock().unwrap();
        all.iter().filter(|(sql, _)| sql.contains(&of)).filter_map(|(_, reads)| *reads).collect()
    }
}

/// The database with somebody who listens.
pub fn recorded(db: Db) -> (Db, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let listening = recorder.clone();
    (db.around(|engine| Arc::new(Recording { engine, recorder: listening })), recorder)
}

struct Recording {
    engine: Arc<dyn Engine>,
    recorder: Arc<Recorder>,
}

impl Engine for Recording {
    fn write(&self, job: Box<dyn Job>) {
        self.engine.write(Box::new(Heard { job, recorder: self.recorder.clone() }));
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        self.engine.write_lazily(Box::new(Heard { job, recorder: self.recorder.clone() }));
    }

    fn read(&self, query: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), Error> {
        self.engine.read(query)
    }

    fn reads_inline(&self) -> bool {
        self.engine.reads_inline()
    }

    fn is_commit_ordered(&self) -> bool {
        self.engine.is_commit_ordered()
    }

    fn stats(&self) -> Stats {
        self.engine.stats()
    }
}

struct Heard {
    job: Box<dyn Job>,
    recorder: Arc<Recorder>,
}

impl Job for Heard {
    fn run(&mut self, connection: &mut dyn Connection) -> Verdict {
        self.job.run(&mut Listening { connection, recorder: &self.recorder })
    }

    fn finish(self: Box<Self>, commit: Result<(), Error>) {
        self.job.finish(commit);
    }
}

struct Listening<'a> {
    connection: &'a mut dyn Connection,
    recorder: &'a Recorder,
}

impl Connection for Listening<'_> {
    fn work(&mut self) -> &mut Work {
        self.connection.work()
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, Error> {
        self.recorder.note(sql, None);
        self.connection.execute(sql, params)
    }

    fn execute_batch(&mut self, sql: &str) -> Result<(), Error> {
        self.connection.execute_batch(sql)
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        reads: Reads,
        each: &mut dyn FnMut(&Row<'_>) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        self.recorder.note(sql, Some(reads));
        self.connection.query(sql, params, reads, each)
    }
}
