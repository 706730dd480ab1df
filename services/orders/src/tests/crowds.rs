//! More who order than can be served, and who asks for them.

use std::sync::Arc;

use axum::body::Body;
use db::Asker;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::views::Views;

/// A house with room for so many checkouts.
async fn small(in_flight_max: u32) -> House {
    house_of(1, Faults::default(), &[("services.orders", json!({ "in_flight_max": in_flight_max }))]).await
}

/// Checkouts are counted.
async fn look(house: &House) {
    let pumps = &house.service("orders").pumps;
    pumps.iter().find(|pump| pump.name() == "orders.in_flight").unwrap().step().await.unwrap();
}

#[tokio::test]
async fn orders_are_refused_while_more_are_under_way_than_may_be_and_nothing_else_is() {
    let house = small(2).await;
    let look = async || look(&house).await;
    let (first, _) = place(&house, "a").await;
    look().await;
    // It counts at once: a flood that comes between two looks finds the door closed, too.
    place(&house, "b").await;
    let token = house.token(House::user(7), Role::Customer);
    house
        .post("/api/v1/orders")
        .token(&token)
        .key("c")
        .json(&body(2))
        .send()
        .await
        .expect_problem(503, "overloaded");
    look().await;
    let refused = house.post("/api/v1/orders").token(&token).key("c").json(&body(2)).send().await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.expect_problem(503, "overloaded");
    assert_eq!(state_of(&house, first).await, "reserving");
    confirm(&house, first).await;
    look().await;
    place(&house, "c").await;
    house.settle().await;
}

#[tokio::test]
async fn of_a_crowd_that_came_through_the_door_at_once_no_more_are_accepted_than_there_is_room_for() {
    const CROWD: usize = 12;
    let house = small(3).await;
    let token = house.token(House::user(7), Role::Customer);
    let (came, mut comes) = mpsc::unbounded_channel();
    let go = Arc::new(Semaphore::new(0));
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..CROWD {
        let (came, go) = (came.clone(), go.clone());
        // Whoever is asked for his order has come through the door; he says it when all of them are inside.
        let order = async move {
            came.send(()).unwrap();
            go.acquire().await.unwrap().forget();
            Ok::<_, std::io::Error>(body(2).to_string())
        };
        let order = Body::from_stream(futures_util::stream::once(order));
        let call = house.post("/api/v1/orders").token(&token).key(&format!("crowd-{n}"));
        crowd.spawn(call.body("application/json", order).send());
    }
    for _ in 0..CROWD {
        comes.recv().await.unwrap();
    }
    go.add_permits(CROWD);
    let (mut accepted, mut refused) = (0, 0);
    while let Some(answer) = crowd.join_next().await {
        let answer = answer.unwrap();
        if answer.status == 202 {
            accepted += 1;
        } else {
            refused += 1;
            assert_eq!(answer.header("retry-after"), Some("1"));
            answer.expect_problem(503, "overloaded");
        }
    }
    assert_eq!((accepted, refused), (3, CROWD - 3));
    let shed = format!("rtc_http_shed_total{{service=\"orders\",reason=\"pressure\"}} {refused}");
    assert!(house.context.encode_metrics().contains(&shed), "{shed}");
    house.settle().await;
    look(&house).await;
    house
        .post("/api/v1/orders")
        .token(&token)
        .key("late")
        .json(&body(2))
        .send()
        .await
        .expect_problem(503, "overloaded");
}

#[tokio::test]
async fn what_places_nothing_takes_no_room() {
    let house = small(2).await;
    let token = house.token(House::user(7), Role::Customer);
    let (id, _) = place(&house, "a").await;
    for n in 0..5 {
        assert_eq!(place(&house, "a").await.0, id, "a repetition");
        let mut stale = body(2);
        stale["lines"][0]["unit_price"] = json!({ "amount": 1, "currency": "KRW" });
        let call = |key: &str, body: &Value| house.post("/api/v1/orders").token(&token).key(key).json(body);
        call(&format!("stale-{n}"), &stale).send().await.expect_problem(409, "price_changed");
        let none = call(&format!("none-{n}"), &body(0)).send().await;
        assert!((400..500).contains(&none.status), "{}", none.status);
    }
    place(&house, "b").await;
    house.settle().await;
}

#[tokio::test]
async fn a_look_that_is_shared_by_those_who_wait_is_as_much_a_guest_s_as_they_are() {
    let house = house().await;
    let (id, _) = place(&house, "a").await;
    let askers = testkit::Askers::default();
    let views = Views::new(askers.around(house.service("orders").db.clone()));
    for asker in [Asker::Guest, Asker::House] {
        let found = asker.scope(views.order(id)).await.unwrap();
        assert_eq!(found.unwrap().id, id);
        assert_eq!(askers.take(), [asker]);
    }
    house.settle().await;
}
