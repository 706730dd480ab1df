//! The same program gives the same image, wherever and by whomever it is built.

use std::path::Path;

use serde_json::Value;

use crate::ground::{Ground, data};

/// Every Linux has it, and it is packed at once.
const PROGRAM: &str = "/bin/sh";

#[test]
fn folder_umask_time_zone_and_the_order_of_files_change_nothing() {
    let here = Ground::with(Path::new(PROGRAM)).build("v1");
    let ground = Ground::with(Path::new(PROGRAM));
    // Another folder, other files beside, made before and after, with other modes.
    std::fs::write(ground.path("beside"), "x").unwrap();
    let mut command = ground.masked("077", &["image", "build", "--tag", "v1"]);
    command.env("TZ", "Asia/Seoul").env("LC_ALL", "C").env("HOME", "/nowhere");
    let there = data(command);
    assert_eq!(here["digest"], there["digest"]);
}

#[test]
fn a_changed_program_changes_the_layer_of_the_application_alone() {
    let ground = Ground::with(Path::new(PROGRAM));
    let before = ground.build("v1");
    let mut bytes = std::fs::read(ground.program()).unwrap();
    // The end of an ELF file is the table of sections or debug information: what runs is not looked at here.
    bytes.extend_from_slice(b"changed");
    std::fs::write(ground.program(), bytes).unwrap();
    let after = ground.build("v2");
    assert_ne!(before["digest"], after["digest"]);
    let digests = |built: &Value| -> Vec<(String, String, bool)> {
        let layers = built["images"][0]["layers"].as_array().unwrap();
        let text = |layer: &Value, key: &str| layer[key].as_str().unwrap().to_owned();
        layers
            .iter()
            .map(|layer| (text(layer, "of"), text(layer, "digest"), layer["reused"].as_bool().unwrap()))
            .collect()
    };
    let (before, after) = (digests(&before), digests(&after));
    let changed: Vec<&str> =
        before.iter().zip(&after).filter(|(a, b)| a.1 != b.1).map(|(a, _)| a.0.as_str()).collect();
    assert_eq!(changed, ["application"]);
    assert_eq!(after.iter().map(|layer| layer.2).collect::<Vec<_>>(), [true, true, false]);
}
