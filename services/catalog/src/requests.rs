//! The bodies and parameters that the catalogue reads, and how they become content.

use std::collections::BTreeMap;

use contracts::catalog::ProductStatus;
use kernel::{Error, Money, Result};
use serde::Deserialize;
use web::PageParams;

use crate::domain::{Attributes, Content, Product};

fn draft() -> ProductStatus {
    ProductStatus::Draft
}

/// A whole product, as it is made (`POST`) or replaced (`PUT`).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductBody {
    /// 1–64 visible characters; never changes.
    pub sku: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub category: String,
    #[serde(default)]
    pub attributes: Attributes,
    pub price: Money,
    /// `draft` (the default) or `active`.
    #[serde(default = "draft")]
    pub status: ProductStatus,
}

impl ProductBody {
    pub fn into_parts(self) -> (String, Content) {
        let content = Content {
            name: self.name,
            description: self.description,
            category: self.category,
            attributes: self.attributes,
            price: self.price,
            status: self.status,
        };
        (self.sku, content)
    }
}

pub fn require_same_sku(product: &Product, sku: &str) -> Result<()> {
    if product.sku == sku {
        return Ok(());
    }
    Err(Error::field("/sku", "sku_immutable", "a product keeps its sku"))
}

/// What is to be another; what is absent stays (JSON merge patch, RFC 7396).
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProductPatch {
    pub name: Option<String>,
    pub description: Option<String>,
    pub category: Option<String>,
    /// `null` takes an attribute away.
    pub attributes: Option<BTreeMap<String, Option<String>>>,
    pub price: Option<Money>,
    /// `draft` or `active`.
    pub status: Option<ProductStatus>,
}

impl ProductPatch {
    pub fn apply(&self, now: &Content) -> Content {
        let mut attributes = now.attributes.clone();
        for (name, value) in self.attributes.iter().flatten() {
            match value {
                Some(value) => attributes.insert(name.clone(), value.clone()),
                None => attributes.remove(name),
            };
        }
        let text = |new: &Option<String>, old: &String| new.as_ref().unwrap_or(old).clone();
        Content {
            name: text(&self.name, &now.name),
            description: text(&self.description, &now.description),
            category: text(&self.category, &now.category),
            attributes,
            price: self.price.unwrap_or(now.price),
            status: self.status.unwrap_or(now.status),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize, schemars::JsonSchema)]
pub struct ListParams {
    /// 1–250, default 50.
    pub limit: Option<u32>,
    pub cursor: Option<String>,
    /// Only this category.
    pub category: Option<String>,
    /// Words to be found in name, attributes or description; the best first, at most 500 in all.
    pub q: Option<String>,
}

impl ListParams {
    pub fn page(&self) -> PageParams {
        PageParams { limit: self.limit, cursor: self.cursor.clone() }
    }
}
