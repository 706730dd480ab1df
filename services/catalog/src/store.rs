//! All SQL of the catalogue itself. The index of the search has a file and an adapter of its own.

use std::collections::BTreeMap;

use contracts::catalog::ProductStatus;
use contracts::{ProductId, UserId};
use db::{Migration, Migrations, Row, Tx, params};
use kernel::{Error, Money, Timestamp};

use crate::domain::{Content, Product};

pub const FAVOURITES_MAX: i64 = 10;

pub const MIGRATIONS: Migrations = Migrations {
    component: "catalog",
    steps: &[
        Migration {
        version: 1,
        name: "products, prices, favourites",
        sql: "CREATE TABLE products (
                number INTEGER PRIMARY KEY AUTOINCREMENT, id VARCHAR(40) NOT NULL UNIQUE,
                sku VARCHAR(64) NOT NULL UNIQUE, name VARCHAR(200) NOT NULL, description TEXT NOT NULL,
                category VARCHAR(64) NOT NULL, attributes TEXT NOT NULL,
                price_minor BIGINT NOT NULL CHECK (price_minor >= 0), currency VARCHAR(3) NOT NULL,
                images TEXT NOT NULL,
                status VARCHAR(16) NOT NULL CHECK (status IN ('draft', 'active', 'archived')),
                version BIGINT NOT NULL CHECK (version > 0), created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL
              );
              CREATE INDEX products_by_category ON products (category, number);
              CREATE INDEX products_by_status ON products (status, category);
              CREATE TABLE product_changes (
                seq INTEGER PRIMARY KEY AUTOINCREMENT, number BIGINT NOT NULL UNIQUE
              );
              CREATE TABLE prices (
                product_id VARCHAR(40) NOT NULL, version BIGINT NOT NULL,
                price_minor BIGINT NOT NULL CHECK (price_minor >= 0), currency VARCHAR(3) NOT NULL,
                since BIGINT NOT NULL, PRIMARY KEY (product_id, version)
              ) WITHOUT ROWID;
              CREATE TABLE favourite_counts (
                user_id VARCHAR(40) NOT NULL PRIMARY KEY, n BIGINT NOT NULL CHECK (n BETWEEN 0 AND 10)
              ) WITHOUT ROWID;
              CREATE TABLE favourites (
                user_id VARCHAR(40) NOT NULL, product_id VARCHAR(40) NOT NULL, added_at BIGINT NOT NULL,
                PRIMARY KEY (user_id, product_id)
              ) WITHOUT ROWID;
              CREATE INDEX favourites_by_product ON favourites (product_id);",
        },
        Migration {
            version: 2,
            name: "changes are numbered in the order of their commits",
            sql: "CREATE TABLE change_numbers (id INTEGER NOT NULL PRIMARY KEY, last BIGINT NOT NULL);
                  INSERT INTO change_numbers (id, last) SELECT 1, COALESCE(MAX(seq), 0) FROM product_changes;",
        },
    ],
};

const SELECT: &str = "SELECT number, id, sku, name, description, category, attributes, price_minor, currency, \
                      images, status, version, created_at, updated_at FROM products";

fn status_of(text: &str) -> Result<ProductStatus, String> {
    [ProductStatus::Draft, ProductStatus::Active, ProductStatus::Archived]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| format!("not a status: {text:?}"))
}

fn product(row: &Row<'_>) -> Result<Product, db::Error> {
    let status: String = row.get(10)?;
    let status = status_of(&status).map_err(|problem| db::Error::Decode { column: 10, problem })?;
    Ok(Product {
        number: row.get(0)?,
        id: row.parse(1)?,
        sku: row.get(2)?,
        content: Content {
            name: row.get(3)?,
            description: row.get(4)?,
            category: row.get(5)?,
            attributes: row.json::<BTreeMap<String, String>>(6)?,
            price: row.money(7)?,
            status,
        },
        images: row.json(9)?,
        version: row.get(11)?,
        created_at: row.get(12)?,
        updated_at: row.get(13)?,
    })
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}

