//! Somebody who looks at a way in while a second version stands beside the first, and a port that shows him every
//! change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kubernetes::read::LogRequest;
use kubernetes::testing::Api;
use kubernetes::write::{Applied, Apply, Delete, Deleted};
use kubernetes::{Gvk, Place, Result};
use manifests::render::{ENVIRONMENT, TRACK};
use rollout::canary::analysis::Measurement;
use rollout::world::Target;
use serde_json::Value as Json;

use super::ground::{Ground, Scaled, deployment, environment, manifest};
use crate::gate::{Check, Gauge, Seen, View};
use crate::manifest::Manifest;
use crate::port::{Following, Port};

/// A release with pods that are told apart by their track.
pub fn tracked(version: u8, scaled: Scaled) -> Manifest {
    let mut manifest = manifest(version, scaled);
    let spec = &mut deployment(&mut manifest)["spec"];
    spec["selector"]["matchLabels"][TRACK] = "stable".into();
    spec["template"]["metadata"]["labels"][TRACK] = "stable".into();
    spec["template"]["metadata"]["labels"][ENVIRONMENT] = environment().into();
    manifest
}

/// Looks at what a name leads to, and keeps what it saw.
#[derive(Clone)]
pub struct Eye {
    api: Api,
    namespace: String,
    service: String,
    pub seen: Arc<Mutex<Sight>>,
}

/// What was seen of a way in.
#[derive(Debug, Default)]
pub struct Sight {
    /// Where calls were led, one after the other, each with the pods that were ready for them then.
    pub led: Vec<(String, usize)>,
    /// The fewest pods that were ready for calls.
    pub fewest: Option<usize>,
    /// Two tracks, two images, or nobody where something is sent.
    pub two_tracks: Vec<String>,
    pub two_images: Vec<String>,
    pub nobody: Vec<String>,
}

impl Eye {
    pub fn new(api: Api, namespace: &str, service: &str) -> Self {
        Self { api, namespace: namespace.to_owned(), service: service.to_owned(), seen: Arc::default() }
    }

    /// Where a call goes: `*` for every pod that the Service finds, a track, or shares of a route.
    pub fn leads(&self) -> Vec<(String, u64)> {
        let route = self.api.object("VirtualService", &self.namespace, &self.service);
        let routes = route.map(|route| route["spec"]["http"][0]["route"].as_array().unwrap().clone());
        let subset = |one: &Json| one["destination"]["subset"].as_str().map(str::to_owned);
        match routes {
            Some(routes) if routes.iter().all(|one| subset(one).is_some()) => {
                routes.iter().map(|one| (subset(one).unwrap(), one["weight"].as_u64().unwrap())).collect()
            }
            _ => {
                let service = self.api.object("Service", &self.namespace, &self.service);
                let track =
                    service.and_then(|one| one["spec"]["selector"][TRACK].as_str().map(str::to_owned));
                vec![(track.unwrap_or_else(|| "*".to_owned()), 100)]
            }
        }
    }

