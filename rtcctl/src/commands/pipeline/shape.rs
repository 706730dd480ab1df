//! Builds, stages and questions as they are told: documents and tables.

use codes::Code;
use codes::exit::{self, Exit};
use jenkins::{Build, BuildResult, Client, Input, JobName, Parameter, ParameterKind, Stage, StageStatus};
use kernel::Timestamp;
use serde_json::{Value, json};

use crate::human;
use crate::output::{Column, Finding, Severity, Table};

/// What a result means to a script, and the code under which it is explained; none for success.
pub fn outcome(result: Option<&BuildResult>) -> (&'static str, Exit, Option<&'static Code>) {
    match result {
        None => ("running", exit::DONE, None),
        Some(BuildResult::Success) => ("ok", exit::DONE, None),
        Some(BuildResult::Unstable) => ("unstable", exit::PIPELINE_UNSTABLE, Some(&codes::PIP011)),
        Some(BuildResult::Aborted | BuildResult::NotBuilt) => {
            ("aborted", exit::PIPELINE_ABORTED, Some(&codes::PIP012))
        }
        Some(BuildResult::Failure | BuildResult::Other(_)) => {
            ("failed", exit::PIPELINE_FAILED, Some(&codes::PIP010))
        }
    }
}

pub fn build(client: &Client, job: &JobName, build: &Build) -> Value {
    let causes: Vec<&str> = build.causes.iter().map(|cause| cause.text.as_str()).collect();
    let parameters: serde_json::Map<String, Value> =
        build.parameters.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    json!({
        "job": job.to_string(), "build": build.number, "url": client.build_address(job, build.number),
        "running": build.is_running, "result": build.result.as_ref().map(BuildResult::as_str),
        "started_at": Timestamp::from_millis(build.started_at_ms).to_string(),
        "took_ms": u64::try_from(build.took.as_millis()).unwrap_or(u64::MAX),
        "estimated_ms": build.estimated.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        "causes": causes, "parameters": parameters,
    })
}

pub fn stages(stages: &[Stage]) -> Value {
    stages.iter().map(stage).collect()
}

pub fn stage(stage: &Stage) -> Value {
    json!({
        "name": stage.name, "status": stage.status.as_str(), "error": stage.error,
        "took_ms": u64::try_from(stage.took.as_millis()).unwrap_or(u64::MAX),
    })
}

pub fn stage_table(stages: &[Stage]) -> Table {
    stage_rows(stages.iter().map(|stage| (stage.name.as_str(), stage)))
}

/// Stages under the words that stand for their names. Errors have a column where there is one.
pub fn stage_rows<'a>(stages: impl Iterator<Item = (&'a str, &'a Stage)>) -> Table {
    let stages: Vec<(&str, &Stage)> = stages.collect();
    let has_error = stages.iter().any(|(_, stage)| stage.error.is_some());
    let mut columns = vec![Column::left("stage"), Column::left("status"), Column::right("took")];
    columns.extend(has_error.then(|| Column::left("error")));
    let mut table = Table::new(columns);
    for (words, stage) in stages {
        let took = match stage.status {
            StageStatus::NotExecuted => "-".to_owned(),
            _ => human::duration(stage.took),
        };
        let mut row = vec![words.to_owned(), stage.status.as_str().to_owned(), took];
        row.extend(has_error.then(|| stage.error.clone().unwrap_or_default()));
        table.push(row);
    }
    table
}

pub fn inputs(inputs: &[Input]) -> Value {
    let one = |input: &Input| {
        json!({
            "id": input.id, "message": input.message,
            "parameters": input.as_parameters().iter().map(parameter).collect::<Vec<_>>(),
        })
    };
    inputs.iter().map(one).collect()
}

pub fn parameter(parameter: &Parameter) -> Value {
    let choices = match &parameter.kind {
        ParameterKind::Choice(choices) => Some(choices),
        _ => None,
    };
    json!({
        "name": parameter.name, "kind": parameter.kind.as_str(), "default": parameter.default,
        "choices": choices, "required": parameter.is_required, "description": parameter.description,
    })
}

/// That a build waits for somebody, with what to type.
pub fn waits(inputs: &[Input], named: &str) -> Vec<Finding> {
    let one = |input: &Input| {
        let id = if inputs.len() > 1 { format!(" --id {}", input.id) } else { String::new() };
        Finding::new(&codes::PIP031, Severity::Warning, format!("it asks: {}", plain(&input.message)))
            .with_hint(format!("rtcctl pipeline input {named} approve{id}"))
    };
    inputs.iter().map(one).collect()
}

pub fn no_stages() -> Finding {
    Finding::new(&codes::PIP030, Severity::Info, codes::PIP030.summary).with_hint(codes::PIP030.action)
}

/// What others wrote moves no cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
