//! What is wanted of a job against what it is: by meaning, so that whatever Jenkins and its plug-ins add says nothing.
//!
//! Invariants: a job that was overlaid with what is wanted of it differs no more; overlaying takes nothing away that is
//! not named by what is wanted, but for strangers in lists that belong to it whole; a difference shows no secret.

use serde::Serialize;

use super::xml::{Demand, Element};

/// Lists that belong whole to whoever describes the job: a stranger in them is a difference.
const OWNED: [&str; 6] =
    ["parameterDefinitions", "triggers", "traits", "branches", "userRemoteConfigs", "data"];
/// Elements on the way that tell people nothing.
const BETWEEN: [&str; 9] = [
    "properties",
    "ParametersDefinitionProperty",
    "PipelineTriggersJobProperty",
    "definition",
    "scm",
    "userRemoteConfigs",
    "UserRemoteConfig",
    "data",
    "BranchSource",
];
/// Jenkins keeps the words of a choice in lists of many classes.
const CHOICES: &str = "choices";
/// What Jenkins writes instead of a secret for those who may not see it.
const REDACTED: &str = "secret-redacted";
const SHOWN_LETTERS_MAX: usize = 120;

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where, by the short names of the elements.
    pub at: String,
    /// `None` where there is nothing.
    pub has: Option<String>,
    /// `None` where there should be nothing.
    pub wants: Option<String>,
}

/// Every difference; none where the job is as it should be.
pub fn differences(actual: &Element, wanted: &Element) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(actual, wanted, &mut Vec::new(), &mut found);
    found
}

fn compare(actual: &Element, wanted: &Element, at: &mut Vec<String>, found: &mut Vec<Difference>) {
    let mut differ = |has: Option<String>, wants: Option<String>, at: &[String]| {
        found.push(Difference { at: place(at), has, wants });
    };
    if class(actual) != class(wanted) {
        return differ(Some(summary(actual)), Some(summary(wanted)), at);
    }
    if wanted.name == CHOICES {
        let (has, wants) = (strings(actual), strings(wanted));
        if has != wants {
            differ(Some(has.join(", ")), Some(wants.join(", ")), at);
        }
        return;
    }
    if wanted.children.is_empty() && says_otherwise(actual, wanted) {
        differ(Some(shown(actual)), Some(shown(wanted)), at);
    }
    let matched = matches(actual, wanted);
    for (child, is) in wanted.children.iter().zip(&matched) {
        let is = is.map(|position| &actual.children[position]);
        at.push(called(child));
        match (child.demand, is) {
            (Demand::Exactly, Some(is)) => compare(is, child, at, found),
            (Demand::Exactly, None) => {
                found.push(Difference { at: place(at), has: None, wants: Some(summary(child)) });
            }
            (Demand::Absent, Some(is)) => {
                found.push(Difference { at: place(at), has: Some(summary(is)), wants: None });
            }
            // What Jenkins cannot do without is no difference by itself.
            (Demand::IfMissing, _) | (Demand::Absent, None) => {}
        }
        at.pop();
    }
    if is_owned(wanted) {
        for (position, stranger) in actual.children.iter().enumerate() {
            if !matched.contains(&Some(position)) {
                at.push(called(stranger));
                found.push(Difference { at: place(at), has: Some(summary(stranger)), wants: None });
                at.pop();
            }
        }
    }
}

/// Makes a job so, and leaves what others made of it.
pub fn overlay(actual: &mut Element, wanted: &Element) {
    if class(actual) != class(wanted) || wanted.name == CHOICES {
        *actual = wanted.clone();
        return;
    }
    if wanted.children.is_empty() && says_otherwise(actual, wanted) {
        actual.text.clone_from(&wanted.text);
        actual.children.clear();
    }
    let matched = matches(actual, wanted);
    let mut gone: Vec<usize> = match is_owned(wanted) {
        true => (0..actual.children.len()).filter(|position| !matched.contains(&Some(*position))).collect(),
        false => Vec::new(),
    };
    for (child, is) in wanted.children.iter().zip(&matched) {
        match (child.demand, is) {
            (Demand::Exactly, Some(position)) => overlay(&mut actual.children[*position], child),
            (Demand::Exactly | Demand::IfMissing, None) => actual.children.push(child.clone()),
            (Demand::Absent, Some(position)) => gone.push(*position),
            (Demand::IfMissing, Some(_)) | (Demand::Absent, None) => {}
        }
    }
    let mut position = 0;
    actual.children.retain(|_| {
        position += 1;
        !gone.contains(&(position - 1))
    });
}

