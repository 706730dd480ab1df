//! The two colours of a release: what the second one consists of, and what leads traffic to one of them.
//!
//! What runs keeps its names; the other colour is green and has names of its own for as long as it is needed. Pods are told
//! apart by their track, as a canary's are.
//!
//! Invariants:
//! - what is derived has the form of its manifest but for its names and tracks;
//! - a Service leads to one colour alone, unless routes of a mesh divide what comes through it;
//! - budgets and policies find the pods of both colours, because they ask for no track;
//! - leading traffic to the other colour changes one object for each way in.

use kubernetes::{Gvk, Result};
use manifests::render::{HEADLESS, SETTINGS, TRACK};
use rollout::objects::Kind;
use serde_json::{Map, Value as Json, json};

use crate::manifest::{Id, Item, Manifest, Wave};
use crate::port::Port;

/// The track of what runs.
const STABLE: &str = "stable";
const GREEN: &str = "green";
/// Kinds by which traffic comes in past every route of a mesh.
const ENTRIES: [&str; 3] = ["TargetGroupBinding", "Ingress", "HTTPRoute"];

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Under the names of the manifest.
    Stable,
    /// Beside it, whole.
    Green,
}

impl Colour {
    pub fn track(self) -> &'static str {
        match self {
            Colour::Stable => STABLE,
            Colour::Green => GREEN,
        }
    }

    /// The Deployment of a target.
    pub fn deployment(self, target: &str) -> String {
        match self {
            Colour::Stable => target.to_owned(),
            Colour::Green => format!("{target}-{GREEN}"),
        }
    }
}

/// What decides which pods of a target are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// The selector of its Services.
    Service,
    /// The route of the mesh: nobody comes past it.
    Mesh,
}

/// Targets that there are before and after, whose pods are told apart by their track; those of the way in come last.
pub fn targets(before: &Manifest, after: &Manifest, meant: &[String]) -> Vec<String> {
    let is_tracked = |manifest: &Manifest, name: &str| {
        deployment(manifest, name)
            .is_some_and(|body| body["spec"]["selector"]["matchLabels"][TRACK] == STABLE)
    };
    let mut targets: Vec<String> =
        meant.iter().filter(|name| is_tracked(before, name) && is_tracked(after, name)).cloned().collect();
    targets.sort_by_key(|name| is_entered(after, name));
    targets
}

/// Why the targets cannot be switched: what leads to one is not there after, or leads otherwise.
pub fn unlike(before: &Manifest, after: &Manifest, targets: &[String]) -> Option<String> {
    const WAY_OUT: &str = "roll this release out with --strategy rolling";
    targets.iter().find_map(|target| {
        if lead(before, target) != lead(after, target) {
            let said = |lead| if lead == Lead::Mesh { "a route of the mesh" } else { "its Service" };
            let (from, to) = (said(lead(before, target)), said(lead(after, target)));
            return Some(format!("{target} is led to by {from} now, and by {to} after it; {WAY_OUT}"));
        }
        let one = std::slice::from_ref(target);
        let is_lost =
            |item: &Item| after.find(&item.id()).is_none_or(|known| led(after, one, &known.body).is_none());
        let lost = plain(before, one).into_iter().find(is_lost)?;
        Some(format!("{} belongs to {target} now, and not after it; {WAY_OUT}", lost.id()))
    })
}

/// What only `after` has and what leads to none of the targets: there before anybody of the other colour may call it.
pub fn newcomers(before: &Manifest, after: &Manifest, targets: &[String]) -> Vec<Item> {
    let is_new = |item: &&Item| !before.has(&item.id()) && led(after, targets, &item.body).is_none();
    after.wave(Wave::Workloads).filter(is_new).cloned().collect()
}

/// The Deployment of a name, as its manifest has it.
pub fn deployment<'a>(manifest: &'a Manifest, name: &str) -> Option<&'a Json> {
    let is = |item: &&Item| item.body["kind"] == "Deployment" && item.body["metadata"]["name"] == name;
    manifest.items.iter().find(is).map(|item| &item.body)
}

fn name(body: &Json) -> &str {
    body["metadata"]["name"].as_str().unwrap_or_default()
}

/// Whether something lets traffic in that knows no mesh.
fn is_entered(manifest: &Manifest, target: &str) -> bool {
    let mut entries = manifest
        .items
        .iter()
        .filter(|item| item.body["kind"].as_str().is_some_and(|kind| ENTRIES.contains(&kind)));
    entries.any(|item| says(&item.body["spec"], target))
}

fn says(value: &Json, wanted: &str) -> bool {
    match value {
        Json::String(text) => text == wanted,
        Json::Array(items) => items.iter().any(|item| says(item, wanted)),
        Json::Object(map) => map.values().any(|value| says(value, wanted)),
        _ => false,
    }
}

fn lead(manifest: &Manifest, target: &str) -> Lead {
    let is_routed =
        manifest.items.iter().any(|item| item.body["kind"] == "VirtualService" && name(&item.body) == target);
    match is_routed && !is_entered(manifest, target) {
        true => Lead::Mesh,
        false => Lead::Service,
    }
}

