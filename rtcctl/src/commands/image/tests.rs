//! Commands of images as they are typed, against a registry that a test makes up.

mod ecr;
mod inputs;
mod layouts;
mod platforms;

use std::path::Path;

use oci::testing::{Guard, Rules, Server};
use serde_json::Value;

use crate::commands::testing::{Came, Typed};

/// A small program that every Linux has.
const PROGRAM: &str = "/bin/sh";

fn typed(registry: &str) -> Typed {
    let mut typed = Typed::alone();
    let description = format!(
        "[images.shop]\nbinaries = [\"{PROGRAM}\"]\nports = [8080]\nzones = [\"UTC\"]\n\
         entrypoint = [\"/usr/local/bin/shop\"]\n\n[images.shop.environment]\nMODE = \"test\"\n"
    );
    typed.write("rtc.toml", description.as_bytes());
    typed.set("RTCCTL_REGISTRY", registry);
    let journal = typed.path("journal").display().to_string();
    typed.set("RTCCTL_JOURNAL", &journal);
    typed
}

/// Whether the message or one of the causes says it.
#[track_caller]
fn says(error: &Value, words: &str) {
    let causes = error["causes"].as_array().unwrap().iter();
    let said =
        std::iter::once(&error["message"]).chain(causes).any(|said| said.as_str().unwrap().contains(words));
    assert!(said, "{words:?} is not in {error}");
}

#[track_caller]
fn hints(error: &Value, words: &str) {
    let is_hinted =
        error["hints"].as_array().unwrap().iter().any(|hint| hint.as_str().unwrap().contains(words));
    assert!(is_hinted, "{words:?} is in no hint of {error}");
}

#[track_caller]
fn refused(came: &Came, exit: u8, code: &str) -> Value {
    let error = came.error();
    assert_eq!((came.exit, error["code"].as_str()), (exit, Some(code)), "{}", came.stderr);
    assert!(!error["hints"].as_array().unwrap().is_empty(), "{error}");
    error
}

#[tokio::test]
async fn a_program_becomes_an_image_that_is_pushed_once() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let built = typed.run(&["image", "build", "--tag", "v1", "--compression", "zstd", "-o", "json"]).await;
    assert_eq!(built.exit, 0, "{}", built.stderr);
    let built = built.json()["data"].clone();
    let digest = built["digest"].as_str().unwrap();
    assert_eq!(built["images"][0]["layers"].as_array().unwrap().len(), 3);

    let pushed = typed.run(&["image", "push", "-o", "json"]).await.json()["data"].clone();
    assert_eq!(pushed["reference"], format!("{}/rtc/shop@{digest}", server.host()));
    assert_eq!(server.tag("rtc/shop", "v1").unwrap().to_string(), digest);
    server.take_requests();

    let again = typed.run(&["image", "push"]).await;
    assert!(
        again.stdout.starts_with("unchanged: the registry has it under this tag, nothing was sent\n"),
        "{}",
        again.stdout
    );
    let requests: Vec<String> = server.take_requests().into_iter().map(|request| request.method).collect();
    assert_eq!(requests, ["HEAD"]);
    // Each is in the journal.
    let runs = typed.run(&["runs", "list", "-o", "json"]).await.json();
    assert_eq!(runs["data"].as_array().map(Vec::len), Some(2), "{runs}");
}

#[tokio::test]
async fn what_was_built_is_looked_at_compared_and_promoted_by_its_digest() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let zstd = ["--compression", "zstd", "--no-sbom"];
    let built =
        typed.run(&[&["image", "build", "--tag", "v1", "--push", "-o", "json"][..], &zstd].concat()).await;
    let digest = built.json()["data"]["digest"].as_str().unwrap().to_owned();
    typed.write("more.toml", b"");
    let other = typed.path("rtc.toml");
    let text = std::fs::read_to_string(&other).unwrap().replace("MODE = \"test\"", "MODE = \"other\"");
    typed.write("rtc.toml", text.as_bytes());
    let second = typed.run(&[&["image", "build", "--tag", "v2", "--push"][..], &zstd].concat()).await;
    assert_eq!(second.exit, 0, "{}", second.stderr);

    server.plant_tag("rtc/shop", "broken", "application/vnd.oci.image.manifest.v1+json", "{}");
    let listed = typed.run(&["image", "ls", "-o", "json"]).await.json();
    assert_eq!(listed["data"]["in_all"], 3);
    let kinds: Vec<&str> = listed["data"]["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["unreadable", "image", "image"]);
    assert_eq!(typed.run(&["image", "ls", "--limit", "0"]).await.exit, 2);
    let seen = typed.run(&["image", "inspect", "shop:v1", "-o", "json"]).await.json();
    assert_eq!(seen["data"]["digest"], digest.as_str());
    assert_eq!(seen["data"]["images"][0]["configuration"]["Entrypoint"][0], "/usr/local/bin/shop");

    let same = typed.run(&["image", "diff", "shop:v1", "shop:v1", "--exit-code"]).await;
    assert_eq!((same.exit, same.stdout.as_str()), (0, "the same: layers, files and configuration\n"));
    let differ = typed.run(&["image", "diff", "shop:v1", "shop:v2", "--exit-code", "-o", "json"]).await;
    let found = differ.json()["data"].clone();
    assert_eq!((differ.exit, found["added_bytes"].as_u64()), (10, Some(0)));
    let facts = found["platforms"][0]["configuration"].as_array().unwrap();
    assert!(facts.iter().any(|fact| fact["name"] == "env MODE"), "{found}");

    let promoted = typed.run(&["image", "promote", "shop:v1", "prod/shop:v1", "-o", "json"]).await.json();
    assert_eq!(
        (promoted["data"]["digest"].as_str(), promoted["data"]["bytes_sent"].as_u64()),
        (Some(&*digest), Some(0))
    );
    assert_eq!(server.tag("prod/shop", "v1").unwrap().to_string(), digest);
    refused(&typed.run(&["image", "promote", "shop:v2", "prod/shop:v1", "-o", "json"]).await, 8, "IMG012");
}

