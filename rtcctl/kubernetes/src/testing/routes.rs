//! Paths: which of them leads where.
//!
//! Invariant: what the server does not serve is answered as its router does, and what it serves nothing of as its API does.

use super::Api;
use super::refusal::{Done, Refusal};
use crate::kinds::Resource;

/// A path that leads nowhere is answered by the router, before anything of Kubernetes.
pub const NO_PATH: &str = "404 page not found\n";

/// What a path is of.
pub enum Place {
    Version,
    Health,
    Versions,
    Groups,
    Group(String, String),
    Objects { resource: Resource, namespace: String, name: String, subresource: String },
    Proxy { namespace: String, service: String, path: String },
}

/// A part of a path or of a query, as it is meant.
pub fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where a path leads.
pub fn place(api: &Api, path: &str, whole: &str) -> Done<Place> {
    let nothing = || Refusal::new(404, "", NO_PATH);
    let unknown = || Refusal::new(404, "NotFound", "the server could not find the requested resource");
    match path {
        "/version" => return Ok(Place::Version),
        "/api" => return Ok(Place::Versions),
        "/apis" => return Ok(Place::Groups),
        "/readyz" | "/livez" | "/healthz" => return Ok(Place::Health),
        _ => {}
    }
    let segments: Vec<String> = path.trim_matches('/').split('/').map(unescaped).collect();
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match words.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(nothing()),
    };
    if let ["namespaces", namespace, "services", service, "proxy", ..] = rest {
        let path = whole.split_once("/proxy").map_or("", |(_, path)| path);
        return Ok(Place::Proxy {
            namespace: (*namespace).to_owned(),
            service: (*service).to_owned(),
            path: path.to_owned(),
        });
    }
    let (namespace, rest) = match rest {
        [] => return Ok(Place::Group(group.to_owned(), version.to_owned())),
        ["namespaces", namespace, plural, rest @ ..] if !matches!(*plural, "status" | "finalize") => {
            (*namespace, [&[*plural], rest].concat())
        }
        rest => ("", rest.to_vec()),
    };
    let resource = api.store().resource(group, rest[0]).filter(|one| one.gvk.version == version);
    let word = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
    Ok(Place::Objects {
        resource: match resource {
            Some(resource) => resource,
            None if api
                .store()
                .resources
                .iter()
                .any(|one| one.gvk.group == group && one.gvk.version == version) =>
            {
                return Err(unknown());
            }
            None => return Err(nothing()),
        },
        namespace: namespace.to_owned(),
        name: word(1),
        subresource: word(2),
    })
}
