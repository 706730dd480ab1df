//! Commands against ECR: its API made up here, and beside it the registry of the other tests, which knows its tokens.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kernel::{Clock as _, SystemClock};
use oci::{Descriptor, Digest, Index, Manifest, document, media};
use serde_json::json;

use super::*;

const HOST: &str = "123456789012.dkr.ecr.ap-northeast-2.amazonaws.com";
const REPOSITORY: &str = "rtc/shop";
const ARN: &str = "arn:aws:ecr:ap-northeast-2:123456789012:repository/rtc/shop";

#[derive(Default)]
struct Kept {
    /// As `DescribeImages` tells them.
    images: Vec<Value>,
    is_made: bool,
    tags: Vec<(String, String)>,
    policy: Option<String>,
    /// What each image's scan came to, page by page.
    findings: HashMap<String, Vec<Value>>,
    /// Operations that this caller may not use.
    denied: HashSet<&'static str>,
    /// Images that something else refers to.
    held: HashSet<String>,
    asked: Vec<(String, Value)>,
}

struct Api {
    registry: Server,
    kept: Mutex<Kept>,
}

impl Api {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    fn asked(&self, operation: &str) -> Vec<Value> {
        let kept = self.kept();
        kept.asked.iter().filter(|(known, _)| known == operation).map(|(_, body)| body.clone()).collect()
    }

    /// A manifest of its own, pushed so many days ago.
    fn plant(&self, name: &str, days: u64, tags: &[&str]) -> Digest {
        let config = Descriptor::of(media::CONFIG, name.as_bytes());
        let bytes = document::encode(&Manifest::new(config, Vec::new()));
        let digest = Digest::of(&bytes);
        self.registry.plant_manifest(REPOSITORY, digest, media::MANIFEST, bytes.clone());
        for tag in tags {
            self.registry.plant_tag(REPOSITORY, tag, media::MANIFEST, bytes.clone());
        }
        self.note(digest, days, tags, media::MANIFEST, None);
        digest
    }

    fn note(&self, digest: Digest, days: u64, tags: &[&str], kind: &str, subject: Option<Digest>) {
        let pushed_at = SystemClock.now().minus(Duration::from_secs(days * 86_400)).as_millis() / 1_000;
        let mut detail = json!({
            "imageDigest": digest, "imageTags": tags, "imagePushedAt": pushed_at, "imageSizeInBytes": 1_000_000,
            "imageManifestMediaType": kind, "repositoryName": REPOSITORY,
        });
        if let Some(subject) = subject {
            detail["subjectManifestDigest"] = json!(subject);
        }
        self.kept().images.push(detail);
    }
}

fn error(code: &str, message: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"__type": code, "message": message}))).into_response()
}

