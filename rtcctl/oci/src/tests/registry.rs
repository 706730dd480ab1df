//! One registry, at its best and at its worst.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::credentials::{Credentials, Login};
use crate::registry::{
    Access, Content, Notice, Notices, Options, Patience, Placed, Published, Registry, Repository, Step,
    Tagging,
};
use crate::testing::{Guard, Mounts, PASSWORD, Rules, Server, USER};
use crate::{Descriptor, Digest, Error, Manifest, document, media};

pub(crate) fn options() -> Options {
    Options {
        patience: Patience {
            attempts: 4,
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(4),
            stall: Duration::from_secs(20),
            absence: Duration::from_millis(20),
        },
        ..Options::default()
    }
}

pub(crate) fn open(server: &Server, credentials: Arc<dyn Credentials>, name: &str) -> Repository {
    let registry = Registry::new(&server.host(), credentials, options()).unwrap();
    registry.repository(name, Access::Push).unwrap()
}

pub(crate) fn anonymous(server: &Server, name: &str) -> Repository {
    open(server, Arc::new(Login::Anonymous), name)
}

pub(crate) fn password() -> Arc<dyn Credentials> {
    Arc::new(Login::Password { user: USER.to_owned(), password: PASSWORD.to_owned() })
}

/// Some bytes that are not all alike, and what describes them.
pub(crate) fn content(size: usize) -> (Descriptor, Content, Vec<u8>) {
    let bytes: Vec<u8> = (0..size).map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8).collect();
    (Descriptor::of(media::LAYER, &bytes), Content::Bytes(bytes.clone().into()), bytes)
}

async fn place(repository: &Repository, size: usize, mount_from: Option<&str>) -> (Placed, Vec<Step>) {
    let (descriptor, content, _) = content(size);
    let steps: Arc<Mutex<Vec<Step>>> = Arc::default();
    let kept = steps.clone();
    let on = move |step| kept.lock().unwrap().push(step);
    let placed = repository.put_blob(&descriptor, &content, mount_from, on).await.unwrap();
    let steps = std::mem::take(&mut *steps.lock().unwrap());
    (placed, steps)
}

fn retries(steps: &[Step]) -> usize {
    steps.iter().filter(|step| matches!(step, Step::Retried(_))).count()
}

async fn read(repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let mut download = repository.get_blob(descriptor);
    let mut bytes = Vec::new();
    while let Some(chunk) = download.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn a_blob_goes_up_as_one_put_and_never_in_parts() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "rtc/rtcd");
    let folder = TempDir::new().unwrap();
    let (descriptor, _, bytes) = content(1_000_000);
    let path = folder.path().join("layer");
    std::fs::write(&path, &bytes).unwrap();
    let last: Arc<Mutex<u64>> = Arc::default();
    let kept = last.clone();
    let on = move |step| {
        if let Step::Moved(moved) = step {
            *kept.lock().unwrap() = moved;
        }
    };
    let placed = repository.put_blob(&descriptor, &Content::File(path), None, on).await.unwrap();
    assert_eq!(placed, Placed::Sent);
    assert_eq!(*last.lock().unwrap(), 1_000_000);
    assert_eq!(server.blob("rtc/rtcd", &descriptor.digest).unwrap(), bytes);
    let methods: Vec<String> = server.take_requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["HEAD", "POST", "PUT"]);
    assert_eq!(place(&repository, 1_000_000, None).await.0, Placed::Existed);
    assert_eq!(server.take_requests().len(), 1);
    assert_eq!(place(&repository, 0, None).await.0, Placed::Sent);
}

#[tokio::test]
async fn a_blob_is_mounted_or_uploaded_whatever_the_answer() {
    for (mounts, placed, posts) in [
        (Mounts::Granted, Placed::Mounted, 1),
        // 202 is an upload that has begun: no second POST.
        (Mounts::Ignored, Placed::Sent, 1),
        (Mounts::Refused, Placed::Sent, 2),
    ] {
        let server = Server::start(Rules { mounts, ..Rules::default() }).await;
        let (descriptor, _, bytes) = content(5000);
        server.plant_blob("rtc/base", descriptor.digest, bytes);
        let repository = anonymous(&server, "rtc/rtcd");
        assert_eq!(place(&repository, 5000, Some("rtc/base")).await.0, placed, "{mounts:?}");
        assert_eq!(server.count("POST", ""), posts, "{mounts:?}");
        assert!(server.blob("rtc/rtcd", &descriptor.digest).is_some());
        assert_eq!(server.count("PATCH", ""), 0);
    }
}

