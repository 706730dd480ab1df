//! What the running shop exposes is what the catalogue says, no more and no less, whatever callers send.

use std::collections::{BTreeMap, BTreeSet};

use rtc_metrics::{Kind, Metric, OTHER, Values, When, all, of_sample};
use serde_json::{Value, json};

use super::shop::Shop;

/// A sample of a page: its name and its labels.
type Sample = (String, BTreeMap<String, String>);

/// Every sample, as the process's own history reads them.
async fn samples(shop: &Shop) -> Vec<Sample> {
    shop.running.context.look().await;
    let page = shop.running.context.encode_metrics();
    shop.running.context.record(&page);
    let history = shop.operator("GET", "/admin/metrics/history").send().await.expect(200);
    assert_eq!(history["interval_ms"], 5_000);
    let series = history["series"].as_array().unwrap();
    series
        .iter()
        .map(|one| {
            let labels = one["labels"].as_object().unwrap();
            let labels =
                labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
            (one["name"].as_str().unwrap().to_owned(), labels.collect())
        })
        .collect()
}

async fn odd_traffic(shop: &Shop) {
    for n in 0..40 {
        shop.api("GET", &format!("/api/v1/nothing/{n}")).send().await;
        shop.api("GET", &format!("/{n}.php?x={n}")).send().await;
        shop.api("GET", &format!("/api/v1/products/prd_{n}")).send().await;
        shop.api("GET", &format!("/api/v1/stock/SKU-{n}")).send().await;
    }
    for method in ["BREW", "PROPFIND", "TRACE", "DELETE", "PUT", "OPTIONS", "HEAD", "PATCH"] {
        shop.api(method, "/api/v1/products").send().await;
        shop.api(method, "/api/v1/orders").send().await;
        shop.api(method, "/nowhere").send().await;
    }
    shop.api("POST", "/api/v1/orders").bytes("text/plain", vec![0xff; 300]).send().await;
    shop.api("POST", "/api/v1/sessions").json(&json!({ "email": 1 })).send().await;
    shop.api("GET", "/api/v1/orders")
        .header("traceparent", "00-x-y-z")
        .header("x-request-id", "\"}")
        .send()
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exposed_is_what_the_catalogue_says_whatever_callers_send() {
    let shop = Shop::open().await;
    let product = shop.product("TEA", 1_000, 500).await;
    let shopper = &shop.shoppers(1, 1_000_000).await[0];
    let body = json!({ "lines": [{ "product_id": product["id"], "quantity": 1 }] });
    let order = shop.api("POST", "/api/v1/orders?wait=terminal").token(&shopper.token).key("one").json(&body);
    assert_eq!(order.send().await.json["state"], "confirmed");
    odd_traffic(&shop).await;
    shop.quiet().await;

    let samples = samples(&shop).await;
    let mut seen: BTreeMap<&str, BTreeSet<&BTreeMap<String, String>>> = BTreeMap::new();
    for (name, labels) in &samples {
        let metric = of_sample(name).unwrap_or_else(|| panic!("{name} is in no catalogue"));
        seen.entry(metric.name).or_default().insert(labels);
        check(metric, name, labels);
    }
    for metric in all().filter(|metric| metric.when == When::Always) {
        assert!(seen.contains_key(metric.name), "{} is in the catalogue and nobody exposes it", metric.name);
    }
    for (name, series) in &seen {
        let metric = of_sample(name).unwrap();
        assert!(series.len() <= metric.series_max(), "{name} has {} series", series.len());
    }
    // Each of several hundred made-up paths and methods is the one that nobody knows.
    let labels = |name: &str| -> BTreeSet<&str> {
        let of = samples.iter().filter(|(sample, _)| sample == "http_server_request_duration_seconds_count");
        of.map(|(_, labels)| labels[name].as_str()).collect()
    };
    let routes = labels("http_route");
    assert!(routes.contains(OTHER), "{routes:?}");
    assert!(routes.iter().all(|route| *route == OTHER || route.starts_with('/')), "{routes:?}");
    assert!(!routes.iter().any(|route| route.contains("nothing") || route.contains(".php")), "{routes:?}");
    assert!(labels("http_request_method").contains(OTHER));
    assert!(samples.len() < 3_000, "{} series after one order and odd traffic", samples.len());
    kinds_are_told(&shop.running.context.encode_metrics());
    shop.close().await;
}

/// Its labels are those of the catalogue, and each says what it may.
fn check(metric: &Metric, name: &str, labels: &BTreeMap<String, String>) {
    let wanted: BTreeSet<&str> = metric.labels.iter().map(|label| label.name).collect();
    let found: BTreeSet<&str> = labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
    assert_eq!(found, wanted, "{name}");
    assert_eq!(
        labels.contains_key("le"),
        name.ends_with("_bucket") && metric.kind == Kind::Histogram,
        "{name}"
    );
    for (label, value) in labels {
        let Some(label) = metric.label(label) else { continue };
        match label.values {
            Values::OneOf(values) => {
                assert!(values.contains(&value.as_str()), "{name}: {label:?} says {value:?}")
            }
            Values::AtMost(..) => assert!(value.len() < 100, "{name}: {label:?} says {value:?}"),
        }
    }
}

fn kinds_are_told(page: &str) {
    let mut families = BTreeSet::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (family, kind) = line.split_once(' ').unwrap();
        assert!(families.insert(family), "{family} stands twice on the page");
        let metric = all().find(|metric| metric.family() == family).unwrap_or_else(|| panic!("{family}"));
        assert_eq!(kind, metric.kind.exposed(), "{family}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_gets_the_form_that_it_asks_for_and_the_history_is_the_operators() {
    let shop = Shop::open().await;
    let page = |accept: &'static str| {
        let call = shop.operator("GET", "/metrics").header("accept", accept);
        async move { call.send().await }
    };
    let text = page("text/plain").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(text.text().contains("# TYPE rtc_orders_total counter\n"));
    let open = page("application/openmetrics-text; version=1.0.0, text/plain;q=0.5").await;
    assert_eq!(
        open.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(open.text().contains("# TYPE rtc_orders counter\n") && open.text().ends_with("# EOF\n"));

    let nobody =
        testkit::Call::new(shop.running.admin_router.clone(), http::Method::GET, "/admin/metrics/history");
    assert_eq!(nobody.send().await.status, 401);
    shop.running.context.record("a 1\n");
    let all = shop.operator("GET", "/admin/metrics/history").send().await.expect(200);
    let last = all["times"].as_array().unwrap().last().and_then(Value::as_i64).unwrap();
    let later =
        shop.operator("GET", &format!("/admin/metrics/history?since_ms={last}")).send().await.expect(200);
    assert!(later["times"].as_array().unwrap().iter().all(|at| at.as_i64().unwrap() > last));
    shop.operator("GET", "/admin/metrics/history?from=1").send().await.expect_problem(400, "query_invalid");
    shop.close().await;
}
