//! What a pipeline asks, and the answers (`InputStepExecution`, plug-in pipeline-input-step).

use serde::Deserialize;
use serde_json::json;

use crate::client::Body;
use crate::name::encode;
use crate::{Client, Error, JobName, Parameter, ParameterKind, Result};

/// A question that a build waits with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    pub id: String,
    pub message: String,
    /// What the button says.
    pub proceed: String,
    pub parameters: Vec<InputParameter>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputParameter {
    pub name: String,
    pub description: Option<String>,
    /// As [`crate::Parameter`]'s.
    pub kind: ParameterKind,
    pub default: Option<String>,
}

impl Input {
    /// What is asked for, as a job's parameters are.
    pub fn as_parameters(&self) -> Vec<Parameter> {
        let parameter = |asked: &InputParameter| Parameter {
            name: asked.name.clone(),
            kind: asked.kind.clone(),
            default: asked.default.clone(),
            description: asked.description.clone(),
            is_required: false,
        };
        self.parameters.iter().map(parameter).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    proceed_text: String,
    #[serde(default)]
    inputs: Vec<ToldParameter>,
}

#[derive(Deserialize)]
struct ToldParameter {
    #[serde(rename = "type", default)]
    kind: String,
    name: String,
    description: Option<String>,
    #[serde(default)]
    definition: Definition,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Definition {
    choices: Vec<String>,
    default_val: Option<serde_json::Value>,
}

impl Client {
    /// The questions that a build waits with. None where the plug-in is not installed.
    pub async fn inputs(&self, job: &JobName, number: u64) -> Result<Vec<Input>> {
        let path = format!("{}/{number}/wfapi/pendingInputActions", job.path());
        let told: Vec<Told> = match self.get(&path, "inputs").await {
            Ok(told) => told,
            Err(Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let parameter = |told: ToldParameter| {
            let kind = ParameterKind::of(&told.kind, told.definition.choices);
            let default = told.definition.default_val.filter(|_| kind != ParameterKind::Password);
            InputParameter {
                name: told.name,
                description: told.description.filter(|text| !text.is_empty()),
                default: default.map(|value| match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                }),
                kind,
            }
        };
        let input = |told: Told| Input {
            id: told.id,
            message: told.message,
            proceed: told.proceed_text,
            parameters: told.inputs.into_iter().map(parameter).collect(),
        };
        Ok(told.into_iter().map(input).collect())
    }

    /// Lets the build go on. Parameters are sent only where the question has some.
    pub async fn proceed(
        &self,
        job: &JobName,
        number: u64,
        input: &Input,
        answers: &[(String, String)],
    ) -> Result<()> {
        let (path, body);
        let fields;
        if input.parameters.is_empty() {
            path = input_path(job, number, &input.id, "proceedEmpty");
            body = Body::Nothing;
        } else {
            let parameters: Vec<_> =
                answers.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            fields = [
                ("proceed".to_owned(), input.proceed.clone()),
                ("json".to_owned(), json!({"parameter": parameters}).to_string()),
            ];
            path = input_path(job, number, &input.id, "proceed");
            body = Body::Form(&fields);
        }
        self.post(&path, body, &format!("input {}", input.id)).await.map(drop)
    }

    /// Ends the build instead.
    pub async fn abort(&self, job: &JobName, number: u64, input: &Input) -> Result<()> {
        let path = input_path(job, number, &input.id, "abort");
        self.post(&path, Body::Nothing, &format!("input {}", input.id)).await.map(drop)
    }
}

/// The identifier begins with a capital letter in its address, as the plug-in itself writes it.
fn input_path(job: &JobName, number: u64, id: &str, verb: &str) -> String {
    let mut letters = id.chars();
    let id: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    format!("{}/{number}/input/{}/{verb}", job.path(), encode(&id))
}