async fn answer(State(api): State<Arc<Api>>, headers: HeaderMap, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let target = headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit_once('.').unwrap().1.to_owned();
    let mut kept = api.kept();
    kept.asked.push((operation.clone(), body.clone()));
    if kept.denied.contains(operation.as_str()) {
        return error("AccessDeniedException", &format!("not authorized to perform: ecr:{operation}"));
    }
    if operation != "GetAuthorizationToken" && operation != "CreateRepository" && !kept.is_made {
        return error("RepositoryNotFoundException", "The repository does not exist in the registry");
    }
    let said = match operation.as_str() {
        "GetAuthorizationToken" => json!({"authorizationData": [{
            "authorizationToken": api.registry.secret(),
            "expiresAt": SystemClock.now().as_millis() / 1_000 + 43_200,
            "proxyEndpoint": format!("https://{HOST}"),
        }]}),
        "CreateRepository" => {
            kept.is_made = true;
            let tags = body["tags"].as_array().unwrap().iter();
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            kept.tags = tags.map(|tag| (text(&tag["Key"]), text(&tag["Value"]))).collect();
            api.registry.change(|rules| rules.repositories = vec![REPOSITORY.to_owned()]);
            json!({"repository": {"repositoryArn": ARN, "repositoryName": REPOSITORY}})
        }
        "DescribeRepositories" => {
            json!({"repositories": [{"repositoryArn": ARN, "repositoryName": REPOSITORY}]})
        }
        "ListTagsForResource" => {
            let tags: Vec<Value> =
                kept.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
            json!({"tags": tags})
        }
        "GetLifecyclePolicy" => match &kept.policy {
            Some(policy) => json!({"lifecyclePolicyText": policy}),
            None => return error("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist"),
        },
        "PutLifecyclePolicy" => {
            kept.policy = body["lifecyclePolicyText"].as_str().map(str::to_owned);
            json!({})
        }
        "DescribeImages" => {
            // Two at a time, so that pages are read.
            let from: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let page: Vec<&Value> = kept.images.iter().skip(from).take(2).collect();
            let mut said = json!({"imageDetails": page});
            if from + 2 < kept.images.len() {
                said["nextToken"] = json!((from + 2).to_string());
            }
            said
        }
        "BatchDeleteImage" => {
            let wanted: Vec<String> = body["imageIds"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id["imageDigest"].as_str().unwrap().to_owned())
                .collect();
            let (held, gone): (Vec<String>, Vec<String>) =
                wanted.into_iter().partition(|digest| kept.held.contains(digest));
            kept.images.retain(|image| !gone.iter().any(|digest| image["imageDigest"] == digest.as_str()));
            for digest in &gone {
                api.registry.remove(REPOSITORY, &digest.parse().unwrap());
            }
            let failures: Vec<Value> = held
                .iter()
                .map(|digest| {
                    let code = "ImageReferencedByManifestList";
                    json!({"imageId": {"imageDigest": digest}, "failureCode": code, "failureReason": "an index has it"})
                })
                .collect();
            json!({"imageIds": gone.iter().map(|digest| json!({"imageDigest": digest})).collect::<Vec<_>>(), "failures": failures})
        }
        "StartImageScan" => {
            let digest = body["imageId"]["imageDigest"].as_str().unwrap().to_owned();
            kept.findings.insert(digest, vec![complete(&[("LOW", "CVE-2026-9")])]);
            json!({"imageScanStatus": {"status": "IN_PROGRESS"}})
        }
        "DescribeImageScanFindings" => {
            let digest = body["imageId"]["imageDigest"].as_str().unwrap();
            let Some(pages) = kept.findings.get(digest) else {
                return error("ScanNotFoundException", "Image scan does not exist");
            };
            let page: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
            let mut said = pages[page].clone();
            if page + 1 < pages.len() {
                said["nextToken"] = json!((page + 1).to_string());
            }
            said
        }
        other => return error("InvalidParameterException", &format!("{other} is not expected here")),
    };
    Json(said).into_response()
}

/// A page of a scan that is done.
fn complete(findings: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = findings
        .iter()
        .map(|(severity, name)| {
            let attributes = json!([
                {"key": "package_name", "value": "openssl"}, {"key": "package_version", "value": "3.5.1"},
            ]);
            json!({"name": name, "severity": severity, "attributes": attributes, "uri": "https://example.org"})
        })
        .collect();
    json!({
        "imageScanStatus": {"status": "COMPLETE"},
        "imageScanFindings": {
            "imageScanCompletedAt": 1_790_000_000, "findings": list,
            "findingSeverityCounts": {"HIGH": 2, "LOW": 1},
        },
    })
}

