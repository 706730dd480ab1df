//! Requests: who asks, where to, what for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Body as HttpBody;
use serde_json::{Value as Json, json};

use super::answers::{self, Answer, deleted, document, refused, success, typed};
use super::refusal::{Done, Refusal};
use super::routes::{NO_PATH, Place, place, unescaped};
use super::store::Keep;
use super::watches::{self, Wanted};
use super::{Api, Asked, What, selectors};
use crate::kinds::{Resource, Scope};

/// Answers a request, or breaks the connection.
pub async fn answer<B>(api: Api, request: Request<B>) -> Result<Answer, std::io::Error>
where
    B: HttpBody<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Err(std::io::Error::other(error.to_string())),
    };
    let token = parts
        .headers
        .get("authorization")
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .map(str::to_owned);
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let content_type =
        parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let asked = Asked { method, path, token, body: String::from_utf8_lossy(&body).into_owned() };
    let fault = note(&api, &asked);
    match fault {
        Some(What::Cut) => return Err(cut()),
        Some(What::Silence) => std::future::pending().await,
        Some(What::Status(code, message)) => {
            return Ok(refused(&Refusal::new(code, "InternalError", message)));
        }
        Some(What::RetryAfter(code, seconds)) => {
            let mut answer = refused(&Refusal::new(code, "TooManyRequests", "too many requests"));
            answer.headers_mut().insert("retry-after", seconds.into());
            return Ok(answer);
        }
        Some(What::Page(code, text)) => return Ok(typed(code, "text/html", text)),
        Some(What::CutAfter) | None => {}
    }
    let is_known = {
        let manners = api.manners();
        manners.tokens.is_empty() || asked.token.as_ref().is_some_and(|token| manners.tokens.contains(token))
    };
    if !is_known {
        return Ok(refused(&Refusal::new(401, "Unauthorized", "Unauthorized")));
    }
    let answered = Asking::of(&api, &asked, content_type).and_then(|asking| asking.answer(&body));
    if asked.method != "GET" {
        if api.manners().turns_by_itself {
            api.settle(50);
        }
        api.tell();
    }
    if let Some(What::CutAfter) = fault {
        return Err(cut());
    }
    Ok(answered.unwrap_or_else(|refusal| refused(&refusal)))
}

fn cut() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionReset, "cut by the test")
}

/// Remembers the request, and finds what is to go wrong with it.
fn note(api: &Api, asked: &Asked) -> Option<What> {
    let mut manners = api.manners();
    manners.asked.push(asked.clone());
    let fault = manners.faults.iter_mut().find(|fault| {
        fault.times > 0
            && (fault.method.is_empty() || fault.method == asked.method)
            && asked.path.contains(&fault.path)
    })?;
    fault.times -= 1;
    Some(fault.what.clone())
}

/// A request, understood.
struct Asking<'a> {
    api: &'a Api,
    method: &'a str,
    place: Place,
    query: HashMap<String, String>,
    content_type: &'a str,
}

impl<'a> Asking<'a> {
    fn of(api: &'a Api, asked: &'a Asked, content_type: &'a str) -> Done<Self> {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let query: HashMap<String, String> = query
            .split('&')
            .filter(|part| !part.is_empty())
            .map(|part| part.split_once('=').unwrap_or((part, "")))
            .map(|(name, value)| (unescaped(name), unescaped(value)))
            .collect();
        let place = place(api, path, &asked.path)?;
        Ok(Self { api, method: &asked.method, place, query, content_type })
    }

