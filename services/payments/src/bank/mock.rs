//! The bank behind the port: each operation is one transaction of its own, and concurrent ones share a commit.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use db::{Db, Tx, params};
use kernel::{Clock, IdSource, Timestamp};

use super::operations::{self, Terms};
use super::rows::Wanted;
use super::{Bank, BankError, HoldFacts, HoldId, HoldRequest, OnHold, Reply, StatementLine};

/// The mock bank.
#[derive(Clone)]
pub struct MockBank {
    db: Db,
    clock: Arc<dyn Clock>,
    ids: IdSource,
    terms: Terms,
}

/// How many holds expire in one transaction.
const EXPIRY_BATCH: u32 = 200;

impl MockBank {
    /// `clock` is the bank's own, which may go wrong.
    pub(crate) fn new(db: Db, clock: Arc<dyn Clock>, ids: IdSource, terms: Terms) -> Self {
        Self { db, clock, ids, terms }
    }

    async fn run(
        &self,
        wanted: Wanted,
        operation: impl FnMut(&mut Tx<'_>) -> Result<Reply, db::Error> + Send + 'static,
    ) -> Result<Reply, BankError> {
        Ok(self.db.write_ahead(wanted, operation).await?)
    }

    /// Frees holds that have stood too long; answers their keys.
    pub(crate) async fn expire(&self) -> Result<Vec<String>, db::Error> {
        let at = self.clock.now();
        let due = move |tx: &mut Tx<'_>| -> Result<bool, db::Error> {
            let sql = "SELECT 1 FROM bank_holds WHERE state = 'pending' AND expires_at <= ? LIMIT 1";
            Ok(tx.query_opt(sql, params![at], |_| Ok(()))?.is_some())
        };
        // A look costs no commit.
        if !self.db.read(due).await? {
            return Ok(Vec::new());
        }
        self.db.write(move |tx| operations::expire(tx, at, EXPIRY_BATCH)).await
    }
}

fn on(request: &OnHold) -> Wanted {
    let (key, hold_key) = (request.key.clone(), request.hold_key.clone());
    Wanted { key, hold_key, owner: None, account: None }
}

#[async_trait]
impl Bank for MockBank {
    async fn hold(&self, request: HoldRequest) -> Result<Reply, BankError> {
        let (id, terms, at): (HoldId, _, _) = (self.ids.next(), self.terms, self.clock.now());
        let owner = request.account.is_none().then_some(request.owner);
        let (key, hold_key) = (request.key.clone(), request.hold_key.clone());
        let wanted = Wanted { key, hold_key, owner, account: request.account.clone() };
        self.run(wanted, move |tx| operations::hold(tx, &request, id, terms, at)).await
    }

    async fn capture(&self, request: OnHold) -> Result<Reply, BankError> {
        let (terms, at) = (self.terms, self.clock.now());
        self.run(on(&request), move |tx| operations::capture(tx, &request, terms, at)).await
    }

    async fn release(&self, request: OnHold) -> Result<Reply, BankError> {
        let (mark, at): (HoldId, _) = (self.ids.next(), self.clock.now());
        self.run(on(&request), move |tx| operations::release(tx, &request, mark, at)).await
    }

    async fn refund(&self, request: OnHold) -> Result<Reply, BankError> {
        let at = self.clock.now();
        self.run(on(&request), move |tx| operations::refund(tx, &request, at)).await
    }

    async fn status(&self, key: &str) -> Result<Option<Reply>, BankError> {
        let key = key.to_owned();
        Ok(self.db.read(move |tx| operations::status(tx, &key)).await?)
    }

    async fn statement(
        &self,
        after: i64,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<StatementLine>, BankError> {
        let lines = self.db.read(move |tx| -> Result<_, db::Error> {
            let sql = "SELECT id, action, hold_key, outcome, amount FROM bank_operations \
                       WHERE id > ? AND at <= ? ORDER BY id LIMIT ?";
            tx.query(sql, params![after, until, limit], |row| {
                Ok(StatementLine {
                    position: row.get(0)?,
                    action: row.parse(1)?,
                    hold_key: row.get(2)?,
                    done: row.get::<String>(3)? == "done",
                    amount_minor: row.get(4)?,
                })
            })
        });
        Ok(lines.await?)
    }

    async fn holds(&self, hold_keys: Vec<String>) -> Result<HashMap<String, HoldFacts>, BankError> {
        let holds = self.db.read(move |tx| -> Result<_, db::Error> {
            let sql = "SELECT state, amount, captured, refunded, currency FROM bank_holds WHERE hold_key = ?";
            let mut holds = HashMap::with_capacity(hold_keys.len());
            for hold_key in hold_keys {
                let facts = tx.query_opt(sql, params![hold_key], |row| {
                    Ok(HoldFacts {
                        state: row.parse(0)?,
                        amount_minor: row.get(1)?,
                        captured_minor: row.get(2)?,
                        refunded_minor: row.get(3)?,
                        currency: row.parse(4)?,
                    })
                })?;
                if let Some(facts) = facts {
                    holds.insert(hold_key, facts);
                }
            }
            Ok(holds)
        });
        Ok(holds.await?)
    }
}
