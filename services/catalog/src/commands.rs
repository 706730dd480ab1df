//! What changes the catalogue: one function a command, one transaction each.

use contracts::catalog::{PriceChanged, ProductArchived, ProductCreated, ProductUpdated};
use contracts::{ProductId, UserId, topics};
use db::Tx;
use kernel::{Error, Money, Result};
use web::IfMatch;

use crate::Catalog;
use crate::domain::{Change, Content, Product};
use crate::store;
use crate::strays;

fn unknown() -> Error {
    Error::not_found("product_not_found", "there is no such product")
}

fn load(tx: &mut Tx<'_>, id: ProductId) -> Result<Product> {
    store::find(tx, id)?.ok_or_else(unknown)
}

impl Catalog {
    /// Runs a command on a product. Whatever becomes of it (it may have been done where the answer says that it is not
    /// known), no cache keeps what was before it when this returns.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        id: ProductId,
        mut command: impl FnMut(&Catalog, &mut Tx<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let catalog = self.clone();
        let done = self.db.write(move |tx| command(&catalog, tx)).await;
        self.cache.remove(id).await;
        done
    }

    /// What follows from every change: the index hears of it, and no cache keeps what was.
    fn announce(&self, tx: &mut Tx<'_>, product: &Product) -> Result<()> {
        store::note_change(tx, product.number)?;
        let (cache, wake, id) = (self.cache.clone(), self.index_wake.clone(), product.id);
        tx.once_it_may_be_stored(move || {
            cache.remove_soon(id);
            wake.notify_one();
        });
        Ok(())
    }

    pub(crate) fn create(&self, tx: &mut Tx<'_>, sku: &str, content: &Content) -> Result<Product> {
        let (id, now) = (self.ids.next(), self.clock.now());
        let mut product = Product::create(id, sku.to_owned(), content.clone(), now)?;
        store::insert(tx, &mut product)?;
        store::add_price(tx, &product)?;
        self.announce(tx, &product)?;
        let event = ProductCreated { product: product.snapshot() };
        self.outbox.send(tx, topics::CATALOG, &id.to_string(), &event, None)?;
        Ok(product)
    }

    fn save(&self, tx: &mut Tx<'_>, product: &Product, old_price: Option<Money>) -> Result<()> {
        store::update(tx, product)?;
        let subject = product.id.to_string();
        let event = ProductUpdated { product: product.snapshot() };
        self.outbox.send(tx, topics::CATALOG, &subject, &event, None)?;
        if let Some(old) = old_price {
            store::add_price(tx, product)?;
            let event = PriceChanged {
                product_id: product.id,
                sku: product.sku.clone(),
                old,
                new: product.content.price,
                version: product.version,
            };
            self.outbox.send(tx, topics::CATALOG, &subject, &event, None)?;
        }
        self.announce(tx, product)
    }

    fn settle(&self, tx: &mut Tx<'_>, before: Product, change: Change) -> Result<Product> {
        match change {
            Change::AlreadySo => Ok(before),
            Change::Done { product, old_price } => {
                self.save(tx, &product, old_price)?;
                Ok(product)
            }
        }
    }

    /// Gives a product other content, made from what it is now.
    pub(crate) fn revise(
        &self,
        tx: &mut Tx<'_>,
        id: ProductId,
        base: IfMatch,
        content: impl FnOnce(&Product) -> Result<Content>,
    ) -> Result<Product> {
        let before = load(tx, id)?;
        base.check(before.version)?;
        let change = before.revise(content(&before)?, self.clock.now())?;
        self.settle(tx, before, change)
    }

    pub(crate) fn archive(&self, tx: &mut Tx<'_>, id: ProductId, base: IfMatch) -> Result<()> {
        let before = load(tx, id)?;
        base.check(before.version)?;
        let Change::Done { product, .. } = before.archive(self.clock.now()) else { return Ok(()) };
        store::update(tx, &product)?;
        store::forget_favourites_of(tx, id)?;
        let event = ProductArchived { product: product.snapshot() };
        self.outbox.send(tx, topics::CATALOG, &id.to_string(), &event, None)?;
        self.announce(tx, &product)
    }

    pub(crate) fn add_image(&self, tx: &mut Tx<'_>, id: ProductId, name: &str) -> Result<Product> {
        let before = load(tx, id)?;
        let change = before.add_image(name, self.clock.now())?;
        strays::claim(tx, name)?;
        self.settle(tx, before, change)
    }

    pub(crate) fn remove_image(
        &self,
        tx: &mut Tx<'_>,
        id: ProductId,
        base: IfMatch,
        name: &str,
    ) -> Result<Product> {
        let before = load(tx, id)?;
        base.check(before.version)?;
        let now = self.clock.now();
        let change = before.remove_image(name, now)?;
        if matches!(change, Change::Done { .. }) {
            strays::suspect(tx, name, now)?;
        }
        self.settle(tx, before, change)
    }

    pub(crate) fn add_favourite(&self, tx: &mut Tx<'_>, user: UserId, id: ProductId) -> Result<()> {
        // Shared: many may add it at once, nobody archives it meanwhile.
        let product = load(&mut tx.shared(), id)?;
        if !crate::queries::is_on_sale(&product) {
            return Err(unknown());
        }
        store::add_favourite(tx, user, id, self.clock.now())
    }
}