/// Whether a Service finds the pods of a target, of whatever colour.
fn finds(service: &Json, deployment: &Json) -> bool {
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selector = service["spec"]["selector"].as_object();
    service["kind"] == "Service"
        && service["metadata"]["namespace"] == deployment["metadata"]["namespace"]
        && selector.is_some_and(|selector| {
            !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        })
}

/// Which target an object leads to.
fn led<'a>(manifest: &Manifest, targets: &'a [String], body: &Json) -> Option<&'a String> {
    targets.iter().find(|target| match body["kind"].as_str() {
        Some("Service") => deployment(manifest, target).is_some_and(|deployment| finds(body, deployment)),
        Some("VirtualService" | "DestinationRule") => name(body) == target.as_str(),
        Some("HorizontalPodAutoscaler") => {
            let of = &body["spec"]["scaleTargetRef"];
            of["kind"] == "Deployment" && of["name"] == target.as_str()
        }
        _ => false,
    })
}

/// The second colour: a Deployment for each target, and a Service that leads to it alone, by which it may be tried.
/// `on` is what other Services lead to.
pub fn green(manifest: &Manifest, targets: &[String], on: Colour) -> Manifest {
    let mut items = Vec::new();
    for target in targets {
        let Some(whole) = deployment(manifest, target) else { continue };
        let service =
            manifest.items.iter().find(|item| name(&item.body) == target && finds(&item.body, whole));
        if let Some(service) = service {
            let mut body = service.body.clone();
            body["metadata"]["name"] = Colour::Green.deployment(target).into();
            body["metadata"]["labels"][TRACK] = GREEN.into();
            body["spec"]["selector"][TRACK] = GREEN.into();
            if on == Colour::Green || lead(manifest, target) == Lead::Mesh {
                body["metadata"]["labels"][HEADLESS] = "true".into();
            }
            items.push(Item { wave: Wave::Workloads, body });
        }
        let mut body = whole.clone();
        body["metadata"]["name"] = Colour::Green.deployment(target).into();
        retrack(&mut body);
        body["metadata"]["labels"][TRACK] = GREEN.into();
        items.push(Item { wave: Wave::Workloads, body });
    }
    Manifest { items }
}

