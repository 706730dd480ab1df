//! What the catalogue says on `rtc.catalog` (key: product id) and on `rtc.catalog.visits`.

use kernel::{Money, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ProductId, events};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductStatus {
    Draft,
    Active,
    Archived,
}

impl ProductStatus {
    pub const fn as_str(self) -> &'static str {
        match self {
            ProductStatus::Draft => "draft",
            ProductStatus::Active => "active",
            ProductStatus::Archived => "archived",
        }
    }
}

/// What others need to know of a product: enough to price an order and to name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductSnapshot {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub category: String,
    pub price: Money,
    pub status: ProductStatus,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductCreated {
    pub product: ProductSnapshot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductUpdated {
    pub product: ProductSnapshot,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceChanged {
    pub product_id: ProductId,
    pub sku: String,
    pub old: Money,
    pub new: Money,
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductArchived {
    pub product: ProductSnapshot,
}

/// How often shoppers came to one product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductVisits {
    pub product_id: ProductId,
    /// It was looked at.
    pub views: i64,
    /// It was put into a cart.
    pub cart_additions: i64,
}

/// What one process of the catalogue has seen of shoppers within one second; there may be several of a second, and they
/// add up. On `rtc.catalog.visits`, key: `visits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductsVisited {
    /// When the second began.
    pub second: Timestamp,
    pub visits: Vec<ProductVisits>,
}

events! {
    ProductCreated => "rtc.catalog.product_created.v1",
    ProductUpdated => "rtc.catalog.product_updated.v1",
    PriceChanged => "rtc.catalog.price_changed.v1",
    ProductArchived => "rtc.catalog.product_archived.v1",
    ProductsVisited => "rtc.catalog.products_visited.v1",
}
