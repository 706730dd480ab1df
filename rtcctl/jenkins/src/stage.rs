//! The stages of a pipeline's build, as the plug-in pipeline-rest-api tells them.

use std::time::Duration;

use serde::Deserialize;

use crate::{Client, Error, JobName, Result};

/// `StatusExt` of that plug-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageStatus {
    NotExecuted,
    Running,
    /// Somebody is asked something.
    Paused,
    Success,
    Unstable,
    Failed,
    Aborted,
    Unknown,
}

impl StageStatus {
    fn of(word: &str) -> Self {
        match word {
            "NOT_EXECUTED" => StageStatus::NotExecuted,
            "IN_PROGRESS" => StageStatus::Running,
            "PAUSED_PENDING_INPUT" => StageStatus::Paused,
            "SUCCESS" => StageStatus::Success,
            "UNSTABLE" => StageStatus::Unstable,
            "FAILED" => StageStatus::Failed,
            "ABORTED" => StageStatus::Aborted,
            _ => StageStatus::Unknown,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            StageStatus::NotExecuted => "not executed",
            StageStatus::Running => "running",
            StageStatus::Paused => "waits for an answer",
            StageStatus::Success => "success",
            StageStatus::Unstable => "unstable",
            StageStatus::Failed => "failed",
            StageStatus::Aborted => "aborted",
            StageStatus::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub name: String,
    pub status: StageStatus,
    pub took: Duration,
    /// What failed, where the plug-in says it.
    pub error: Option<String>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    stages: Vec<ToldStage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldStage {
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    duration_millis: u64,
    error: Option<ToldError>,
}

#[derive(Deserialize)]
struct ToldError {
    message: Option<String>,
}

impl Client {
    /// The stages in their order. `None` where the plug-in is not installed, or the job is no pipeline.
    pub async fn stages(&self, job: &JobName, number: u64) -> Result<Option<Vec<Stage>>> {
        let path = format!("{}/{number}/wfapi/describe", job.path());
        let told: Told = match self.get(&path, "stages").await {
            Ok(told) => told,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stage = |told: ToldStage| Stage {
            name: told.name,
            status: StageStatus::of(&told.status),
            took: Duration::from_millis(told.duration_millis),
            error: told.error.and_then(|error| error.message),
        };
        Ok(Some(told.stages.into_iter().map(stage).collect()))
    }
}
