//! A cluster among those of a kubeconfig: put there without losing anything of the others.
//!
//! Source: "Organizing Cluster Access Using kubeconfig Files", client.authentication.k8s.io/v1.
//!
//! Invariants: what is not ours stays as it is, and in its order; the same entry twice changes nothing; a context that
//! belongs to somebody else is not taken over.

use serde_json::{Map, Value, json};

use crate::Endpoint;

/// The interface between kubectl and what it runs for a token.
pub const EXEC_API: &str = "client.authentication.k8s.io/v1";
/// What the entries of clusters and users begin with, so that they are ours alone.
const OURS: &str = "rtcctl:";

/// What is to be in the file.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    pub endpoint: &'a Endpoint,
    /// What the context is called.
    pub context: &'a str,
    /// The program that makes tokens.
    pub command: &'a str,
    /// The profile of AWS that it is to use.
    pub profile: Option<&'a str>,
    pub selection: Selection,
}

/// Whether the context becomes the one that is used when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    Kept,
    Taken,
}

/// A kubeconfig with the entry in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    pub value: Value,
    /// What is other than before, in words; nothing where nothing has to be written.
    pub changes: Vec<String>,
}

/// Why a kubeconfig was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("not a kubeconfig: {0}")]
    NotOne(String),
    #[error("the context {context:?} is there already, for the cluster {cluster:?} and the user {user:?}")]
    Taken { context: String, cluster: String, user: String },
}

impl Entry<'_> {
    /// What cluster and user are called in the file.
    pub fn name(&self) -> String {
        format!("{OURS}{}", self.endpoint.arn)
    }

    /// The kubeconfig that has this cluster alone.
    pub fn alone(&self) -> Value {
        let name = self.name();
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": self.cluster()}],
            "users": [{"name": name, "user": {"exec": self.exec()}}],
            "contexts": [{"name": self.context, "context": {"cluster": name, "user": name}}],
            "current-context": self.context,
            "preferences": {},
        })
    }

    fn cluster(&self) -> Value {
        json!({
            "server": self.endpoint.url,
            "certificate-authority-data": self.endpoint.ca_base64(),
        })
    }

    fn exec(&self) -> Value {
        let endpoint = self.endpoint;
        let mut args = vec!["cluster", "token", "--cluster", &endpoint.name, "--region", &endpoint.region];
        if let Some(profile) = self.profile {
            args.extend(["--aws-profile", profile]);
        }
        json!({
            "apiVersion": EXEC_API,
            "command": self.command,
            "args": args,
            "installHint": "rtcctl makes the tokens of this cluster; put it on the PATH",
            "interactiveMode": "Never",
            "provideClusterInfo": false,
        })
    }

    /// Puts the entry into a kubeconfig; `None` is a file that is not there, or empty.
    pub fn merged(&self, existing: Option<Value>) -> Result<Merged, Refused> {
        let mut changes = Vec::new();
        let mut root = match existing {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(root)) => root,
            Some(_) => return Err(Refused::NotOne("its root is no map".to_owned())),
        };
        if let Some(kind) = root.get("kind").filter(|kind| *kind != "Config") {
            return Err(Refused::NotOne(format!("its kind is {kind}")));
        }
        for (key, value) in [("apiVersion", "v1"), ("kind", "Config")] {
            root.entry(key).or_insert_with(|| value.into());
        }
        let name = self.name();
        self.refuse_taken(&root, &name)?;
        let cluster = entry(&mut root, "clusters", "cluster", &name, &mut changes)?;
        // Another way to prove itself must not stand beside ours.
        if cluster.shift_remove("certificate-authority").is_some() {
            changes.push("certificate-authority of the cluster".to_owned());
        }
        set(cluster, self.cluster(), "cluster", &mut changes);
        let user = entry(&mut root, "users", "user", &name, &mut changes)?;
        let mut exec = self.exec();
        // Variables that somebody added to the entry are theirs.
        if let (Some(env), Some(exec)) =
            (user.get("exec").and_then(|exec| exec.get("env")), exec.as_object_mut())
        {
            exec.insert("env".to_owned(), env.clone());
        }
        set(user, json!({"exec": exec}), "user", &mut changes);
        let context = entry(&mut root, "contexts", "context", self.context, &mut changes)?;
        set(context, json!({"cluster": name, "user": name}), "context", &mut changes);
        let current = root.get("current-context").and_then(Value::as_str).unwrap_or_default();
        if current != self.context && (self.selection == Selection::Taken || current.is_empty()) {
            changes.push(match current {
                "" => format!("current context {}", self.context),
                other => format!("current context {} (was {other})", self.context),
            });
            root.insert("current-context".to_owned(), self.context.into());
        }
        Ok(Merged { value: Value::Object(root), changes })
    }

    fn refuse_taken(&self, root: &Map<String, Value>, name: &str) -> Result<(), Refused> {
        let Some(context) = named(root, "contexts", self.context) else { return Ok(()) };
        let said = |key: &str| {
            let text = context.get("context").and_then(|context| context.get(key)).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let (cluster, user) = (said("cluster"), said("user"));
        if cluster == name && user == name {
            return Ok(());
        }
        Err(Refused::Taken { context: self.context.to_owned(), cluster, user })
    }
}

/// Whether a kubeconfig has a context of this name.
pub fn has_context(root: &Value, context: &str) -> bool {
    root.as_object().is_some_and(|root| named(root, "contexts", context).is_some())
}

fn named<'a>(root: &'a Map<String, Value>, list: &str, name: &str) -> Option<&'a Value> {
    root.get(list)?.as_array()?.iter().find(|item| item.get("name").and_then(Value::as_str) == Some(name))
}

/// The body of an entry, made where there is none.
fn entry<'a>(
    root: &'a mut Map<String, Value>,
    list: &str,
    body: &str,
    name: &str,
    changes: &mut Vec<String>,
) -> Result<&'a mut Map<String, Value>, Refused> {
    let not_one = || Refused::NotOne(format!("its {list} are no list of named maps"));
    let slot = root.entry(list).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Array(Vec::new());
    }
    let items = slot.as_array_mut().ok_or_else(not_one)?;
    if items.iter().any(|item| !item.is_object()) {
        return Err(not_one());
    }
    let found = items.iter().position(|item| item.get("name").and_then(Value::as_str) == Some(name));
    let index = found.unwrap_or_else(|| {
        items.push(json!({"name": name}));
        changes.push(format!("new {body} {name}"));
        items.len() - 1
    });
    let item = items.get_mut(index).and_then(Value::as_object_mut).ok_or_else(not_one)?;
    let slot = item.entry(body).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().ok_or_else(not_one)
}

/// Sets our keys of an entry; what else is there stays.
fn set(body: &mut Map<String, Value>, wanted: Value, kind: &str, changes: &mut Vec<String>) {
    let Value::Object(wanted) = wanted else { return };
    let is_new = body.is_empty();
    for (key, value) in wanted {
        if body.get(&key) != Some(&value) {
            if !is_new {
                changes.push(format!("{key} of the {kind}"));
            }
            body.insert(key, value);
        }
    }
}
