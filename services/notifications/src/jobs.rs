//! Forgets notifications that were finished long ago.

use std::sync::Arc;

use async_trait::async_trait;
use db::Db;
use kernel::Clock;
use messaging::{Job, Progress};

use crate::config::Config;
use crate::store;

pub(crate) struct Forget {
    pub db: Db,
    pub clock: Arc<dyn Clock>,
    pub config: Config,
}

#[async_trait]
impl Job for Forget {
    async fn run(&self) -> kernel::Result<Progress> {
        let now = self.clock.now();
        let horizon = now.minus(self.config.retention());
        let forgotten = self.db.write(move |tx| store::forget(tx, horizon, now)).await?;
        Ok(Progress::from_count(forgotten))
    }
}
