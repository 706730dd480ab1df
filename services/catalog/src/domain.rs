//! What a product is and how it may change. Pure.
//!
//! Invariants: a product's price is never negative; its sku never changes; archived is the end; a change that changes
//! nothing has no version of its own.

use std::collections::BTreeMap;

use contracts::ProductId;
use contracts::catalog::{ProductSnapshot, ProductStatus};
use kernel::{Currency, Error, FieldError, Money, Result, Timestamp};

const SKU_MAX: usize = 64;
const NAME_MAX: usize = 200;
const DESCRIPTION_MAX: usize = 10_000;
const CATEGORY_MAX: usize = 64;
const ATTRIBUTES_MAX: usize = 50;
const ATTRIBUTE_NAME_MAX: usize = 64;
const ATTRIBUTE_VALUE_MAX: usize = 500;
/// Leaves room for any quantity of an order within 64 bits.
const PRICE_MAX: i64 = 1_000_000_000_000;
/// How many pictures a product has at most.
pub const IMAGES_MAX: usize = 10;

pub type Attributes = BTreeMap<String, String>;

/// What a seller says of a product and may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub name: String,
    pub description: String,
    pub category: String,
    pub attributes: Attributes,
    pub price: Money,
    pub status: ProductStatus,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The order in which products were made; 0 until stored.
    pub number: i64,
    pub id: ProductId,
    pub sku: String,
    pub content: Content,
    /// Names of objects.
    pub images: Vec<String>,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What became of a wish to change a product.
#[expect(clippy::large_enum_variant, reason = "lives for one call and is never stored")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    AlreadySo,
    Done { product: Product, old_price: Option<Money> },
}

fn chars_within(text: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&text.chars().count())
}

fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.trim() == text
}

fn fault(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: pointer.into(), code: code.to_owned(), detail: detail.into() }
}

impl Content {
    fn faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if !chars_within(&self.name, 1, NAME_MAX) || !is_line(&self.name) {
            faults.push(fault(
                "/name",
                "name_invalid",
                "1 to 200 characters on one line, without blanks around",
            ));
        }
        let readable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        if !chars_within(&self.description, 0, DESCRIPTION_MAX) || !self.description.chars().all(readable) {
            faults.push(fault("/description", "description_invalid", "at most 10000 characters of text"));
        }
        if !chars_within(&self.category, 1, CATEGORY_MAX) || !is_line(&self.category) {
            faults.push(fault(
                "/category",
                "category_invalid",
                "1 to 64 characters on one line, without blanks around",
            ));
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            faults.push(fault("/attributes", "too_many", "at most 50 attributes"));
        }
        for (name, value) in self.attributes.iter().take(ATTRIBUTES_MAX) {
            let good_name = chars_within(name, 1, ATTRIBUTE_NAME_MAX) && is_line(name);
            if !good_name || !chars_within(value, 0, ATTRIBUTE_VALUE_MAX) || !value.chars().all(readable) {
                let pointer = format!("/attributes/{}", name.replace('~', "~0").replace('/', "~1"));
                faults.push(fault(
                    pointer,
                    "attribute_invalid",
                    "a name of 1 to 64 and a value of at most 500 characters",
                ));
            }
        }
        if !(0..=PRICE_MAX).contains(&self.price.minor) {
            faults.push(fault("/price/amount", "out_of_range", format!("0 to {PRICE_MAX}")));
        }
        if !self.price.currency.is_traded() {
            let known = Currency::traded_codes();
            faults.push(fault("/price/currency", "currency_unknown", format!("one of {known}")));
        }
        if self.status == ProductStatus::Archived {
            faults.push(fault("/status", "status_invalid", "draft or active; DELETE archives a product"));
        }
        faults
    }
}

impl Product {
    pub fn create(id: ProductId, sku: String, content: Content, now: Timestamp) -> Result<Self> {
        let mut faults = content.faults();
        // A sku is a segment of an address: what divides or escapes one has no place in it.
        let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"/\\?#%".contains(&byte);
        if !(1..=SKU_MAX).contains(&sku.len()) || !sku.bytes().all(is_fit) {
            faults.push(fault(
                "/sku",
                "sku_invalid",
                "1 to 64 visible characters of ASCII, without / \\ ? # %",
            ));
        }
        Error::check_fields(faults)?;
        Ok(Self {
            number: 0,
            id,
            sku,
            content,
            images: Vec::new(),
            version: 1,
            created_at: now,
            updated_at: now,
        })
    }

    pub fn status(&self) -> ProductStatus {
        self.content.status
    }

    pub fn snapshot(&self) -> ProductSnapshot {
        ProductSnapshot {
            product_id: self.id,
            sku: self.sku.clone(),
            name: self.content.name.clone(),
            category: self.content.category.clone(),
            price: self.content.price,
            status: self.content.status,
            version: self.version,
        }
    }

