//! Whole images between layouts and registries.

use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::image;
use super::registry::{anonymous, open};
use crate::registry::Tagging;
use crate::testing::{Guard, Mounts, Rules, Server};
use crate::transfer::{self, Options, Referrers, Summary, Transfer};
use crate::{Descriptor, Digest, Error, Index, Layout, Manifest, Platform, media};

fn layout() -> (TempDir, Layout) {
    let folder = TempDir::new().unwrap();
    let layout = Layout::create(folder.path().join("image")).unwrap();
    (folder, layout)
}

fn counts(summary: &Summary) -> (usize, usize, usize, usize) {
    (summary.moved, summary.existed, summary.mounted, summary.documents)
}

/// An index over two platforms with a layer in common, and an SBOM of the index.
fn large(layout: &Layout) -> Descriptor {
    let parts = ["linux/amd64", "linux/arm64"].map(|platform| {
        let shared = layout.put_blob(&[1; 70_000]).unwrap().descriptor(media::LAYER);
        let own = layout.put_blob(platform.as_bytes()).unwrap().descriptor(media::LAYER);
        let config = layout.put_blob(format!("{{\"for\":\"{platform}\"}}").as_bytes()).unwrap();
        let manifest = Manifest::new(config.descriptor(media::CONFIG), vec![shared, own]);
        let platform = Platform::parse(platform).unwrap();
        layout.put_document(media::MANIFEST, &manifest).unwrap().with_platform(platform)
    });
    let index = layout.put_document(media::INDEX, &Index::new(parts.to_vec())).unwrap();
    layout.tag(&index, "v1").unwrap();
    let empty = layout.put_blob(b"{}").unwrap().descriptor(media::EMPTY);
    let bom = layout.put_blob(b"{\"spdxVersion\":\"SPDX-2.3\"}").unwrap().descriptor(media::SPDX);
    let mut referrer = Manifest::new(empty, vec![bom]);
    referrer.artifact_type = Some(media::SPDX.to_owned());
    referrer.subject = Some(index.clone());
    layout.list(&layout.put_document(media::MANIFEST, &referrer).unwrap()).unwrap();
    index
}

#[tokio::test]
async fn a_second_push_is_one_question() {
    let server = Server::start(Rules { guard: Guard::Basic, ..Rules::default() }).await;
    let repository = open(&server, server.credentials(), "rtc/rtcd");
    let (_folder, layout) = layout();
    let image = large(&layout);
    let options = Options::default();
    let push = || transfer::push(&layout, &image, &repository, Some("v1"), &options);
    let first = push().await.unwrap();
    // Five blobs of the image with the common layer once, two of the SBOM; then two images, the index by digest, the
    // SBOM, and the index by tag.
    assert_eq!(counts(&first), (7, 0, 0, 5));
    assert_eq!(server.tag("rtc/rtcd", "v1"), Some(image.digest));
    assert_eq!(repository.referrers(&image.digest, Some(media::SPDX)).await.unwrap().len(), 1);
    assert_eq!((server.count("PATCH", ""), server.count("GET", "/blobs/")), (0, 0));
    let puts: Vec<String> = server
        .take_requests()
        .into_iter()
        .filter(|request| request.method == "PUT")
        .map(|request| request.path)
        .collect();
    assert!(puts.last().unwrap().ends_with("/manifests/v1"), "{puts:?}");

    let second = push().await.unwrap();
    assert!(second.is_unchanged);
    assert_eq!((counts(&second), second.bytes), ((0, 0, 0, 0), 0));
    let requests = server.take_requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        (requests[0].method.as_str(), requests[0].path.as_str()),
        ("HEAD", "/v2/rtc/rtcd/manifests/v1")
    );
}

