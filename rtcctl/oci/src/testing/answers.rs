//! What the registry answers.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, RANGE};
use hyper::{Response, StatusCode};

use super::{Guard, Mounts, PASSWORD, Request, Rules, Shared, State, USER, Upload};
use crate::credentials::Login;
use crate::{Descriptor, Digest, Document, Index, document, media};

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

const PORTAL: &str = "<!DOCTYPE html>\n<html><title>Welcome to the guest network</title></html>";

pub(super) async fn answer(
    shared: Arc<Shared>,
    is_elsewhere: bool,
    request: hyper::Request<Incoming>,
) -> Result<Answer, std::io::Error> {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let noted = Request {
        method: head.method.to_string(),
        path: path.clone(),
        has_login: head.headers.contains_key(AUTHORIZATION),
        is_elsewhere,
        range: head.headers.get(RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned),
    };
    {
        let mut state = shared.state();
        state.requests.push(noted.clone());
        if let Some(answer) = at_the_door(&mut state, &shared.host, &head.headers, &noted) {
            return Ok(answer);
        }
    }
    let gate = shared.state().rules.gate.clone();
    if let Some(gate) = gate.filter(|_| noted.method == "GET" && path.contains("/manifests/")) {
        {
            let mut state = shared.state();
            state.at_gate += 1;
            state.most_at_gate = state.most_at_gate.max(state.at_gate);
        }
        gate.wait().await;
        shared.state().at_gate -= 1;
    }
    let is_upload = noted.method == "PUT" && path.contains("/blobs/uploads/");
    if is_upload && take(&mut shared.state().rules.cut_uploads) {
        let mut body = body;
        let _ = body.frame().await;
        return Err(std::io::Error::other("cut"));
    }
    let bytes = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mut state = shared.state();
    if is_upload && let Some((status, body)) = state.rules.upload_answer {
        return Ok(with(full(status, body), "www-authenticate", "Basic realm=\"registry\""));
    }
    let answer = route(&mut state, &shared, &noted, &head.headers, bytes);
    if is_upload && take(&mut state.rules.lost_answers) {
        return Err(std::io::Error::other("lost"));
    }
    Ok(answer)
}

fn take(counter: &mut u32) -> bool {
    let is_left = *counter > 0;
    *counter = counter.saturating_sub(1);
    is_left
}

fn full(status: u16, bytes: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(bytes.into()).map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::from_u16(status).expect("a constant");
    response
}

fn with(mut answer: Answer, name: &'static str, value: impl AsRef<str>) -> Answer {
    answer.headers_mut().insert(name, value.as_ref().parse().expect("a value that headers take"));
    answer
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({"errors": [{"code": code, "message": message, "detail": null}]});
    with(full(status, body.to_string()), "content-type", "application/json")
}

/// Everything that is decided before it matters what is asked for.
fn at_the_door(state: &mut State, host: &str, headers: &HeaderMap, request: &Request) -> Option<Answer> {
    if state.rules.is_portal {
        return Some(with(full(200, PORTAL), "content-type", "text/html; charset=utf-8"));
    }
    if request.path.starts_with("/token") {
        return None;
    }
    if request.is_elsewhere {
        // The other host takes no credentials at all: what it stores is signed for in the address.
        return request.has_login.then(|| error(400, "UNSUPPORTED", "only one way to log in is allowed"));
    }
    if take(&mut state.rules.busy) {
        let answer = error(429, "TOOMANYREQUESTS", "slow down");
        return Some(match state.rules.retry_after {
            Some(seconds) => with(answer, "retry-after", seconds.to_string()),
            None => answer,
        });
    }
    let (scheme, challenge) = match state.rules.guard {
        Guard::Everybody => return None,
        Guard::Basic => ("Basic", "Basic realm=\"registry\"".to_owned()),
        Guard::Bearer | Guard::OpenBearer => {
            ("Bearer", format!("Bearer realm=\"http://{host}/token\",service=\"registry, the\""))
        }
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given == Some(&format!("{scheme} {}", state.secret())) {
        if let Some(left) = &mut state.rules.expires_after {
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.rules.expires_after = None;
                state.secrets += 1;
            }
        }
        return None;
    }
    Some(match state.rules.expires_as_forbidden && given.is_some() {
        true => error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again."),
        false => with(error(401, "UNAUTHORIZED", "authentication required"), "www-authenticate", challenge),
    })
}

