//! Favourites: idempotent, at most ten, also for many hands at once.

use serde_json::json;

use super::*;

async fn put(house: &House, token: &str, id: &str) -> Answer {
    house.call("PUT", &format!("/api/v1/products/{id}/favourite")).token(token).send().await
}

async fn delete(house: &House, token: &str, id: &str) -> Answer {
    house.call("DELETE", &format!("/api/v1/products/{id}/favourite")).token(token).send().await
}

async fn mine(house: &House, token: &str) -> Vec<String> {
    skus(&house.get("/api/v1/favourites").token(token).send().await.expect(200))
}

#[tokio::test]
async fn a_favourite_is_put_and_taken_any_number_of_times() {
    let house = house().await;
    let id = create(&house, &tea("TEA-1")).await;
    let token = customer(&house);
    for _ in 0..2 {
        put(&house, &token, &id).await.expect(204);
        assert_eq!(mine(&house, &token).await, ["TEA-1"]);
    }
    let other = house.token(House::user(9), Role::Customer);
    assert!(mine(&house, &other).await.is_empty());
    for _ in 0..2 {
        delete(&house, &token, &id).await.expect(204);
        assert!(mine(&house, &token).await.is_empty());
    }
    let draft = create(&house, &with(tea("TEA-2"), &json!({"status": "draft"}))).await;
    put(&house, &token, &draft).await.expect_problem(404, "product_not_found");
    put(&house, &token, "prd_1").await.expect_problem(404, "not_found");
    house.get("/api/v1/favourites").send().await.expect_problem(401, "token_missing");
    house.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_at_once_leave_ten() {
    let house = std::sync::Arc::new(house().await);
    let token = customer(&house);
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(create(&house, &tea(&format!("TEA-{n}"))).await);
    }
    let tries: Vec<_> = ids
        .iter()
        .map(|id| {
            let (house, token, id) = (house.clone(), token.clone(), id.clone());
            tokio::spawn(async move { put(&house, &token, &id).await })
        })
        .collect();
    let mut refused = Vec::new();
    for (one, id) in tries.into_iter().zip(&ids) {
        let answer = one.await.unwrap();
        if answer.status != 204 {
            answer.expect_problem(409, "favourites_full");
            refused.push(id.clone());
        }
    }
    assert_eq!((mine(&house, &token).await.len(), refused.len()), (10, 10));
    // A place that is given back can be taken.
    let kept = ids.iter().find(|id| !refused.contains(id)).unwrap();
    put(&house, &token, kept).await.expect(204);
    delete(&house, &token, kept).await.expect(204);
    put(&house, &token, &refused[0]).await.expect(204);
    put(&house, &token, &refused[1]).await.expect_problem(409, "favourites_full");
    house.settle().await;
}

#[tokio::test]
async fn an_archived_product_takes_nobodys_place() {
    let house = house().await;
    let token = customer(&house);
    let mut ids = Vec::new();
    for n in 0..11 {
        ids.push(create(&house, &tea(&format!("TEA-{n}"))).await);
    }
    for id in &ids[..10] {
        put(&house, &token, id).await.expect(204);
    }
    put(&house, &token, &ids[10]).await.expect_problem(409, "favourites_full");
    archive(&house, &ids[0], 1).await.expect(204);
    put(&house, &token, &ids[10]).await.expect(204);
    assert_eq!(mine(&house, &token).await.len(), 10);
    house.settle().await;
}
