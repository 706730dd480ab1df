//! Every route of the platform, walked with every kind of caller.

use std::collections::BTreeSet;

use testkit::{House, walk_routes};
use web::RouteInfo;

async fn house() -> House {
    House::build(&[], async |context| {
        let mut services = Vec::new();
        for target in crate::all() {
            services.push((target.build)(context).await?);
        }
        Ok::<_, host::StartError>(services)
    })
    .await
}

fn table(house: &House) -> Vec<RouteInfo> {
    house.services.iter().flat_map(|service| service.routes.clone()).collect()
}

#[tokio::test]
async fn every_route_keeps_out_whom_its_policy_keeps_out() {
    let house = house().await;
    house.settle().await;
    let table = table(&house);
    assert!(table.len() > 40, "only {} routes", table.len());
    let mut caller = 100;
    let token = |role| {
        caller += 1;
        house.token(House::user(caller), role)
    };
    let findings = walk_routes(&house.router, &table, token).await;
    assert!(findings.is_empty(), "{findings:#?}");
    house.leave_unsettled();
}

#[tokio::test]
async fn no_route_is_public_that_was_not_meant_to_be() {
    let house = house().await;
    house.settle().await;
    let open: BTreeSet<String> = table(&house)
        .into_iter()
        .filter(|route| matches!(route.policy, web::Policy::Public | web::Policy::Optional))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    let meant = [
        "GET /.well-known/jwks.json",
        "GET /api/v1/categories",
        "GET /api/v1/images/{name}",
        "GET /api/v1/products",
        "GET /api/v1/products/{id}",
        "GET /api/v1/products/{id}/prices",
        "GET /api/v1/stock/{sku}",
        "POST /api/v1/products/{id}/cart-additions",
        "POST /api/v1/sessions",
        "POST /api/v1/sessions/refresh",
        "POST /api/v1/users",
        "POST /api/v1/users/verification",
        "POST /api/v1/users/verification/confirm",
    ];
    assert_eq!(open, meant.into_iter().map(str::to_owned).collect());
}

#[tokio::test]
async fn an_entry_in_another_process_knows_the_same_routes() {
    let house = house().await;
    house.settle().await;
    let said = |routes: Vec<RouteInfo>| -> Vec<String> {
        routes.iter().map(|route| format!("{} {} {:?}", route.method, route.path, route.policy)).collect()
    };
    for target in crate::all() {
        let known = (target.routes)(&house.context.config).unwrap();
        assert_eq!(said(known), said(house.service(target.name).routes.clone()), "{}", target.name);
    }
    house.leave_unsettled();
}