fn token(state: &mut State, headers: &HeaderMap, form: &[u8]) -> Answer {
    if take(&mut state.rules.busy_tokens) {
        return with(full(503, "<html>upstream unavailable</html>"), "content-type", "text/html");
    }
    if let Some(answer) = state.rules.token_answer {
        return full(200, answer);
    }
    let login = Login::Password { user: USER.to_owned(), password: PASSWORD.to_owned() };
    let wanted = format!("Basic {}", login.basic().expect("it is a password"));
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let form = String::from_utf8_lossy(form);
    let is_refresh = parameter(&form, "grant_type").as_deref() == Some("refresh_token")
        && parameter(&form, "refresh_token").as_deref() == Some(PASSWORD)
        && parameter(&form, "scope").is_some();
    if state.rules.guard == Guard::Bearer && given != Some(&wanted) && !is_refresh {
        return with(
            full(401, r#"{"details":"incorrect username or password"}"#),
            "content-type",
            "application/json",
        );
    }
    full(200, serde_json::json!({"token": state.secret(), "expires_in": 300}).to_string())
}

fn route(state: &mut State, shared: &Shared, request: &Request, headers: &HeaderMap, bytes: Bytes) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if path == "/token" {
        return token(state, headers, &bytes);
    }
    let path = path.strip_prefix("/v2/").unwrap_or(path);
    if path.is_empty() {
        return full(200, "{}");
    }
    let kinds = ["/blobs/uploads/", "/blobs/", "/manifests/", "/tags/", "/referrers/"];
    let Some((name, kind, rest)) = kinds
        .iter()
        .find_map(|kind| path.split_once(kind).map(|(name, rest)| (name.to_owned(), *kind, rest)))
    else {
        return full(404, "404 page not found\n");
    };
    let rules = state.rules.clone();
    if !rules.repositories.is_empty() && !rules.repositories.contains(&name) {
        let message = format!("The repository with name '{name}' does not exist in the registry");
        return error(404, "NAME_UNKNOWN", &message);
    }
    match (request.method.as_str(), kind) {
        ("POST", "/blobs/uploads/") => begin(state, shared, &name, query),
        ("PATCH", "/blobs/uploads/") => part(state, rest, &bytes),
        ("PUT", "/blobs/uploads/") => finish(state, rest, query, &bytes),
        ("GET" | "HEAD", "/blobs/") => blob(state, shared, &name, rest, request),
        ("GET" | "HEAD", "/manifests/") => manifest(state, &name, rest, request),
        ("PUT", "/manifests/") => put_manifest(state, &name, rest, headers, bytes),
        ("DELETE", "/manifests/") => delete(state, &name, rest),
        ("GET", "/tags/") => tags(state, &name, query),
        ("GET", "/referrers/") => referrers(state, &rules, &name, rest, query),
        _ => error(405, "UNSUPPORTED", "not here"),
    }
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).ok()?;
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn begin(state: &mut State, shared: &Shared, name: &str, query: &str) -> Answer {
    if let (Some(digest), Some(from)) = (parameter(query, "mount"), parameter(query, "from")) {
        let digest: Digest = digest.parse().expect("a digest to mount");
        let found = state.repositories.get(&from).and_then(|other| other.blobs.get(&digest)).cloned();
        match (state.rules.mounts, found) {
            (Mounts::Granted, Some(bytes)) => {
                state.repositories.entry(name.to_owned()).or_default().blobs.insert(digest, bytes);
                return full(201, "");
            }
            (Mounts::Refused, _) => return error(403, "DENIED", "mounting is not for you"),
            _ => {}
        }
    }
    state.serial += 1;
    let id = format!("upload-{}", state.serial);
    let upload = Upload { repository: name.to_owned(), parts: 0, bytes: Vec::new() };
    state.uploads.insert(id.clone(), upload);
    let path = format!("/v2/{name}/blobs/uploads/{id}?_state=a%3Db");
    let location = match state.rules.is_elsewhere {
        true => format!("http://{}{path}", shared.elsewhere),
        false => path,
    };
    with(full(202, ""), LOCATION.as_str(), location)
}

/// As ECR does it: 201 instead of 202, and the second part is dropped.
fn part(state: &mut State, id: &str, bytes: &[u8]) -> Answer {
    let Some(upload) = state.uploads.get_mut(id) else { return error(404, "BLOB_UPLOAD_UNKNOWN", "gone") };
    upload.parts += 1;
    if upload.parts == 1 {
        upload.bytes.extend_from_slice(bytes);
    }
    full(201, "")
}