    fn said(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    fn keep(&self) -> Keep {
        if self.said("dryRun") == "All" { Keep::Dry } else { Keep::Yes }
    }

    fn manager(&self) -> &str {
        match self.said("fieldManager") {
            "" => "unknown",
            manager => manager,
        }
    }

    fn answer(&self, body: &[u8]) -> Done<Answer> {
        match &self.place {
            Place::Version => Ok(document(
                200,
                &json!({
                    "major": "1", "minor": "33", "gitVersion": "v1.33.0", "platform": "linux/amd64",
                }),
            )),
            Place::Health => Ok(typed(200, "text/plain", "ok")),
            Place::Versions => Ok(document(200, &answers::versions())),
            Place::Groups => Ok(document(200, &answers::groups(&self.api.store().resources))),
            Place::Group(group, version) => Ok(document(200, &self.kinds(group, version)?)),
            Place::Proxy { namespace, service, path } => self.proxied(namespace, service, path),
            Place::Objects { resource, namespace, name, subresource } => {
                self.allowed(resource, namespace, name, subresource)?;
                self.objects(resource, namespace, name, subresource, body)
            }
        }
    }

    fn kinds(&self, group: &str, version: &str) -> Done<Json> {
        let store = self.api.store();
        let of_group: Vec<Json> = store
            .resources
            .iter()
            .filter(|one| one.gvk.group == group && one.gvk.version == version)
            .map(|one| {
                json!({
                    "name": one.plural, "kind": one.gvk.kind, "namespaced": one.scope == Scope::Namespaced,
                    "singularName": one.gvk.kind.to_lowercase(),
                    "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                })
            })
            .collect();
        if of_group.is_empty() {
            return Err(Refusal::new(404, "", NO_PATH));
        }
        let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        Ok(
            json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": name, "resources": of_group }),
        )
    }

    fn allowed(&self, resource: &Resource, namespace: &str, name: &str, subresource: &str) -> Done<()> {
        let verb = match (self.method, name.is_empty(), self.said("watch")) {
            ("GET", true, "true" | "1") => "watch",
            ("GET", true, _) => "list",
            ("GET", false, _) => "get",
            ("POST", ..) => "create",
            ("PUT", ..) => "update",
            ("PATCH", ..) => "patch",
            ("DELETE", true, _) => "deletecollection",
            _ => "delete",
        };
        let plural = match subresource {
            "" => resource.plural.clone(),
            subresource => format!("{}/{subresource}", resource.plural),
        };
        let is_forbidden =
            self.api.manners().forbidden.iter().any(|(what, on)| what == verb && *on == plural);
        if !is_forbidden {
            return Ok(());
        }
        let message = format!(
            "{} is forbidden: User \"tester\" cannot {verb} resource \"{plural}\" in API group \"{}\" in the namespace \
             \"{namespace}\"",
            resource.name(),
            resource.gvk.group
        );
        Err(Refusal::new(403, "Forbidden", message))
    }

    fn proxied(&self, namespace: &str, service: &str, path: &str) -> Done<Answer> {
        let at = (namespace.to_owned(), service.to_owned());
        let found = self.api.manners().services.get(&at).cloned();
        let found = found.ok_or_else(|| {
            let message = format!("no endpoints available for service {service:?}");
            Refusal::new(503, "ServiceUnavailable", message)
        })?;
        let (status, content_type, bytes) = found(path);
        Ok(typed(status, &content_type, bytes))
    }

    fn objects(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: &str,
        body: &[u8],
    ) -> Done<Answer> {
        let parsed = || -> Done<Json> {
            if body.is_empty() {
                return Ok(json!({}));
            }
            let bad = |error| Refusal::new(400, "BadRequest", format!("the body is no JSON: {error}"));
            serde_json::from_slice(body).map_err(bad)
        };
        let mut store = self.api.store();
        let live = store.get(resource, namespace, name).cloned();
        let found = || live.clone().ok_or_else(|| Refusal::not_found(&resource.name(), name));
        match (self.method, name, subresource) {
            ("GET", "", _) => {
                drop(store);
                self.many(resource, namespace)
            }
            ("GET", _, "log") => {
                drop(store);
                self.log(namespace, name)
            }
            ("GET", _, "scale") => Ok(document(200, &scale(&*found()?))),
            ("GET", _, _) => Ok(document(200, &*found()?)),
            ("POST", "", _) if resource.gvk.kind == "SelfSubjectAccessReview" => {
                let mut review = parsed()?;
                let attributes = review["spec"]["resourceAttributes"].clone();
                let is_allowed = !self.api.manners().forbidden.iter().any(|(verb, plural)| {
                    attributes["verb"] == verb.as_str() && attributes["resource"] == plural.as_str()
                });
                review["status"] = json!({ "allowed": is_allowed });
                Ok(document(201, &review))
            }
            ("POST", "", _) => {
                let made = store.create(resource, namespace, parsed()?, self.manager(), self.keep())?;
                Ok(document(201, &made))
            }
            ("POST", _, "eviction") => {
                evict(&mut store, resource, namespace, name, &parsed()?, self.keep())?;
                Ok(success())
            }
            ("PUT", _, subresource) => {
                let live = found()?;
                let object = parsed()?;
                let wanted = object["metadata"]["resourceVersion"].as_str();
                if wanted.is_some_and(|wanted| live["metadata"]["resourceVersion"] != wanted) {
                    return Err(super::refusal::modified(resource, name));
                }
                let done = store.update(resource, &live, object, self.manager(), subresource, self.keep())?;
                Ok(document(200, &done))
            }
            ("PATCH", _, "scale") => {
                let patch = json!({ "spec": { "replicas": parsed()?["spec"]["replicas"] } });
                let manager = self.manager();
                let done =
                    store.merge_patch(resource, namespace, name, &patch, manager, "scale", self.keep())?;
                Ok(document(200, &scale(&done)))
            }
            ("PATCH", _, subresource) => match self.content_type {
                "application/apply-patch+yaml" => {
                    if self.said("fieldManager").is_empty() {
                        let gvk = crate::Gvk::new("meta.k8s.io", "v1", "PatchOptions");
                        let why = "Required value: is required for apply patch";
                        return Err(Refusal::invalid(&gvk, "", "fieldManager", "FieldValueRequired", why));
                    }
                    let is_forced = self.said("force") == "true";
                    let manager = self.manager();
                    let (done, is_new) = store.apply(
                        resource,
                        namespace,
                        name,
                        &parsed()?,
                        manager,
                        is_forced,
                        self.keep(),
                    )?;
                    Ok(document(if is_new { 201 } else { 200 }, &done))
                }
                "application/merge-patch+json" => {
                    let (manager, keep) = (self.manager(), self.keep());
                    let patch = parsed()?;
                    let done =
                        store.merge_patch(resource, namespace, name, &patch, manager, subresource, keep)?;
                    Ok(document(200, &done))
                }
                _ => Err(Refusal::new(415, "UnsupportedMediaType", "415: Unsupported Media Type")),
            },
            ("DELETE", _, _) => {
                let options = parsed()?;
                let keep = if options["dryRun"].is_array() { Keep::Dry } else { self.keep() };
                let uid = found()?["metadata"]["uid"].clone();
                let left = store.delete(resource, namespace, name, &options, keep)?;
                Ok(left
                    .map_or_else(|| deleted(&resource.name(), name, &uid), |object| document(200, &object)))
            }
            (method, ..) => {
                Err(Refusal::new(405, "MethodNotAllowed", format!("{method} is not allowed here")))
            }
        }
    }

    fn many(&self, resource: &Resource, namespace: &str) -> Done<Answer> {
        let (labels, fields) = (self.said("labelSelector"), self.said("fieldSelector"));
        let number = |name: &str| self.said(name).parse::<u64>().ok();
        if matches!(self.said("watch"), "true" | "1") {
            let now = self.api.store().version;
            let wanted = Wanted {
                resource: resource.clone(),
                namespace: namespace.to_owned(),
                labels: labels.to_owned(),
                fields: fields.to_owned(),
                from: number("resourceVersion").unwrap_or(now),
                bookmarks: self.said("allowWatchBookmarks") == "true",
                lasts: number("timeoutSeconds").map(Duration::from_secs),
            };
            let mut answer = typed(200, "application/json", "");
            *answer.body_mut() = watches::body(self.api.clone(), wanted);
            return Ok(answer);
        }
        let mut store = self.api.store();
        let (version, all) = match self.said("continue") {
            "" => (store.version, store.list(resource, namespace, labels, fields)),
            token => store.continued.get(token).cloned().ok_or_else(|| {
                let message =
                    "The provided continue parameter is too old to display a consistent list result";
                Refusal::new(410, "Expired", message)
            })?,
        };
        let limit = number("limit").filter(|limit| *limit > 0).map_or(all.len(), |limit| limit as usize);
        let (page, rest) = all.split_at(limit.min(all.len()));
        let mut metadata = json!({ "resourceVersion": version.to_string() });
        if !rest.is_empty() {
            store.names += 1;
            let token = format!("rest-{}", store.names);
            metadata["continue"] = token.as_str().into();
            // What a selector leaves is not counted.
            if labels.is_empty() && fields.is_empty() {
                metadata["remainingItemCount"] = rest.len().into();
            }
            store.continued.insert(token, (version, rest.to_vec()));
        }
        drop(store);
        // The items of a list do not say what they are.
        let items: Vec<Json> = page.iter().map(unnamed).collect();
        Ok(document(
            200,
            &json!({
                "kind": format!("{}List", resource.gvk.kind), "apiVersion": resource.gvk.api_version(),
                "metadata": metadata, "items": items,
            }),
        ))
    }

    fn log(&self, namespace: &str, name: &str) -> Done<Answer> {
        let store = self.api.store();
        let resource = store.of_kind("Pod").ok_or_else(|| Refusal::not_found("pods", name))?;
        let pod = store.get(&resource, namespace, name).cloned();
        let pod = pod.ok_or_else(|| Refusal::not_found("pods", name))?;
        let names: Vec<&str> = ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
            .filter_map(|container| container["name"].as_str())
            .collect();
        let bad = |message: String| Err(Refusal::new(400, "BadRequest", message));
        let container = match (self.said("container"), names.as_slice()) {
            ("", [only]) => *only,
            ("", _) => {
                let choice = names.join(" ");
                return bad(format!(
                    "a container name must be specified for pod {name}, choose one of: [{choice}]"
                ));
            }
            (said, names) if names.contains(&said) => said,
            (said, _) => return bad(format!("container {said} is not valid for pod {name}")),
        };
        let is_previous = self.said("previous") == "true";
        let at = (namespace.to_owned(), name.to_owned(), container.to_owned(), is_previous);
        let status = ["containerStatuses", "initContainerStatuses"]
            .into_iter()
            .flat_map(|list| pod["status"][list].as_array().into_iter().flatten())
            .find(|status| status["name"] == container);
        let has_log = store.logs.contains_key(&at);
        if is_previous && !has_log {
            return bad(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"));
        }
        let waits = status.map(|status| &status["state"]["waiting"]["reason"]);
        let waits = waits.map_or(Some("ContainerCreating"), Json::as_str);
        if let (Some(reason), false) = (waits, has_log) {
            return bad(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {reason}"));
        }
        let lines = store.logs.get(&at).map_or(&[][..], Vec::as_slice);
        let since = self.said("sinceSeconds").parse().ok().map(Duration::from_secs);
        let by_time = since.map_or(0, |since| lines.partition_point(|(at, _)| *at < store.now.minus(since)));
        let by_count =
            self.said("tailLines").parse().map_or(0, |tail: usize| lines.len().saturating_sub(tail));
        let log = watches::Log {
            api: self.api.clone(),
            from: by_time.max(by_count),
            at,
            stamps: self.said("timestamps") == "true",
            follows: self.said("follow") == "true",
        };
        drop(store);
        let mut answer = typed(200, "text/plain", "");
        *answer.body_mut() = watches::log(log);
        Ok(answer)
    }
}

fn unnamed(item: &Arc<Json>) -> Json {
    let mut item = (**item).clone();
    if let Some(map) = item.as_object_mut() {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
    }
    item
}

/// What is nought is left out of what is wanted, and said of what is.
fn scale(object: &Json) -> Json {
    let metadata = &object["metadata"];
    let mut spec = json!({});
    if object["spec"]["replicas"].as_u64().is_some_and(|replicas| replicas > 0) {
        spec["replicas"] = object["spec"]["replicas"].clone();
    }
    let labels = object["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    let mut selector: Vec<String> =
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    selector.sort();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": spec,
        "status": {
            "replicas": object["status"]["replicas"].as_u64().unwrap_or(0), "selector": selector.join(","),
        },
    })
}

fn evict(
    store: &mut super::store::Store,
    resource: &Resource,
    namespace: &str,
    name: &str,
    eviction: &Json,
    keep: Keep,
) -> Done<()> {
    let pod = store.get(resource, namespace, name).cloned();
    let pod = pod.ok_or_else(|| Refusal::not_found("pods", name))?;
    let budgets = store.all("PodDisruptionBudget");
    let blocks = budgets.iter().find(|budget| {
        budget["metadata"]["namespace"] == namespace
            && selectors::selects(&budget["spec"]["selector"], &pod["metadata"]["labels"])
            && budget["status"]["disruptionsAllowed"].as_u64().unwrap_or(0) == 0
    });
    if let Some(budget) = blocks {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let name = budget["metadata"]["name"].as_str().unwrap_or_default();
        let details = json!({ "causes": [{
            "reason": "DisruptionBudget", "message": format!("The disruption budget {name} does not allow it"),
        }]});
        return Err(Refusal { details, ..Refusal::new(429, "TooManyRequests", message) });
    }
    store.delete(resource, namespace, name, &eviction["deleteOptions"], keep).map(drop)
}
