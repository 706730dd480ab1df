//! What the second colour consists of, and what leads traffic to it: of every shape that a release can take.

use manifests::description::Discovery;
use manifests::lint;
use manifests::render::TRACK;
use manifests::{Description, Release, examples};
use serde_json::{Value as Json, json};

use crate::manifest::{Item, Manifest};
use crate::room;
use crate::run::colours::{self, Colour};

fn manifest(description: Description) -> Manifest {
    Manifest::of(&Release::of(description).unwrap())
}

fn find<'a>(items: impl IntoIterator<Item = &'a Item>, kind: &str, name: &str) -> &'a Json {
    let is = |item: &&Item| item.body["kind"] == kind && item.body["metadata"]["name"] == name;
    &items.into_iter().find(is).unwrap_or_else(|| panic!("no {kind}/{name}")).body
}

fn all(description: &Description) -> Vec<String> {
    description.targets.keys().cloned().collect()
}

/// Every shape that has no second version of its own, and one whose pods are also found by all their addresses.
fn shapes() -> Vec<(&'static str, Description)> {
    let mut shapes = examples::every().unwrap();
    shapes.retain(|(_, description)| description.canary.is_none());
    let mut found = examples::prod().unwrap();
    for target in found.targets.values_mut() {
        target.discovery = Discovery::Headless;
    }
    shapes.push(("prod-headless", found));
    shapes
}

#[test]
fn what_is_green_has_the_manifests_form_but_for_its_names_and_tracks() {
    for (shape, description) in shapes() {
        let names = all(&description);
        let whole = manifest(description);
        let targets = colours::targets(&whole, &whole, &names);
        assert_eq!(targets.len(), names.len(), "{shape}");
        let green = colours::green(&whole, &targets, Colour::Stable);
        assert_eq!(green.items.len(), 2 * targets.len(), "{shape}: a Deployment and a Service each");
        for target in &targets {
            let full = format!("{target}-green");
            let (is, was) =
                (find(&green.items, "Deployment", &full), find(&whole.items, "Deployment", target));
            let back = is.to_string().replace(&full, target);
            let back = back.replace(r#""rtc.io/track":"green""#, r#""rtc.io/track":"stable""#);
            assert_eq!(back, was.to_string(), "{shape} {target}");
            assert_eq!(is["spec"]["selector"]["matchLabels"][TRACK], "green", "{shape} {target}");
            assert_eq!(is["spec"]["template"]["metadata"]["labels"][TRACK], "green", "{shape} {target}");
            let service = find(&green.items, "Service", &full);
            assert_eq!(service["spec"]["selector"][TRACK], "green", "{shape} {target}");
        }
        // Budgets and policies find both, ports and references lead somewhere.
        let mut bodies: Vec<Json> = whole.items.iter().map(|item| item.body.clone()).collect();
        bodies.extend(green.items.iter().map(|item| item.body.clone()));
        let grave: Vec<_> = lint::check(&bodies)
            .into_iter()
            .filter(|finding| finding.severity == lint::Severity::Error)
            .collect();
        assert!(grave.is_empty(), "{shape}: {grave:#?}");
    }
}

/// The pods that calls to a target's name can come to: tracks by what the Service and the route say.
fn reached<'a>(items: &'a [Item], target: &str) -> Vec<&'a str> {
    let route = items
        .iter()
        .find(|item| item.body["kind"] == "VirtualService" && item.body["metadata"]["name"] == target);
    let subsets = route.map(|item| item.body["spec"]["http"][0]["route"].as_array().unwrap().clone());
    let service = find(items, "Service", target)["spec"]["selector"][TRACK].as_str();
    match (service, subsets) {
        (Some(track), routes) => {
            // A route may not ask for what the Service does not have.
            let asks = routes.into_iter().flatten().any(|one| !one["destination"]["subset"].is_null());
            assert!(!asks, "{target}: the route asks for a part of {track}");
            vec![track]
        }
        (None, Some(routes)) => {
            assert_eq!(routes.len(), 1, "{target}");
            vec![if routes[0]["destination"]["subset"] == "green" { "green" } else { "stable" }]
        }
        (None, None) => vec!["stable", "green"],
    }
}

#[test]
fn traffic_is_led_to_one_colour_by_one_object_for_each_way_in() {
    for (shape, description) in shapes() {
        let names = all(&description);
        let whole = manifest(description);
        let targets = colours::targets(&whole, &whole, &names);
        let stable = colours::dressed(&whole, &targets, Colour::Stable);
        let green = colours::dressed(&whole, &targets, Colour::Green);
        for target in &targets {
            assert_eq!(reached(&stable.items, target), ["stable"], "{shape} {target}");
            assert_eq!(reached(&green.items, target), ["green"], "{shape} {target}");
            let one = std::slice::from_ref(target);
            let (from, to) =
                (colours::leading(&whole, one, Colour::Stable), colours::leading(&whole, one, Colour::Green));
            let changed: Vec<&str> = from
                .iter()
                .zip(&to)
                .filter(|(from, to)| from.body != to.body)
                .filter_map(|(from, _)| from.body["kind"].as_str())
                .filter(|kind| *kind != "HorizontalPodAutoscaler")
                .collect();
            let services = from.iter().filter(|item| item.body["kind"] == "Service").count();
            let is_routed = from.iter().any(|item| item.body["kind"] == "VirtualService");
            let mut wanted = vec!["Service"; services];
            if is_routed && target != "gateway" {
                // Of its Services only that for all addresses is one that no route stands before.
                wanted.pop();
                wanted.push("VirtualService");
            }
            assert_eq!(changed, wanted, "{shape} {target}");
            // Whoever scales scales what is asked.
            for item in to.iter().filter(|item| item.body["kind"] == "HorizontalPodAutoscaler") {
                assert_eq!(item.body["spec"]["scaleTargetRef"]["name"], format!("{target}-green"), "{shape}");
            }
        }
        let ids = |items: &[Item]| {
            let mut ids: Vec<_> = items.iter().map(Item::id).collect();
            ids.sort();
            ids
        };
        let plain = colours::plain(&whole, &targets);
        assert_eq!(ids(&plain), ids(&colours::leading(&whole, &targets, Colour::Green)), "{shape}");
        assert!(plain.iter().all(|item| whole.items.contains(item)), "{shape}");
    }
}

