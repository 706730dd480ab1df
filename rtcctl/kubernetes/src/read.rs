//! Asking: objects, lists, events, logs, and services inside the cluster.
//!
//! Invariants: a list is whole or an error, however many pages it has; an item of a list says its kind as a single
//! object does; of objects that are judged nothing but what is judged is ever a tree in memory.

use std::time::Duration;

use futures_util::Stream;
use http::Method;
use rollout::objects::{Kind, Object, Page};
use serde_json::{Value as Json, json};

use crate::cluster::{Call, Cluster, Repeat};
use crate::error::Subject;
use crate::kinds::{Gvk, Resource, Scope, segment};
use crate::lines::Lines;
use crate::{Error, Result};

/// Objects of one page: as many as `kubectl` asks for, for each page is a way there and back.
const PAGE: u32 = 500;
/// What happens to every pod that is well, and explains nothing about one that is not: most of all events.
const EVENTS_OF_NOTE: &str =
    "reason!=Scheduled,reason!=Pulling,reason!=Pulled,reason!=Created,reason!=Started";
/// The longest line of a log that is kept whole.
const LOG_LINE_BYTES: usize = 256 * 1024;

/// All objects of a kind, and the place in the stream from which changes follow.
#[derive(Debug, Clone)]
pub struct Listed<T = Json> {
    pub items: Vec<T>,
    pub resource_version: String,
}

/// Which of a kind.
#[derive(Debug, Clone, Copy, Default)]
struct Which<'a> {
    labels: Option<&'a str>,
    fields: Option<&'a str>,
}

/// One page of a list.
struct Part<T> {
    items: Vec<T>,
    /// By what the next one is asked for.
    rest: String,
    resource_version: String,
}

/// Of a kind that is judged, what is asked for at all.
pub(crate) fn of_note(kind: Kind) -> Option<&'static str> {
    (kind == Kind::Event).then_some(EVENTS_OF_NOTE)
}

/// Which part of which log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    pub namespace: String,
    pub pod: String,
    /// Needed where the pod has several.
    pub container: Option<String>,
    pub life: Life,
    /// The last lines alone.
    pub tail: Option<u32>,
    pub since: Option<Duration>,
    pub end: LogEnd,
    pub stamps: Stamps,
}

/// Which of a container's lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Life {
    #[default]
    Present,
    /// The one before the last restart.
    Previous,
}

/// When a log ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogEnd {
    /// With what there is.
    #[default]
    Now,
    /// With the container.
    Follow,
}

/// Whether each line begins with its time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamps {
    #[default]
    Without,
    With,
}

/// What a service inside the cluster answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

