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

/// A bill of materials of an image, kept as the builder keeps it.
fn attach(layout: &Layout, subject: &Descriptor) -> Descriptor {
    let empty = layout.put_blob(b"{}").unwrap().descriptor(media::EMPTY);
    let text = format!("{{\"spdxVersion\":\"SPDX-2.3\",\"of\":\"{}\"}}", subject.digest);
    let bill = layout.put_blob(text.as_bytes()).unwrap().descriptor(media::SPDX);
    let mut referrer = Manifest::new(empty, vec![bill]);
    referrer.artifact_type = Some(media::SPDX.to_owned());
    referrer.subject = Some(subject.clone());
    let referrer = layout.put_document(media::MANIFEST, &referrer).unwrap();
    layout.list(&referrer).unwrap();
    referrer
}

/// The images of an index.
fn platforms(layout: &Layout, index: &Descriptor) -> Vec<Descriptor> {
    layout.document(index).unwrap().parts().into_iter().cloned().collect()
}

/// An index over two platforms with a layer in common, and an SBOM of each platform.
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
    parts.iter().for_each(|part| drop(attach(layout, part)));
    index
}

#[tokio::test]
async fn a_second_push_is_a_question_for_the_tag_and_one_for_each_bill() {
    let server = Server::start(Rules { guard: Guard::Basic, ..Rules::default() }).await;
    let repository = open(&server, server.credentials(), "rtc/rtcd");
    let (_folder, layout) = layout();
    let image = large(&layout);
    let options = Options::default();
    let push = || transfer::push(&layout, &image, &repository, Some("v1"), &options);
    let first = push().await.unwrap();
    // Five blobs of the image with the common layer once, three of the SBOMs; then two images, two SBOMs, and the
    // index.
    assert_eq!(counts(&first), (8, 0, 0, 5));
    assert_eq!(server.tag("rtc/rtcd", "v1"), Some(image.digest));
    for part in platforms(&layout, &image) {
        assert_eq!(repository.referrers(&part.digest, Some(media::SPDX)).await.unwrap().len(), 1);
    }
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
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.method == "HEAD"));
    assert_eq!(requests[0].path, "/v2/rtc/rtcd/manifests/v1");

    let without = Options { referrers: Referrers::Without, ..Options::default() };
    assert!(transfer::push(&layout, &image, &repository, Some("v1"), &without).await.unwrap().is_unchanged);
    assert_eq!(server.take_requests().len(), 1);
}

#[tokio::test]
async fn a_bill_that_was_made_later_follows_an_image_that_is_there() {
    for (tag, is_many) in [(Some("v1"), false), (None, false), (Some("v1"), true), (None, true)] {
        let rules = Rules { has_immutable_tags: true, ..Rules::default() };
        let server = Server::start(rules).await;
        let repository = anonymous(&server, "a");
        let (_folder, layout) = layout();
        let (single, other) = (image(&layout, b"layer"), image(&layout, b"other"));
        let top = match is_many {
            true => {
                let parts = vec![single.clone(), other];
                layout.put_document(media::INDEX, &Index::new(parts)).unwrap()
            }
            false => single.clone(),
        };
        let options = Options { tagging: Tagging::Immutable, ..Options::default() };
        let push = || transfer::push(&layout, &top, &repository, tag, &options);
        assert!(!push().await.unwrap().is_unchanged);
        server.take_requests();
        assert!(push().await.unwrap().is_unchanged);
        assert_eq!(server.take_requests().len(), 1);

        let bill = attach(&layout, &single);
        let second = push().await.unwrap();
        assert_eq!((second.is_unchanged, counts(&second)), (false, (2, 0, 0, 1)), "{tag:?} {is_many}");
        assert!(server.manifest("a", &bill.digest).is_some());
        assert_eq!(repository.referrers(&single.digest, None).await.unwrap().len(), 1);
        server.take_requests();
        assert!(push().await.unwrap().is_unchanged);
        assert_eq!(server.take_requests().len(), 2);
    }
}