/// Every mention of the track of what runs becomes the other one.
fn retrack(value: &mut Json) {
    match value {
        Json::Object(map) => {
            for (key, value) in map.iter_mut() {
                match key == TRACK && *value == STABLE {
                    true => *value = GREEN.into(),
                    false => retrack(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(retrack),
        _ => {}
    }
}

/// What leads traffic of the targets, leading it to one colour: target by target, its autoscaler behind its way in.
/// Whoever comes from outside is the last to be led to something new, and the first to be led back.
pub fn leading(manifest: &Manifest, targets: &[String], to: Colour) -> Vec<Item> {
    const ORDER: [&str; 4] = ["Service", "DestinationRule", "VirtualService", "HorizontalPodAutoscaler"];
    let of = |target: &String| {
        ORDER
            .into_iter()
            .flat_map(move |kind| {
                let is = move |item: &&Item| item.body["kind"] == kind;
                manifest.items.iter().filter(is)
            })
            .filter(move |item| led(manifest, std::slice::from_ref(target), &item.body).is_some())
            .map(|item| dressed_one(manifest, targets, to, item))
            .collect::<Vec<_>>()
    };
    match to {
        Colour::Green => targets.iter().flat_map(of).collect(),
        Colour::Stable => targets.iter().rev().flat_map(of).collect(),
    }
}

/// The same objects as [`leading`] has, as the manifest has them.
pub fn plain(manifest: &Manifest, targets: &[String]) -> Vec<Item> {
    let is_led = |item: &&Item| led(manifest, targets, &item.body).is_some();
    manifest.items.iter().filter(is_led).cloned().collect()
}

/// The whole manifest, with traffic of the targets led to one colour.
pub fn dressed(manifest: &Manifest, targets: &[String], to: Colour) -> Manifest {
    let items = manifest.items.iter().map(|item| dressed_one(manifest, targets, to, item)).collect();
    Manifest { items }
}

fn dressed_one(manifest: &Manifest, targets: &[String], to: Colour, item: &Item) -> Item {
    let mut item = item.clone();
    let Some(target) = led(manifest, targets, &item.body) else { return item };
    let lead = lead(manifest, target);
    let kind = item.body["kind"].as_str().unwrap_or_default().to_owned();
    match (kind.as_str(), lead) {
        ("Service", Lead::Service) => item.body["spec"]["selector"][TRACK] = to.track().into(),
        // Routes are those of one name; whoever asks for all addresses comes past them.
        ("Service", Lead::Mesh) if name(&item.body) != target.as_str() => {
            item.body["spec"]["selector"][TRACK] = to.track().into();
        }
        ("VirtualService", Lead::Mesh) => each_route(&mut item.body["spec"], |routes| {
            let mut one = routes.first().cloned().unwrap_or_default();
            one["destination"]["subset"] = to.track().into();
            one["weight"] = 100.into();
            *routes = vec![one];
        }),
        // Whoever comes through the mesh goes where the Service leads.
        ("VirtualService", Lead::Service) => each_route(&mut item.body["spec"], |routes| {
            let mut one = routes.first().cloned().unwrap_or_default();
            if let Some(destination) = one["destination"].as_object_mut() {
                destination.shift_remove("subset");
            }
            one["weight"] = 100.into();
            *routes = vec![one];
        }),
        ("DestinationRule", Lead::Mesh) => {
            let green = json!({ "name": GREEN, "labels": { TRACK: GREEN } });
            match item.body["spec"]["subsets"].as_array_mut() {
                Some(subsets) if subsets.contains(&green) => {}
                Some(subsets) => subsets.push(green),
                None => item.body["spec"]["subsets"] = json!([green]),
            }
        }
        ("HorizontalPodAutoscaler", _) => {
            item.body["spec"]["scaleTargetRef"]["name"] = to.deployment(target).into();
        }
        _ => {}
    }
    item
}

fn each_route(spec: &mut Json, mut change: impl FnMut(&mut Vec<Json>)) {
    for http in spec["http"].as_array_mut().into_iter().flatten() {
        if let Some(routes) = http["route"].as_array_mut() {
            change(routes);
        }
    }
}

/// Whether a Deployment runs what its manifest says, as far as who is asked can tell: images and settings.
pub fn is_as_said(live: &Json, said: &Json) -> bool {
    fn template(body: &Json) -> &Json {
        &body["spec"]["template"]
    }
    let images = |body: &Json| -> Map<String, Json> {
        let containers = template(body)["spec"]["containers"].as_array().into_iter().flatten();
        containers.filter_map(|one| Some((one["name"].as_str()?.to_owned(), one["image"].clone()))).collect()
    };
    let settings = |body: &Json| template(body)["metadata"]["annotations"][SETTINGS].clone();
    let (wanted, found) = (images(said), images(live));
    // What is injected beside them is nobody's wish.
    wanted.iter().all(|(name, image)| found.get(name) == Some(image)) && settings(live) == settings(said)
}

/// Whether calls of any of the targets are led to green, as the cluster has it.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn is_led_on(port: &dyn Port, manifest: &Manifest, targets: &[String]) -> Result<bool> {
    for id in plain(manifest, targets).iter().map(Item::id) {
        if matches!(id.kind.as_str(), "Service" | "VirtualService")
            && let Some(live) = port.get(&id.gvk(), &id.namespace, &id.name).await?
            && leads_on(live)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn leads_on(mut live: Json) -> bool {
    let mut is_routed = false;
    each_route(&mut live["spec"], |routes| {
        is_routed |= routes.iter().any(|one| one["destination"]["subset"] == GREEN && one["weight"] != 0);
    });
    is_routed || live["spec"]["selector"][TRACK] == GREEN
}

/// The second colour in the size of the first: as many pods as the live one has, whoever decided that.
///
/// # Errors
/// The cluster cannot be asked.
pub async fn whole(port: &dyn Port, mut green: Manifest) -> Result<Manifest> {
    for item in green.items.iter_mut().filter(|item| item.body["kind"] == "Deployment") {
        let id = item.id();
        let Some(target) = id.name.strip_suffix(GREEN).and_then(|name| name.strip_suffix('-')) else {
            continue;
        };
        let live = replicas(port, &id.namespace, target).await?.unwrap_or(1);
        let own = item.body["spec"]["replicas"].as_u64().unwrap_or(0);
        item.body["spec"]["replicas"] = live.max(own).into();
    }
    Ok(green)
}

/// How many pods a Deployment is to have, if there is one.
pub async fn replicas(port: &dyn Port, namespace: &str, name: &str) -> Result<Option<u64>> {
    let found = port.get(&Gvk::from(Kind::Deployment), namespace, name).await?;
    Ok(found.map(|found| found["spec"]["replicas"].as_u64().unwrap_or(1)))
}

/// The Deployment that the autoscaler of a target scales, if it has one.
pub async fn scaled(port: &dyn Port, manifest: &Manifest, target: &str) -> Result<Option<String>> {
    let one = [target.to_owned()];
    let autoscaler = manifest.items.iter().find(|item| {
        item.body["kind"] == "HorizontalPodAutoscaler" && led(manifest, &one, &item.body).is_some()
    });
    let Some(id) = autoscaler.map(Item::id) else { return Ok(None) };
    let found = port.get(&id.gvk(), &id.namespace, &id.name).await?;
    Ok(found.and_then(|found| found["spec"]["scaleTargetRef"]["name"].as_str().map(str::to_owned)))
}

/// The names of the second colour's objects.
pub fn green_ids(manifest: &Manifest, targets: &[String]) -> Vec<Id> {
    green(manifest, targets, Colour::Stable).ids().collect()
}
