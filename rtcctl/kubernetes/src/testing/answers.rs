//! Answers as HTTP.

use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use serde_json::{Value as Json, json};

use super::refusal::{Refusal, details};
use crate::Resource;

pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;
pub type Answer = Response<Body>;

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn document(status: u16, document: &Json) -> Answer {
    typed(status, "application/json", document.to_string())
}

pub fn typed(status: u16, content_type: &str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(whole(bytes));
    *answer.status_mut() =
        hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(value) = content_type.parse() {
        answer.headers_mut().insert("content-type", value);
    }
    answer
}

pub fn refused(refusal: &Refusal) -> Answer {
    if refusal.reason.is_empty() {
        return typed(refusal.code, "text/plain; charset=utf-8", refusal.message.clone());
    }
    document(refusal.code, &refusal.status())
}

/// It is gone.
pub fn deleted(resource: &str, name: &str, uid: &Json) -> Answer {
    let mut about = details(resource, name);
    about["uid"] = uid.clone();
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about });
    document(200, &status)
}

pub fn success() -> Answer {
    document(200, &json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success" }))
}

/// The versions of the first kinds of all.
pub fn versions() -> Json {
    json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] })
}

/// The groups of all other kinds, each with the version that it is served in.
pub fn groups(resources: &[Resource]) -> Json {
    let known: BTreeSet<(&str, &str)> = resources
        .iter()
        .map(|one| (one.gvk.group.as_str(), one.gvk.version.as_str()))
        .filter(|(group, _)| !group.is_empty())
        .collect();
    let groups: Vec<Json> = known
        .into_iter()
        .map(|(group, version)| {
            let served = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
            json!({ "name": group, "versions": [served], "preferredVersion": served })
        })
        .collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}