#[tokio::test]
async fn a_changed_layer_is_all_that_is_sent() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (_folder, layout) = layout();
    let base = layout.put_blob(&[9; 100_000]).unwrap().descriptor(media::LAYER);
    let make = |application: &[u8]| {
        let own = layout.put_blob(application).unwrap().descriptor(media::LAYER);
        let config = layout.put_blob(application).unwrap().descriptor(media::CONFIG);
        layout.put_document(media::MANIFEST, &Manifest::new(config, vec![base.clone(), own])).unwrap()
    };
    let events: Arc<Mutex<Vec<Transfer>>> = Arc::default();
    let kept = events.clone();
    let options =
        Options { events: Arc::new(move |event| kept.lock().unwrap().push(event)), ..Options::default() };
    transfer::push(&layout, &make(b"one"), &repository, Some("v1"), &options).await.unwrap();
    events.lock().unwrap().clear();
    let second = transfer::push(&layout, &make(b"other"), &repository, Some("v2"), &options).await.unwrap();
    assert_eq!((counts(&second), second.bytes), ((1, 1, 0, 1), 5));
    let events = std::mem::take(&mut *events.lock().unwrap());
    assert!(events.contains(&Transfer::Existed { digest: base.digest }));
    assert!(events.contains(&Transfer::Moved { digest: Digest::of(b"other"), bytes: 5 }));
    assert!(events.contains(&Transfer::Done { digest: Digest::of(b"other"), bytes: 5 }));
    assert_eq!(
        events.last(),
        Some(&Transfer::Published { digest: second.image.digest, tag: Some("v2".to_owned()) })
    );
    // The same image under another tag is a matter of one document.
    server.take_requests();
    let tagged = transfer::push(&layout, &second.image, &repository, Some("v3"), &options).await;
    assert_eq!(counts(&tagged.unwrap()), (0, 0, 0, 1));
    assert_eq!(server.count("", "/blobs/"), 0);
}

#[tokio::test]
async fn an_immutable_tag_stops_a_push_before_anything_is_sent() {
    let server = Server::start(Rules { has_immutable_tags: true, ..Rules::default() }).await;
    let repository = anonymous(&server, "a");
    let (_folder, layout) = layout();
    let (one, two) = (image(&layout, b"one"), image(&layout, b"two"));
    let options = Options { tagging: Tagging::Immutable, ..Options::default() };
    transfer::push(&layout, &one, &repository, Some("v1"), &options).await.unwrap();
    server.take_requests();
    let refused = transfer::push(&layout, &two, &repository, Some("v1"), &options).await;
    assert!(matches!(refused, Err(Error::TagImmutable { existing: Some(existing), wanted, .. })
            if existing == one.digest && wanted == two.digest));
    assert_eq!(server.take_requests().len(), 1);
    assert!(transfer::push(&layout, &one, &repository, Some("v1"), &options).await.unwrap().is_unchanged);
}

