//! `deploy rollout --strategy blue-green` as it is typed: what it asks first, and what it comes to.

use kubernetes::testing::behaviour::Behaviour;
use serde_json::json;

use super::cluster::{NEXT, Place};
use super::files::IMAGE;

const SWITCH: [&str; 6] = ["--strategy", "blue-green", "--hold", "0s", "-o", "json"];

#[tokio::test]
async fn everything_is_led_to_the_new_version_and_its_names_are_the_same() {
    let place = Place::new().await;
    let nothing = place.rollout(IMAGE, &SWITCH).await;
    assert_eq!((nothing.exit, &nothing.error()["code"]), (3, &json!("DEP018")), "{}", nothing.stderr);
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);

    let dry = place.rollout(NEXT, &[&SWITCH[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.exit, 0, "{}", dry.stderr);
    assert_eq!(place.image(), IMAGE);

    let came = place.rollout(NEXT, &SWITCH).await;
    assert_eq!(came.exit, 0, "{}", came.stderr);
    assert_eq!(came.json()["data"]["beside"], json!({ "state": "promoted" }));
    assert!(came.stderr.contains("gateway is behind a load balancer"), "{}", came.stderr);
    assert_eq!(place.image(), NEXT);
    let names: Vec<String> = place
        .api
        .objects("Deployment", "rtc")
        .iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.iter().all(|name| !name.ends_with("-green")), "{names:?}");
    let led =
        place.api.asked().into_iter().filter(|one| one.method == "PATCH" && one.body.contains("\"green\""));
    let paths: Vec<String> =
        led.map(|one| one.path).filter(|path| path.contains("/services/shop?")).collect();
    assert!(!paths.is_empty());
    let same = place.dev(&["diff", "--outputs", "dev.json", "--image", NEXT, "--exit-code"]).await;
    assert_eq!(same.exit, 0, "{}", same.stdout);
    // What comes after it knows nothing of colours.
    assert_eq!(place.dev(&["rollback"]).await.exit, 0);
    assert_eq!(place.image(), IMAGE);
}

#[tokio::test]
async fn a_green_that_does_not_stand_is_taken_back_unasked() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    let turning_bad = async {
        // The migration comes through, and then the image is gone.
        place.migrated(NEXT).await;
        place.api.behave(NEXT, Behaviour::ImageMissing);
        std::future::pending::<()>().await;
    };
    let words = [&SWITCH[..], &["--evidence", "kept"]].concat();
    let came = tokio::select! {
        came = place.rollout(NEXT, &words) => came,
        () = turning_bad => unreachable!(),
    };
    assert_eq!((came.exit, &came.error()["code"]), (24, &json!("DEP021")), "{}", came.stderr);
    assert_eq!(place.image(), IMAGE);
    assert!(place.api.object("Deployment", "rtc", "shop-green").is_none());
    assert!(place.typed.path("kept").join("failure.json").is_file());
    let asked = place.api.asked();
    let is_led = |path: &str, body: &str| path.contains("/services/shop?") && body.contains("\"green\"");
    assert!(!asked.iter().any(|one| is_led(&one.path, &one.body)));
}

#[tokio::test]
async fn a_namespace_that_does_not_hold_it_twice_is_told_before_anything_is_changed() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    place.api.given(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "few", "namespace": "rtc" },
        "spec": { "hard": { "pods": "5" } }, "status": { "hard": { "pods": "5" }, "used": { "pods": "4" } },
    }));
    let came = place.rollout(NEXT, &SWITCH).await;
    assert_eq!((came.exit, &came.error()["code"]), (7, &json!("DEP027")), "{}", came.stderr);
    assert!(came.error()["causes"].to_string().contains("ResourceQuota/few: pods is 5"), "{}", came.stderr);
    assert_eq!(place.image(), IMAGE);
    assert!(place.api.object("Deployment", "rtc", "shop-green").is_none());
    for flags in [&["--weights", "5"][..], &["--targets", "nobody"]] {
        let came = place.rollout(NEXT, &[&SWITCH[..], flags].concat()).await;
        assert_eq!((came.exit, &came.error()["code"]), (2, &json!("DEP016")), "{}", came.stderr);
    }
}

#[tokio::test]
async fn it_waits_to_be_told_says_where_it_stands_and_goes_back() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    let came = place.rollout(NEXT, &[&SWITCH[..], &["--ask-each"]].concat()).await;
    assert_eq!((came.exit, &came.error()["code"]), (31, &json!("DEP026")), "{}", came.stderr);
    assert!(came.error()["message"].as_str().unwrap().contains("is sent 0 %"), "{}", came.stderr);
    let stands = place.dev(&["rollout", "--resume", "last", "--dry-run"]).await;
    assert!(stands.stdout.contains("is sent 0 % of the calls"), "{}", stands.stdout);
    let shop = place.api.object("Service", "rtc", "shop").unwrap();
    assert_eq!(shop["spec"]["selector"]["rtc.io/track"], "stable");
    assert!(place.api.object("Service", "rtc", "shop-green").is_some());
    let back = place.dev(&["rollout", "--resume", "last", "--abort", "-o", "json"]).await;
    assert_eq!((back.exit, &back.error()["code"]), (24, &json!("DEP021")), "{}", back.stderr);
    assert_eq!(place.image(), IMAGE);
    for kind in ["Deployment", "Service"] {
        assert!(place.api.object(kind, "rtc", "shop-green").is_none(), "{kind}");
    }
    assert!(
        place.api.object("Service", "rtc", "shop").unwrap()["spec"]["selector"]["rtc.io/track"].is_null()
    );
}

#[tokio::test]
async fn targets_of_which_none_ran_before_are_refused_before_the_migration() {
    let place = Place::new().await;
    assert_eq!(place.rollout(IMAGE, &[]).await.exit, 0);
    for file in ["rtc.toml", "dev.json"] {
        let text = std::fs::read_to_string(place.typed.path(file)).unwrap();
        let text = text.replace("targets.shop]", "targets.store]").replace("\"shop\"", "\"store\"");
        place.typed.write(file, text.as_bytes());
    }
    let before = (place.api.objects("Job", "rtc").len(), place.api.objects("ConfigMap", "rtc"));
    let came = place.rollout(NEXT, &[&SWITCH[..], &["--targets", "store"]].concat()).await;
    assert_eq!((came.exit, &came.error()["code"]), (3, &json!("DEP018")), "{}", came.stderr);
    assert_eq!((place.api.objects("Job", "rtc").len(), place.api.objects("ConfigMap", "rtc")), before);
    let runs = place.typed.run(&["runs", "list", "-o", "json"]).await.json();
    assert_eq!(runs["data"].as_array().unwrap().len(), 1, "nothing was begun");
}