/// Whether a text is another one. Of what shall say nothing only its being there is meant.
fn says_otherwise(actual: &Element, wanted: &Element) -> bool {
    match (wanted.text.is_empty(), actual.children.is_empty()) {
        (true, false) => false,
        (false, false) => true,
        (_, true) => actual.text != wanted.text,
    }
}

/// Whether Jenkins hides something of a definition from us, which would be lost if it were sent back.
pub fn is_redacted(actual: &Element) -> bool {
    actual.name == REDACTED || actual.text.trim() == "********" || actual.children.iter().any(is_redacted)
}

fn is_owned(element: &Element) -> bool {
    OWNED.contains(&element.name.as_str())
}

/// What kind of thing it is. Empty lists have a class of their own, and the words of a choice many.
fn class(element: &Element) -> (&str, Option<&str>) {
    let says = element.name != CHOICES;
    (&element.name, element.get("class").filter(|class| says && *class != "empty-list"))
}

/// For each wanted child the one that stands for it: a parameter by its name, whatever its kind; all others by the name
/// of the element and their order.
fn matches(actual: &Element, wanted: &Element) -> Vec<Option<usize>> {
    let mut taken = vec![false; actual.children.len()];
    let is_by_name = wanted.name == "parameterDefinitions";
    let same = |one: &Element, other: &Element| match is_by_name {
        true => one.text_of("name") == other.text_of("name"),
        false => one.name == other.name,
    };
    let find = |child: &Element| {
        let position = actual
            .children
            .iter()
            .enumerate()
            .position(|(position, candidate)| !taken[position] && same(candidate, child))?;
        taken[position] = true;
        Some(position)
    };
    wanted.children.iter().map(find).collect()
}

fn strings(element: &Element) -> Vec<String> {
    match element.name.as_str() {
        "string" => vec![element.text.clone()],
        _ => element.children.iter().flat_map(strings).collect(),
    }
}

fn called(element: &Element) -> String {
    let is_parameter = element.name.ends_with("ParameterDefinition");
    let name = element.text_of("name").filter(|name| is_parameter && !name.is_empty());
    name.unwrap_or_else(|| element.short_name()).to_owned()
}

fn place(at: &[String]) -> String {
    let Some((last, before)) = at.split_last() else { return "the job itself".to_owned() };
    let before = before.iter().filter(|name| !BETWEEN.contains(&name.as_str()));
    before.chain([last]).map(String::as_str).collect::<Vec<_>>().join("/")
}

/// What an element is, without what is in it.
fn summary(element: &Element) -> String {
    if element.children.is_empty() && !element.text.is_empty() {
        return shown(element);
    }
    let class = element.get("class").map(|class| class.rsplit(['.', '$']).next().unwrap_or(class));
    let class = class.filter(|class| *class != "empty-list").unwrap_or_else(|| element.short_name());
    match element.text_of("name") {
        Some(name) => format!("{class} {name}"),
        None => class.to_owned(),
    }
}

/// A text, unless it may be a secret.
fn shown(element: &Element) -> String {
    let (name, text) = (element.name.to_lowercase(), element.text.as_str());
    // This id names credentials and is none; the one of a Vault role is.
    let is_secret = masking::is_secret_name(&name) && name != "credentialsid";
    let is_sealed = text.trim().starts_with("{AQA") && text.trim().ends_with('}');
    if is_sealed || is_secret {
        return "[hidden]".to_owned();
    }
    let text = masking::masked_address(text);
    match text.char_indices().nth(SHOWN_LETTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
