//! What this service knows of the catalogue: enough to price an order without asking.

use contracts::catalog::{ProductArchived, ProductCreated, ProductSnapshot, ProductStatus, ProductUpdated};
use contracts::{ProductId, topics};
use db::{Tx, params};
use messaging::Consumer;

use crate::domain::KnownProduct;

/// Keeps the newest version; an older one that arrives late changes nothing.
fn save(tx: &mut Tx<'_>, product: &ProductSnapshot) -> kernel::Result<()> {
    tx.execute(
        "INSERT INTO products (id, sku, name, category, price, currency, status, version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET sku = excluded.sku, name = excluded.name, \
         category = excluded.category, price = excluded.price, currency = excluded.currency, \
         status = excluded.status, version = excluded.version WHERE excluded.version > products.version",
        params![
            product.product_id.to_string(),
            product.sku,
            product.name,
            product.category,
            product.price.minor,
            product.price.currency,
            product.status.as_str(),
            product.version
        ],
    )?;
    Ok(())
}

pub fn consumer() -> Consumer {
    Consumer::new("orders.products", &[topics::CATALOG])
        .on::<ProductCreated>(|tx, event, _| save(tx, &event.product))
        .on::<ProductUpdated>(|tx, event, _| save(tx, &event.product))
        .on::<ProductArchived>(|tx, event, _| save(tx, &event.product))
}

/// What the catalogue said last. Orders of one product do not wait for each other.
pub fn find(tx: &mut Tx<'_>, id: ProductId) -> Result<Option<KnownProduct>, db::Error> {
    let sql = "SELECT sku, name, category, price, currency, status FROM products WHERE id = ?";
    tx.unlocked().query_opt(sql, params![id.to_string()], |row| {
        Ok(KnownProduct {
            product_id: id,
            sku: row.get(0)?,
            name: row.get(1)?,
            category: row.get(2)?,
            price: row.money(3)?,
            is_active: row.get::<String>(5)? == ProductStatus::Active.as_str(),
        })
    })
}