#[tokio::test]
async fn another_image_does_not_take_a_tag_and_nothing_is_sent() {
    let server = Server::start(Rules { has_immutable_tags: true, ..Rules::default() }).await;
    let typed = typed(&server.host());
    let build =
        ["image", "build", "--tag", "v1", "--push", "--no-sbom", "--compression", "zstd", "-o", "json"];
    assert_eq!(typed.run(&build).await.exit, 0);
    server.take_requests();
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap().replace("MODE", "OTHER");
    typed.write("rtc.toml", text.as_bytes());
    let error = refused(&typed.run(&build).await, 8, "IMG012");
    let message = error["message"].as_str().unwrap();
    assert_eq!(message.matches("sha256:").count(), 2, "{message}");
    assert!(server.take_requests().iter().all(|request| request.method == "HEAD"));
}

#[tokio::test]
async fn each_way_of_not_being_a_program_has_its_code() {
    let typed = typed("127.0.0.1:1");
    typed.write("script", b"#!/bin/sh\n");
    typed.write("cut", b"\x7fELF");
    let pipe = std::process::Command::new("mkfifo").arg(typed.path("pipe")).status().unwrap();
    assert!(pipe.success());
    for (file, exit, code) in [
        ("script", 21, "IMG003"),
        ("cut", 21, "IMG003"),
        ("absent", 21, "IMG006"),
        ("pipe", 21, "IMG003"),
        (".", 21, "IMG003"),
    ] {
        let came = typed.run(&["image", "build", "--binary", file, "--tag", "t", "-o", "json"]).await;
        refused(&came, exit, code);
    }
    // Two programs for one platform, and one for a machine that its file does not say.
    let twice = ["image", "build", "--binary", PROGRAM, "--binary", PROGRAM, "--tag", "t", "-o", "json"];
    refused(&typed.run(&twice).await, 21, "IMG004");
}

#[tokio::test]
async fn a_base_that_is_not_there_or_is_named_by_a_tag_is_told_so() {
    let server = Server::start(Rules { repositories: vec!["base".to_owned()], ..Rules::default() }).await;
    let typed = typed(&server.host());
    let host = server.host();
    let absent = format!("{host}/base@sha256:{}", "0".repeat(64));
    for base in [format!("{host}/base:12"), absent, format!("{host}/nothing@sha256:{}", "0".repeat(64))] {
        let came = typed.run(&["image", "build", "--base", &base, "--tag", "t", "-o", "json"]).await;
        let error = came.error();
        assert_eq!(error["code"], "IMG007", "{base}: {error}");
    }
}

#[tokio::test]
async fn a_registry_that_is_none_refuses_or_does_not_know_us_is_told_so() {
    let server = Server::start(Rules { is_portal: true, ..Rules::default() }).await;
    let typed = typed(&server.host());
    typed.run(&["image", "build", "--tag", "v1", "--no-sbom", "--compression", "zstd"]).await;
    refused(&typed.run(&["image", "push", "-o", "json"]).await, 22, "IMG015");
    server.change(|rules| {
        rules.is_portal = false;
        rules.guard = Guard::Basic;
    });
    refused(&typed.run(&["image", "push", "-o", "json"]).await, 4, "IMG011");
    server.change(|rules| {
        rules.guard = Guard::Everybody;
        rules.repositories = vec!["other".to_owned()];
    });
    refused(&typed.run(&["image", "push", "-o", "json"]).await, 5, "IMG010");
    // What failed is in the journal with its code.
    let last = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(last.contains("IMG010"), "{last}");
}

