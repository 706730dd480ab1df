//! Jobs, folders, and the parameters that a job takes.

use std::fmt;

use serde::Deserialize;

use crate::definition::REQUIRED;
use crate::{BuildResult, Client, JobName, Result};

/// Something that has a name in Jenkins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: JobName,
    pub kind: JobKind,
    pub is_buildable: bool,
    /// The item of the queue that waits to become its next build, and what it waits for.
    pub queued: Option<(u64, String)>,
    /// The last build and what became of it; no result while it runs.
    pub last: Option<(u64, Option<BuildResult>)>,
    pub description: Option<String>,
    pub parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    Folder,
    /// A folder whose jobs are the branches of a repository.
    Multibranch,
    Pipeline,
    Other,
}

impl JobKind {
    fn of(class: &str) -> Self {
        match class.rsplit('.').next().unwrap_or_default() {
            "WorkflowMultiBranchProject" => JobKind::Multibranch,
            "Folder" | "OrganizationFolder" => JobKind::Folder,
            "WorkflowJob" => JobKind::Pipeline,
            _ => JobKind::Other,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            JobKind::Folder => "folder",
            JobKind::Multibranch => "branches",
            JobKind::Pipeline => "pipeline",
            JobKind::Other => "job",
        }
    }

    pub fn holds_jobs(self) -> bool {
        matches!(self, JobKind::Folder | JobKind::Multibranch)
    }
}

/// One parameter of a job, as it is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub kind: ParameterKind,
    /// Never that of a password.
    pub default: Option<String>,
    pub description: Option<String>,
    /// Its description says that it must be given: Jenkins itself knows no such thing.
    pub is_required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    Text,
    Flag,
    Choice(Vec<String>),
    /// Shown to nobody.
    Password,
    /// The number of a build, a file, and what plug-ins add: not checked here.
    Other(String),
}

impl ParameterKind {
    pub(crate) fn of(class: &str, choices: Vec<String>) -> Self {
        match class {
            "StringParameterDefinition" | "TextParameterDefinition" => ParameterKind::Text,
            "BooleanParameterDefinition" => ParameterKind::Flag,
            "ChoiceParameterDefinition" => ParameterKind::Choice(choices),
            "PasswordParameterDefinition" => ParameterKind::Password,
            // Some versions tell the questions of a pipeline without their kind.
            "" if choices.is_empty() => ParameterKind::Text,
            "" => ParameterKind::Choice(choices),
            other => ParameterKind::Other(other.trim_end_matches("ParameterDefinition").to_owned()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            ParameterKind::Text => "text",
            ParameterKind::Flag => "flag",
            ParameterKind::Choice(_) => "choice",
            ParameterKind::Password => "password",
            ParameterKind::Other(class) => class,
        }
    }
}

/// Why a parameter cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Jenkins would drop it silently.
    Unknown {
        name: String,
        known: Vec<String>,
    },
    NotAChoice {
        name: String,
        value: String,
        choices: Vec<String>,
    },
    NotAFlag {
        name: String,
        value: String,
    },
    Twice {
        name: String,
    },
    /// It must be given, and is not, or is empty.
    Missing {
        name: String,
    },
    /// A file cannot be sent from here.
    Unsendable {
        name: String,
        kind: String,
    },
}

impl Problem {
    /// The parameter that it is about.
    pub fn name(&self) -> &str {
        match self {
            Problem::Unknown { name, .. }
            | Problem::NotAChoice { name, .. }
            | Problem::NotAFlag { name, .. }
            | Problem::Twice { name }
            | Problem::Missing { name }
            | Problem::Unsendable { name, .. } => name,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unknown { name, known } if known.is_empty() => {
                write!(f, "{name} is unknown: the job takes no parameters")
            }
            Problem::Unknown { name, known } => {
                write!(f, "{name} is unknown; there are {}", known.join(", "))
            }
            Problem::NotAChoice { name, value, choices } => {
                write!(f, "{name} = {value:?} is not one of {}", choices.join(", "))
            }
            Problem::NotAFlag { name, value } => write!(f, "{name} = {value:?} is neither true nor false"),
            Problem::Missing { name } => write!(f, "{name} is missing: it has no default"),
            Problem::Twice { name } => write!(f, "{name} is given twice"),
            Problem::Unsendable { name, kind } => {
                write!(f, "{name} is a {kind}, which cannot be sent from here")
            }
        }
    }
}