#[tokio::test]
async fn what_refers_to_an_image_is_there_before_its_name() {
    for (tag, is_many, puts) in
        [(Some("v1"), false, 3), (None, false, 2), (Some("v1"), true, 3), (None, true, 3)]
    {
        let server = Server::start(Rules::default()).await;
        let repository = anonymous(&server, "a");
        let (_folder, layout) = layout();
        let single = image(&layout, b"layer");
        let bill = attach(&layout, &single);
        let top = match is_many {
            true => layout.put_document(media::INDEX, &Index::new(vec![single.clone()])).unwrap(),
            false => single,
        };
        transfer::push(&layout, &top, &repository, tag, &Options::default()).await.unwrap();
        let put: Vec<String> = server
            .take_requests()
            .into_iter()
            .filter(|request| request.method == "PUT" && request.path.contains("/manifests/"))
            .filter_map(|request| request.path.rsplit('/').next().map(str::to_owned))
            .collect();
        let last = tag.map_or_else(|| top.digest.to_string(), str::to_owned);
        assert_eq!(put.len(), puts, "{put:?}");
        assert_eq!(put[puts - 2..], [bill.digest.to_string(), last]);
    }
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
    for (mounts, expected) in [(Mounts::Granted, (0, 0, 8, 5)), (Mounts::Ignored, (8, 0, 0, 5))] {
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
        for part in platforms(&layout, &image) {
            assert_eq!(to.referrers(&part.digest, None).await.unwrap().len(), 1);
        }
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
    assert_eq!(counts(&copied), (8, 0, 0, 5));
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
    assert_eq!((pulled.image.digest, pulled.moved), (image.digest, 8));
    assert_eq!(to.find(Some("v1")).unwrap().digest, image.digest);
    for part in platforms(&from, &image) {
        assert_eq!(to.referrers(&part.digest).unwrap().len(), 1);
    }
    let reached = |layout: &Layout| -> Vec<Digest> {
        let found = layout.reachable(&layout.index().unwrap().manifests).unwrap();
        found.into_iter().map(|descriptor| descriptor.digest).collect()
    };
    assert_eq!(reached(&to), reached(&from));
    let again = pull().await.unwrap();
    assert_eq!((again.moved, again.existed), (0, 8));
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
    assert!(repository.referrers(&chosen.descriptor.digest, None).await.unwrap().is_empty());

    let images = platforms(&layout, &index);
    assert_eq!(transfer::of_platform(&images, &arm).unwrap().digest, chosen.descriptor.digest);
    assert_eq!(transfer::of_platform(&images, &windows), None);
}

#[tokio::test]
async fn one_platform_is_pulled_alone_and_without_its_bill_when_that_is_not_wanted() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (_folder, from) = layout();
    let index = large(&from);
    transfer::push(&from, &index, &repository, Some("v1"), &Options::default()).await.unwrap();
    let arm = Platform::parse("linux/arm64").unwrap();
    for (referrers, blobs, bills) in [(Referrers::Without, 3, 0), (Referrers::With, 5, 1)] {
        let (_other, to) = layout();
        server.take_requests();
        let chosen = transfer::choose(&repository, "v1", &arm).await.unwrap().descriptor;
        let options = Options { referrers, ..Options::default() };
        let pulled = transfer::pull(&repository, &chosen.digest.to_string(), &to, Some("v1"), &options).await;
        assert_eq!(counts(&pulled.unwrap()), (blobs, 0, 0, 1 + bills));
        assert_eq!(server.count("GET", "/referrers/"), bills);
        assert_eq!(to.find(Some("v1")).unwrap().digest, chosen.digest);
        assert_eq!(to.blob_size(&Digest::of(b"linux/amd64")).unwrap(), None);
        assert_eq!(to.referrers(&chosen.digest).unwrap().len(), bills);
    }
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
