//! Who owns which field: sets of fields, merging, and what an apply takes away.
//!
//! As the API does it: maps and structs are merged field by field; lists that have keys are merged item by item; what is
//! atomic is one field. Invariants: a field that is applied with another value than its owner's is a conflict; a field
//! that its only owner applies no more is removed; an update by another way takes what it changes.
//!
//! Left out: the order of merged lists is that of the present list with new items behind (the API prefers the order of
//! what is applied); kinds without a built-in schema have maps that merge and lists that do not; unions.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

pub use super::owners::{Managed, managers, set_managers};

/// One step from an object to a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Field(String),
    /// The item of a list with these keys, as a document.
    Key(String),
    /// The item of a list that is a set.
    Value(String),
}

pub type Path = Vec<Step>;
pub type Set = BTreeSet<Path>;

enum Form {
    Leaf,
    Map,
    Keyed(&'static [&'static str]),
    Values,
}

/// Maps that are one field.
const ATOMIC: [&str; 13] = [
    "selector",
    "nodeSelector",
    "podSelector",
    "namespaceSelector",
    "labelSelector",
    "secretKeyRef",
    "configMapKeyRef",
    "fieldRef",
    "resourceFieldRef",
    "scaleTargetRef",
    "targetRef",
    "claimRef",
    "roleRef",
];

fn form(path: &[Step], value: &Json) -> Form {
    let name = match path.last() {
        Some(Step::Field(name)) => name.as_str(),
        Some(_) => "",
        None => return Form::Map,
    };
    match value {
        Json::Object(map) if map.is_empty() || ATOMIC.contains(&name) => Form::Leaf,
        Json::Object(_) => Form::Map,
        Json::Array(items) if items.is_empty() => Form::Leaf,
        Json::Array(_) => list_form(path, name),
        _ => Form::Leaf,
    }
}

fn list_form(path: &[Step], name: &str) -> Form {
    let in_container = path.len() >= 3
        && matches!(&path[path.len() - 2], Step::Key(_))
        && matches!(&path[path.len() - 3], Step::Field(list) if list.ends_with("ontainers"));
    let is_at = |wanted: &[&str]| {
        path.len() == wanted.len()
            && path.iter().zip(wanted).all(|(step, word)| matches!(step, Step::Field(name) if name == word))
    };
    match name {
        "containers" | "initContainers" | "ephemeralContainers" => Form::Keyed(&["name"]),
        "env" if in_container => Form::Keyed(&["name"]),
        "ports" if in_container => Form::Keyed(&["containerPort", "protocol"]),
        "volumeMounts" if in_container => Form::Keyed(&["mountPath"]),
        "ports" if is_at(&["spec", "ports"]) => Form::Keyed(&["port", "protocol"]),
        "volumes" | "imagePullSecrets" => Form::Keyed(&["name"]),
        "secrets" if is_at(&["secrets"]) => Form::Keyed(&["name"]),
        "hostAliases" => Form::Keyed(&["ip"]),
        "topologySpreadConstraints" => Form::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        "conditions" => Form::Keyed(&["type"]),
        "ownerReferences" => Form::Keyed(&["uid"]),
        "finalizers" => Form::Values,
        _ => Form::Leaf,
    }
}

/// The keys of an item, with what they are when nobody says so.
fn key_of(item: &Json, keys: &[&str]) -> String {
    let mut found = Map::new();
    for key in keys {
        let value = match &item[*key] {
            Json::Null if *key == "protocol" => json!("TCP"),
            value => value.clone(),
        };
        found.insert((*key).to_owned(), value);
    }
    Json::Object(found).to_string()
}

/// The fields that an object has.
pub fn fields(object: &Json) -> Set {
    let mut set = Set::new();
    gather(object, &mut Path::new(), &mut set);
    set
}

fn gather(value: &Json, path: &mut Path, set: &mut Set) {
    match form(path, value) {
        Form::Leaf if value.is_null() => {}
        Form::Leaf => {
            set.insert(path.clone());
        }
        Form::Map => {
            for (name, value) in value.as_object().into_iter().flatten() {
                path.push(Step::Field(name.clone()));
                gather(value, path, set);
                path.pop();
            }
        }
        Form::Keyed(keys) => {
            for item in value.as_array().into_iter().flatten() {
                path.push(Step::Key(key_of(item, keys)));
                set.insert(path.clone());
                gather(item, path, set);
                path.pop();
            }
        }
        Form::Values => {
            for item in value.as_array().into_iter().flatten() {
                path.push(Step::Value(item.to_string()));
                set.insert(path.clone());
                path.pop();
            }
        }
    }
}

/// The fields that an applier says something about: what names the object and what the server writes is nobody's.
pub fn applied(object: &Json) -> Set {
    let mut set = fields(object);
    set.retain(|path| !is_nobodys(path));
    set
}

