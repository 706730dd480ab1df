//! A job as a file of the repository describes it: one TOML file for each, in `pipelines/jenkins/jobs`.
//!
//! Invariants: a description has no place for a secret: credentials are named by their id, an address with a password in
//! it and a default of a password are refused; an unknown key is refused.

use serde::{Deserialize, Serialize};

use crate::{Error, JobName, Result};

/// What a description makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Holds jobs, and nothing else.
    Folder,
    /// One branch, one `Jenkinsfile`.
    Pipeline,
    /// A folder that makes itself a job for each branch of a repository.
    Multibranch,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub kind: Kind,
    /// The full name: folders and job with slashes between them. Folders have files of their own.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where the source is; `[jenkins] repository` of `rtc.toml` where it is not said.
    #[serde(default)]
    pub repository: Option<String>,
    /// The path of the Jenkinsfile in the repository.
    #[serde(default)]
    pub script: Option<String>,
    /// The id of the credentials that read the repository; `[jenkins] credentials` where it is not said, `""` for none.
    #[serde(default)]
    pub credentials: Option<String>,
    /// Of a pipeline the one branch; of a multibranch those that have jobs, `*` for anything. None is every branch.
    #[serde(default)]
    pub branches: Vec<String>,
    /// Branches that have no job all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Nothing is built.
    #[serde(default)]
    pub disabled: bool,
    /// Several builds may run at the same time.
    #[serde(default)]
    pub concurrent: bool,
    /// Left out, the Jenkinsfile says it and the job is left as that made it; empty, there is none of it.
    #[serde(default)]
    pub keep: Option<Keep>,
    /// As `keep`.
    #[serde(default)]
    pub triggers: Option<Triggers>,
    /// What a build takes. As `keep`.
    #[serde(default)]
    pub parameters: Option<Vec<Described>>,
}

/// How many builds stay; of a multibranch how many jobs whose branch is gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    pub builds: Option<u32>,
    pub days: Option<u32>,
}

/// What starts a build beside people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Triggers {
    /// As `cron` with Jenkins' `H`: `H 3 * * *`.
    pub schedule: Option<String>,
    /// Looks for commits so often.
    pub poll: Option<String>,
    /// The webhook of GitHub (plug-in github).
    pub push: bool,
    /// A multibranch looks for branches so often.
    pub scan_minutes: Option<u32>,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    pub name: String,
    pub kind: DescribedKind,
    #[serde(default)]
    pub description: String,
    /// A text, or `true` and `false`. The default of a choice is its first.
    #[serde(default)]
    pub default: Option<DefaultValue>,
    #[serde(default)]
    pub choices: Vec<String>,
    /// It has no default, and `rtcctl pipeline run` does not start without it.
    #[serde(default)]
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DescribedKind {
    Text,
    Flag,
    Choice,
    Password,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DefaultValue {
    Flag(bool),
    Text(String),
}

/// What is filled in where a description does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filled {
    pub repository: Option<String>,
    pub credentials: Option<String>,
}

