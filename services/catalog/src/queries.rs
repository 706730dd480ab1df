//! What is read from the catalogue: rows → views.

use axum::http::HeaderValue;
use contracts::catalog::ProductStatus;
use contracts::{ProductId, UserId};
use kernel::{Error, Money, Result, Timestamp};
use serde::{Deserialize, Serialize};
use web::{ETag, Page, PageParams};

use crate::Catalog;
use crate::cache::{Rendered, Seen};
use crate::domain::{Attributes, Product};
use crate::search::{Audience, QUESTION_MAX, Question};
use crate::store;

/// A product as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProductView {
    pub id: ProductId,
    pub sku: String,
    pub name: String,
    pub description: String,
    pub category: String,
    pub attributes: Attributes,
    pub price: Money,
    /// Addresses of pictures.
    pub images: Vec<String>,
    pub status: ProductStatus,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A category and how many products it has that can be bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct CategoryView {
    pub name: String,
    pub products: i64,
}

/// A price and since when it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct PriceView {
    pub version: i64,
    pub price: Money,
    pub since: Timestamp,
}

impl From<Product> for ProductView {
    fn from(product: Product) -> Self {
        let content = product.content;
        Self {
            id: product.id,
            sku: product.sku,
            name: content.name,
            description: content.description,
            category: content.category,
            attributes: content.attributes,
            price: content.price,
            images: product.images.iter().map(|name| format!("/api/v1/images/{name}")).collect(),
            status: content.status,
            version: product.version,
            created_at: product.created_at,
            updated_at: product.updated_at,
        }
    }
}

pub(crate) fn is_on_sale(product: &Product) -> bool {
    product.status() == ProductStatus::Active
}

pub(crate) fn not_found() -> Error {
    Error::not_found("product_not_found", "there is no such product")
}

fn is_visible(product: &Product, audience: Audience) -> bool {
    audience == Audience::Staff || is_on_sale(product)
}

pub(crate) fn render(product: Product) -> Result<Rendered> {
    let version = product.version;
    let body = serde_json::to_vec(&ProductView::from(product)).map_err(Error::internal)?;
    Ok(Rendered { version, body: body.into() })
}

impl Catalog {
    /// A product as shoppers see it: from the cache, or into it.
    pub(crate) async fn seen_by_shoppers(&self, id: ProductId) -> Result<Seen> {
        self.cache.get_or_load(id, self.load(id, Audience::Shoppers)).await
    }

    /// A product as sellers see it: always from the database.
    pub(crate) async fn load(&self, id: ProductId, audience: Audience) -> Result<Seen> {
        let found = self.db.read(move |tx| store::find(tx, id)).await?;
        match found.filter(|product| is_visible(product, audience)) {
            Some(product) => Ok(Seen::Product(render(product)?)),
            None => Ok(Seen::Nothing),
        }
    }

    pub(crate) async fn list(
        &self,
        audience: Audience,
        category: Option<String>,
        page: &PageParams,
    ) -> Result<Page<ProductView>> {
        let limit = page.limit()?;
        let scope = format!("products|{audience:?}|{category:?}");
        let before = self.pages().decode::<i64>(&scope, page.cursor.as_deref())?.unwrap_or(i64::MAX);
        let status = (audience == Audience::Shoppers).then_some(ProductStatus::Active);
        let rows =
            self.db.read(move |tx| store::list(tx, category.as_deref(), status, before, limit + 1)).await?;
        let page = self.pages().page(&scope, limit, rows, |product| product.number)?;
        Ok(views(page))
    }

    /// The first page asks the index; its cursor carries the rest of the ranked numbers, so that the pages after it
    /// neither repeat nor miss a product when ranks move.
    pub(crate) async fn search(
        &self,
        audience: Audience,
        text: String,
        category: Option<String>,
        page: &PageParams,
    ) -> Result<Page<ProductView>> {
        let limit = page.limit()?;
        if text.chars().count() > QUESTION_MAX {
            let detail = format!("at most {QUESTION_MAX} characters");
            return Err(Error::field("/q", "too_long", detail));
        }
        let scope = format!("search|{audience:?}|{category:?}|{text}");
        let ranked = match self.pages().decode::<Vec<i64>>(&scope, page.cursor.as_deref())? {
            Some(rest) => rest,
            None => self.search.find(Question { text, category: category.clone(), audience }).await?,
        };
        let (data, rest) = self
            .db
            .read(move |tx| -> std::result::Result<_, db::Error> {
                let mut data = Vec::new();
                let mut ranked = ranked.into_iter();
                while data.len() < limit as usize
                    && let Some(number) = ranked.next()
                {
                    // The index may be behind: the row decides.
                    let row = store::find_by_number(tx, number)?.filter(|product| {
                        is_visible(product, audience)
                            && category.as_ref().is_none_or(|wanted| *wanted == product.content.category)
                    });
                    data.extend(row.map(ProductView::from));
                }
                Ok((data, ranked.collect::<Vec<i64>>()))
            })
            .await?;
        let next_cursor = if rest.is_empty() { None } else { Some(self.pages().encode(&scope, &rest)?) };
        Ok(Page { data, next_cursor })
    }

    pub(crate) async fn categories(&self, page: &PageParams) -> Result<Page<CategoryView>> {
        let limit = page.limit()?;
        let after: String = self.pages().decode("categories", page.cursor.as_deref())?.unwrap_or_default();
        let rows = self.db.read(move |tx| store::categories(tx, &after, limit + 1)).await?;
        let rows: Vec<_> = rows.into_iter().map(|(name, products)| CategoryView { name, products }).collect();
        self.pages().page("categories", limit, rows, |category| category.name.clone())
    }

    pub(crate) async fn prices(
        &self,
        audience: Audience,
        id: ProductId,
        page: &PageParams,
    ) -> Result<Page<PriceView>> {
        let limit = page.limit()?;
        let scope = format!("prices|{id}");
        let before = self.pages().decode::<i64>(&scope, page.cursor.as_deref())?.unwrap_or(i64::MAX);
        let rows = self
            .db
            .read(move |tx| -> Result<_> {
                store::find(tx, id)?.filter(|product| is_visible(product, audience)).ok_or_else(not_found)?;
                Ok(store::prices(tx, id, before, limit + 1)?)
            })
            .await?;
        let rows: Vec<_> =
            rows.into_iter().map(|(version, price, since)| PriceView { version, price, since }).collect();
        self.pages().page(&scope, limit, rows, |price| price.version)
    }

    pub(crate) async fn favourites(&self, user: UserId) -> Result<Page<ProductView>> {
        let data = self.db.read(move |tx| store::favourites(tx, user)).await?;
        Ok(views(Page { data, next_cursor: None }))
    }
}

fn views(page: Page<Product>) -> Page<ProductView> {
    Page { data: page.data.into_iter().map(ProductView::from).collect(), next_cursor: page.next_cursor }
}

/// The answer's tag as a header.
pub(crate) fn tag(version: i64) -> HeaderValue {
    ETag(version).header()
}
