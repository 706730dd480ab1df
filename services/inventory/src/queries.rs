//! Reads: rows for the views of `http.rs`.

use std::sync::Arc;

use db::Db;
use kernel::{Result, Timestamp};

use crate::commands::unknown_sku;
use crate::domain::Item;
use crate::store::Movement;
use crate::{Desk, store};

/// A sku's stock and the instant for which that is so. Reservations whose time is over are ended first.
pub(crate) async fn stock(db: &Db, desk: &Arc<Desk>, sku: String) -> Result<(Item, Timestamp)> {
    let now = desk.now();
    let asked = sku.clone();
    let looked = db.look_up(move |tx| -> Result<_> {
        let item = store::item(tx, &asked)?.ok_or_else(unknown_sku)?;
        Ok((item, store::any_due(tx, now)?))
    });
    let (item, any_due) = looked.await?;
    if !any_due {
        return Ok((item, now));
    }
    let desk = desk.clone();
    let item = db
        .write(move |tx| {
            desk.expire_due(tx, now)?;
            store::item(tx, &sku)?.ok_or_else(unknown_sku)
        })
        .await?;
    Ok((item, now))
}

/// Items by sku, from the one after `after`.
pub(crate) async fn stocks(db: &Db, after: String, limit: u32) -> Result<Vec<Item>> {
    db.read(move |tx| Ok(store::items(tx, &after, limit)?)).await
}

/// A sku's movements, the newest first, from the one before the item's version `before`.
pub(crate) async fn movements(db: &Db, sku: String, before: i64, limit: u32) -> Result<Vec<Movement>> {
    db.read(move |tx| {
        store::item(tx, &sku)?.ok_or_else(unknown_sku)?;
        Ok(store::movements(tx, &sku, before, limit)?)
    })
    .await
}