fn finish(state: &mut State, id: &str, query: &str, bytes: &[u8]) -> Answer {
    let Some(mut upload) = state.uploads.remove(id) else {
        return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
    };
    upload.bytes.extend_from_slice(bytes);
    let wanted = parameter(query, "digest").and_then(|text| text.parse::<Digest>().ok());
    let actual = Digest::of(&upload.bytes);
    if wanted != Some(actual) || parameter(query, "_state").as_deref() != Some("a=b") {
        return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    let kept = state.repositories.entry(upload.repository).or_default();
    kept.blobs.insert(actual, upload.bytes.into());
    full(201, "")
}

fn blob(state: &mut State, shared: &Shared, name: &str, rest: &str, request: &Request) -> Answer {
    let digest = rest.parse::<Digest>().expect("a digest of a blob");
    let Some(bytes) = state.repositories.get(name).and_then(|kept| kept.blobs.get(&digest)).cloned() else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    if request.method == "HEAD" {
        return with(full(200, ""), "content-length", bytes.len().to_string());
    }
    if state.rules.is_elsewhere && !request.is_elsewhere {
        return with(full(307, ""), "location", format!("http://{}{}", shared.elsewhere, request.path));
    }
    let range = request.range.as_deref().filter(|_| !state.rules.starts_over);
    let start: Option<usize> =
        range.and_then(|text| text.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let rest = bytes.slice(start.unwrap_or(0)..);
    let length = rest.len().to_string();
    let answer = if take(&mut state.rules.cut_downloads) {
        let half = rest.slice(..rest.len() / 2);
        let frames = [Ok(Frame::data(half)), Err(std::io::Error::other("cut"))];
        Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed())
    } else {
        full(200, rest)
    };
    let mut answer = with(answer, "content-length", length);
    if let Some(start) = start {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        answer = with(answer, "content-range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()));
    }
    answer
}

fn manifest(state: &State, name: &str, reference: &str, request: &Request) -> Answer {
    let kept = state.repositories.get(name);
    let found = kept.and_then(|kept| {
        let digest = reference.parse().ok().or_else(|| kept.tags.get(reference).copied())?;
        Some((digest, kept.manifests.get(&digest)?.clone()))
    });
    let Some((digest, (kind, bytes))) = found else {
        return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let length = bytes.len().to_string();
    let body = if request.method == "HEAD" { Bytes::new() } else { bytes };
    let answer = with(with(full(200, body), "content-type", kind), "content-length", length);
    with(answer, "docker-content-digest", digest.to_string())
}

fn put_manifest(state: &mut State, name: &str, reference: &str, headers: &HeaderMap, bytes: Bytes) -> Answer {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Ok(document) = Document::parse("it", kind, &bytes) else {
        return error(400, "MANIFEST_INVALID", "manifest invalid");
    };
    let digest = Digest::of(&bytes);
    let rules = state.rules.clone();
    let kept = state.repositories.entry(name.to_owned()).or_default();
    for part in document.parts() {
        if !kept.blobs.contains_key(&part.digest) && !kept.manifests.contains_key(&part.digest) {
            return error(404, "MANIFEST_BLOB_UNKNOWN", &format!("blob unknown: {}", part.digest));
        }
    }
    match reference.parse::<Digest>() {
        Ok(named) if named != digest => return error(400, "DIGEST_INVALID", "digest does not match"),
        Ok(_) => {}
        Err(_) if rules.has_immutable_tags && kept.tags.contains_key(reference) => {
            let message = format!(
                "The image tag '{reference}' already exists in the '{name}' repository and cannot be overwritten \
                 because the tag is immutable."
            );
            return error(400, "TAG_INVALID", &message);
        }
        Err(_) => drop(kept.tags.insert(reference.to_owned(), digest)),
    }
    kept.manifests.insert(digest, (kind.to_owned(), bytes));
    let answer = with(full(201, ""), "docker-content-digest", digest.to_string());
    match document.subject() {
        Some(subject) if !rules.knows_no_referrers => with(answer, "oci-subject", subject.digest.to_string()),
        _ => answer,
    }
}

fn delete(state: &mut State, name: &str, reference: &str) -> Answer {
    let Some(kept) = state.repositories.get_mut(name) else {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let gone = match reference.parse::<Digest>() {
        Ok(digest) => {
            kept.tags.retain(|_, named| *named != digest);
            kept.manifests.remove(&digest).is_some()
        }
        Err(_) => kept.tags.remove(reference).is_some(),
    };
    match gone {
        true => full(202, ""),
        false => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn tags(state: &State, name: &str, query: &str) -> Answer {
    let Some(kept) = state.repositories.get(name) else {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let after = parameter(query, "last").unwrap_or_default();
    let mut found: Vec<&String> = kept.tags.keys().filter(|tag| **tag > after).collect();
    let page = state.rules.page.unwrap_or(usize::MAX);
    let has_more = found.len() > page;
    found.truncate(page);
    let body = serde_json::json!({"name": name, "tags": found}).to_string();
    match found.last().filter(|_| has_more) {
        Some(last) => {
            with(full(200, body), "link", format!("</v2/{name}/tags/list?last={last}>; rel=\"next\""))
        }
        None => full(200, body),
    }
}

fn referrers(state: &State, rules: &Rules, name: &str, subject: &str, query: &str) -> Answer {
    if rules.knows_no_referrers {
        return full(404, "404 page not found\n");
    }
    let wanted = parameter(query, "artifactType");
    let subject: Digest = subject.parse().expect("a digest of a subject");
    let kept = state.repositories.get(name).map(|kept| &kept.manifests);
    let found = kept.into_iter().flatten().filter_map(|(digest, (kind, bytes))| {
        let Document::Manifest(manifest) = Document::parse("it", kind, bytes).ok()? else { return None };
        manifest.subject.as_ref().filter(|named| named.digest == subject)?;
        let artifact_type = manifest.artifact_type().to_owned();
        (wanted.is_none() || wanted.as_ref() == Some(&artifact_type)).then(|| Descriptor {
            artifact_type: Some(artifact_type),
            annotations: manifest.annotations.clone(),
            ..Descriptor::new(kind, *digest, bytes.len() as u64)
        })
    });
    let index = Index::new(found.collect());
    with(full(200, document::encode(&index)), "content-type", media::INDEX)
}
