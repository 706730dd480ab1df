//! Watches, and logs that are followed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value as Json, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::answers::Body;
use super::selectors;
use super::store::Store;
use super::{Api, Control};
use crate::Resource;

/// What is watched.
pub struct Wanted {
    pub resource: Resource,
    pub namespace: String,
    pub labels: String,
    pub fields: String,
    pub from: u64,
    pub bookmarks: bool,
    pub lasts: Option<Duration>,
}

struct Watch {
    api: Api,
    wanted: Wanted,
    ready: VecDeque<Bytes>,
    changed: watch::Receiver<u64>,
    control: broadcast::Receiver<Control>,
    ends_at: Option<Instant>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// Says what is ready, then ends.
    Closing,
    /// Says what is ready, then breaks.
    Breaking,
    Over,
}

pub fn body(api: Api, wanted: Wanted) -> Body {
    let watch = Watch {
        changed: api.inner.changed.subscribe(),
        control: api.inner.control.subscribe(),
        ends_at: wanted.lasts.map(|lasts| Instant::now() + lasts),
        ready: VecDeque::new(),
        state: State::Open,
        api,
        wanted,
    };
    let frames = futures_util::stream::unfold(watch, |mut watch| async move {
        let frame = watch.next().await?;
        Some((frame.map(Frame::data), watch))
    });
    StreamBody::new(frames).boxed_unsync()
}

fn broken() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut by the test")
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            match self.state {
                State::Over => return None,
                State::Closing => {
                    self.state = State::Over;
                    return None;
                }
                State::Breaking => {
                    self.state = State::Over;
                    return Some(Err(broken()));
                }
                State::Open => {}
            }
            self.changed.mark_unchanged();
            self.gather();
            if !self.ready.is_empty() || self.state != State::Open {
                continue;
            }
            let end = async {
                match self.ends_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                control = self.control.recv() => match control {
                    Ok(control) => self.obey(control),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => self.state = State::Closing,
                },
                _ = self.changed.changed() => {}
                () = end => {
                    self.bookmark();
                    self.state = State::Closing;
                }
            }
        }
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Cut => self.state = State::Breaking,
            Control::CutInLine => {
                self.ready.push_back(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"object\":{\"meta"));
                self.state = State::Breaking;
            }
            Control::End => self.state = State::Closing,
            Control::Gone => self.gone(),
            Control::Bookmark => self.bookmark(),
        }
    }

    fn bookmark(&mut self) {
        self.gather();
        if self.wanted.bookmarks {
            let gvk = &self.wanted.resource.gvk;
            let version = self.wanted.from.to_string();
            self.line("BOOKMARK", &json!({
                "kind": gvk.kind, "apiVersion": gvk.api_version(), "metadata": { "resourceVersion": version },
            }));
        }
    }

    fn gone(&mut self) {
        let message = format!("too old resource version: {}", self.wanted.from);
        self.line(
            "ERROR",
            &json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                "reason": "Expired", "code": 410,
            }),
        );
        self.state = State::Closing;
    }

    fn line(&mut self, kind: &str, object: &Json) {
        let mut line = json!({ "type": kind, "object": object }).to_string();
        line.push('\n');
        self.ready.push_back(line.into());
    }

    /// What happened since, as far as it is wanted.
    fn gather(&mut self) {
        let api = self.api.clone();
        let store = api.store();
        if self.wanted.from < store.oldest {
            drop(store);
            self.gone();
            return;
        }
        for (kind, object) in since(&store, &self.wanted) {
            self.line(kind, &object);
        }
        self.wanted.from = store.version;
    }
}

fn since(store: &Store, wanted: &Wanted) -> Vec<(&'static str, Json)> {
    let name = wanted.resource.name();
    let is_wanted = |object: &Json| {
        selectors::labels_match(&wanted.labels, object) && selectors::fields_match(&wanted.fields, object)
    };
    let mut found = Vec::new();
    let first = store.log.partition_point(|recorded| recorded.version <= wanted.from);
    for recorded in store.log.range(first..) {
        if recorded.resource != name
            || (!wanted.namespace.is_empty() && recorded.namespace != wanted.namespace)
        {
            continue;
        }
        let before = recorded.before.as_deref().filter(|object| is_wanted(object));
        let after = recorded.after.as_deref().filter(|object| is_wanted(object));
        match (before, after) {
            (None, Some(after)) => found.push(("ADDED", after.clone())),
            (Some(_), Some(after)) => found.push(("MODIFIED", after.clone())),
            (Some(before), None) => {
                let mut last = before.clone();
                last["metadata"]["resourceVersion"] = recorded.version.to_string().into();
                found.push(("DELETED", last));
            }
            (None, None) => {}
        }
    }
    found
}

/// Which log, from which of its lines.
pub struct Log {
    pub api: Api,
    pub at: (String, String, String, bool),
    pub from: usize,
    pub stamps: bool,
    pub follows: bool,
}

/// The lines of a log; one that is followed ends with its container.
pub fn log(log: Log) -> Body {
    let changed = log.api.inner.changed.subscribe();
    let frames = futures_util::stream::unfold((log, changed), |(mut log, mut changed)| async move {
        loop {
            changed.mark_unchanged();
            let (line, is_over) = {
                let store = log.api.store();
                let line = store.logs.get(&log.at).and_then(|lines| lines.get(log.from)).cloned();
                (line, !log.follows || is_ended(&store, &log.at))
            };
            if let Some((at, line)) = line {
                log.from += 1;
                let text = if log.stamps { format!("{at} {line}\n") } else { format!("{line}\n") };
                return Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from(text))), (log, changed)));
            }
            if is_over || changed.changed().await.is_err() {
                return None;
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// The container of a followed log says nothing more.
fn is_ended(store: &Store, at: &(String, String, String, bool)) -> bool {
    let Some(resource) = store.of_kind("Pod") else { return true };
    let Some(pod) = store.get(&resource, &at.0, &at.1) else { return true };
    let statuses = ["containerStatuses", "initContainerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.into_iter().find(|status| status["name"] == at.2.as_str());
    status.is_none_or(|status| status["state"]["running"].is_null())
}
