//! The chart as text; that real Helm renders it to the same objects is `cargo xtask test manifests`.

use super::given::{dev, every, gateway_api, prod};
use crate::description::Certificate;
use crate::{chart, examples};

#[test]
fn no_hole_is_left_and_what_belongs_to_prometheus_is_left_alone() {
    for (what, description) in every() {
        for (name, text) in chart::files(&description).unwrap() {
            assert!(!text.contains("zzhole"), "{what}: {name}");
        }
    }
    let files = chart::files(&prod()).unwrap();
    assert!(files["templates/rtc.yaml"].contains(r#"{{ "{{" }} $value {{ "}}" }}"#));
}

#[test]
fn what_operators_change_is_nowhere_but_in_the_values() {
    let description = examples::charted().unwrap();
    let files = chart::files(&description).unwrap();
    let digest = description.image.rsplit(':').next().unwrap();
    for (name, text) in files.iter().filter(|(name, _)| name.starts_with("templates/")) {
        assert!(!text.contains(digest) && !text.contains(&digest[..12]), "{name}");
        assert!(!text.contains("shop.prod.example.com"), "{name}");
    }
    assert!(files["values.yaml"].contains(digest));
    assert!(
        files["templates/orders.yaml"].contains(r#"minReplicas: {{ index .Values.targets "orders" "min" }}"#)
    );
}

/// Whoever changes nothing but values changes nothing but the values.
#[test]
fn the_templates_of_two_descriptions_of_one_shape_are_the_same() {
    let arn = Certificate::Arn("arn:aws:acm:ap-northeast-2:111122223333:certificate/a".to_owned());
    for description in [dev(), prod(), gateway_api(dev(), arn, None)] {
        let altered = examples::altered(description.clone());
        let (mut files, mut others) = (chart::files(&description).unwrap(), chart::files(&altered).unwrap());
        assert_ne!(files.remove("values.yaml"), others.remove("values.yaml"));
        assert_eq!(files, others);
    }
}

#[test]
fn a_template_and_its_values() {
    let files = chart::files(&examples::charted().unwrap()).unwrap();
    let text = &files["templates/gateway.yaml"];
    let deployment = text.split("---\n").find(|document| document.contains("kind: Deployment")).unwrap();
    let ingress = text.split("---\n").find(|document| document.contains("kind: Ingress")).unwrap();
    insta::assert_snapshot!(format!("{deployment}---\n{ingress}---\n{}", files["values.yaml"]));
}
