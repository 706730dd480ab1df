//! Asking: objects, lists, events, logs, and services inside the cluster.
//!
//! Invariants: a list is whole or an error, however many pages it has; an item of a list says its kind as a single
//! object does.

use std::time::Duration;

use futures_util::Stream;
use http::Method;
use serde_json::{Value as Json, json};

use crate::cluster::{Call, Cluster, Repeat};
use crate::error::Subject;
use crate::kinds::{Gvk, Resource, Scope, segment};
use crate::lines::Lines;
use crate::{Error, Result};

/// Objects of one page.
const PAGE: u32 = 200;
/// The longest line of a log that is kept whole.
const LOG_LINE_BYTES: usize = 256 * 1024;

/// All objects of a kind, and the place in the stream from which changes follow.
#[derive(Debug, Clone)]
pub struct Listed {
    pub items: Vec<Json>,
    pub resource_version: String,
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
        Ok(self.list_whole(gvk, namespace, labels, None, |_| {}).await?.items)
    }

    /// As [`Cluster::list`], by fields: `involvedObject.name=web`.
    pub async fn list_by_field(&self, gvk: &Gvk, namespace: &str, fields: &str) -> Result<Vec<Json>> {
        Ok(self.list_whole(gvk, namespace, None, Some(fields), |_| {}).await?.items)
    }

    /// Page by page; `each` sees every item before the next page is asked for. A list whose next page is gone begins
    /// again.
    pub(crate) async fn list_whole(
        &self,
        gvk: &Gvk,
        namespace: &str,
        labels: Option<&str>,
        fields: Option<&str>,
        each: impl Fn(&mut Json),
    ) -> Result<Listed> {
        let resource = self.resource(gvk).await?;
        let mut page = Some(PAGE);
        'whole: loop {
            let mut items = Vec::new();
            let mut next = String::new();
            loop {
                let mut call =
                    Call::get(subject("list", &resource, namespace, ""), resource.collection(namespace));
                call.query.extend(labels.map(|text| ("labelSelector", text.to_owned())));
                call.query.extend(fields.map(|text| ("fieldSelector", text.to_owned())));
                call.query.extend(page.map(|page| ("limit", page.to_string())));
                if !next.is_empty() {
                    call.query.push(("continue", std::mem::take(&mut next)));
                }
                let mut answer = match self.json(call).await {
                    Err(Error::Expired { .. }) if !items.is_empty() && page.is_some() => {
                        // The rest is gone: everything at once cannot go.
                        page = None;
                        continue 'whole;
                    }
                    answer => answer?,
                };
                let Json::Array(found) = answer["items"].take() else {
                    return Err(Error::Malformed {
                        subject: subject("list", &resource, namespace, "").into(),
                        reason: "a list without items".to_owned(),
                    });
                };
                items.reserve(found.len());
                for mut item in found {
                    if let Some(item) = item.as_object_mut() {
                        item.entry("apiVersion").or_insert_with(|| gvk.api_version().into());
                        item.entry("kind").or_insert_with(|| gvk.kind.as_str().into());
                    }
                    each(&mut item);
                    items.push(item);
                }
                let metadata = &answer["metadata"];
                next = metadata["continue"].as_str().unwrap_or_default().to_owned();
                if next.is_empty() {
                    let resource_version =
                        metadata["resourceVersion"].as_str().unwrap_or_default().to_owned();
                    return Ok(Listed { items, resource_version });
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
