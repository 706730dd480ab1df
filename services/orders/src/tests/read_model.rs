//! The oracle of the products finds what it is there to find.

use db::params;
use host::Verdict;
use kernel::{Clock, Envelope};
use messaging::Extent;

use super::*;
use crate::oracle::ReadModel;

async fn verdict(house: &House, extent: Extent) -> Verdict {
    let model = ReadModel::look(&house.service("orders").db).await.unwrap();
    let log = house.bus.log(topics::CATALOG.name);
    let told: Vec<Envelope> = log.iter().filter_map(|delivery| delivery.envelope().ok()).collect();
    model.compare(&told, extent, house.clock.now())
}

/// How many products were looked at, and how many are not as the log says, after `sql`.
async fn after(sql: &'static str, extent: Extent) -> (u64, usize) {
    let house = house().await;
    for (n, version, won) in [(2, 1, 5_000), (2, 2, 6_000), (3, 1, 7_000)] {
        let told = product(n, version, won);
        let subject = told.product_id.to_string();
        match version {
            1 => {
                house.publish(topics::CATALOG, "catalog", &subject, &ProductCreated { product: told }).await;
            }
            _ => {
                house.publish(topics::CATALOG, "catalog", &subject, &ProductUpdated { product: told }).await;
            }
        }
    }
    house.settle().await;
    assert!(verdict(&house, extent).await.holds());
    let db = &house.service("orders").db;
    let changed = db.write(move |tx| tx.execute(sql, params![])).await.unwrap();
    assert!(changed > 0, "{sql} changes something");
    let verdict = verdict(&house, extent).await;
    (verdict.checked, verdict.violations.len())
}

#[tokio::test]
async fn a_product_that_is_not_as_the_log_says_breaks_the_invariant() {
    for sql in [
        "UPDATE products SET price = price + 1 WHERE sku = 'SKU-2'",
        "UPDATE products SET version = 1 WHERE sku = 'SKU-2'",
        "UPDATE products SET status = 'archived' WHERE sku = 'SKU-3'",
        "DELETE FROM products WHERE sku = 'SKU-1'",
    ] {
        assert_eq!(after(sql, Extent::Whole).await, (3, 1), "{sql}");
    }
    let made_up = "INSERT INTO products SELECT 'made up', sku, name, category, price, currency, status, version \
                   FROM products WHERE sku = 'SKU-1'";
    assert_eq!(after(made_up, Extent::Whole).await, (4, 1));
    // Where the log has let go of its beginning, nobody knows.
    assert_eq!(after(made_up, Extent::Tail).await, (4, 0));
    // An effect of which the inbox knows nothing is none of the log.
    assert_eq!(after("DELETE FROM inbox WHERE consumer = 'orders.products'", Extent::Whole).await, (3, 3));
}

#[tokio::test]
async fn what_was_not_handled_yet_is_missed_by_nobody() {
    let house = house().await;
    let told = product(2, 1, 5_000);
    let subject = told.product_id.to_string();
    house.publish(topics::CATALOG, "catalog", &subject, &ProductCreated { product: told }).await;
    let verdict = verdict(&house, Extent::Whole).await;
    assert_eq!((verdict.holds(), verdict.checked), (true, 1));
    house.settle().await;
}
