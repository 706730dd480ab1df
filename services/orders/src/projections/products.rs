//! What this service knows of the catalogue: enough to price an order without asking.

use contracts::catalog::{ProductArchived, ProductCreated, ProductSnapshot, ProductStatus, ProductUpdated};
use contracts::{ProductId, topics};
use db::{Tx, params};
use messaging::{Consumer, Extent, Swapped};

use crate::domain::KnownProduct;

/// So many products and one change place in one transaction.
const SWAPPED_MAX: u32 = 500;

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
    let clear = |tx: &mut Tx<'_>| Ok(messaging::clear_portion(tx, "products_aside", "id")?);
    folding(Table::Products).rebuilds_aside(folding(Table::Aside), clear, |tx, extent, reached| {
        Ok(swap(tx, extent, reached.unwrap_or(""))?)
    })
}

/// Moves the next products into their place. Each is by itself what it was or what it is, so that nobody is held up for
/// longer than some of them take.
fn swap(tx: &mut Tx<'_>, extent: Extent, after: &str) -> Result<Swapped, db::Error> {
    let bound = |tx: &mut Tx<'_>, table: &str| {
        let sql = format!("SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?");
        tx.unlocked().query_opt(&sql, params![after, SWAPPED_MAX], |row| row.get::<String>(0))
    };
    let new = bound(tx, "products_aside")?;
    let old = match extent {
        Extent::Whole => bound(tx, "products")?,
        Extent::Tail => None,
    };
    let upto = new.into_iter().chain(old).min();
    // Behind every id.
    let last = upto.as_deref().unwrap_or("~");
    let gone = match extent {
        Extent::Whole => "DELETE FROM products WHERE id > ? AND id <= ?",
        // A product that has not changed for longer than the log remembers is still sold.
        Extent::Tail => {
            "DELETE FROM products WHERE id IN (SELECT id FROM products_aside WHERE id > ? AND id <= ?)"
        }
    };
    tx.execute(gone, params![after, last])?;
    let columns = "id, sku, name, category, price, currency, status, version";
    let fill = format!(
        "INSERT INTO products ({columns}) SELECT {columns} FROM products_aside WHERE id > ? AND id <= ?"
    );
    tx.execute(&fill, params![after, last])?;
    tx.execute("DELETE FROM products_aside WHERE id > ? AND id <= ?", params![after, last])?;
    Ok(upto.map_or(Swapped::Wholly, Swapped::Upto))
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