/// Stores a new product and gives it its number. 409 where the sku is taken.
pub fn insert(tx: &mut Tx<'_>, product: &mut Product) -> Result<(), Error> {
    let content = &product.content;
    let inserted = tx.execute(
        "INSERT INTO products (id, sku, name, description, category, attributes, price_minor, currency, images, \
         status, version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            product.id.to_string(),
            product.sku,
            content.name,
            content.description,
            content.category,
            json(&content.attributes)?,
            content.price.minor,
            content.price.currency,
            json(&product.images)?,
            content.status.as_str(),
            product.version,
            product.created_at,
            product.updated_at
        ],
    );
    match inserted {
        Ok(_) => {}
        Err(db::Error::Unique(text)) if text.contains("sku") => {
            return Err(Error::conflict("sku_taken", "another product has this sku"));
        }
        Err(error) => return Err(error.into()),
    }
    let sql = "SELECT number FROM products WHERE id = ?";
    product.number = tx.query_one(sql, params![product.id.to_string()], |row| row.get(0))?;
    Ok(())
}

/// Replaces the row if it is still at the version before. The version decides, not only the reading before it.
pub fn update(tx: &mut Tx<'_>, product: &Product) -> Result<(), Error> {
    let content = &product.content;
    let changed = tx.execute(
        "UPDATE products SET name = ?, description = ?, category = ?, attributes = ?, price_minor = ?, \
         currency = ?, images = ?, status = ?, version = ?, updated_at = ? WHERE id = ? AND version = ?",
        params![
            content.name,
            content.description,
            content.category,
            json(&content.attributes)?,
            content.price.minor,
            content.price.currency,
            json(&product.images)?,
            content.status.as_str(),
            product.version,
            product.updated_at,
            product.id.to_string(),
            product.version - 1
        ],
    )?;
    if changed == 1 {
        return Ok(());
    }
    Err(Error::conflict("stale_version", "this was changed by somebody else: read it again").with_status(412))
}

pub fn find(tx: &mut Tx<'_>, id: ProductId) -> Result<Option<Product>, db::Error> {
    tx.query_opt(&format!("{SELECT} WHERE id = ?"), params![id.to_string()], product)
}

pub fn find_by_number(tx: &mut Tx<'_>, number: i64) -> Result<Option<Product>, db::Error> {
    tx.query_opt(&format!("{SELECT} WHERE number = ?"), params![number], product)
}

/// The newest products first, those with a number below `before`.
pub fn list(
    tx: &mut Tx<'_>,
    category: Option<&str>,
    status: Option<ProductStatus>,
    before: i64,
    limit: u32,
) -> Result<Vec<Product>, db::Error> {
    let mut sql = format!("{SELECT} WHERE number < ?");
    let mut values = vec![db::Param::Int(before)];
    if let Some(category) = category {
        sql.push_str(" AND category = ?");
        values.push(db::ToParam::to_param(category));
    }
    if let Some(status) = status {
        sql.push_str(" AND status = ?");
        values.push(db::ToParam::to_param(status.as_str()));
    }
    sql.push_str(" ORDER BY number DESC LIMIT ?");
    values.push(db::Param::Int(i64::from(limit)));
    tx.query(&sql, &values, product)
}

