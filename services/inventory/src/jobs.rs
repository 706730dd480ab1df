//! The job that ends reservations whose time is over, a bounded batch a turn, found by index.

use std::sync::Arc;

use async_trait::async_trait;
use db::Db;
use kernel::Result;
use messaging::{Job, Progress};

use crate::Desk;

pub(crate) struct Expiry {
    pub db: Db,
    pub desk: Arc<Desk>,
}

#[async_trait]
impl Job for Expiry {
    async fn run(&self) -> Result<Progress> {
        let desk = self.desk.clone();
        let expired = self.db.write(move |tx| desk.expire_due(tx, desk.now())).await?;
        Ok(Progress::from_count(expired))
    }
}