fn is_nobodys(path: &[Step]) -> bool {
    let name = |at: usize| match path.get(at) {
        Some(Step::Field(name)) => name.as_str(),
        _ => "",
    };
    match name(0) {
        "apiVersion" | "kind" => true,
        "metadata" => matches!(
            name(1),
            "name"
                | "namespace"
                | "uid"
                | "resourceVersion"
                | "generation"
                | "creationTimestamp"
                | "deletionTimestamp"
                | "deletionGracePeriodSeconds"
                | "managedFields"
                | "selfLink"
        ),
        _ => false,
    }
}

/// The value at a path.
pub fn value_at<'a>(object: &'a Json, path: &[Step]) -> Option<&'a Json> {
    let mut here = object;
    for step in path {
        here = match step {
            Step::Field(name) => here.get(name)?,
            Step::Key(key) => {
                let key: Json = serde_json::from_str(key).ok()?;
                here.as_array()?.iter().find(|item| has_key(item, &key))?
            }
            Step::Value(text) => here.as_array()?.iter().find(|item| item.to_string() == *text)?,
        };
    }
    Some(here)
}

fn has_key(item: &Json, key: &Json) -> bool {
    let Some(key) = key.as_object() else { return false };
    let keys: Vec<&str> = key.keys().map(String::as_str).collect();
    serde_json::from_str::<Json>(&key_of(item, &keys)).ok().as_ref().and_then(Json::as_object) == Some(key)
}

/// Takes a field out, and the maps that are empty without it.
pub fn remove(object: &mut Json, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step, object) {
        (Step::Field(name), Json::Object(map)) => {
            if rest.is_empty() {
                map.shift_remove(name);
            } else if let Some(below) = map.get_mut(name) {
                remove(below, rest);
                let is_empty = match &*below {
                    Json::Object(map) => map.is_empty(),
                    Json::Array(items) => items.is_empty(),
                    _ => false,
                };
                if is_empty {
                    map.shift_remove(name);
                }
            }
        }
        (Step::Key(key), Json::Array(items)) => {
            let Ok(key) = serde_json::from_str::<Json>(key) else { return };
            let Some(at) = items.iter().position(|item| has_key(item, &key)) else { return };
            if rest.is_empty() {
                items.remove(at);
            } else {
                remove(&mut items[at], rest);
            }
        }
        (Step::Value(text), Json::Array(items)) => {
            let value: Option<Json> = serde_json::from_str(text).ok();
            items.retain(|item| Some(item) != value.as_ref());
        }
        _ => {}
    }
}

/// `live` with what is applied laid over it.
pub fn merge(live: &Json, applied: &Json) -> Json {
    let mut merged = live.clone();
    merge_into(&mut merged, applied, &mut Path::new());
    merged
}

fn merge_into(live: &mut Json, applied: &Json, path: &mut Path) {
    match (form(path, applied), &mut *live) {
        (Form::Map, Json::Object(map)) => {
            for (name, value) in
                applied.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null())
            {
                path.push(Step::Field(name.clone()));
                match map.get_mut(name) {
                    Some(below) => merge_into(below, value, path),
                    None => {
                        map.insert(name.clone(), value.clone());
                    }
                }
                path.pop();
            }
        }
        (Form::Keyed(keys), Json::Array(items)) => {
            for item in applied.as_array().into_iter().flatten() {
                let key = key_of(item, keys);
                path.push(Step::Key(key.clone()));
                match items.iter_mut().find(|known| key_of(known, keys) == key) {
                    Some(known) => merge_into(known, item, path),
                    None => items.push(item.clone()),
                }
                path.pop();
            }
        }
        (Form::Values, Json::Array(items)) => {
            for item in applied.as_array().into_iter().flatten() {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
        }
        _ => *live = applied.clone(),
    }
}

/// What differs between two objects.
pub struct Difference {
    /// There now, or of another value.
    pub changed: Set,
    pub removed: Set,
}

pub fn compare(old: &Json, new: &Json) -> Difference {
    let (before, after) = (applied(old), applied(new));
    let changed = after
        .iter()
        .filter(|path| {
            !before.contains(*path)
                || (matches!(path.last(), Some(Step::Field(_))) && value_at(old, path) != value_at(new, path))
        })
        .cloned()
        .collect();
    Difference { changed, removed: before.difference(&after).cloned().collect() }
}

/// `.spec.template.spec.containers[name="web"].image`, as conflicts name a field.
pub fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Key(key) => {
                let key: Map<String, Json> = serde_json::from_str(key).unwrap_or_default();
                let parts: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
                text.push_str(&format!("[{}]", parts.join(",")));
            }
            Step::Value(value) => text.push_str(&format!("[={value}]")),
        }
    }
    text
}

