//! What this service knows of the catalogue: enough to price an order without asking.

use std::collections::BTreeMap;
use std::fmt;

use contracts::catalog::{ProductArchived, ProductCreated, ProductSnapshot, ProductStatus, ProductUpdated};
use contracts::{ProductId, topics};
use db::{Kept, Param, ToParam, Tx, params};
use kernel::envelope::Event;
use kernel::{Envelope, Money};
use messaging::{Consumer, Extent, Swapped};

use crate::domain::KnownProduct;

/// Who reads the catalogue.
pub const GROUP: &str = "orders.products";
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
    Consumer::new(GROUP, &[topics::CATALOG])
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

/// A product as it is stored, for the oracle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    sku: String,
    name: String,
    category: String,
    price: Money,
    status: String,
    version: i64,
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sku, name, category, price, status, version } = self;
        write!(f, "{sku} {name:?} in {category:?} at {price}, {status}, version {version}")
    }
}

/// All products, by their ids.
pub fn all(tx: &mut Tx<'_>) -> Result<BTreeMap<String, Stored>, db::Error> {
    let sql = "SELECT id, sku, name, category, price, currency, status, version FROM products";
    let rows = tx.query(sql, params![], |row| {
        let stored = Stored {
            sku: row.get(1)?,
            name: row.get(2)?,
            category: row.get(3)?,
            price: row.money(4)?,
            status: row.get(6)?,
            version: row.get(7)?,
        };
        Ok((row.get::<String>(0)?, stored))
    })?;
    Ok(rows.into_iter().collect())
}

/// What these messages say, one after the other: the oracle's own account of [`save`].
pub fn fold<'a>(messages: impl Iterator<Item = &'a Envelope>) -> BTreeMap<String, Stored> {
    let mut products: BTreeMap<String, Stored> = BTreeMap::new();
    for envelope in messages {
        let told = match envelope.event_type.as_str() {
            ProductCreated::TYPE => envelope.decode::<ProductCreated>().map(|event| event.product),
            ProductUpdated::TYPE => envelope.decode::<ProductUpdated>().map(|event| event.product),
            ProductArchived::TYPE => envelope.decode::<ProductArchived>().map(|event| event.product),
            _ => continue,
        };
        // What cannot be read was parked.
        let Ok(told) = told else { continue };
        let id = told.product_id.to_string();
        if products.get(&id).is_some_and(|known| known.version >= told.version) {
            continue;
        }
        let stored = Stored {
            sku: told.sku,
            name: told.name,
            category: told.category,
            price: told.price,
            status: told.status.as_str().to_owned(),
            version: told.version,
        };
        products.insert(id, stored);
    }
    products
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

/// A product as the transaction has seen it. It is only read here, so it need not be locked.
impl Kept for KnownProduct {
    type Key = ProductId;

    fn key(&self) -> ProductId {
        self.product_id
    }

    fn write(_: Vec<Self>, _: Vec<Self>, _: &mut Tx<'_>) -> Result<(), db::Error> {
        Ok(())
    }
}

/// What the catalogue said last of these products, in their order. Orders of one product do not wait for each other.
pub fn find(
    tx: &mut Tx<'_>,
    ids: impl Iterator<Item = ProductId> + Clone,
) -> Result<Vec<Option<KnownProduct>>, db::Error> {
    let unknown = tx.unknown::<KnownProduct>(ids.clone());
    let texts: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    let keys: Vec<Param<'_>> = texts.iter().map(ToParam::to_param).collect();
    unknown.iter().for_each(|id| tx.note::<KnownProduct>(*id, None));
    tx.for_each_portion(&keys, |tx, portion| {
        let places = vec!["?"; portion.len()].join(", ");
        let sql = format!(
            "SELECT id, sku, name, category, price, currency, status FROM products WHERE id IN ({places})"
        );
        let found = tx.unlocked().query(&sql, portion, |row| {
            Ok(KnownProduct {
                product_id: row.parse(0)?,
                sku: row.get(1)?,
                name: row.get(2)?,
                category: row.get(3)?,
                price: row.money(4)?,
                is_active: row.get::<String>(6)? == ProductStatus::Active.as_str(),
            })
        })?;
        found.into_iter().for_each(|product| tx.note(product.product_id, Some(product)));
        Ok(())
    })?;
    Ok(ids.map(|id| tx.kept::<KnownProduct>(&id).flatten()).collect())
}
