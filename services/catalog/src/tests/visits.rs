//! What the catalogue tells of its shoppers.

use std::time::Duration;

use contracts::catalog::{ProductVisits, ProductsVisited};
use contracts::topics;
use testkit::NOON;

use super::{create, customer, house, seller, show, tea};

#[tokio::test]
async fn what_shoppers_look_at_is_told_once_and_by_the_second() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let path = format!("/api/v1/products/{id}");
    show(&house, &id).await.expect(200);
    house.get(&path).token(&customer(&house)).send().await.expect(200);
    house.get(&path).header("if-none-match", "\"1\"").send().await.expect(304);
    // Sellers are at work, and what is not there is not looked at.
    house.get(&path).token(&seller(&house)).send().await.expect(200);
    show(&house, &format!("{}0", &id[..id.len() - 1])).await.expect_problem(404, "product_not_found");
    let additions = format!("{path}/cart-additions");
    house.post(&additions).send().await.expect(204);
    house.settle().await;
    house.clock.advance(Duration::from_millis(1_500));
    show(&house, &id).await.expect(200);
    house.settle().await;
    house.settle().await;

    let product_id = id.parse().unwrap();
    let visited = |views, cart_additions| vec![ProductVisits { product_id, views, cart_additions }];
    assert_eq!(
        house.published::<ProductsVisited>(topics::CATALOG_VISITS),
        [
            ProductsVisited { second: NOON, visits: visited(3, 1) },
            ProductsVisited { second: NOON.plus(Duration::from_secs(1)), visits: visited(1, 0) },
        ]
    );
}

#[tokio::test]
async fn nobody_puts_what_is_not_on_sale_into_a_cart() {
    let house = house().await;
    let mut draft = tea("TEA-1");
    draft["status"] = "draft".into();
    let id = create(&house, &draft).await;
    let additions = format!("/api/v1/products/{id}/cart-additions");
    house.post(&additions).token(&customer(&house)).send().await.expect_problem(404, "product_not_found");
    house.settle().await;
    assert!(house.published::<ProductsVisited>(topics::CATALOG_VISITS).is_empty());
}