    fn next(&self, now: Timestamp) -> Self {
        Self { version: self.version + 1, updated_at: now.max(self.updated_at), ..self.clone() }
    }

    fn require_open(&self) -> Result<()> {
        if self.status() == ProductStatus::Archived {
            return Err(Error::conflict("product_archived", "an archived product does not change any more"));
        }
        Ok(())
    }

    pub fn revise(&self, content: Content, now: Timestamp) -> Result<Change> {
        self.require_open()?;
        Error::check_fields(content.faults())?;
        if content == self.content {
            return Ok(Change::AlreadySo);
        }
        let old_price = (content.price != self.content.price).then_some(self.content.price);
        Ok(Change::Done { product: Self { content, ..self.next(now) }, old_price })
    }

    pub fn archive(&self, now: Timestamp) -> Change {
        if self.status() == ProductStatus::Archived {
            return Change::AlreadySo;
        }
        let mut product = self.next(now);
        product.content.status = ProductStatus::Archived;
        Change::Done { product, old_price: None }
    }

    pub fn add_image(&self, name: &str, now: Timestamp) -> Result<Change> {
        self.require_open()?;
        if self.images.iter().any(|image| image == name) {
            return Ok(Change::AlreadySo);
        }
        if self.images.len() >= IMAGES_MAX {
            return Err(Error::conflict(
                "images_full",
                format!("a product has at most {IMAGES_MAX} pictures"),
            ));
        }
        let mut product = self.next(now);
        product.images.push(name.to_owned());
        Ok(Change::Done { product, old_price: None })
    }

    pub fn remove_image(&self, name: &str, now: Timestamp) -> Result<Change> {
        self.require_open()?;
        if !self.images.iter().any(|image| image == name) {
            return Ok(Change::AlreadySo);
        }
        let mut product = self.next(now);
        product.images.retain(|image| image != name);
        Ok(Change::Done { product, old_price: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(status: ProductStatus) -> Product {
        let id = "prd_0199b4a0000070008000000000000001".parse().unwrap();
        let content = Content {
            name: "녹차".to_owned(),
            description: String::new(),
            category: "tea".to_owned(),
            attributes: Attributes::new(),
            price: Money::new(9_000, Currency::KRW),
            status: ProductStatus::Draft,
        };
        let mut product = Product::create(id, "TEA-1".to_owned(), content, Timestamp::EPOCH).unwrap();
        product.content.status = status;
        product
    }

    /// Every state with every trigger: done, already so, or refused.
    #[test]
    fn every_state_answers_every_trigger() {
        use ProductStatus::{Active, Archived, Draft};
        let outcome = |result: Result<Change>| match result {
            Ok(Change::Done { product, .. }) => product.status().as_str(),
            Ok(Change::AlreadySo) => "already so",
            Err(_) => "refused",
        };
        let table = [
            (Draft, Some(Draft), "already so"),
            (Draft, Some(Active), "active"),
            (Draft, Some(Archived), "refused"),
            (Draft, None, "archived"),
            (Active, Some(Draft), "draft"),
            (Active, Some(Active), "already so"),
            (Active, Some(Archived), "refused"),
            (Active, None, "archived"),
            (Archived, Some(Draft), "refused"),
            (Archived, Some(Active), "refused"),
            (Archived, Some(Archived), "refused"),
            (Archived, None, "already so"),
        ];
        for (from, to, expected) in table {
            let before = product(from);
            let result = match to {
                Some(status) => before.revise(Content { status, ..before.content.clone() }, Timestamp::EPOCH),
                None => Ok(before.archive(Timestamp::EPOCH)),
            };
            assert_eq!(outcome(result), expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn only_another_price_is_a_change_of_price() {
        let before = product(ProductStatus::Active);
        let renamed = Content { name: "홍차".to_owned(), ..before.content.clone() };
        let Change::Done { old_price, .. } = before.revise(renamed, Timestamp::EPOCH).unwrap() else {
            panic!("a new name is a change")
        };
        assert_eq!(old_price, None);
        let dearer = Content { price: Money::new(9_500, Currency::KRW), ..before.content.clone() };
        let Change::Done { old_price, product } = before.revise(dearer, Timestamp::EPOCH).unwrap() else {
            panic!("a new price is a change")
        };
        assert_eq!((old_price, product.version), (Some(Money::new(9_000, Currency::KRW)), 2));
    }

    #[test]
    fn the_clock_going_back_does_not_take_a_product_back() {
        let mut before = product(ProductStatus::Active);
        before.updated_at = Timestamp::from_millis(50);
        let Change::Done { product, .. } = before.archive(Timestamp::from_millis(10)) else {
            panic!("an active product can be archived")
        };
        assert_eq!(product.updated_at, Timestamp::from_millis(50));
    }
}