/// Categories of what can be bought, with how many products each has.
pub fn categories(tx: &mut Tx<'_>, after: &str, limit: u32) -> Result<Vec<(String, i64)>, db::Error> {
    tx.query(
        "SELECT category, COUNT(*) FROM products WHERE status = 'active' AND category > ? GROUP BY category \
         ORDER BY category LIMIT ?",
        params![after, limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

pub fn add_price(tx: &mut Tx<'_>, product: &Product) -> Result<(), db::Error> {
    let price = product.content.price;
    tx.execute(
        "INSERT INTO prices (product_id, version, price_minor, currency, since) VALUES (?, ?, ?, ?, ?)",
        params![product.id.to_string(), product.version, price.minor, price.currency, product.updated_at],
    )
    .map(drop)
}

/// Prices of one product, the newest first, those of versions below `before`.
pub fn prices(
    tx: &mut Tx<'_>,
    id: ProductId,
    before: i64,
    limit: u32,
) -> Result<Vec<(i64, Money, Timestamp)>, db::Error> {
    tx.query(
        "SELECT version, price_minor, currency, since FROM prices WHERE product_id = ? AND version < ? \
         ORDER BY version DESC LIMIT ?",
        params![id.to_string(), before, limit],
        |row| Ok((row.get(0)?, row.money(1)?, row.get(3)?)),
    )
}

// ---- what the index has yet to see ----------------------------------------------------------------------------

/// Notes that a product changed. One row a product: its last change. The row of the last number is held until the commit,
/// so that whoever reads on after a number misses none that is committed later.
pub fn note_change(tx: &mut Tx<'_>, number: i64) -> Result<(), db::Error> {
    tx.execute("UPDATE change_numbers SET last = last + 1 WHERE id = 1", params![])?;
    let seq: i64 =
        tx.query_one("SELECT last FROM change_numbers WHERE id = 1", params![], |row| row.get(0))?;
    tx.execute("DELETE FROM product_changes WHERE number = ?", params![number])?;
    tx.execute("INSERT INTO product_changes (seq, number) VALUES (?, ?)", params![seq, number]).map(drop)
}

pub fn last_change(tx: &mut Tx<'_>) -> Result<i64, db::Error> {
    tx.query_one("SELECT COALESCE(MAX(seq), 0) FROM product_changes", params![], |row| row.get(0))
}

/// Changes after `seq` in their order: sequence and product number.
pub fn changes_after(tx: &mut Tx<'_>, seq: i64, limit: u32) -> Result<Vec<(i64, i64)>, db::Error> {
    let sql = "SELECT seq, number FROM product_changes WHERE seq > ? ORDER BY seq LIMIT ?";
    tx.query(sql, params![seq, limit], |row| Ok((row.get(0)?, row.get(1)?)))
}

// ---- favourites -----------------------------------------------------------------------------------------------

/// Adds one; nothing happens where it is there. The counter's row decides who gets the last place.
pub fn add_favourite(tx: &mut Tx<'_>, user: UserId, product: ProductId, now: Timestamp) -> Result<(), Error> {
    let (user, product) = (user.to_string(), product.to_string());
    tx.execute("INSERT OR IGNORE INTO favourite_counts (user_id, n) VALUES (?, 0)", params![user])?;
    let added = tx.execute(
        "INSERT OR IGNORE INTO favourites (user_id, product_id, added_at) VALUES (?, ?, ?)",
        params![user, product, now],
    )?;
    if added == 0 {
        return Ok(());
    }
    let sql = "UPDATE favourite_counts SET n = n + 1 WHERE user_id = ? AND n < ?";
    if tx.execute(sql, params![user, FAVOURITES_MAX])? == 1 {
        return Ok(());
    }
    Err(Error::conflict("favourites_full", format!("there is room for {FAVOURITES_MAX} favourites")))
}

pub fn remove_favourite(tx: &mut Tx<'_>, user: UserId, product: ProductId) -> Result<(), db::Error> {
    take_favourite(tx, &user.to_string(), &product.to_string())
}

/// Whoever deletes the row gives its place back.
fn take_favourite(tx: &mut Tx<'_>, user: &str, product: &str) -> Result<(), db::Error> {
    let sql = "DELETE FROM favourites WHERE user_id = ? AND product_id = ?";
    if tx.execute(sql, params![user, product])? == 1 {
        tx.execute("UPDATE favourite_counts SET n = n - 1 WHERE user_id = ?", params![user])?;
    }
    Ok(())
}

/// An archived product is nobody's favourite any more and takes nobody's place.
pub fn forget_favourites_of(tx: &mut Tx<'_>, product: ProductId) -> Result<(), db::Error> {
    let product = product.to_string();
    let sql = "SELECT user_id FROM favourites WHERE product_id = ?";
    let users: Vec<String> = tx.query(sql, params![product], |row| row.get(0))?;
    for user in users {
        take_favourite(tx, &user, &product)?;
    }
    Ok(())
}

/// A user's favourites that can be bought, the newest first. Never more than [`FAVOURITES_MAX`].
pub fn favourites(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<Product>, db::Error> {
    let sql = format!(
        "{} JOIN favourites ON favourites.product_id = products.id WHERE favourites.user_id = ? \
         AND products.status = 'active' ORDER BY favourites.added_at DESC, products.number DESC LIMIT ?",
        SELECT
    );
    tx.query(&sql, params![user.to_string(), FAVOURITES_MAX], product)
}