#[tokio::test]
async fn a_burst_of_429_is_waited_for_and_one_without_end_is_given_up() {
    let server = Server::start(Rules { busy: 3, ..Rules::default() }).await;
    let repository = anonymous(&server, "a");
    let (placed, steps) = place(&repository, 100, None).await;
    assert_eq!((placed, retries(&steps)), (Placed::Sent, 3));
    assert!(matches!(&steps[0], Step::Retried(retry) if retry.reason.contains("slow down")
        || retry.reason.contains("429")));
    server.change(|rules| rules.busy = u32::MAX);
    let (descriptor, content, _) = content(200);
    let given_up = repository.put_blob(&descriptor, &content, None, |_| ()).await;
    assert!(matches!(given_up, Err(Error::Unavailable { attempts: 4, .. })), "{given_up:?}");
}

#[tokio::test]
async fn a_registry_that_says_how_long_to_wait_is_waited_for_so_long() {
    let server = Server::start(Rules { busy: 1, retry_after: Some(1), ..Rules::default() }).await;
    let begun = tokio::time::Instant::now();
    let (_, steps) = place(&anonymous(&server, "a"), 100, None).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(matches!(&steps[0], Step::Retried(retry) if retry.wait == Duration::from_secs(1)), "{steps:?}");
}

#[tokio::test]
async fn an_upload_that_was_cut_is_begun_anew_after_a_look() {
    let server = Server::start(Rules { cut_uploads: 2, ..Rules::default() }).await;
    let repository = anonymous(&server, "a");
    let (placed, steps) = place(&repository, 3_000_000, None).await;
    assert_eq!((placed, retries(&steps)), (Placed::Sent, 2));
    assert_eq!((server.count("HEAD", ""), server.count("POST", ""), server.count("PUT", "")), (3, 3, 3));
    // The bytes arrived and only the answer was lost: they are not sent again.
    server.take_requests();
    server.change(|rules| rules.lost_answers = 1);
    let (placed, _) = place(&repository, 50_000, None).await;
    assert_eq!(placed, Placed::Existed);
    assert_eq!((server.count("HEAD", ""), server.count("PUT", "")), (2, 1));
}

#[tokio::test]
async fn a_login_goes_to_the_registry_and_not_to_where_it_sends() {
    let rules = Rules { guard: Guard::Basic, is_elsewhere: true, ..Rules::default() };
    let server = Server::start(rules).await;
    let repository = open(&server, server.credentials(), "a");
    let (descriptor, _, bytes) = content(300_000);
    assert_eq!(place(&repository, 300_000, None).await.0, Placed::Sent);
    assert_eq!(read(&repository, &descriptor).await.unwrap(), bytes);
    let requests = server.take_requests();
    let (elsewhere, here): (Vec<_>, Vec<_>) = requests.into_iter().partition(|one| one.is_elsewhere);
    assert_eq!(elsewhere.iter().map(|one| one.method.as_str()).collect::<Vec<_>>(), ["PUT", "GET"]);
    assert!(elsewhere.iter().all(|one| !one.has_login));
    assert!(here.iter().all(|one| one.has_login));
}

#[tokio::test]
async fn a_ready_login_is_sent_unchanged_and_at_once() {
    let server = Server::start(Rules { guard: Guard::Basic, ..Rules::default() }).await;
    let credentials = server.credentials();
    let repository = open(&server, credentials.clone(), "a");
    place(&repository, 100, None).await;
    assert_eq!(server.take_requests().len(), 3);
    assert_eq!(credentials.asked(), 1);
}

