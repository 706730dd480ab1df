//! The stages of a build as a tree: what ran within what, and what beside what.
//!
//! They are told by the plug-in pipeline-graph-view (`BUILD/pipeline-graph/tree`, since its new pages `BUILD/stages/tree`):
//! `{"data": {"stages": [{"name", "state", "type": "STAGE" or "PARALLEL", "totalDurationMillis", "children"}]}}`. The list of
//! pipeline-rest-api has no parents.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::{Client, Error, JobName, Result, Stage, StageStatus};

/// Where they are told, the older place first.
const PLACES: [&str; 2] = ["pipeline-graph/tree", "stages/tree"];
/// Deeper than any pipeline.
const DEPTH_MAX: usize = 32;

/// How a stage runs among those that have the same parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// After the one before it.
    After,
    /// At the same time.
    Parallel,
}

/// A stage with what ran within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    pub stage: Stage,
    pub beside: Beside,
    pub children: Vec<Branch>,
}

#[derive(Deserialize)]
struct Told {
    data: ToldTree,
}

#[derive(Deserialize)]
struct ToldTree {
    stages: Vec<ToldStage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToldStage {
    name: String,
    #[serde(default)]
    state: String,
    #[serde(default, rename = "type")]
    kind: String,
    /// Words in some versions.
    #[serde(default)]
    total_duration_millis: Value,
    #[serde(default)]
    children: Vec<ToldStage>,
}

fn status(state: &str) -> StageStatus {
    match state.to_ascii_lowercase().as_str() {
        "success" => StageStatus::Success,
        "running" => StageStatus::Running,
        "paused" => StageStatus::Paused,
        "unstable" => StageStatus::Unstable,
        "failure" | "failed" => StageStatus::Failed,
        "aborted" => StageStatus::Aborted,
        "skipped" | "not_built" | "queued" => StageStatus::NotExecuted,
        _ => StageStatus::Unknown,
    }
}

fn branch(told: ToldStage, depth: usize) -> Branch {
    let children = match depth < DEPTH_MAX {
        true => told.children.into_iter().map(|child| branch(child, depth + 1)).collect(),
        false => Vec::new(),
    };
    Branch {
        stage: Stage {
            name: told.name,
            status: status(&told.state),
            took: Duration::from_millis(told.total_duration_millis.as_u64().unwrap_or_default()),
            error: None,
        },
        beside: if told.kind == "PARALLEL" { Beside::Parallel } else { Beside::After },
        children,
    }
}

/// Gives a tree what only the list knows: why a stage failed, and how long it took where the tree tells that in words.
/// Stages of one name are taken in their order.
pub fn complete(tree: &mut [Branch], stages: &[Stage]) {
    fn go(branches: &mut [Branch], left: &mut Vec<&Stage>) {
        for branch in branches {
            if let Some(at) = left.iter().position(|stage| stage.name == branch.stage.name) {
                let known = left.remove(at);
                branch.stage.error = branch.stage.error.take().or_else(|| known.error.clone());
                if branch.stage.took.is_zero() {
                    branch.stage.took = known.took;
                }
            }
            go(&mut branch.children, left);
        }
    }
    go(tree, &mut stages.iter().collect());
}

impl Client {
    /// The stages as a tree. `None` where no plug-in tells it, or one in a form of its own.
    pub async fn stage_tree(&self, job: &JobName, number: u64) -> Result<Option<Vec<Branch>>> {
        for place in PLACES {
            let path = format!("{}/{number}/{place}", job.path());
            match self.get::<Told>(&path, "stages").await {
                Ok(told) => {
                    return Ok(Some(told.data.stages.into_iter().map(|stage| branch(stage, 0)).collect()));
                }
                // What it tells beside these is for its own pages, and may have another form tomorrow.
                Err(Error::NotFound { .. } | Error::Unreadable { .. } | Error::NotJenkins { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
