//! A plan, as `terraform show -json PLANFILE` says it (`format_version` 1.x).
//!
//! Invariants: a replacement is a kind of its own, never a deletion and a creation; what Terraform will not do (reading,
//! nothing) is no change.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use crate::attributes::{self, Difference, States};
use crate::bill::{self, Inventory};

/// What would happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    Create,
    Update,
    Replace(Order),
    Delete,
    /// It leaves the state and goes on living.
    Forget,
    Read,
    Nothing,
}

/// Which half of a replacement comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Order {
    DestroyFirst,
    CreateFirst,
}

impl Action {
    /// From the `actions` of a change: the words are a closed list.
    fn from_words(words: &[String]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Some(match words.as_slice() {
            ["create"] => Action::Create,
            ["update"] => Action::Update,
            ["delete", "create"] => Action::Replace(Order::DestroyFirst),
            ["create", "delete"] => Action::Replace(Order::CreateFirst),
            // The old one stays, unmanaged.
            ["create", "forget"] | ["forget", "create"] => Action::Create,
            ["delete"] => Action::Delete,
            ["forget"] => Action::Forget,
            ["read"] => Action::Read,
            ["no-op"] => Action::Nothing,
            _ => return None,
        })
    }

    /// The object that is there now will be gone.
    pub fn destroys(self) -> bool {
        matches!(self, Action::Replace(_) | Action::Delete)
    }

    pub fn changes(self) -> bool {
        !matches!(self, Action::Read | Action::Nothing)
    }

    pub const fn word(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Replace(_) => "replace",
            Action::Delete => "delete",
            Action::Forget => "forget",
            Action::Read => "read",
            Action::Nothing => "nothing",
        }
    }
}

/// One resource of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub address: String,
    /// Where it was before a `moved` block.
    pub previous_address: Option<String>,
    /// For example `aws_db_instance`.
    pub kind: String,
    pub action: Action,
    /// The attributes that cannot be changed in place.
    pub forced_by: Vec<String>,
    /// Terraform's word for why, for example `replace_because_tainted` or `delete_because_no_resource_config`.
    pub reason: Option<String>,
    pub differences: Vec<Difference>,
    pub is_imported: bool,
}

/// An output that would differ. Its value is not kept: it may be large, and it may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChange {
    pub name: String,
    pub action: Action,
}

/// How many resources each thing happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub create: usize,
    pub update: usize,
    pub replace: usize,
    pub delete: usize,
    pub forget: usize,
    pub import: usize,
    pub r#move: usize,
    pub drift: usize,
}

impl Counts {
    /// Drift is no change: it is what somebody else did.
    pub fn is_empty(&self) -> bool {
        Self { drift: 0, ..*self } == Self::default()
    }
}

/// A whole plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub terraform_version: String,
    pub changes: Vec<Change>,
    /// What is not as Terraform left it.
    pub drift: Vec<Change>,
    /// Attributes that this plan was made from: a resource without its keys, and the first step of the path, if one is said.
    relevant: Vec<(String, Option<String>)>,
    pub outputs: Vec<OutputChange>,
    /// What of it is billed by the month, before and after.
    pub inventory: Inventory,
    /// Whether `terraform apply` would take it.
    pub is_applicable: bool,
    /// Whether everything that the configuration wants is in it; `-target` and deferred changes leave things out.
    pub is_complete: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("the plan is not JSON as terraform show writes it: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("the plan has format {0:?}, and formats 1.x are understood")]
    Format(String),
    #[error("the plan does {words:?} to {address}, which is not understood")]
    Action { address: String, words: Vec<String> },
    #[error("terraform says that the plan failed half-way")]
    Errored,
}

#[derive(Deserialize)]
struct Document {
    format_version: String,
    #[serde(default)]
    terraform_version: String,
    #[serde(default)]
    resource_changes: Vec<Resource>,
    #[serde(default)]
    resource_drift: Vec<Resource>,
    #[serde(default)]
    output_changes: BTreeMap<String, OutputDelta>,
    #[serde(default)]
    relevant_attributes: Vec<Relevant>,
    #[serde(default)]
    configuration: Json,
    #[serde(default)]
    variables: Json,
    applyable: Option<bool>,
    complete: Option<bool>,
    #[serde(default)]
    errored: bool,
}

/// Its values are passed over: they may be megabytes, and nobody is shown them.
#[derive(Deserialize)]
struct OutputDelta {
    actions: Vec<String>,
}

#[derive(Deserialize)]
struct Relevant {
    resource: String,
    #[serde(default)]
    attribute: Vec<Json>,
}

#[derive(Deserialize)]
struct Resource {
    address: String,
    previous_address: Option<String>,
    #[serde(default)]
    mode: String,
    #[serde(rename = "type", default)]
    kind: String,
    deposed: Option<String>,
    #[serde(default)]
    change: Delta,
    action_reason: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Delta {
    actions: Vec<String>,
    before: Json,
    after: Json,
    after_unknown: Json,
    before_sensitive: Json,
    after_sensitive: Json,
    replace_paths: Vec<Vec<Json>>,
    importing: Option<Json>,
}

/// Attributes that change by themselves.
const MOVING: [(&str, &str); 1] = [("aws_db_instance", "latest_restorable_time")];

impl Plan {
    /// # Errors
    /// What is not understood is refused whole: a plan that is read in part cannot be judged.
    pub fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        Self::of(serde_json::from_slice(text)?)
    }

    /// The same of what is too large to be held as text beside what it says.
    ///
    /// # Errors
    /// As for [`Plan::parse`].
    pub fn read(text: impl std::io::Read) -> Result<Self, Unreadable> {
        Self::of(serde_json::from_reader(std::io::BufReader::new(text))?)
    }