/// As `fieldsV1` writes a set.
pub fn written(set: &Set) -> Json {
    let mut root = Map::new();
    for path in set {
        let mut here = &mut root;
        for step in path {
            let name = match step {
                Step::Field(name) => format!("f:{name}"),
                Step::Key(key) => format!("k:{key}"),
                Step::Value(value) => format!("v:{value}"),
            };
            let below = here.entry(name).or_insert_with(|| json!({}));
            let Json::Object(below) = below else { unreachable!("only maps are put in") };
            here = below;
        }
        if matches!(path.last(), Some(Step::Key(_))) {
            here.insert(".".to_owned(), json!({}));
        }
    }
    Json::Object(root)
}

/// A set from its `fieldsV1`.
pub fn read(written: &Json) -> Set {
    let mut set = Set::new();
    read_into(written, &mut Path::new(), &mut set);
    set
}

fn read_into(written: &Json, path: &mut Path, set: &mut Set) {
    let Some(map) = written.as_object() else { return };
    if (map.is_empty() || map.contains_key(".")) && !path.is_empty() {
        set.insert(path.clone());
    }
    for (name, below) in map.iter().filter(|(name, _)| *name != ".") {
        let step = match name.split_once(':') {
            Some(("f", name)) => Step::Field(name.to_owned()),
            Some(("k", key)) => Step::Key(key.to_owned()),
            Some(("v", value)) => Step::Value(value.to_owned()),
            _ => continue,
        };
        path.push(step);
        read_into(below, path, set);
        path.pop();
    }
}

/// What became of an apply before it is kept.
pub enum Outcome {
    Merged(Json),
    /// Field and its owner.
    Conflicts(Vec<(String, String)>),
}

/// Applies a document as `manager` to an object that is there. `settle` fills in what nobody says.
pub fn apply(
    live: &Json,
    document: &Json,
    manager: &str,
    is_forced: bool,
    time: &str,
    settle: impl Fn(&mut Json),
) -> Outcome {
    let mut all = managers(live);
    let is_me = |managed: &Managed| managed.manager == manager && managed.operation == "Apply";
    let last =
        all.iter().find(|managed| is_me(managed)).map(|managed| managed.set.clone()).unwrap_or_default();
    let mine = applied(document);

    let mut merged = merge(live, document);
    // What was mine alone and is applied no more goes; whole items before what is in them.
    for path in last.difference(&mine) {
        let is_shared = all
            .iter()
            .filter(|managed| !is_me(managed))
            .any(|managed| managed.set.iter().any(|owned| owned.starts_with(path)));
        let holds_mine = mine.iter().any(|owned| owned.starts_with(path));
        if !is_shared && !holds_mine {
            remove(&mut merged, path);
        }
    }
    settle(&mut merged);

    let difference = compare(live, &merged);
    let mut conflicts = Vec::new();
    for managed in all.iter().filter(|managed| !is_me(managed)) {
        for path in managed.set.intersection(&difference.changed).filter(|path| mine.contains(*path)) {
            // That an item is there is no matter of dispute.
            if matches!(path.last(), Some(Step::Field(_))) {
                conflicts.push((dotted(path), managed.manager.clone()));
            }
        }
    }
    if !conflicts.is_empty() && !is_forced {
        return Outcome::Conflicts(conflicts);
    }
    for managed in all.iter_mut().filter(|managed| !is_me(managed)) {
        managed.set.retain(|path| {
            let is_taken = difference.changed.contains(path)
                && mine.contains(path)
                && matches!(path.last(), Some(Step::Field(_)));
            !is_taken && !difference.removed.contains(path)
        });
    }
    match all.iter_mut().find(|managed| is_me(managed)) {
        Some(managed) => {
            if managed.set != mine {
                managed.set = mine;
                time.clone_into(&mut managed.time);
            }
        }
        None => all.push(Managed {
            manager: manager.to_owned(),
            operation: "Apply".to_owned(),
            subresource: String::new(),
            time: time.to_owned(),
            set: mine,
        }),
    }
    set_managers(&mut merged, &all);
    Outcome::Merged(merged)
}

/// Gives what an update changed to whoever made it.
pub fn updated(old: &Json, new: &mut Json, manager: &str, subresource: &str, time: &str) {
    let difference = compare(old, new);
    let mut all = managers(old);
    let is_me = |managed: &Managed| {
        managed.manager == manager && managed.operation == "Update" && managed.subresource == subresource
    };
    for managed in &mut all {
        let is_mine = is_me(managed);
        managed.set.retain(|path| {
            let is_taken = difference.changed.contains(path) && matches!(path.last(), Some(Step::Field(_)));
            !difference.removed.contains(path) && (is_mine || !is_taken)
        });
    }
    if !difference.changed.is_empty() {
        match all.iter_mut().find(|managed| is_me(managed)) {
            Some(managed) => {
                managed.set.extend(difference.changed);
                time.clone_into(&mut managed.time);
            }
            None => all.push(Managed {
                manager: manager.to_owned(),
                operation: "Update".to_owned(),
                subresource: subresource.to_owned(),
                time: time.to_owned(),
                set: difference.changed,
            }),
        }
    }
    set_managers(new, &all);
}