impl Description {
    /// Reads one file; `file` is its name in messages.
    pub fn parse(file: &str, text: &str, filled: &Filled) -> Result<Self> {
        let wrong = |reason: String| Error::Described { file: file.to_owned(), reason };
        let mut described: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(match line {
                Some(line) => format!("line {line}: {}", error.message()),
                None => error.message().to_owned(),
            })
        })?;
        if described.kind != Kind::Folder {
            described.repository = described.repository.or_else(|| filled.repository.clone());
            described.credentials = described.credentials.or_else(|| filled.credentials.clone());
        }
        described.credentials = described.credentials.filter(|id| !id.is_empty());
        described.job().map_err(|error| wrong(error.to_string()))?;
        match described.problem() {
            Some(problem) => Err(wrong(problem)),
            None => Ok(described),
        }
    }

    pub fn job(&self) -> Result<JobName> {
        self.name.parse()
    }

    /// What makes no sense.
    fn problem(&self) -> Option<String> {
        if self.description.trim().is_empty() {
            return Some("description is empty: say what the job is for".to_owned());
        }
        match self.kind {
            Kind::Folder => self.problem_of_a_folder(),
            Kind::Pipeline | Kind::Multibranch => self.problem_of_a_job(),
        }
    }

    fn problem_of_a_folder(&self) -> Option<String> {
        let said = [
            ("repository", self.repository.is_some()),
            ("script", self.script.is_some()),
            ("credentials", self.credentials.is_some()),
            ("branches", !self.branches.is_empty()),
            ("exclude", !self.exclude.is_empty()),
            ("disabled", self.disabled),
            ("concurrent", self.concurrent),
            ("keep", self.keep.is_some()),
            ("triggers", self.triggers.is_some()),
            ("parameters", self.parameters.is_some()),
        ];
        said.iter().find(|(_, is_said)| *is_said).map(|(key, _)| format!("a folder has no {key}"))
    }

    fn problem_of_a_job(&self) -> Option<String> {
        let Some(repository) = self.repository.as_deref().filter(|address| !address.is_empty()) else {
            return Some("repository is missing, here and in [jenkins] of rtc.toml".to_owned());
        };
        if holds_a_password(repository) {
            // Not repeated: it is the secret itself.
            return Some("repository signs in with a password: name credentials by their id".to_owned());
        }
        match self.script.as_deref() {
            None | Some("") => return Some("script is missing: the path of the Jenkinsfile".to_owned()),
            Some(path) if path.starts_with('/') || path.split('/').any(|part| part == "..") => {
                return Some(format!("script = {path:?}: a path within the repository"));
            }
            Some(_) => {}
        }
        let is_id = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
        if let Some(id) = self.credentials.as_deref().filter(|id| !id.chars().all(is_id)) {
            return Some(format!(
                "credentials is an id, of letters, digits, - _ and .; this has {} characters",
                id.len()
            ));
        }
        let is_multibranch = self.kind == Kind::Multibranch;
        let triggers = self.triggers.clone().unwrap_or_default();
        let keep = self.keep.unwrap_or_default();
        if self.branches.iter().chain(&self.exclude).any(|branch| branch.is_empty() || branch.contains(' ')) {
            return Some("a branch is empty or has a space in it".to_owned());
        }
        let of_the_other = match is_multibranch {
            true => vec![
                ("parameters", self.parameters.is_some(), "its Jenkinsfiles say them"),
                ("triggers.schedule", triggers.schedule.is_some(), "its Jenkinsfiles say it"),
                ("triggers.poll", triggers.poll.is_some(), "it has triggers.scan_minutes"),
                ("triggers.push", triggers.push, "a push is told to git's own notifyCommit"),
                ("concurrent", self.concurrent, "its Jenkinsfiles say it"),
            ],
            false => vec![
                ("exclude", !self.exclude.is_empty(), "it builds one branch"),
                ("triggers.scan_minutes", triggers.scan_minutes.is_some(), "it has triggers.poll"),
                ("branches", self.branches.len() != 1, "it has exactly one"),
                (
                    "branches",
                    self.branches.iter().any(|branch| branch.contains('*')),
                    "it has exactly one, without *",
                ),
            ],
        };
        let kind = if is_multibranch { "multibranch" } else { "pipeline" };
        if let Some((key, _, why)) = of_the_other.iter().find(|(_, is_said, _)| *is_said) {
            return Some(format!("{key} is wrong for a {kind}: {why}"));
        }
        if triggers.scan_minutes == Some(0) {
            return Some("triggers.scan_minutes is at least one".to_owned());
        }
        if keep.builds == Some(0) || keep.days == Some(0) {
            return Some("keep: at least one build or day stays".to_owned());
        }
        let schedules = [("schedule", &triggers.schedule), ("poll", &triggers.poll)];
        for (key, spec) in schedules {
            let wrong = spec.as_deref().filter(|spec| !is_schedule(spec));
            if let Some(spec) = wrong {
                return Some(format!(
                    "triggers.{key} = {spec:?}: five fields (H 3 * * *), or @hourly, @daily …"
                ));
            }
        }
        self.problem_of_parameters()
    }

    fn problem_of_parameters(&self) -> Option<String> {
        let parameters = self.parameters.as_deref().unwrap_or_default();
        for (position, parameter) in parameters.iter().enumerate() {
            let name = &parameter.name;
            let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
            if name.is_empty() || !name.chars().all(is_word) || name.starts_with(|c: char| c.is_ascii_digit())
            {
                return Some(format!(
                    "parameter {name:?}: a name is a variable's: letters, digits and _, no digit first"
                ));
            }
            if parameters[..position].iter().any(|other| other.name == *name) {
                return Some(format!("parameter {name} is there twice"));
            }
            if let Some(problem) = parameter.problem() {
                return Some(format!("parameter {name}: {problem}"));
            }
        }
        None
    }
}

impl Described {
    fn problem(&self) -> Option<&'static str> {
        use DescribedKind::{Choice, Flag, Password, Text};
        match (self.kind, &self.default) {
            (Password, Some(_)) => Some("a password has no default here: it would be a secret in a file"),
            (Choice, Some(_)) => Some("the default of a choice is its first"),
            (Choice, None) if self.choices.is_empty() => Some("choices are missing"),
            (Text | Flag | Password, _) if !self.choices.is_empty() => Some("only a choice has choices"),
            (Flag, Some(DefaultValue::Text(_))) => Some("the default of a flag is true or false"),
            (Text, Some(DefaultValue::Flag(_))) => Some("the default of a text is a text"),
            (Flag | Choice, _) if self.required => Some("a flag and a choice always have a value"),
            (_, Some(_)) if self.required => Some("what is required has no default"),
            _ => None,
        }
    }

    /// As Jenkins shows it, and as [`crate::check`] reads it back.
    pub(super) fn words(&self) -> String {
        match (self.required, self.description.is_empty()) {
            (false, _) => self.description.clone(),
            (true, true) => REQUIRED.to_owned(),
            (true, false) => format!("{} {REQUIRED}", self.description),
        }
    }
}

/// Jenkins knows no required parameter; one whose description ends so is one to us.
pub(crate) const REQUIRED: &str = "(required)";

fn holds_a_password(address: &str) -> bool {
    let Some((_, rest)) = address.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(login, _)| login.contains(':') || login.len() >= 20)
}

/// Whether a text has the form of a schedule: lines of five fields, comments and `TZ=`.
fn is_schedule(text: &str) -> bool {
    const NAMED: [&str; 7] =
        ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
    let is_field = |field: &str| {
        field.chars().all(|letter| {
            letter.is_ascii_digit() || matches!(letter, 'H' | '*' | '/' | ',' | '-' | '(' | ')')
        })
    };
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("TZ="));
    let mut has_one = false;
    let all = lines.by_ref().all(|line| {
        has_one = true;
        NAMED.contains(&line)
            || (line.split_whitespace().count() == 5 && line.split_whitespace().all(is_field))
    });
    all && has_one
}
