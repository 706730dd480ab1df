//! What lies on disk between builds, what is only described, and how quiet a command is.

use std::sync::Arc;

use tokio::sync::Barrier;

use super::*;

const FAST: [&str; 5] = ["image", "build", "--no-sbom", "--compression", "zstd"];

fn blobs(typed: &Typed, layout: &str) -> usize {
    typed.path(layout).join("blobs/sha256").read_dir().unwrap().count()
}

/// Another program of the same name.
fn recompile(typed: &Typed, more: &[u8]) {
    let mut bytes = std::fs::read(PROGRAM).unwrap();
    bytes.extend_from_slice(more);
    typed.write("program", &bytes);
}

#[tokio::test]
async fn old_layers_go_where_somebody_wishes_it() {
    let typed = typed("127.0.0.1:1");
    let build = async |tag: &'static str, more: &[&str]| {
        let words = [&FAST[..], &["--binary", "program", "--tag", tag, "-o", "json"], more].concat();
        let came = typed.run(&words).await;
        assert_eq!(came.exit, 0, "{}", came.stderr);
        came.json()["data"].clone()
    };
    recompile(&typed, b"1");
    build("v1", &[]).await;
    recompile(&typed, b"2");
    build("v2", &[]).await;
    // Two programs on the layers that do not change, each with configuration and manifest.
    assert_eq!(blobs(&typed, "target/images/shop"), 8);
    let last = build("v2", &["--clean"]).await;
    assert_eq!(blobs(&typed, "target/images/shop"), 5);
    assert_eq!(last["deleted"]["blobs"], 3);
    let listed = typed.run(&["image", "ls", "oci:target/images/shop", "-o", "json"]).await.json();
    assert_eq!(listed["data"]["images"][0]["tags"], serde_json::json!(["v2"]));
    assert_eq!(listed["data"]["in_all"], 1);
}

#[tokio::test]
async fn nothing_is_deleted_from_a_layout_that_another_program_made() {
    let typed = typed("127.0.0.1:1");
    let layout = oci::Layout::create(typed.path("theirs")).unwrap();
    layout.put_blob(b"theirs").unwrap();
    let words = [&FAST[..], &["--tag", "v1", "--layout", "theirs", "--clean", "-o", "json"]].concat();
    let error = refused(&typed.run(&words).await, 7, "IMG027");
    says(&error, "theirs");
    hints(&error, "--layout DIR");
    assert_eq!(blobs(&typed, "theirs"), 1);
}

#[tokio::test]
async fn what_would_be_built_on_a_base_is_asked_for_and_not_fetched() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let built = typed.run(&[&FAST[..], &["--tag", "base", "--push", "-o", "json"]].concat()).await.json();
    let digest = built["data"]["digest"].as_str().unwrap();
    server.take_requests();
    let base = format!("{}/rtc/shop@{digest}", server.host());
    let words = ["image", "build", "--base", &base, "--tag", "v1", "--dry-run", "-o", "json"];
    let came = typed.run(&words).await;
    assert_eq!(
        (came.exit, came.json()["data"]["base"].as_str()),
        (0, Some(base.as_str())),
        "{}",
        came.stderr
    );
    let requests = server.take_requests();
    assert!(!requests.is_empty() && !requests.iter().any(|request| request.path.contains("/blobs/")));

    let absent = format!("{}/rtc/shop@sha256:{}", server.host(), "0".repeat(64));
    let words = ["image", "build", "--base", &absent, "--tag", "v1", "--dry-run", "-o", "json"];
    refused(&typed.run(&words).await, 5, "IMG007");
    let words = ["image", "build", "--binary", "absent", "--tag", "v1", "--dry-run", "-o", "json"];
    hints(&refused(&typed.run(&words).await, 21, "IMG006"), "is it built?");
    typed.write("notes", b"x");
    let words = ["image", "build", "--layout", ".", "--tag", "v1", "--dry-run", "-o", "json"];
    hints(&refused(&typed.run(&words).await, 5, "IMG017"), "an empty folder");
}

#[tokio::test]
async fn who_wants_quiet_has_no_notes() {
    let typed = typed("127.0.0.1:1");
    let words = [&FAST[..], &["--tag", "v1"]].concat();
    let told = typed.run(&words).await;
    assert!(told.stderr.contains("note[IMG032]"), "{}", told.stderr);
    let quiet = typed.run(&[&words[..], &["-q", "--clean"]].concat()).await;
    assert_eq!((quiet.exit, quiet.stderr.as_str()), (0, ""));
    assert!(quiet.stdout.contains("sha256:"), "{}", quiet.stdout);
}

#[tokio::test]
async fn tags_are_asked_for_eight_at_a_time() {
    // Each waits for seven others: one after the other would wait for ever.
    let gate = Some(Arc::new(Barrier::new(8)));
    let server = Server::start(Rules { gate, ..Rules::default() }).await;
    let typed = typed(&server.host());
    for number in 0..16 {
        let bytes = format!("{{\"schemaVersion\":2,\"n\":{number}}}");
        server.plant_tag(
            "rtc/shop",
            &format!("v{number:02}"),
            "application/vnd.oci.image.manifest.v1+json",
            bytes,
        );
    }
    let listed = typed.run(&["image", "ls", "-o", "json"]).await.json();
    assert_eq!((listed["data"]["in_all"].as_u64(), server.most_at_gate()), (Some(16), 8));
}