#[test]
fn whoever_comes_from_outside_is_led_on_last_and_back_first() {
    let description = examples::prod().unwrap();
    let names = all(&description);
    let whole = manifest(description);
    let targets = colours::targets(&whole, &whole, &names);
    assert_eq!(targets.last().map(String::as_str), Some("gateway"));
    let back = colours::leading(&whole, &targets, Colour::Stable);
    assert_eq!(back[0].body["metadata"]["name"], "gateway");
}

#[test]
fn targets_that_are_new_or_that_go_have_one_colour() {
    let description = examples::dev().unwrap();
    let mut less = description.clone();
    let names = all(&description);
    let shop = less.targets.remove("shop").unwrap();
    less.targets.insert("store".to_owned(), shop);
    let (before, after) = (manifest(less), manifest(description));
    assert_eq!(colours::targets(&before, &after, &names), ["users", "gateway"]);
    assert_eq!(colours::targets(&before, &after, &["users".to_owned()]), ["users"]);
}

#[test]
fn a_quota_that_does_not_hold_it_twice_is_named() {
    let whole = manifest(examples::dev().unwrap());
    let quota = |name: &str, hard: Json, used: Json| json!({ "metadata": { "name": name }, "status": { "hard": hard, "used": used } });
    // Gateway, users and two of shop run: 1.3 cores, 1408 Mi, 4 pods. Green is as much, and one more of each while they
    // are rolled beside it.
    let wanted = room::wanted(&whole);
    let millis = (wanted["requests.cpu"] * 1000.0).round();
    assert!((millis - 2100.0).abs() < 0.5 && (wanted["pods"] - 7.0).abs() < 0.1, "{wanted:?}");
    let of = |cpu: &str, pods: &str| {
        let hard = json!({ "requests.cpu": cpu, "pods": pods });
        quota("wide", hard, json!({ "requests.cpu": "1300m", "pods": "4" }))
    };
    let twice = room::lacks(&[of("2600m", "8")], &wanted);
    assert_eq!(twice.len(), 2, "exactly twice is too little: {twice:?}");
    let wide = of("3400m", "11");
    assert_eq!(room::lacks(std::slice::from_ref(&wide), &wanted), []);
    let narrow = quota(
        "narrow",
        json!({ "cpu": "2", "memory": "2Gi", "count/pods": 7, "requests.storage": "1Gi" }),
        json!({ "cpu": "1300m", "memory": "1408Mi", "count/pods": "4" }),
    );
    let mut some = narrow.clone();
    some["spec"]["scopes"] = json!(["BestEffort"]);
    let lacks = room::lacks(&[wide, narrow, some], &wanted);
    let said: Vec<_> = lacks.iter().map(|lack| (lack.quota.as_str(), lack.what.as_str())).collect();
    assert_eq!(said, [("narrow", "cpu"), ("narrow", "memory"), ("narrow", "count/pods")]);
}

#[test]
fn what_leads_has_to_be_the_same_before_and_after() {
    for (shape, description) in shapes() {
        let names = all(&description);
        let whole = manifest(description);
        let targets = colours::targets(&whole, &whole, &names);
        assert_eq!(colours::unlike(&whole, &whole, &targets), None, "{shape}");
        for kind in ["VirtualService", "DestinationRule", "HorizontalPodAutoscaler", "Service"] {
            let mut less = whole.clone();
            less.items.retain(|item| item.body["kind"] != kind);
            if less == whole {
                continue;
            }
            let why = colours::unlike(&whole, &less, &targets);
            assert!(why.is_some_and(|why| why.contains("--strategy rolling")), "{shape} without {kind}");
        }
        // A mesh that comes changes who leads as well; an autoscaler that comes does not.
        let mut less = whole.clone();
        less.items.retain(|item| item.body["kind"] != "HorizontalPodAutoscaler");
        assert_eq!(colours::unlike(&less, &whole, &targets), None, "{shape}");
        less.items.retain(|item| item.body["kind"] != "VirtualService");
        let is_routed = targets.iter().any(|target| {
            let of = |item: &&Item| item.body["metadata"]["name"] == target.as_str();
            target != "gateway"
                && whole.items.iter().filter(of).any(|item| item.body["kind"] == "VirtualService")
        });
        assert_eq!(colours::unlike(&less, &whole, &targets).is_some(), is_routed, "{shape}");
    }
}
