//! Keeps the index at the heels of the catalogue.
//!
//! Invariant: the index's own position says what it has seen, in the transaction of what it took in. An index that is
//! empty, behind, or ahead of the catalogue (one of the two was restored) is filled or built anew.

use std::sync::Arc;

use async_trait::async_trait;
use db::Db;
use kernel::Result;
use messaging::{Job, Progress};

use super::{Batch, Document, Search};
use crate::domain::Product;
use crate::store;
use contracts::catalog::ProductStatus;

const BATCH_MAX: u32 = 256;

pub struct Indexer {
    db: Db,
    search: Arc<dyn Search>,
}

impl Indexer {
    pub fn new(db: Db, search: Arc<dyn Search>) -> Self {
        Self { db, search }
    }
}

fn document(product: Product) -> Document {
    let content = product.content;
    let attributes: Vec<String> =
        content.attributes.iter().map(|(name, value)| format!("{name} {value}")).collect();
    Document {
        number: product.number,
        is_active: content.status == ProductStatus::Active,
        category: content.category,
        name: content.name,
        attributes: attributes.join(" "),
        description: content.description,
    }
}

#[async_trait]
impl Job for Indexer {
    async fn run(&self) -> Result<Progress> {
        let from = self.search.position().await?;
        let (last, batch) = self
            .db
            .read(move |tx| -> std::result::Result<_, db::Error> {
                let changes = store::changes_after(tx, from, BATCH_MAX)?;
                let to = changes.last().map(|(seq, _)| *seq);
                let mut documents = Vec::with_capacity(changes.len());
                for (_, number) in changes {
                    documents.extend(store::find_by_number(tx, number)?.map(document));
                }
                Ok((store::last_change(tx)?, to.map(|to| Batch { from, to, documents })))
            })
            .await?;
        if from > last {
            tracing::warn!(from, last, "the search index is ahead of the catalogue and is built anew");
            self.search.clear().await?;
            return Ok(Progress::Worked);
        }
        let Some(batch) = batch else { return Ok(Progress::Idle) };
        self.search.apply(batch).await?;
        Ok(Progress::Worked)
    }
}
