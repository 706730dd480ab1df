//! What this service knows of the catalogue: enough to price an order without asking.

use contracts::catalog::{ProductArchived, ProductCreated, ProductSnapshot, ProductStatus, ProductUpdated};
use contracts::{ProductId, topics};
use db::{Tx, params};
use messaging::{Consumer, Extent};

use crate::domain::KnownProduct;

/// The tables of this projection. Their columns are the same.
#[derive(Clone, Copy)]
enum Table {
    /// What orders are priced by.
    Products,
    /// What a rebuild fills.
    Aside,
}

impl Table {
    const fn name(self) -> &'static str {
        match self {
            Table::Products => "products",
            Table::Aside => "products_aside",
        }
    }
}

/// Keeps the newest version; an older one that arrives late changes nothing.
fn save(tx: &mut Tx<'_>, table: Table, product: &ProductSnapshot) -> kernel::Result<()> {
    let table = table.name();
    tx.execute(
        &format!(
            "INSERT INTO {table} (id, sku, name, category, price, currency, status, version) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET sku = excluded.sku, \
             name = excluded.name, category = excluded.category, price = excluded.price, \
             currency = excluded.currency, status = excluded.status, version = excluded.version \
             WHERE excluded.version > {table}.version"
        ),
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

fn folding(table: Table) -> Consumer {
    Consumer::new("orders.products", &[topics::CATALOG])
        .on::<ProductCreated>(move |tx, event, _| save(tx, table, &event.product))
        .on::<ProductUpdated>(move |tx, event, _| save(tx, table, &event.product))
        .on::<ProductArchived>(move |tx, event, _| save(tx, table, &event.product))
}

/// A rebuild goes on beside the products in use: without them no order could be placed, and with old ones it would have
/// old prices.
pub fn consumer() -> Consumer {
    let clear = |tx: &mut Tx<'_>| Ok(tx.execute("DELETE FROM products_aside", params![]).map(drop)?);
    folding(Table::Products).rebuilds_aside(folding(Table::Aside), clear, |tx, extent| {
        let old = match extent {
            Extent::Whole => "DELETE FROM products",
            // A product that has not changed for longer than the log remembers is still sold.
            Extent::Tail => "DELETE FROM products WHERE id IN (SELECT id FROM products_aside)",
        };
        tx.execute(old, params![])?;
        let columns = "id, sku, name, category, price, currency, status, version";
        let fill = format!("INSERT INTO products ({columns}) SELECT {columns} FROM products_aside");
        tx.execute(&fill, params![])?;
        Ok(tx.execute("DELETE FROM products_aside", params![]).map(drop)?)
    })
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
