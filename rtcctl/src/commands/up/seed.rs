//! The demo shop: products and stock, put in through the public API, and money for the demo shopper.
//!
//! Invariant: seeding twice is seeding once. What exists is found first, and every write carries a key of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use codes::{Error, Result, exit};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use settings::Secret;
use tokio::time::sleep;

use super::goods::{GOODS, Good};
use super::{ADMIN, DEMO_SHOPPER};
use crate::api::admin::Page;
use crate::api::{Call, Endpoint, Platform};
use crate::local::DataDir;
use crate::progress::Reporter;

/// Pieces of every product that a new shop has.
pub(super) const STOCK_EACH: i64 = 10_000;
/// In won: what the demo shopper has to spend.
const SHOPPER_MONEY: i64 = 10_000_000;
const AT_ONCE: usize = 4;
/// How long the stock of a new product may take to appear: it travels as an event.
const STOCK_WAIT: Duration = Duration::from_millis(50);
const STOCK_TRIES: u32 = 100;

/// What the seeding found and did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Seeded {
    pub products: usize,
    pub created: usize,
    pub stocked: usize,
    /// Whether the demo shopper was given money now.
    pub funded: bool,
}

impl Seeded {
    pub(super) fn describe(&self) -> String {
        match self.created {
            0 => format!("{} products, seeded before", self.products),
            created => format!("{} products, {created} of them new, {STOCK_EACH} pieces each", self.products),
        }
    }
}

#[derive(Deserialize)]
struct Session {
    access_token: String,
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

#[derive(Deserialize)]
struct Product {
    sku: String,
}

#[derive(Deserialize)]
struct Products {
    data: Vec<Product>,
    #[serde(default)]
    next_cursor: Option<String>,
}

#[derive(Default, Deserialize)]
struct Stock {
    #[serde(default)]
    on_hand: i64,
}

pub(super) async fn seed(progress: &Reporter, platform: &Platform, data: &DataDir) -> Result<Seeded> {
    let task = progress.task("seed", "seeding the demo shop");
    let api = &platform.api;
    let token = sign_in_as_admin(api, data).await.map_err(incomplete)?;
    let known = skus(api).await.map_err(incomplete)?;
    let mut seeded = Seeded { products: GOODS.len(), ..Seeded::default() };
    let mut outcomes =
        stream::iter(GOODS.iter().map(|good| put(api, &token, good, known.contains_key(good.sku))))
            .buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some(outcome) = outcomes.try_next().await.map_err(incomplete)? {
        done += 1;
        seeded.created += usize::from(outcome.created);
        seeded.stocked += usize::from(outcome.stocked);
        task.position(done, GOODS.len() as u64);
    }
    seeded.funded = fund_the_shopper(platform).await.map_err(incomplete)?;
    task.done(format!("the shop has {}", seeded.describe()));
    Ok(seeded)
}

fn incomplete(error: Error) -> Error {
    let exit = error.exit();
    let mut wrapped = Error::new(&codes::RUN010, "the demo shop could not be seeded completely")
        .with_exit(exit)
        .with_cause(format!("error[{}]: {}", error.code().id, error.message()));
    for cause in error.causes() {
        wrapped = wrapped.with_cause(cause);
    }
    wrapped.with_hint("run rtcctl up again, or start without goods: --seed none")
}

async fn sign_in_as_admin(api: &Endpoint, data: &DataDir) -> Result<Secret> {
    let Some(password) = data.secret("admin_password")? else {
        return Err(Error::new(
            &codes::API002,
            format!("there is no {}", data.path().join("secrets/admin_password").display()),
        ));
    };
    Ok(Secret::new(sign_in(api, ADMIN, password.reveal()).await?.access_token))
}

async fn sign_in(api: &Endpoint, email: &str, password: &str) -> Result<Session> {
    api.json(Call::post(&["api", "v1", "sessions"], json!({"email": email, "password": password}))).await
}

/// Opens an account with test money for the demo shopper, unless there is an account already.
async fn fund_the_shopper(platform: &Platform) -> Result<bool> {
    let (email, password) = DEMO_SHOPPER;
    let session = match sign_in(&platform.api, email, password).await {
        Ok(session) => session,
        // Whoever changed the password, or closed the account, does not want it touched.
        Err(error) if error.exit() == exit::DENIED => return Ok(false),
        Err(error) => return Err(error),
    };
    let Some(user) = session.user else { return Ok(false) };
    let call = Call::get(&["api", "v1", "accounts"]).bearer(Secret::new(session.access_token));
    let accounts: Page<Value> = platform.api.json(call).await?;
    if !accounts.data.is_empty() {
        return Ok(false);
    }
    let body = json!({"user_ids": [user.id], "amount": {"amount": SHOPPER_MONEY, "currency": "KRW"}});
    platform.admin.bytes(Call::post(&["admin", "shoppers", "fund"], body)).await?;
    Ok(true)
}

/// Every product's sku that the shop has already.
async fn skus(api: &Endpoint) -> Result<BTreeMap<String, ()>> {
    let mut known = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut call = Call::get(&["api", "v1", "products"]).query("limit", 250);
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let page: Products = api.json(call).await?;
        known.extend(page.data.into_iter().map(|product| (product.sku, ())));
        match page.next_cursor.filter(|next| !next.is_empty() && Some(next) != cursor.as_ref()) {
            // A shop with thousands of products is nobody's fresh demo; its pages need not all be read.
            Some(next) if known.len() < 5_000 => cursor = Some(next),
            _ => return Ok(known),
        }
    }
}

struct Outcome {
    created: bool,
    stocked: bool,
}

async fn put(api: &Endpoint, token: &Secret, good: &Good, is_known: bool) -> Result<Outcome> {
    let mut created = false;
    if !is_known {
        let call = Call::post(&["api", "v1", "products"], good.document())
            .bearer(token.clone())
            .idempotency_key(format!("rtcctl-seed-product-{}", good.sku));
        match api.bytes(call).await {
            Ok(_) => created = true,
            // Somebody was faster: the sku is taken, so the product is there.
            Err(error) if error.exit() == exit::CONFLICT && error.message().contains("sku_taken") => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome { created, stocked: stock(api, token, good.sku, created).await? })
}

/// Gives a product its first stock; one that has some is left alone.
async fn stock(api: &Endpoint, token: &Secret, sku: &str, is_new: bool) -> Result<bool> {
    for _ in 0..STOCK_TRIES {
        if !is_new {
            let call = Call::get(&["api", "v1", "stock", sku]).bearer(token.clone());
            match api.json::<Stock>(call).await {
                Ok(stock) if stock.on_hand > 0 => return Ok(false),
                Ok(_) => {}
                Err(error) if error.exit() == exit::NOT_FOUND => {}
                Err(error) => return Err(error),
            }
        }
        let body = json!({"delta": STOCK_EACH, "reason": "first stock of the demo shop"});
        let call = Call::post(&["api", "v1", "stock", sku, "adjustments"], body)
            .bearer(token.clone())
            .idempotency_key(format!("rtcctl-seed-stock-{sku}"));
        match api.bytes(call).await {
            Ok(_) => return Ok(true),
            // The product's event has not reached the inventory yet.
            Err(error) if error.exit() == exit::NOT_FOUND => sleep(STOCK_WAIT).await,
            Err(error) => return Err(error),
        }
    }
    Err(Error::new(&codes::NET003, format!("the inventory did not learn of {sku} in time")))
}

#[cfg(test)]
mod tests;