/// Compares what shall be sent with what the job takes. All problems, not the first.
pub fn check(parameters: &[Parameter], given: &[(String, String)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (position, (name, value)) in given.iter().enumerate() {
        if given[..position].iter().any(|(earlier, _)| earlier == name) {
            problems.push(Problem::Twice { name: name.clone() });
            continue;
        }
        let Some(parameter) = parameters.iter().find(|parameter| parameter.name == *name) else {
            let known = parameters.iter().map(|parameter| parameter.name.clone()).collect();
            problems.push(Problem::Unknown { name: name.clone(), known });
            continue;
        };
        match &parameter.kind {
            ParameterKind::Choice(choices) if !choices.contains(value) => {
                problems.push(Problem::NotAChoice {
                    name: name.clone(),
                    value: value.clone(),
                    choices: choices.clone(),
                })
            }
            ParameterKind::Flag if !matches!(value.as_str(), "true" | "false") => {
                problems.push(Problem::NotAFlag { name: name.clone(), value: value.clone() });
            }
            ParameterKind::Other(kind) if kind.starts_with("File") => {
                problems.push(Problem::Unsendable { name: name.clone(), kind: kind.clone() });
            }
            _ => {}
        }
    }
    let is_given = |name: &str| given.iter().any(|(other, value)| other == name && !value.is_empty());
    let missing = parameters.iter().filter(|parameter| parameter.is_required && !is_given(&parameter.name));
    problems.extend(missing.map(|parameter| Problem::Missing { name: parameter.name.clone() }));
    problems
}

/// What `api/json` says of a job; the tree names just these fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(rename = "_class", default)]
    class: String,
    full_name: Option<String>,
    #[serde(default)]
    name: String,
    description: Option<String>,
    #[serde(default)]
    buildable: bool,
    queue_item: Option<ToldItem>,
    last_build: Option<Last>,
    #[serde(default)]
    property: Vec<Property>,
    #[serde(default)]
    jobs: Vec<Told>,
}

#[derive(Deserialize)]
struct ToldItem {
    id: u64,
    why: Option<String>,
}

#[derive(Deserialize)]
struct Last {
    number: u64,
    result: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    #[serde(default)]
    parameter_definitions: Vec<Parametered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parametered {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    description: Option<String>,
    #[serde(default)]
    choices: Vec<String>,
    default_parameter_value: Option<DefaultValue>,
}

#[derive(Deserialize)]
struct DefaultValue {
    value: Option<serde_json::Value>,
}

const OF_A_JOB: &str = "_class,name,fullName,description,buildable,queueItem[id,why],lastBuild[number,result],\
                        property[parameterDefinitions[name,type,description,choices,defaultParameterValue[value]]]";

impl Client {
    /// What is in a folder, or at the root.
    pub async fn jobs(&self, folder: Option<&JobName>) -> Result<Vec<Job>> {
        let path = folder.map(JobName::path).unwrap_or_default();
        let what = folder.map_or_else(|| "list of jobs".to_owned(), |folder| format!("folder {folder}"));
        let told: Told = self.get(&format!("{path}/api/json?tree=jobs[{OF_A_JOB}]"), &what).await?;
        told.jobs.into_iter().map(|job| read(job, folder)).collect()
    }

    /// One job with its parameters.
    pub async fn job(&self, name: &JobName) -> Result<Job> {
        let path = format!("{}/api/json?tree={OF_A_JOB}", name.path());
        let told: Told = self.get(&path, &format!("job {name}")).await?;
        read(told, name.folder().as_ref())
    }
}

fn read(told: Told, folder: Option<&JobName>) -> Result<Job> {
    let name = match (&told.full_name, folder) {
        (Some(full), _) => full.parse()?,
        (None, Some(folder)) => folder.with(&told.name),
        (None, None) => told.name.parse()?,
    };
    let definitions = told.property.into_iter().flat_map(|property| property.parameter_definitions);
    Ok(Job {
        name,
        kind: JobKind::of(&told.class),
        is_buildable: told.buildable,
        queued: told.queue_item.map(|item| (item.id, item.why.unwrap_or_default())),
        last: told.last_build.map(|last| (last.number, last.result.as_deref().map(BuildResult::of))),
        description: told.description.filter(|text| !text.is_empty()),
        parameters: definitions.map(parameter).collect(),
    })
}

fn parameter(told: Parametered) -> Parameter {
    let kind = ParameterKind::of(&told.kind, told.choices);
    let default = told.default_parameter_value.and_then(|default| match default.value? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    });
    let description = told.description.filter(|text| !text.is_empty());
    Parameter {
        name: told.name,
        is_required: description.as_deref().is_some_and(|text| text.trim_end().ends_with(REQUIRED)),
        default: default.filter(|_| kind != ParameterKind::Password),
        kind,
        description,
    }
}
