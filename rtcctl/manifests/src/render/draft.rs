//! An object as it is put together: what all of them have, and what is added.

use serde_json::{Map, Value, json};

use super::{ENVIRONMENT, OWNER, Object, RELEASE, Wave};
use crate::Release;

pub(super) struct Draft {
    wave: Wave,
    metadata: Map<String, Value>,
    head: Map<String, Value>,
    rest: Map<String, Value>,
}

/// The labels of everything, then those of the description.
pub(super) fn labels(release: &Release, component: &str) -> Map<String, Value> {
    let description = &release.description;
    let mut labels = Map::new();
    let mut label = |key: &str, value: &str| labels.insert(key.to_owned(), json!(value));
    label("app.kubernetes.io/name", component);
    label("app.kubernetes.io/part-of", "rtc");
    if let Some(version) = &description.version {
        label("app.kubernetes.io/version", version);
    }
    label(OWNER.0, OWNER.1);
    label(ENVIRONMENT, &description.environment);
    label(RELEASE, release.image.short());
    for (key, value) in &description.labels {
        label(key, value);
    }
    labels
}

/// What finds the pods of a component, of whatever release.
pub(super) fn selector(component: &str) -> Map<String, Value> {
    let mut selector = Map::new();
    selector.insert("app.kubernetes.io/name".to_owned(), json!(component));
    selector.insert("app.kubernetes.io/part-of".to_owned(), json!("rtc"));
    selector
}

impl Draft {
    /// An object in the release's namespace.
    pub(super) fn new(
        release: &Release,
        wave: Wave,
        api: &str,
        kind: &str,
        name: &str,
        component: &str,
    ) -> Self {
        let mut draft = Self::of_cluster(release, wave, api, kind, name, component);
        draft.metadata.shift_insert(1, "namespace".to_owned(), json!(release.description.namespace));
        draft
    }

    /// An object of the whole cluster.
    pub(super) fn of_cluster(
        release: &Release,
        wave: Wave,
        api: &str,
        kind: &str,
        name: &str,
        component: &str,
    ) -> Self {
        let mut head = Map::new();
        head.insert("apiVersion".to_owned(), json!(api));
        head.insert("kind".to_owned(), json!(kind));
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), json!(name));
        metadata.insert("labels".to_owned(), Value::Object(labels(release, component)));
        Self { wave, metadata, head, rest: Map::new() }
    }

    /// In another namespace than the release's.
    pub(super) fn inside(mut self, namespace: &str) -> Self {
        match self.metadata.get_mut("namespace") {
            Some(known) => *known = json!(namespace),
            None => {
                self.metadata.shift_insert(1, "namespace".to_owned(), json!(namespace));
            }
        }
        self
    }

    pub(super) fn label(self, key: &str, value: &str) -> Self {
        self.mark("labels", key, value)
    }

    pub(super) fn annotation(self, key: &str, value: &str) -> Self {
        self.mark("annotations", key, value)
    }

    fn mark(mut self, marks: &str, key: &str, value: &str) -> Self {
        let marks = self.metadata.entry(marks).or_insert_with(|| json!({}));
        if let Some(marks) = marks.as_object_mut() {
            marks.insert(key.to_owned(), json!(value));
        }
        self
    }

    pub(super) fn spec(self, spec: Value) -> Self {
        self.with("spec", spec)
    }

    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.rest.insert(key.to_owned(), value);
        self
    }

    pub(super) fn done(self) -> Object {
        let mut body = self.head;
        body.insert("metadata".to_owned(), Value::Object(self.metadata));
        body.extend(self.rest);
        Object { wave: self.wave, body: Value::Object(body) }
    }
}