#[tokio::test]
async fn a_promotion_within_a_registry_moves_no_byte() {
    for (mounts, expected) in [(Mounts::Granted, (0, 0, 7, 5)), (Mounts::Ignored, (7, 0, 0, 5))] {
        let server = Server::start(Rules { mounts, ..Rules::default() }).await;
        let (from, to) = (anonymous(&server, "rtc/dev"), anonymous(&server, "rtc/prod"));
        let (_folder, layout) = layout();
        let image = large(&layout);
        transfer::push(&layout, &image, &from, Some("v1"), &Options::default()).await.unwrap();
        server.take_requests();
        let copied = transfer::copy(&from, "v1", &to, Some("v1"), &Options::default()).await.unwrap();
        assert_eq!(counts(&copied), expected, "{mounts:?}");
        assert_eq!(server.tag("rtc/prod", "v1"), Some(image.digest));
        if mounts == Mounts::Granted {
            assert_eq!((server.count("GET", "/blobs/"), server.count("PUT", "/blobs/")), (0, 0));
        }
        assert_eq!(to.referrers(&image.digest, None).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_promotion_between_registries_survives_cuts_on_both_sides() {
    let here = Server::start(Rules { cut_downloads: 2, ..Rules::default() }).await;
    let there = Server::start(Rules { cut_uploads: 2, ..Rules::default() }).await;
    let (from, to) = (anonymous(&here, "rtc/rtcd"), anonymous(&there, "team/rtcd"));
    let (_folder, layout) = layout();
    let image = large(&layout);
    transfer::push(&layout, &image, &from, Some("v1"), &Options::default()).await.unwrap();
    let copied =
        transfer::copy(&from, &image.digest.to_string(), &to, Some("v1"), &Options::default()).await.unwrap();
    assert_eq!(counts(&copied), (7, 0, 0, 5));
    assert_eq!(there.tag("team/rtcd", "v1"), Some(image.digest));
    assert_eq!(there.blob("team/rtcd", &Digest::of(&[1; 70_000])).unwrap(), vec![1; 70_000]);
    assert!(transfer::copy(&from, "v1", &to, Some("v1"), &Options::default()).await.unwrap().is_unchanged);
    let absent = transfer::copy(&from, "v2", &to, Some("v1"), &Options::default()).await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}

#[tokio::test]
async fn what_was_pushed_comes_back_as_it_was() {
    let server = Server::start(Rules { cut_downloads: 1, is_elsewhere: true, ..Rules::default() }).await;
    let repository = anonymous(&server, "a");
    let (_folder, from) = layout();
    let image = large(&from);
    transfer::push(&from, &image, &repository, Some("v1"), &Options::default()).await.unwrap();
    let (_other, to) = layout();
    let options = Options::default();
    let pull = || transfer::pull(&repository, "v1", &to, Some("v1"), &options);
    let pulled = pull().await.unwrap();
    assert_eq!((pulled.image.digest, pulled.moved), (image.digest, 7));
    assert_eq!(to.find(Some("v1")).unwrap().digest, image.digest);
    assert_eq!(to.referrers(&image.digest).unwrap().len(), 1);
    let reached = |layout: &Layout| -> Vec<Digest> {
        let found = layout.reachable(&layout.index().unwrap().manifests).unwrap();
        found.into_iter().map(|descriptor| descriptor.digest).collect()
    };
    assert_eq!(reached(&to), reached(&from));
    let again = pull().await.unwrap();
    assert_eq!((again.moved, again.existed), (0, 7));
    assert_eq!(server.count("GET", "/blobs/uploads"), 0);
}

#[tokio::test]
async fn one_platform_is_chosen_from_many() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (_folder, layout) = layout();
    let index = large(&layout);
    let options = Options { referrers: Referrers::Without, ..Options::default() };
    transfer::push(&layout, &index, &repository, Some("v1"), &options).await.unwrap();
    let arm = Platform::parse("linux/arm64/v8").unwrap();
    let chosen = transfer::choose(&repository, "v1", &arm).await.unwrap();
    let crate::Document::Manifest(manifest) = chosen.document().unwrap() else { panic!("an index") };
    assert_eq!(manifest.layers[1].digest, Digest::of(b"linux/arm64"));
    let again = transfer::choose(&repository, &chosen.descriptor.digest.to_string(), &arm).await.unwrap();
    assert_eq!(again, chosen);
    let windows = Platform::parse("windows/amd64").unwrap();
    let absent = transfer::choose(&repository, "v1", &windows).await.unwrap_err().to_string();
    assert!(absent.contains("linux/amd64, linux/arm64"), "{absent}");
    assert!(repository.referrers(&index.digest, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_layout_that_lacks_something_sends_no_tag() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (_folder, layout) = layout();
    let image = image(&layout, b"layer");
    std::fs::remove_file(layout.blob_path(&Digest::of(b"layer"))).unwrap();
    let failed = transfer::push(&layout, &image, &repository, Some("v1"), &Options::default()).await;
    assert!(matches!(failed, Err(Error::Io { .. })), "{failed:?}");
    assert_eq!(server.tag("a", "v1"), None);
}

#[tokio::test]
async fn a_pull_of_something_forged_leaves_nothing_under_its_name() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (_folder, from) = layout();
    let image = image(&from, &[5; 10_000]);
    transfer::push(&from, &image, &repository, Some("v1"), &Options::default()).await.unwrap();
    let forged = Digest::of(&[5; 10_000]);
    server.plant_blob("a", forged, vec![6; 10_000]);
    let (_other, to) = layout();
    let failed = transfer::pull(&repository, "v1", &to, Some("v1"), &Options::default()).await;
    assert!(matches!(failed, Err(Error::DigestMismatch { expected, .. }) if expected == forged));
    assert_eq!(to.blob_size(&forged).unwrap(), None);
    assert!(to.index().unwrap().manifests.is_empty());
}