    fn of(document: Document) -> Result<Self, Unreadable> {
        if document.format_version.split('.').next() != Some("1") {
            return Err(Unreadable::Format(document.format_version));
        }
        if document.errored {
            return Err(Unreadable::Errored);
        }
        let inventory =
            bill::take(&seen(&document.resource_changes), &document.configuration, &document.variables);
        let changes = all_changes(document.resource_changes)?;
        let mut drift = all_changes(document.resource_drift)?;
        // What a provider merely writes in another way is no drift, nor is what nobody has to change.
        for change in &mut drift {
            let kind = &change.kind;
            change.differences.retain(|one| !MOVING.contains(&(kind.as_str(), one.path.as_str())));
        }
        drift.retain(|change| change.action.destroys() || !change.differences.is_empty());
        let mut outputs = Vec::new();
        for (name, delta) in document.output_changes {
            let action = action_of(&format!("output {name}"), delta.actions)?;
            if action.changes() {
                outputs.push(OutputChange { name, action });
            }
        }
        // Older versions do not say it: then what changes something is applicable.
        let has_changes = !changes.is_empty() || !outputs.is_empty();
        Ok(Self {
            terraform_version: document.terraform_version,
            is_applicable: document.applyable.unwrap_or(has_changes),
            is_complete: document.complete.unwrap_or(true),
            changes,
            drift,
            relevant: document.relevant_attributes.into_iter().map(Relevant::written).collect(),
            outputs,
            inventory,
        })
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts { drift: self.drift.len(), ..Counts::default() };
        for change in &self.changes {
            match change.action {
                Action::Create => counts.create += 1,
                Action::Update => counts.update += 1,
                Action::Replace(_) => counts.replace += 1,
                Action::Delete => counts.delete += 1,
                Action::Forget => counts.forget += 1,
                Action::Read | Action::Nothing => {}
            }
            counts.import += usize::from(change.is_imported);
            counts.r#move += usize::from(change.previous_address.is_some());
        }
        counts
    }

    /// Leaves out drift that this plan does not rest on. The first look after an apply finds much that no one has done: a
    /// bucket knows its policy, a group its rules.
    pub fn forget_idle_drift(&mut self) {
        let relevant = std::mem::take(&mut self.relevant);
        self.drift.retain(|change| {
            let bare = without_keys(&change.address);
            relevant.iter().filter(|(resource, _)| *resource == bare).any(|(_, attribute)| {
                let Some(attribute) = attribute else { return true };
                change.action.destroys()
                    || change
                        .differences
                        .iter()
                        .any(|one| one.path.split(['.', '[']).next().is_some_and(|first| first == attribute))
            })
        });
    }

    /// Whether an apply would do nothing at all. Outputs count: a first apply of outputs alone is a change of the state.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.outputs.is_empty()
    }
}

impl Relevant {
    fn written(self) -> (String, Option<String>) {
        let first = self.attribute.first().and_then(Json::as_str).map(str::to_owned);
        (without_keys(&self.resource), first)
    }
}

/// `module.a["x"].aws_b.c[0]` as `module.a.aws_b.c`.
fn without_keys(address: &str) -> String {
    let (mut bare, mut is_in_text, mut depth) = (String::new(), false, 0);
    for letter in address.chars() {
        match letter {
            '"' if depth > 0 => is_in_text = !is_in_text,
            '[' if !is_in_text => depth += 1,
            ']' if !is_in_text => depth -= 1,
            _ if depth == 0 => bare.push(letter),
            _ => {}
        }
    }
    bare
}

/// What a bill is made of: resources that are managed, and no leftovers of replacements.
fn seen(resources: &[Resource]) -> Vec<bill::Seen<'_>> {
    let held = resources.iter().filter(|one| one.mode != "data" && one.deposed.is_none());
    held.map(|one| bill::Seen {
        address: &one.address,
        kind: &one.kind,
        before: &one.change.before,
        after: &one.change.after,
    })
    .collect()
}

fn action_of(address: &str, words: Vec<String>) -> Result<Action, Unreadable> {
    Action::from_words(&words).ok_or_else(|| Unreadable::Action { address: address.to_owned(), words })
}

/// Those that change something, or only move or enter the state.
fn all_changes(resources: Vec<Resource>) -> Result<Vec<Change>, Unreadable> {
    let mut changes = Vec::new();
    for resource in resources {
        let delta = resource.change;
        let action = action_of(&resource.address, delta.actions)?;
        let is_imported = delta.importing.is_some_and(|importing| !importing.is_null());
        if !action.changes() && resource.previous_address.is_none() && !is_imported {
            continue;
        }
        let differences = attributes::differences(States {
            before: &delta.before,
            after: &delta.after,
            after_unknown: &delta.after_unknown,
            before_sensitive: &delta.before_sensitive,
            after_sensitive: &delta.after_sensitive,
        });
        let address = match resource.deposed {
            // The leftover of a replacement that was interrupted: it has the address of its successor.
            Some(key) => format!("{} (deposed {key})", resource.address),
            None => resource.address,
        };
        changes.push(Change {
            address,
            previous_address: resource.previous_address,
            kind: resource.kind,
            action,
            forced_by: delta.replace_paths.iter().map(|path| written(path)).collect(),
            reason: resource.action_reason,
            differences,
            is_imported,
        });
    }
    Ok(changes)
}

/// `["ingress", 0, "port"]` as `ingress[0].port`.
fn written(path: &[Json]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Json::String(name) if text.is_empty() => text.push_str(name),
            Json::String(name) => {
                text.push('.');
                text.push_str(name);
            }
            index => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

#[cfg(test)]
mod tests;
