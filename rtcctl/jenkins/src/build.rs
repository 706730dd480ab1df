//! One build of a job.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::client::Body;
use crate::{Client, JobName, Result};

/// What became of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildResult {
    Success,
    Unstable,
    Failure,
    NotBuilt,
    Aborted,
    /// A word that Jenkins did not have when this was written.
    Other(String),
}

impl BuildResult {
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "SUCCESS" => BuildResult::Success,
            "UNSTABLE" => BuildResult::Unstable,
            "FAILURE" => BuildResult::Failure,
            "NOT_BUILT" => BuildResult::NotBuilt,
            "ABORTED" => BuildResult::Aborted,
            other => BuildResult::Other(other.to_owned()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            BuildResult::Success => "SUCCESS",
            BuildResult::Unstable => "UNSTABLE",
            BuildResult::Failure => "FAILURE",
            BuildResult::NotBuilt => "NOT_BUILT",
            BuildResult::Aborted => "ABORTED",
            BuildResult::Other(word) => word,
        }
    }
}

impl fmt::Display for BuildResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A build as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    pub number: u64,
    pub is_running: bool,
    /// There is none while it runs.
    pub result: Option<BuildResult>,
    pub started_at_ms: i64,
    /// Zero while it runs.
    pub took: Duration,
    /// What builds of this job take; `None` where nobody knows.
    pub estimated: Option<Duration>,
    pub causes: Vec<Cause>,
    pub parameters: Vec<(String, String)>,
}

/// Why it was started, in Jenkins' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub text: String,
    pub user: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    number: u64,
    #[serde(default)]
    building: bool,
    result: Option<String>,
    #[serde(default)]
    timestamp: i64,
    #[serde(default)]
    duration: u64,
    #[serde(default)]
    estimated_duration: i64,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(default)]
    causes: Vec<ToldCause>,
    #[serde(default)]
    parameters: Vec<ToldParameter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldCause {
    #[serde(default)]
    short_description: String,
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct ToldParameter {
    name: String,
    /// Passwords have none.
    value: Option<serde_json::Value>,
}

impl Client {
    /// A build by its number.
    pub async fn build(&self, job: &JobName, number: u64) -> Result<Build> {
        self.look_up(job, &number.to_string()).await
    }

    /// The build that was started last.
    pub async fn last_build(&self, job: &JobName) -> Result<Build> {
        self.look_up(job, "lastBuild").await
    }

    async fn look_up(&self, job: &JobName, which: &str) -> Result<Build> {
        let path = format!(
            "{}/{which}/api/json?tree=number,building,result,timestamp,duration,estimatedDuration,\
             actions[causes[shortDescription,userId],parameters[name,value]]",
            job.path()
        );
        let told: Told = self.get(&path, &format!("build {which} of {job}")).await?;
        let (mut causes, mut parameters) = (Vec::new(), Vec::new());
        for action in told.actions {
            let told = action.causes.into_iter();
            causes.extend(told.map(|cause| Cause { text: cause.short_description, user: cause.user_id }));
            parameters.extend(action.parameters.into_iter().filter_map(|parameter| {
                let value = match parameter.value? {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                Some((parameter.name, value))
            }));
        }
        Ok(Build {
            number: told.number,
            is_running: told.building || told.result.is_none(),
            result: told.result.filter(|_| !told.building).as_deref().map(BuildResult::of),
            started_at_ms: told.timestamp,
            took: Duration::from_millis(told.duration),
            estimated: u64::try_from(told.estimated_duration)
                .ok()
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis),
            causes,
            parameters,
        })
    }

    /// Asks a build to stop; it ends as aborted a little later.
    pub async fn stop(&self, job: &JobName, number: u64) -> Result<()> {
        let path = format!("{}/{number}/stop", job.path());
        self.post(&path, Body::Nothing, &format!("build {number} of {job}")).await.map(drop)
    }

    /// The page of a build, for people.
    pub fn build_address(&self, job: &JobName, number: u64) -> String {
        self.address(&format!("{}/{number}/", job.path()))
    }
}
