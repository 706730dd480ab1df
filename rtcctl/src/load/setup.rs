//! What the load needs before the first request: shoppers with money, and products that can be bought.
//!
//! Invariant: everything is asked of the platform over its two ports; nothing is assumed to be there.

use std::time::Duration;

use codes::{Error, Result};
use kernel::{Currency, Money};
use serde::Deserialize;
use serde_json::json;
use settings::Secret;

use crate::api::{Call, Platform};
use crate::ingest::OPERATOR;
use crate::local::DataDir;
use crate::progress::Task;

/// How much of everything there is to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub shoppers: usize,
    pub products: usize,
    /// Money for each shopper, in minor units of the products' currency.
    pub funds_minor: i64,
    /// Units that are added to the stock of each product; none when 0.
    pub restock: i64,
}

/// A product that can be bought.
#[derive(Debug, Clone, Deserialize)]
pub struct Goods {
    pub id: String,
    pub sku: String,
    pub price: Money,
    #[serde(default)]
    pub status: String,
}

/// Ready to be loaded.
#[derive(Debug, Default)]
pub struct Setup {
    pub products: Vec<String>,
    pub tokens: Vec<String>,
}

/// The operator's password, for what only an operator may do.
pub fn operator_password(data: &DataDir) -> Result<Secret> {
    data.secret("admin_password")?.ok_or_else(|| {
        let path = data.path().join("secrets/admin_password");
        Error::new(&codes::RPL030, format!("there is no {}", path.display()))
    })
}

/// Signs in as the operator.
pub async fn sign_in(platform: &Platform, password: &Secret) -> Result<Secret> {
    #[derive(Deserialize)]
    struct Session {
        access_token: String,
    }
    let body = json!({ "email": OPERATOR, "password": password.reveal() });
    let session: Session = platform.api.json(Call::post(&["api", "v1", "sessions"], body)).await?;
    Ok(Secret::new(session.access_token))
}

/// Finds active products of one currency, the first ones of the catalogue.
pub async fn goods(platform: &Platform, wanted: usize) -> Result<Vec<Goods>> {
    #[derive(Deserialize)]
    struct Page {
        data: Vec<Goods>,
        #[serde(default)]
        next_cursor: Option<String>,
    }
    let mut found: Vec<Goods> = Vec::new();
    let mut cursor: Option<String> = None;
    while found.len() < wanted {
        let mut call = Call::get(&["api", "v1", "products"]).query("limit", wanted.min(100));
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let page: Page = platform.api.json(call).await?;
        let currency = found.first().or(page.data.first()).map(|product| product.price.currency);
        found.extend(page.data.into_iter().filter(|product| {
            Some(product.price.currency) == currency && matches!(product.status.as_str(), "" | "active")
        }));
        match page.next_cursor {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => break,
        }
    }
    found.truncate(wanted);
    match found.is_empty() {
        true => Err(Error::new(&codes::LOD003, "the catalogue has no active product")),
        false => Ok(found),
    }
}

/// Makes verified customers and puts money on their accounts.
async fn shoppers(
    platform: &Platform,
    wanted: Wanted,
    currency: Currency,
    task: &Task,
) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Made {
        user_id: String,
        access_token: String,
    }
    #[derive(Deserialize)]
    struct Answer {
        data: Vec<Made>,
    }
    const PORTION: usize = 500;
    let mut tokens = Vec::with_capacity(wanted.shoppers);
    while tokens.len() < wanted.shoppers {
        let count = PORTION.min(wanted.shoppers - tokens.len());
        let body = match tokens.len() {
            0 => json!({ "count": count }),
            // Shoppers are numbered; without this the same ones would come again.
            have => json!({ "count": count, "first": have + 1 }),
        };
        let made: Answer = platform.admin.json(Call::post(&["admin", "shoppers"], body)).await?;
        if made.data.is_empty() {
            return Err(Error::new(&codes::NET004, "the platform made no shoppers"));
        }
        let ids: Vec<&str> = made.data.iter().map(|shopper| shopper.user_id.as_str()).collect();
        let body = json!({ "user_ids": ids, "amount": Money::new(wanted.funds_minor, currency) });
        platform.admin.bytes(Call::post(&["admin", "shoppers", "fund"], body)).await?;
        tokens.extend(made.data.into_iter().map(|shopper| shopper.access_token));
        task.show(format!("{} of {} shoppers", tokens.len(), wanted.shoppers));
    }
    tokens.truncate(wanted.shoppers);
    Ok(tokens)
}

/// Everything for orders; `run` makes the repeated parts of the set-up safe to repeat.
pub async fn prepare(
    platform: &Platform,
    data: &DataDir,
    wanted: Wanted,
    run: &str,
    task: &Task,
) -> Result<Setup> {
    let goods = goods(platform, wanted.products).await?;
    if wanted.restock > 0 {
        let token = sign_in(platform, &operator_password(data)?).await?;
        for product in &goods {
            let body = json!({ "delta": wanted.restock, "reason": "load" });
            let path = ["api", "v1", "stock", product.sku.as_str(), "adjustments"];
            let call = Call::post(&path, body)
                .idempotency_key(format!("{run}-restock-{}", product.sku))
                .bearer(token.clone());
            platform.api.bytes(call).await?;
        }
        task.show(format!("{} products restocked", goods.len()));
    }
    let tokens = match wanted.shoppers {
        0 => Vec::new(),
        _ => shoppers(platform, wanted, goods[0].price.currency, task).await?,
    };
    Ok(Setup { products: goods.into_iter().map(|product| product.id).collect(), tokens })
}

/// How often the operator's token is renewed; it lives a quarter of an hour.
pub const RENEW_EVERY: Duration = Duration::from_secs(10 * 60);