#[tokio::test]
async fn names_are_understood_and_mistyped_ones_are_helped() {
    let typed = typed("127.0.0.1:1");
    let no_tag = format!("x.io/a@sha256:{}", "0".repeat(64));
    for (words, exit, code) in [
        (&["image", "build", "shpo"][..], 3, "IMG001"),
        (&["image", "inspect", "shpo:v1"], 3, "IMG001"),
        (&["image", "inspect", "http://x/y"], 2, "IMG008"),
        (&["image", "inspect", "x.io/Upper"], 2, "IMG008"),
        (&["image", "push"], 5, "IMG017"),
        (&["image", "push", "oci:nowhere", "--to", "x.io/a:b"], 5, "IMG017"),
        (&["image", "inspect", "oci:nowhere"], 5, "IMG017"),
        (&["image", "promote", "shop:v1", &no_tag], 2, "IMG026"),
        (&["image", "build", "--tag", "a b"], 2, "IMG008"),
        (&["image", "scan", "shop:v1"], 3, "IMG021"),
        (&["image", "prune"], 3, "IMG021"),
    ] {
        let came = typed.run(&[words, &["-o", "json"]].concat()).await;
        let error = came.error();
        assert_eq!((came.exit, error["code"].as_str()), (exit, Some(code)), "{words:?}: {error}");
    }
}

#[tokio::test]
async fn an_image_as_one_file_holds_that_image_alone() {
    let typed = typed("127.0.0.1:1");
    let fast = ["--no-sbom", "--compression", "zstd"];
    for tag in ["v1", "v2"] {
        let words = [&["image", "build", "--tag", tag, "--tarball", "image.tar"][..], &fast].concat();
        assert_eq!(typed.run(&words).await.exit, 0);
    }
    let unpacked = typed.path("unpacked");
    let layout = oci::archive::load(&typed.path("image.tar"), &unpacked).unwrap();
    let named: Vec<_> = layout.index().unwrap().manifests;
    assert_eq!(named.iter().filter_map(|one| one.ref_name()).collect::<Vec<_>>(), ["v2"]);
    assert!(Path::new(&unpacked).join("blobs/sha256").read_dir().unwrap().count() <= 5);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let came = typed.run(&["image", "build", "--tag", "v1", "--dry-run"]).await;
    assert!(came.stdout.contains("shop would be built into "), "{}", came.stdout);
    assert!(came.stdout.contains(PROGRAM) && came.stdout.contains("dynamic"), "{}", came.stdout);
    assert!(!typed.path("target/images").exists());
    assert!(server.take_requests().is_empty());
}

#[tokio::test]
async fn of_several_tags_none_is_given_where_one_is_taken() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    let build = |tags: &'static [&'static str]| {
        let fast = ["image", "build", "--push", "--no-sbom", "--compression", "zstd", "-o", "json"];
        [&fast[..], tags].concat()
    };
    assert_eq!(typed.run(&build(&["--tag", "taken"])).await.exit, 0);
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap().replace("MODE", "OTHER");
    typed.write("rtc.toml", text.as_bytes());
    refused(&typed.run(&build(&["--tag", "fresh", "--tag", "taken"])).await, 8, "IMG012");
    assert_eq!(server.tag("rtc/shop", "fresh"), None);
}

#[tokio::test]
async fn a_tag_that_is_none_never_gets_into_an_address() {
    let server = Server::start(Rules::default()).await;
    let typed = typed(&server.host());
    typed.run(&["image", "build", "--tag", "v1", "--no-sbom", "--compression", "zstd"]).await;
    for tag in ["v9?x", "../../other/manifests/v9", ""] {
        refused(&typed.run(&["image", "push", "--tag", tag, "-o", "json"]).await, 2, "IMG008");
    }
    assert!(server.take_requests().is_empty());
}

#[tokio::test]
async fn what_may_not_be_described_is_refused_with_its_line() {
    for name in ["../../x", "a/b", "A B", ""] {
        let typed = Typed::alone();
        typed.write("rtc.toml", format!("[images.{name:?}]\nbinaries = [\"{PROGRAM}\"]\n").as_bytes());
        let came = typed.run(&["image", "build", "--tag", "t", "-o", "json"]).await;
        refused(&came, 3, "CFG004");
        assert!(!typed.path("target").exists());
    }
    for (wrong, word) in [
        ("user = 0", "root"),
        ("repository = { kept_releases = 0 }", "kept_releases"),
        ("repository = { untagged_days = 0 }", "untagged_days"),
        ("prots = [1]", "prots"),
        ("ports = [\"x\"]", "rtc.toml:3"),
    ] {
        let typed = Typed::alone();
        typed.write("rtc.toml", format!("[images.shop]\nbinaries = [\"{PROGRAM}\"]\n{wrong}\n").as_bytes());
        let came = typed.run(&["config", "validate", "-o", "json"]).await;
        let error = came.error().to_string();
        assert!(came.exit == 3 && error.contains(word), "{wrong}: {error}");
    }
}

#[tokio::test]
async fn a_push_that_takes_too_long_says_what_state_things_are_in() {
    let server = Server::start(Rules { busy: 1_000, retry_after: Some(30), ..Rules::default() }).await;
    let typed = typed(&server.host());
    typed.run(&["image", "build", "--tag", "v1", "--no-sbom", "--compression", "zstd"]).await;
    let error =
        refused(&typed.run(&["image", "push", "--timeout", "300ms", "-o", "json"]).await, 6, "IMG024");
    assert!(error["message"].as_str().unwrap().contains("a tag moves after everything else"), "{error}");
    let last = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(last.contains("push was not finished"), "{last}");
}