/// An account with a repository, or without.
async fn ecr(is_made: bool) -> (Typed, Arc<Api>) {
    let repositories = vec![if is_made { REPOSITORY } else { "other" }.to_owned()];
    let rules = Rules { guard: Guard::Basic, has_immutable_tags: true, repositories, ..Rules::default() };
    let registry = Server::start(rules).await;
    let host = registry.host();
    let api = Arc::new(Api { registry, kept: Mutex::new(Kept { is_made, ..Kept::default() }) });
    let app = axum::Router::new().route("/", axum::routing::post(answer)).with_state(api.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (signed_in(&address, &host), api)
}

/// Whoever works with an account whose API and registry are at these addresses.
fn signed_in(api: &str, registry: &str) -> Typed {
    let mut typed = typed("ecr");
    let profile = format!(
        "[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = not-a-secret\nmax_attempts = 1\n\
         region = ap-northeast-2\nendpoint_url = http://{api}\n"
    );
    typed.write("aws", profile.as_bytes());
    let profiles = typed.path("aws").display().to_string();
    typed.set("AWS_CONFIG_FILE", &profiles);
    typed.set("RTC_ECR_STAND_IN", registry);
    typed
}

fn keep_five(typed: &Typed) {
    let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap();
    let text = format!("{text}\n[images.shop.repository]\nkept_releases = 5\nuntagged_days = 7\n");
    typed.write("rtc.toml", text.as_bytes());
}

fn digests(data: &Value, key: &str) -> Vec<String> {
    data[key].as_array().unwrap().iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_prune_shows_what_would_go_and_deletes_that_and_nothing_else() {
    let (typed, api) = ecr(true).await;
    keep_five(&typed);
    let releases: Vec<Digest> = (1..=6)
        .map(|number| api.plant(&format!("release {number}"), 60 - number, &[&format!("v{number}")]))
        .collect();
    let loose = api.plant("loose", 30, &[]);
    let child = api.plant("child", 61, &[]);
    let index = document::encode(&Index::new(vec![Descriptor::of(media::MANIFEST, b"child")]));
    let index: Vec<u8> = String::from_utf8(index)
        .unwrap()
        .replace(&Digest::of(b"child").to_string(), &child.to_string())
        .into_bytes();
    let top = Digest::of(&index);
    api.registry.plant_manifest(REPOSITORY, top, media::INDEX, index);
    api.note(top, 61, &["v0"], media::INDEX, None);
    let bill = api.plant("bill", 59, &[]);
    api.kept().images.last_mut().unwrap()["subjectManifestDigest"] = json!(releases[0]);
    let fresh = api.plant("fresh", 1, &[]);

    let shown = typed.run(&["image", "prune", "--dry-run", "-o", "json"]).await;
    assert_eq!(shown.exit, 0, "{}", shown.stderr);
    let shown = shown.json()["data"].clone();
    let expired = digests(&shown, "expired");
    let doomed: HashSet<String> = [releases[0], releases[1], releases[2], loose, child, top, bill]
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(expired.iter().cloned().collect::<HashSet<_>>(), doomed, "{shown}");
    assert_eq!((shown["deleted"].clone(), shown["kept"].as_u64()), (Value::Null, Some(4)));
    assert!(api.asked("BatchDeleteImage").is_empty());
    assert!(api.registry.manifest(REPOSITORY, &loose).is_some());

    // Nobody confirmed it.
    let refused = typed.run(&["image", "prune", "--no-input", "-o", "json"]).await;
    assert_eq!((refused.exit, refused.error()["code"].as_str()), (7, Some("CNF001")));
    assert!(api.asked("BatchDeleteImage").is_empty());

    let done = typed.run(&["image", "prune", "--yes", "-o", "json"]).await;
    assert_eq!((done.exit, done.json()["data"]["deleted"].as_u64()), (0, Some(7)), "{}", done.stderr);
    // What refers to others first, then the index, then what it held.
    let order: Vec<String> = api
        .asked("BatchDeleteImage")
        .iter()
        .flat_map(|body| body["imageIds"].as_array().unwrap().clone())
        .map(|id| id["imageDigest"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(order[..2], [bill.to_string(), top.to_string()]);
    let listed = typed.run(&["image", "ls", "-o", "json"]).await.json();
    let left: HashSet<String> = digests(&listed["data"], "images").into_iter().collect();
    let wanted: HashSet<String> = releases[3..].iter().chain([&fresh]).map(ToString::to_string).collect();
    assert_eq!(left, wanted);
    let last = typed.run(&["runs", "show", "last", "-o", "json"]).await.stdout;
    assert!(last.contains(&loose.to_string()), "{last}");
    let again = typed.run(&["image", "prune", "--yes"]).await;
    assert!(again.stdout.starts_with("nothing to delete: 4 images"), "{}", again.stdout);
}

#[tokio::test]
async fn what_could_not_be_deleted_is_told_with_the_reason() {
    let (typed, api) = ecr(true).await;
    let (held, loose) = (api.plant("held", 30, &[]), api.plant("loose", 30, &[]));
    api.kept().held.insert(held.to_string());
    let error = refused(&typed.run(&["image", "prune", "--yes", "-o", "json"]).await, 40, "IMG022");
    says(&error, "1 of 2 images could not be deleted");
    says(&error, &format!("{held}: an index has it"));
    assert!(api.registry.manifest(REPOSITORY, &loose).is_none());
    api.kept().denied.insert("BatchDeleteImage");
    let error = refused(&typed.run(&["image", "prune", "--yes", "-o", "json"]).await, 4, "IMG011");
    says(&error, "ecr:BatchDeleteImage");
}

#[tokio::test]
async fn images_are_listed_with_their_times_and_without_what_belongs_to_them() {
    let (typed, api) = ecr(true).await;
    let old = api.plant("old", 40, &["v1", "stable"]);
    let new = api.plant("new", 1, &["v2"]);
    let bill = api.plant("bill", 1, &[]);
    api.kept().images.last_mut().unwrap()["subjectManifestDigest"] = json!(new);
    let listed = typed.run(&["image", "ls", "-o", "json"]).await.json();
    assert_eq!(digests(&listed["data"], "images"), [new.to_string(), old.to_string()]);
    assert!(!listed.to_string().contains(&bill.to_string()));
    assert_eq!(listed["data"]["repository"], format!("{HOST}/{REPOSITORY}"));
    let shown = typed.run(&["image", "ls"]).await.stdout;
    assert!(shown.contains("v1, stable") && shown.contains("40 d"), "{shown}");

    api.kept().is_made = false;
    refused(&typed.run(&["image", "ls", "-o", "json"]).await, 5, "IMG010");
}

#[tokio::test]
async fn a_scan_is_a_gate_at_the_severity_that_was_asked_for() {
    let (typed, api) = ecr(true).await;
    let digest = api.plant("image", 1, &["v1"]);
    let never = refused(&typed.run(&["image", "scan", "shop:v1", "-o", "json"]).await, 31, "IMG019");
    hints(&never, "--start");

    let pages =
        vec![complete(&[("HIGH", "CVE-2026-1"), ("LOW", "CVE-2026-3")]), complete(&[("HIGH", "CVE-2026-2")])];
    api.kept().findings.insert(digest.to_string(), pages);
    let plain = typed.run(&["image", "scan", "shop:v1", "-o", "json"]).await;
    assert_eq!((plain.exit, plain.json()["data"]["list"].as_array().unwrap().len()), (0, 3));
    let breached = typed.run(&["image", "scan", "shop:v1", "--fail-on", "HIGH", "-o", "json"]).await;
    assert_eq!(breached.exit, 30, "{}", breached.stderr);
    let document = breached.json();
    assert_eq!(
        (document["status"].as_str(), document["findings"][0]["code"].as_str()),
        (Some("breached"), Some("IMG018"))
    );
    assert!(document["findings"][0]["message"].as_str().unwrap().starts_with("2 findings are high or worse"));
    let by_digest = format!("shop@{digest}");
    assert_eq!(typed.run(&["image", "scan", &by_digest, "--fail-on", "low"]).await.exit, 30);
    assert_eq!(typed.run(&["image", "scan", "shop:v1", "--fail-on", "critical"]).await.exit, 0);
    assert_eq!(typed.run(&["image", "scan", "shop:v1", "--fail-on", "hihg"]).await.exit, 2);

    let other = api.plant("other", 1, &["v2"]);
    let started = typed.run(&["image", "scan", "shop:v2", "--start", "-o", "json"]).await;
    assert_eq!((started.exit, api.asked("StartImageScan").len()), (0, 1), "{}", started.stderr);
    assert_eq!(started.json()["data"]["digest"], other.to_string());

    let status =
        json!({"imageScanStatus": {"status": "UNSUPPORTED_IMAGE", "description": "no system that is known"}});
    api.kept().findings.insert(digest.to_string(), vec![status]);
    let error = refused(&typed.run(&["image", "scan", "shop:v1", "-o", "json"]).await, 31, "IMG019");
    says(&error, "no system that is known");
}

#[tokio::test]
async fn a_lifecycle_that_was_refused_comes_with_a_later_push() {
    let (typed, api) = ecr(false).await;
    api.kept().denied.insert("PutLifecyclePolicy");
    let build = |tag: &'static str| {
        ["image", "build", "--no-sbom", "--compression", "zstd", "--push", "--tag", tag, "-o", "json"]
    };
    let change = |mode: &str| {
        let text = std::fs::read_to_string(typed.path("rtc.toml")).unwrap();
        let text = text
            .lines()
            .map(|line| if line.starts_with("MODE") { format!("MODE = {mode:?}") } else { line.to_owned() });
        typed.write("rtc.toml", text.collect::<Vec<_>>().join("\n").as_bytes());
    };
    let warned = |document: &Value| {
        let findings = document["findings"].as_array().cloned().unwrap_or_default();
        findings.iter().any(|one| {
            one["code"] == "IMG030" && one["message"].as_str().unwrap().contains("lifecycle is none")
        })
    };
    let first = typed.run(&build("v1")).await;
    assert_eq!(first.exit, 0, "{}", first.stderr);
    assert_eq!(first.json()["data"]["push"]["repository_made"], true);
    assert!(warned(&first.json()), "{}", first.stdout);
    assert_eq!(api.kept().policy, None);
    // Still refused: still told, and no reason to fail.
    change("second");
    let second = typed.run(&build("v2")).await;
    assert!(second.exit == 0 && warned(&second.json()), "{}{}", second.stdout, second.stderr);
    // What sends nothing asks nothing.
    let asked = api.kept().asked.len();
    assert_eq!(typed.run(&build("v2")).await.exit, 0);
    let more: Vec<String> =
        api.kept().asked[asked..].iter().map(|(operation, _)| operation.clone()).collect();
    assert!(more.iter().all(|operation| operation == "GetAuthorizationToken"), "{more:?}");

    api.kept().denied.clear();
    change("third");
    let third = typed.run(&build("v3")).await;
    assert!(third.exit == 0 && !warned(&third.json()), "{}", third.stderr);
    assert!(third.stderr.contains("gave the repository"), "{}", third.stderr);
    assert!(api.kept().policy.as_ref().is_some_and(|policy| policy.contains("imageCountMoreThan")));
    // One that somebody else made is none of our business.
    api.kept().policy = None;
    api.kept().tags = vec![("managed-by".to_owned(), "terraform".to_owned())];
    change("fourth");
    assert_eq!(typed.run(&build("v4")).await.exit, 0);
    assert_eq!(api.kept().policy, None);
}

#[tokio::test]
async fn aws_that_cannot_be_reached_is_no_matter_of_permissions() {
    // Nobody listens at either.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nowhere = socket.local_addr().unwrap().to_string();
    let typed = signed_in(&nowhere, &nowhere);
    let image = format!("{HOST}/rtc/shop:v1");
    for words in [&["image", "ls"][..], &["image", "inspect", &image], &["image", "prune", "--yes"]] {
        let error = refused(&typed.run(&[words, &["-o", "json"]].concat()).await, 9, "IMG014");
        says(&error, "GetAuthorizationToken");
    }
    // Who may not is told another thing.
    let (typed, api) = ecr(true).await;
    api.kept().denied.insert("GetAuthorizationToken");
    refused(&typed.run(&["image", "inspect", &image, "-o", "json"]).await, 4, "IMG011");
}
