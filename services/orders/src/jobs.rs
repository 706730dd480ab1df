//! Deadlines: steps that have waited too long are told so.

use async_trait::async_trait;
use db::Db;
use messaging::{Job, Progress};

use crate::saga::{Input, Runner};

const BATCH_MAX: u32 = 100;

pub struct Deadlines {
    pub db: Db,
    pub runner: Runner,
}

#[async_trait]
impl Job for Deadlines {
    async fn run(&self) -> kernel::Result<Progress> {
        let runner = self.runner.clone();
        let due = self.db.read_now(|tx| runner.overdue(tx, BATCH_MAX))?;
        if due.is_empty() {
            return Ok(Progress::Idle);
        }
        tracing::info!(orders = due.len(), "steps past their deadline");
        let count = due.len();
        self.db
            .write(move |tx| -> kernel::Result<()> {
                for order in &due {
                    runner.advance(tx, *order, &Input::Deadline, None)?;
                }
                Ok(())
            })
            .await?;
        Ok(Progress::from_count(count))
    }
}