    pub fn look(&self) {
        let Some(service) = self.api.object("Service", &self.namespace, &self.service) else { return };
        let selector = service["spec"]["selector"].as_object().unwrap().clone();
        let found: Vec<Json> = self
            .api
            .objects("Pod", &self.namespace)
            .into_iter()
            .filter(|pod| {
                let labels = &pod["metadata"]["labels"];
                let conditions = pod["status"]["conditions"].as_array();
                let is_ready = conditions
                    .into_iter()
                    .flatten()
                    .any(|one| one["type"] == "Ready" && one["status"] == "True");
                is_ready
                    && pod["metadata"]["deletionTimestamp"].is_null()
                    && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            })
            .collect();
        let leads = self.leads();
        let mut seen = self.seen.lock().unwrap();
        let (mut all, mut tracks, mut images) = (0, BTreeSet::new(), BTreeSet::new());
        for (track, share) in leads.iter().filter(|(_, share)| *share > 0) {
            let rule = self.api.object("DestinationRule", &self.namespace, &self.service);
            let is_known = rule.as_ref().is_none_or(|rule| {
                track == "*"
                    || selector.contains_key(TRACK)
                    || rule["spec"]["subsets"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .any(|one| one["name"] == track.as_str())
            });
            let here: Vec<&Json> = found
                .iter()
                .filter(|pod| {
                    is_known && (track == "*" || pod["metadata"]["labels"][TRACK] == track.as_str())
                })
                .collect();
            if here.is_empty() {
                seen.nobody.push(format!("{share} % of {} go to {track}, where nobody is", self.service));
            }
            all += here.len();
            for pod in here {
                tracks.insert(pod["metadata"]["labels"][TRACK].to_string());
                images.insert(pod["spec"]["containers"][0]["image"].to_string());
            }
        }
        let is_shared = leads.len() > 1;
        if tracks.len() > 1 && !is_shared {
            seen.two_tracks.push(format!("{leads:?}: {tracks:?}"));
        }
        if images.len() > 1 && !is_shared {
            seen.two_images.push(format!("{leads:?}: {images:?}"));
        }
        seen.fewest = Some(seen.fewest.map_or(all, |fewest| fewest.min(all)));
        let led: Vec<String> = leads
            .iter()
            .map(|(track, share)| if *share == 100 { track.clone() } else { format!("{track} {share}") })
            .collect();
        let led = led.join(", ");
        if seen.led.last().is_none_or(|(last, _)| *last != led) {
            seen.led.push((led, all));
        }
    }

    /// Where calls were led, one after the other.
    pub fn way(&self) -> Vec<String> {
        self.seen.lock().unwrap().led.iter().map(|(led, _)| led.clone()).collect()
    }
}

/// Looks every second for as long as it lives.
pub struct Looking {
    pub eye: Eye,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Looking {
    pub fn at(ground: &Ground, namespace: &str, service: &str) -> Self {
        let eye = Eye::new(ground.api.clone(), namespace, service);
        eye.look();
        let looks = eye.clone();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                looks.look();
            }
        });
        Self { eye, task }
    }
}

/// A port after each of whose changes somebody looks.
pub struct Shown<'a> {
    pub port: &'a dyn Port,
    pub eye: &'a Eye,
}

impl Shown<'_> {
    async fn pass<T>(&self, request: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let answer = request.await;
        self.eye.look();
        answer
    }
}

#[async_trait]
impl Port for Shown<'_> {
    fn place(&self) -> Place {
        self.port.place()
    }
    async fn get(&self, gvk: &Gvk, namespace: &str, name: &str) -> Result<Option<Json>> {
        self.port.get(gvk, namespace, name).await
    }
    async fn list(&self, gvk: &Gvk, namespace: &str, labels: &str) -> Result<Vec<Json>> {
        self.port.list(gvk, namespace, labels).await
    }
    async fn apply(&self, object: &Json, how: &Apply) -> Result<Applied> {
        self.pass(self.port.apply(object, how)).await
    }
    async fn create(&self, object: &Json) -> Result<Json> {
        self.pass(self.port.create(object)).await
    }
    async fn label(&self, gvk: &Gvk, namespace: &str, name: &str, labels: &Json) -> Result<Json> {
        self.pass(self.port.label(gvk, namespace, name, labels)).await
    }
    async fn delete(&self, gvk: &Gvk, namespace: &str, name: &str, how: &Delete) -> Result<Deleted> {
        self.pass(self.port.delete(gvk, namespace, name, how)).await
    }
    async fn events_about(&self, namespace: &str, uid: &str) -> Result<Vec<Json>> {
        self.port.events_about(namespace, uid).await
    }
    async fn log(&self, request: &LogRequest) -> Result<String> {
        self.port.log(request).await
    }
    fn follow(&self, targets: &[Target]) -> Box<dyn Following> {
        self.port.follow(targets)
    }
}

/// Says that it is bad once so much is led to the second version.
pub struct BadFrom {
    pub eye: Eye,
    /// Percent; above 100 it is good for ever.
    pub share: u64,
    /// Requests that had been made when it first was bad.
    pub since: Mutex<Option<usize>>,
}

impl BadFrom {
    pub fn new(eye: &Eye, share: u64) -> Self {
        Self { eye: eye.clone(), share, since: Mutex::default() }
    }
}

#[async_trait]
impl Gauge for BadFrom {
    async fn measure(&self, _check: &Check, _view: &View) -> Seen {
        let of_others =
            |(track, share): &(String, u64)| (track != "stable" && track != "*").then_some(*share);
        let share: u64 = self.eye.leads().iter().filter_map(of_others).sum();
        let measurement = if share >= self.share { Measurement::Bad } else { Measurement::Good };
        if measurement == Measurement::Bad {
            self.since.lock().unwrap().get_or_insert(self.eye.api.asked().len());
        }
        Seen { measurement, is_silent: false, says: format!("{share} % go there") }
    }
}