#[tokio::test]
async fn a_login_that_expires_is_renewed_once_however_many_were_refused() {
    for expires_as_forbidden in [false, true] {
        let rules = Rules { guard: Guard::Basic, expires_as_forbidden, ..Rules::default() };
        let server = Server::start(rules).await;
        let credentials = server.credentials();
        let repository = open(&server, credentials.clone(), "a");
        place(&repository, 10, None).await;
        server.change(|rules| rules.expires_after = Some(1));
        place(&repository, 10, None).await;
        let sizes = [100, 200, 300, 400];
        futures_util::future::join_all(sizes.map(|size| place(&repository, size, None))).await;
        assert_eq!(credentials.asked(), 2);
    }
}

#[tokio::test]
async fn a_token_that_expires_while_a_blob_goes_up_costs_one_more_upload() {
    for guard in [Guard::Basic, Guard::Bearer] {
        let server = Server::start(Rules { guard, ..Rules::default() }).await;
        let repository = match guard {
            Guard::Basic => open(&server, server.credentials(), "a"),
            _ => open(&server, password(), "a"),
        };
        place(&repository, 10, None).await;
        server.take_requests();
        // After HEAD and POST.
        server.change(|rules| rules.expires_after = Some(2));
        let (placed, steps) = place(&repository, 2_000_000, None).await;
        assert_eq!((placed, retries(&steps)), (Placed::Sent, 1), "{steps:?}");
        assert_eq!((server.count("POST", ""), server.count("PUT", "")), (2, 2));
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_for_all_that_it_is_good_for() {
    let server = Server::start(Rules { guard: Guard::Bearer, ..Rules::default() }).await;
    let repository = open(&server, password(), "rtc/rtcd");
    let sizes = [100, 200, 300, 400];
    futures_util::future::join_all(sizes.map(|size| place(&repository, size, None))).await;
    let requests = server.take_requests();
    let tokens: Vec<&str> =
        requests.iter().filter(|one| one.path.starts_with("/token")).map(|one| one.path.as_str()).collect();
    assert_eq!(tokens, ["/token?service=registry%2C+the&scope=repository%3Artc%2Frtcd%3Apull%2Cpush"]);
}

#[tokio::test]
async fn a_refresh_token_is_posted_for_a_token() {
    let server = Server::start(Rules { guard: Guard::Bearer, ..Rules::default() }).await;
    let repository = open(&server, Arc::new(Login::Identity(PASSWORD.to_owned())), "a");
    assert_eq!(place(&repository, 100, None).await.0, Placed::Sent);
    assert_eq!((server.count("POST", "/token"), server.count("GET", "/token")), (1, 0));
}

#[tokio::test]
async fn a_token_service_that_is_busy_is_asked_again() {
    let server = Server::start(Rules { guard: Guard::Bearer, busy_tokens: 2, ..Rules::default() }).await;
    assert_eq!(place(&open(&server, password(), "a"), 100, None).await.0, Placed::Sent);
    assert_eq!(server.count("GET", "/token"), 3);
    server.change(|rules| rules.busy_tokens = u32::MAX);
    let given_up = open(&server, password(), "b").tags().await;
    assert!(matches!(&given_up, Err(Error::Unavailable { reason, .. }) if reason.contains("upstream")));
}

#[tokio::test]
async fn nobody_is_given_a_token_where_everybody_is_and_refused_elsewhere() {
    let server = Server::start(Rules { guard: Guard::OpenBearer, ..Rules::default() }).await;
    assert_eq!(place(&anonymous(&server, "a"), 100, None).await.0, Placed::Sent);
    for guard in [Guard::Basic, Guard::Bearer] {
        let server = Server::start(Rules { guard, ..Rules::default() }).await;
        let wrong = Login::Password { user: "somebody".to_owned(), password: "wrong".to_owned() };
        for login in [Login::Anonymous, wrong, Login::Ready("wrong".to_owned())] {
            let repository = open(&server, Arc::new(login.clone()), "a");
            let refused = repository.tags().await;
            assert!(matches!(&refused, Err(Error::Denied { status: 401, .. })), "{login:?} {refused:?}");
            let refused = repository.has_blob(&Digest::of(b"")).await;
            assert!(
                matches!(&refused, Err(Error::Denied { message, .. })
                    if message.contains("required") || message.contains("incorrect")),
                "{login:?} {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_its_own_error() {
    let server =
        Server::start(Rules { repositories: vec!["rtc/other".to_owned()], ..Rules::default() }).await;
    let repository = anonymous(&server, "rtc/rtcd");
    let (descriptor, content, _) = content(10);
    let unknown = repository.put_blob(&descriptor, &content, None, |_| ()).await.unwrap_err();
    assert!(
        matches!(&unknown, Error::NameUnknown { repository, message, .. }
            if repository == "rtc/rtcd" && message.contains("does not exist")),
        "{unknown:?}"
    );
    assert!(matches!(repository.tags().await, Err(Error::NameUnknown { .. })));
    assert!(matches!(repository.get_manifest("v1").await, Err(Error::NameUnknown { .. })));
    assert_eq!(repository.head_manifest("v1").await.unwrap(), None);
}

#[tokio::test]
async fn a_portal_is_quoted() {
    let server = Server::start(Rules { is_portal: true, ..Rules::default() }).await;
    let repository = anonymous(&server, "a");
    let (descriptor, content, _) = content(10);
    for error in [
        repository.put_blob(&descriptor, &content, None, |_| ()).await.unwrap_err(),
        repository.tags().await.unwrap_err(),
        repository.head_manifest("v1").await.unwrap_err(),
        repository.get_manifest("v1").await.unwrap_err(),
        read(&repository, &descriptor).await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::NotARegistry { first_line, .. } if first_line == "<!DOCTYPE html>"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_download_goes_on_where_it_was_cut() {
    for starts_over in [false, true] {
        let server = Server::start(Rules { cut_downloads: 3, starts_over, ..Rules::default() }).await;
        let (descriptor, _, bytes) = content(1_000_000);
        server.plant_blob("a", descriptor.digest, bytes.clone());
        assert_eq!(read(&anonymous(&server, "a"), &descriptor).await.unwrap(), bytes);
        let ranges: Vec<Option<String>> = server.take_requests().into_iter().map(|one| one.range).collect();
        assert_eq!(ranges.len(), 4);
        assert_eq!(ranges[0], None);
        assert!(ranges[1..].iter().all(Option::is_some), "{ranges:?}");
    }
}

#[tokio::test]
async fn content_is_verified_before_the_last_of_it_is_given_away() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let (descriptor, _, mut bytes) = content(1000);
    bytes[500] ^= 1;
    server.plant_blob("a", descriptor.digest, bytes.clone());
    let mut download = repository.get_blob(&descriptor);
    let mut received = 0;
    let error = loop {
        match download.next().await {
            Ok(Some(chunk)) => received += chunk.len(),
            Ok(None) => panic!("it was taken for what it is not"),
            Err(error) => break error,
        }
    };
    assert!(received < 1000);
    assert!(matches!(error, Error::DigestMismatch { .. }));
    bytes.push(0);
    server.plant_blob("a", descriptor.digest, bytes);
    assert!(matches!(read(&repository, &descriptor).await, Err(Error::SizeMismatch { .. })));
    let absent = Descriptor::of("", b"absent");
    assert!(matches!(read(&repository, &absent).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_file_that_is_not_what_it_should_be_is_named() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    let folder = TempDir::new().unwrap();
    let (descriptor, _, mut bytes) = content(1000);
    let path = folder.path().join("layer");
    let file = Content::File(path.clone());
    let put = || repository.put_blob(&descriptor, &file, None, |_| ());
    assert!(matches!(put().await, Err(Error::Io { path: named, .. }) if named == path));
    bytes[1] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(put().await, Err(Error::DigestMismatch { what, .. })
            if what == format!("{} in the layout", path.display())));
    std::fs::write(&path, &bytes[..10]).unwrap();
    assert!(matches!(put().await, Err(Error::SizeMismatch { expected: 1000, actual: 10, what })
            if what == format!("{} in the layout", path.display())));
}

/// A document that needs nothing else.
pub(crate) fn index(name: &str) -> (Descriptor, bytes::Bytes) {
    let mut index = crate::Index::new(Vec::new());
    index.annotations = Some([("name".to_owned(), name.to_owned())].into());
    let bytes = document::encode(&index);
    (Descriptor::of(media::INDEX, &bytes), bytes.into())
}

#[tokio::test]
async fn an_immutable_tag_takes_the_same_and_names_both_when_it_is_another() {
    // The registry's rule, unknown to us; and ours, unknown to the registry.
    for (has_immutable_tags, tagging) in [(true, Tagging::Movable), (false, Tagging::Immutable)] {
        let server = Server::start(Rules { has_immutable_tags, ..Rules::default() }).await;
        let repository = anonymous(&server, "a");
        let ((one, first), (two, second)) = (index("one"), index("two"));
        assert_eq!(repository.publish(&one, &first, Some("v1"), tagging).await.unwrap(), Published::Sent);
        assert_eq!(repository.publish(&one, &first, Some("v1"), tagging).await.unwrap(), Published::Existed);
        server.take_requests();
        let refused = repository.publish(&two, &second, Some("v1"), tagging).await;
        let Err(Error::TagImmutable { tag, existing, wanted, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((tag.as_str(), existing, wanted), ("v1", Some(one.digest), two.digest));
        assert_eq!(server.count("PUT", ""), usize::from(has_immutable_tags));
        assert_eq!(server.tag("a", "v1"), Some(one.digest));
    }
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    for name in ["one", "two"] {
        let (descriptor, bytes) = index(name);
        repository.publish(&descriptor, &bytes, Some("v1"), Tagging::Movable).await.unwrap();
        assert_eq!(server.tag("a", "v1"), Some(descriptor.digest));
    }
}

#[tokio::test]
async fn tags_are_listed_over_pages_and_taken_away() {
    let server = Server::start(Rules { page: Some(2), ..Rules::default() }).await;
    let repository = anonymous(&server, "a");
    let (descriptor, bytes) = index("one");
    for tag in ["v1", "v2", "v3", "v4", "v5"] {
        repository.publish(&descriptor, &bytes, Some(tag), Tagging::Movable).await.unwrap();
    }
    assert_eq!(repository.tags().await.unwrap(), ["v1", "v2", "v3", "v4", "v5"]);
    assert_eq!(server.count("GET", "/tags/list"), 3);
    repository.delete_manifest("v3").await.unwrap();
    assert!(matches!(repository.delete_manifest("v3").await, Err(Error::NotFound { .. })));
    assert_eq!(repository.tags().await.unwrap().len(), 4);
    repository.delete_manifest(&descriptor.digest.to_string()).await.unwrap();
    assert!(repository.tags().await.unwrap().is_empty());
}

#[tokio::test]
async fn referrers_are_found_where_the_registry_lists_them_and_where_it_does_not() {
    for knows_no_referrers in [false, true] {
        let server = Server::start(Rules { knows_no_referrers, ..Rules::default() }).await;
        let repository = anonymous(&server, "a");
        let (subject, bytes) = index("image");
        repository.publish(&subject, &bytes, Some("v1"), Tagging::Movable).await.unwrap();
        let empty = Descriptor::of(media::EMPTY, b"{}");
        repository.put_blob(&empty, &Content::Bytes("{}".into()), None, |_| ()).await.unwrap();
        for kind in [media::SPDX, "application/vnd.example.signature"] {
            let mut referrer = Manifest::new(empty.clone(), vec![empty.clone()]);
            referrer.artifact_type = Some(kind.to_owned());
            referrer.subject = Some(subject.clone());
            let bytes = document::encode(&referrer);
            let descriptor = Descriptor::of(media::MANIFEST, &bytes);
            for _ in 0..2 {
                repository.publish(&descriptor, &bytes.clone().into(), None, Tagging::Movable).await.unwrap();
            }
        }
        assert_eq!(repository.referrers(&subject.digest, None).await.unwrap().len(), 2);
        let boms = repository.referrers(&subject.digest, Some(media::SPDX)).await.unwrap();
        assert_eq!(boms.len(), 1);
        assert_eq!(boms[0].artifact_type.as_deref(), Some(media::SPDX));
        assert!(repository.referrers(&Digest::of(b"alone"), None).await.unwrap().is_empty());
        let fallback = server.tag("a", &format!("sha256-{}", subject.digest.hex()));
        assert_eq!(fallback.is_some(), knows_no_referrers);
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_what_was_asked_for_is_refused() {
    let server = Server::start(Rules::default()).await;
    let repository = anonymous(&server, "a");
    server.plant_tag("a", "v1", media::MANIFEST, "{\"schemaVersion\":1}");
    let fetched = repository.get_manifest("v1").await.unwrap();
    assert!(matches!(fetched.document(), Err(Error::Invalid { .. })));
    assert!(matches!(repository.get_manifest("v2").await, Err(Error::NotFound { .. })));
}

/// What was told, in words, and who tells it.
fn told() -> (Arc<Mutex<Vec<String>>>, Notices) {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = told.clone();
    let notices = Notices::new(move |notice| {
        kept.lock().unwrap().push(match notice {
            Notice::Silent { what, waited } => format!("{what}: silent for {} s", waited.as_secs()),
            Notice::Again { what, retry } => format!("{what}: again, {}", retry.reason),
        });
    });
    (told, notices)
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_started_again_is_waited_for() {
    let server = Server::absent_for(Rules::default(), Duration::from_secs(3)).await;
    let (told, notices) = told();
    let options = Options { notices, ..Options::default() };
    let registry = Registry::new(&server.host(), Arc::new(Login::Anonymous), options).unwrap();
    let repository = registry.repository("a", Access::Push).unwrap();
    assert_eq!(repository.head_manifest("v1").await.unwrap(), None);
    let told = told.lock().unwrap();
    assert!(!told.is_empty() && told.iter().all(|line| line.starts_with("manifest v1: again")), "{told:?}");
    assert!(told[0].to_lowercase().contains("refused"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_not_there_is_given_up_after_some_seconds() {
    let server = Server::absent_for(Rules::default(), Duration::from_secs(3_600)).await;
    let registry = Registry::new(&server.host(), Arc::new(Login::Anonymous), Options::default()).unwrap();
    let began = tokio::time::Instant::now();
    let gone = registry.repository("a", Access::Pull).unwrap().tags().await.unwrap_err();
    assert!(matches!(gone, Error::Unavailable { attempts: 7.., .. }), "{gone:?}");
    let took = began.elapsed();
    assert!((Duration::from_secs(15)..=Duration::from_secs(30)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_and_is_busy_first_has_all_attempts_before_it() {
    let rules = Rules { busy: 5, ..Rules::default() };
    let server = Server::absent_for(rules, Duration::from_secs(12)).await;
    let registry = Registry::new(&server.host(), Arc::new(Login::Anonymous), Options::default()).unwrap();
    let repository = registry.repository("a", Access::Push).unwrap();
    assert_eq!(place(&repository, 100, None).await.0, Placed::Sent);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_told_of_until_it_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let (told, notices) = told();
    let patience = Patience { attempts: 1, ..Patience::default() };
    let options = Options { notices, patience, ..Options::default() };
    let registry = Registry::new(&host, Arc::new(Login::Anonymous), options).unwrap();
    let silent = registry.repository("a", Access::Pull).unwrap().head_manifest("v1").await.unwrap_err();
    assert!(matches!(&silent, Error::Unavailable { attempts: 1, .. }), "{silent:?}");
    let wanted: Vec<String> = (1..6).map(|tens| format!("manifest v1: silent for {tens}0 s")).collect();
    assert_eq!(*told.lock().unwrap(), wanted);
}

#[test]
fn who_stands_in_for_a_registry_is_on_this_machine() {
    for (stand_in, is_taken) in
        [("127.0.0.1:5000", true), ("localhost:5000", true), ("registry.example.com", false)]
    {
        let options = Options { stand_in: Some(stand_in.to_owned()), ..Options::default() };
        let opened = Registry::new("ghcr.io", Arc::new(Login::Anonymous), options);
        assert_eq!(opened.is_ok(), is_taken, "{stand_in}");
    }
}

#[tokio::test]
async fn a_registry_that_says_nothing_is_given_up() {
    // It takes connections, as its system does for it, and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let patience = Patience { attempts: 2, stall: Duration::from_millis(30), ..options().patience };
    let options = Options { patience, ..options() };
    let registry = Registry::new(&host, Arc::new(Login::Anonymous), options).unwrap();
    let silent = registry.repository("a", Access::Pull).unwrap().tags().await.unwrap_err();
    assert!(
        matches!(&silent, Error::Unavailable { attempts: 2, reason, .. } if reason.contains("no answer")),
        "{silent:?}"
    );
}