impl Cluster {
    /// An object by its name; `namespace` is empty for kinds of the whole cluster.
    pub async fn get(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<Option<Json>> {
        let resource = self.resource(gvk).await?;
        let subject = subject("get", &resource, namespace, name);
        match self.json(Call::get(subject, resource.path(namespace, name))).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind that match, of one namespace or (where it is empty) of all.
    pub async fn list(&self, gvk: &Gvk, namespace: &str, labels: Option<&str>) -> Result<Vec<Json>> {
        self.documents(gvk, namespace, Which { labels, fields: None }).await
    }

    /// As [`Cluster::list`], by fields: `involvedObject.name=web`.
    pub async fn list_by_field(&self, gvk: &Gvk, namespace: &str, fields: &str) -> Result<Vec<Json>> {
        self.documents(gvk, namespace, Which { labels: None, fields: Some(fields) }).await
    }

    async fn documents(&self, gvk: &Gvk, namespace: &str, which: Which<'_>) -> Result<Vec<Json>> {
        let read = |answer: &[u8]| {
            let mut answer = serde_json::from_slice::<Json>(answer).ok().filter(Json::is_object)?;
            let Json::Array(mut items) = answer["items"].take() else { return None };
            for item in items.iter_mut().filter_map(Json::as_object_mut) {
                item.entry("apiVersion").or_insert_with(|| gvk.api_version().into());
                item.entry("kind").or_insert_with(|| gvk.kind.as_str().into());
            }
            let text = |name: &str| answer["metadata"][name].as_str().unwrap_or_default().to_owned();
            Some(Part { items, rest: text("continue"), resource_version: text("resourceVersion") })
        };
        Ok(self.list_whole(gvk, namespace, which, read).await?.items)
    }

    /// All objects of a kind by which workloads are judged, without those that say nothing. One that cannot be read is
    /// left out.
    pub(crate) async fn objects(&self, kind: Kind, namespace: &str) -> Result<Listed<Object>> {
        let read = |answer: &[u8]| {
            let Page { objects, rest, resource_version, .. } = Page::read(kind, answer).ok()?;
            Some(Part { items: objects, rest, resource_version })
        };
        self.list_whole(&kind.into(), namespace, Which { labels: None, fields: of_note(kind) }, read).await
    }

    /// Page by page, each read before the next one is asked for. A list whose next page is gone begins again.
    async fn list_whole<T>(
        &self,
        gvk: &Gvk,
        namespace: &str,
        which: Which<'_>,
        read: impl Fn(&[u8]) -> Option<Part<T>>,
    ) -> Result<Listed<T>> {
        let resource = self.resource(gvk).await?;
        let subject = subject("list", &resource, namespace, "");
        let mut page = Some(PAGE);
        'whole: loop {
            let mut items = Vec::new();
            let mut rest = String::new();
            loop {
                let mut call = Call::get(subject.clone(), resource.collection(namespace));
                call.query.extend(which.labels.map(|text| ("labelSelector", text.to_owned())));
                call.query.extend(which.fields.map(|text| ("fieldSelector", text.to_owned())));
                call.query.extend(page.map(|page| ("limit", page.to_string())));
                let is_continued = !rest.is_empty();
                if is_continued {
                    call.query.push(("continue", rest));
                }
                let answer = match self.bytes(call).await {
                    Err(Error::Expired { .. }) if is_continued && page.is_some() => {
                        // The rest is gone: everything at once cannot go. The pages before may have been empty.
                        page = None;
                        continue 'whole;
                    }
                    answer => answer?.1,
                };
                let part = read(&answer);
                let part =
                    part.ok_or_else(|| self.unreadable(subject.clone(), &answer, "a list without items"))?;
                items.extend(part.items);
                rest = part.rest;
                if rest.is_empty() {
                    return Ok(Listed { items, resource_version: part.resource_version });
                }
            }
        }
    }

    /// The events of a namespace.
    pub async fn events(&self, namespace: &str) -> Result<Vec<Json>> {
        self.list(&Gvk::named("v1", "Event"), namespace, None).await
    }

    /// The lines of a container's log as they come. A line that is no UTF-8 is mended.
    pub async fn logs(
        &self,
        request: &LogRequest,
    ) -> Result<impl Stream<Item = Result<String>> + Send + Unpin + use<>> {
        let LogRequest { namespace, pod, .. } = request;
        let subject = Subject {
            verb: "get",
            resource: "pods/log".to_owned(),
            namespace: namespace.clone(),
            name: pod.clone(),
        };
        let path = format!("/api/v1/namespaces/{}/pods/{}/log", segment(namespace), segment(pod));
        let mut call = Call::get(subject, path);
        call.query.extend(request.container.clone().map(|name| ("container", name)));
        call.query.extend(request.tail.map(|lines| ("tailLines", lines.to_string())));
        let seconds = |since: Duration| since.as_secs().max(1).to_string();
        call.query.extend(request.since.map(|since| ("sinceSeconds", seconds(since))));
        let wishes = [
            ("previous", request.life == Life::Previous),
            ("follow", request.end == LogEnd::Follow),
            ("timestamps", request.stamps == Stamps::With),
        ];
        call.query
            .extend(wishes.into_iter().filter(|(_, is)| *is).map(|(name, _)| (name, "true".to_owned())));
        let answer = self.open(&call).await?;
        let lines = Lines::new(answer.into_body(), LOG_LINE_BYTES);
        let host = self.host().to_owned();
        let stream = futures_util::stream::unfold(Some(lines), move |lines| {
            let host = host.clone();
            async move {
                let mut lines = lines?;
                match lines.next().await {
                    Ok(Some(line)) => Some((Ok(String::from_utf8_lossy(&line).into_owned()), Some(lines))),
                    Ok(None) => None,
                    Err(error) => Some((Err(Error::unanswered(&host, &error)), None)),
                }
            }
        });
        Ok(Box::pin(stream))
    }

    /// Asks a service inside the cluster through the API. `port` is a number or a name; `path` begins with a slash and
    /// may have a query.
    pub async fn service_proxy_get(
        &self,
        namespace: &str,
        service: &str,
        port: &str,
        path: &str,
    ) -> Result<Proxied> {
        let subject = Subject {
            verb: "get",
            resource: "services/proxy".to_owned(),
            namespace: namespace.to_owned(),
            name: format!("{service}:{port}"),
        };
        let path = format!(
            "/api/v1/namespaces/{}/services/{}:{}/proxy{path}",
            segment(namespace),
            segment(service),
            segment(port)
        );
        let (content_type, body) = self.bytes(Call::get(subject, path)).await?;
        Ok(Proxied { content_type, body })
    }

    /// Whether we may do this, as the API sees it.
    pub async fn may(&self, verb: &str, gvk: &Gvk, namespace: &str) -> Result<bool> {
        let resource = self.resource(gvk).await?;
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": verb, "group": gvk.group, "resource": resource.plural, "namespace": namespace,
            }},
        });
        let subject = Subject {
            verb: "create",
            resource: "selfsubjectaccessreviews.authorization.k8s.io".to_owned(),
            ..Subject::default()
        };
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned();
        let answer = self.json(Call::sending(subject, Method::POST, path, &review, Repeat::Safe)).await?;
        Ok(answer["status"]["allowed"] == true)
    }
}

pub(crate) fn subject(verb: &'static str, resource: &Resource, namespace: &str, name: &str) -> Subject {
    let namespace = match resource.scope {
        Scope::Namespaced => namespace.to_owned(),
        Scope::Cluster => String::new(),
    };
    Subject { verb, resource: resource.name(), namespace, name: name.to_owned() }
}
