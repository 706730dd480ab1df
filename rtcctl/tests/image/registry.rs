//! A registry that is not ours: what goes in comes out, and nothing goes in twice.

use serde_json::Value;

use crate::ground::{Ground, told, tool, unique};

#[test]
fn what_is_pushed_is_pulled_back_by_skopeo_as_it_was() {
    let ground = Ground::with_rtcd();
    let built = ground.build("v1");
    let repository = format!("{}/rtc/{}", told("RTC_TEST_REGISTRY"), unique());
    let to = format!("{repository}:v1");
    let pushed = ground.run(&["image", "push", "rtcd:v1", "--to", &to]);
    assert_eq!(pushed["digest"], built["digest"]);
    let back = ground.path("back");
    let from = format!("docker://{to}");
    tool(
        "skopeo",
        &["copy", "--quiet", "--src-tls-verify=false", &from, &format!("oci:{}:v1", back.display())],
    );
    let seen = tool("skopeo", &["inspect", &format!("oci:{}:v1", back.display())]);
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["Digest"], built["digest"]);

    let again = ground.run(&["image", "push", "rtcd:v1", "--to", &to]);
    assert_eq!((again["unchanged"].as_bool(), again["bytes_sent"].as_u64()), (Some(true), Some(0)));
    // The bill of materials is found from the image.
    let inspected = ground.run(&["image", "inspect", &to]);
    assert_eq!(inspected["digest"], built["digest"]);
    assert_eq!(inspected["images"][0]["referrers"][0]["artifact_type"], "application/spdx+json");

    let promoted = ground.run(&["image", "promote", &to, &format!("{repository}-prod:v1")]);
    assert_eq!((&promoted["digest"], promoted["bytes_sent"].as_u64()), (&built["digest"], Some(0)));
    assert!(promoted["blobs"]["mounted"].as_u64().unwrap() >= 4, "{promoted}");
}

#[test]
fn an_image_on_a_base_keeps_the_layers_of_the_base() {
    let ground = Ground::with_rtcd();
    let base = ground.run(&["image", "build", "--binary", "/bin/sh", "--tag", "base"]);
    let repository = format!("{}/rtc/{}", told("RTC_TEST_REGISTRY"), unique());
    ground.run(&["image", "push", "rtcd:base", "--to", &format!("{repository}:base")]);
    let named = format!("{repository}@{}", base["digest"].as_str().unwrap());
    let layout = ground.path("other").display().to_string();
    let built = ground.run(&["image", "build", "--base", &named, "--tag", "v1", "--layout", &layout]);
    let layers = |built: &Value| -> Vec<String> {
        let layers = built["images"][0]["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(layers(&built)[..3], layers(&base)[..]);
    let seen = ground.run(&["image", "inspect", &format!("oci:{layout}:v1")]);
    assert_eq!(seen["images"][0]["annotations"]["org.opencontainers.image.base.digest"], base["digest"]);
}
