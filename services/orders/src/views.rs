//! Orders as they are shown, read together for all who ask at the same time: those whose orders one transaction has settled.
//!
//! Invariants: whoever asks is shown what was committed before it asked; a look for guests is a guest's, so that no number of
//! them takes the connection that is kept for the house.

use std::sync::{Arc, Mutex, PoisonError};

use contracts::OrderId;
use db::{Asker, Db};
use tokio::sync::oneshot;

use crate::queries::{self, OrderView};

type Asked = (OrderId, oneshot::Sender<Option<OrderView>>);

pub struct Views {
    db: Db,
    /// Those for whom a look is about to begin.
    asked: Mutex<Vec<Asked>>,
}

impl Views {
    pub fn new(db: Db) -> Arc<Self> {
        Arc::new(Self { db, asked: Mutex::default() })
    }

    pub async fn order(self: &Arc<Self>, id: OrderId) -> Result<Option<OrderView>, db::Error> {
        // Where a look is no question to a server, there is nothing to be shared.
        if !self.db.is_commit_ordered() {
            let (tell, told) = oneshot::channel();
            let is_first = {
                let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                asked.push((id, tell));
                asked.len() == 1
            };
            if is_first {
                // In a task of its own: whoever asks may go away.
                let views = self.clone();
                tokio::spawn(Asker::current().scope(async move { views.answer().await }));
            }
            if let Ok(view) = told.await {
                return Ok(view);
            }
        }
        self.db.look_up(move |tx| queries::order(tx, id)).await
    }

    /// Looks once for all who have asked. Where that fails each looks for itself.
    async fn answer(&self) {
        // Those who were woken together ask first.
        tokio::task::yield_now().await;
        let asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        let ids: Vec<OrderId> = asked.iter().map(|(id, _)| *id).collect();
        match self.db.look_up(move |tx| queries::orders(tx, &ids)).await {
            Ok(found) => {
                for (id, tell) in asked {
                    // Nobody listens any more: the request was given up.
                    let _ = tell.send(found.get(&id).cloned());
                }
            }
            Err(error) => tracing::debug!(%error, "a look for several orders failed"),
        }
    }
}
