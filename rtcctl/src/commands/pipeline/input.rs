//! `rtcctl pipeline input`: what a build asks, and the answer.

use codes::{Error, Result};
use jenkins::{Client, Input, JobName};
use serde_json::json;
use settings::nearest;

use super::access::{self, Named, Unprotected};
use super::run::{pair, password};
use super::status::build_of;
use super::{failed, shape};
use crate::context::{Context, Effect};
use crate::output::{Column, Report, Table};
use crate::recording::Recording;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
    /// The answer; without one what is asked is shown
    #[arg(value_name = "ANSWER")]
    answer: Option<Answer>,
    /// The number of the build [default: the last one]
    #[arg(long, value_name = "N")]
    build: Option<u64>,
    /// Which question, where there are several
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// A parameter of the question; what is not given is its default
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// The name of the environment, for those that are protected
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Answer {
    /// Let the build go on
    Approve,
    /// End the build
    Abort,
}

impl Answer {
    /// What was done, in the journal and to people.
    pub fn word(self) -> &'static str {
        match self {
            Answer::Approve => "approved",
            Answer::Abort => "aborted",
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    tokio::select! {
        done = carry_out(&args, context) => done,
        signal = context.interrupts.wait() => {
            Err(signal.error("whether it was answered, rtcctl pipeline status shows"))
        }
    }
}

async fn carry_out(args: &Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let job = args.job.find(context)?.job;
    let build = build_of(&client, &job, args.build, context).await?;
    let inputs = client.inputs(&job, build.number).await.map_err(failed::of)?;
    let data = json!({
        "job": job.to_string(), "build": build.number, "inputs": shape::inputs(&inputs), "answered": null,
        "answer": null, "run": null,
    });
    let Some(answer) = args.answer else { return Ok(shown(&inputs, data)) };
    let input = chosen(&inputs, args.id.as_deref(), &job, build.number)?;
    let given = match answer {
        Answer::Approve => answers(input, &args.params, context)?,
        Answer::Abort if !args.params.is_empty() => {
            return Err(Error::new(&codes::USE001, "whoever aborts gives no parameters"));
        }
        Answer::Abort => Vec::new(),
    };
    let asked = shape::plain(&input.message);
    let what = match answer {
        Answer::Approve => format!("approve {asked:?} of build {} of {job}", build.number),
        Answer::Abort => format!("abort build {} of {job} at {asked:?}", build.number),
    };
    if context.effect == Effect::Described {
        return Ok(Report::new("pipeline/input", data).with_text(format!("this would {what}")));
    }
    let otherwise = match answer {
        Answer::Approve => Unprotected::Free,
        Answer::Abort => Unprotected::Asked,
    };
    access::confirm(&job, &what, args.confirm.as_deref(), otherwise, context)?;
    give(&client, &job, build.number, input, answer, &given, data, context).await
}

#[expect(clippy::too_many_arguments, reason = "one call, of everything that was found out")]
async fn give(
    client: &Client,
    job: &JobName,
    number: u64,
    input: &Input,
    answer: Answer,
    given: &[(String, String)],
    mut data: serde_json::Value,
    context: &Context,
) -> Result<Report> {
    let word = answer.word();
    let inputs = [
        ("job", job.to_string()),
        ("build", number.to_string()),
        ("question", input.id.clone()),
        ("answer", word.to_owned()),
    ];
    let inputs = inputs.map(|(key, value)| (key.to_owned(), value));
    let mut recording = Recording::begin(context, "pipeline input", inputs)?;
    recording.step("answer", format!("{} {word}", input.id))?;
    let done = match answer {
        Answer::Approve => client.proceed(job, number, input, given).await,
        Answer::Abort => client.abort(job, number, input).await,
    };
    match done {
        Ok(()) => {}
        Err(jenkins::Error::NotFound { .. }) => {
            let message = format!("somebody else has answered {}", input.id);
            return Err(recording.failed(Error::new(&codes::PIP016, message).with_hint(codes::PIP016.action)));
        }
        Err(error) => return Err(recording.failed(failed::of(error))),
    }
    recording.finished(json!({"answer": word}))?;
    data["answered"] = input.id.as_str().into();
    data["answer"] = word.into();
    let text = format!("{word}: build {number} of {job}");
    data["run"] = recording.ended(text.clone())?.into();
    Ok(Report::new("pipeline/input", data).with_text(text).with_names([input.id.clone()]))
}

fn shown(inputs: &[Input], data: serde_json::Value) -> Report {
    let report = Report::new("pipeline/input", data);
    if inputs.is_empty() {
        return report.with_text("nobody is asked anything");
    }
    let mut table = Table::new([Column::left("id"), Column::left("question"), Column::left("parameters")]);
    for input in inputs {
        let parameters: Vec<&str> =
            input.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        table.push([input.id.clone(), input.message.clone(), parameters.join(", ")]);
    }
    report.with_table(table).with_names(inputs.iter().map(|input| input.id.clone()))
}

fn chosen<'a>(inputs: &'a [Input], id: Option<&str>, job: &JobName, number: u64) -> Result<&'a Input> {
    let ids = || inputs.iter().map(|input| input.id.as_str());
    match (inputs, id) {
        ([], _) => Err(Error::new(&codes::PIP016, format!("build {number} of {job} asks nothing"))
            .with_hint(codes::PIP016.action)),
        ([only], None) => Ok(only),
        (_, None) => {
            Err(Error::new(&codes::PIP017, format!("build {number} of {job} asks {} things", inputs.len()))
                .with_hint(format!("name one: --id {}", ids().collect::<Vec<_>>().join(" or "))))
        }
        (_, Some(id)) => inputs.iter().find(|input| input.id.eq_ignore_ascii_case(id)).ok_or_else(|| {
            let error = Error::new(&codes::PIP016, format!("build {number} of {job} asks no {id}"));
            match nearest(id, ids()) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint(format!("it asks {}", ids().collect::<Vec<_>>().join(", "))),
            }
        }),
    }
}

/// What was given, over the defaults; passwords by reference.
fn answers(input: &Input, given: &[(String, String)], context: &Context) -> Result<Vec<(String, String)>> {
    let parameters = input.as_parameters();
    let problems = jenkins::check(&parameters, given);
    if !problems.is_empty() {
        return Err(failed::parameters(&format!("the question {}", input.id), &problems));
    }
    let mut answers = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let typed = given.iter().find(|(name, _)| *name == parameter.name).map(|(_, value)| value.clone());
        let value = match (typed, &parameter.kind) {
            (Some(reference), jenkins::ParameterKind::Password) => {
                password(&parameter.name, &reference, context)?
            }
            (Some(value), _) => value,
            (None, _) => parameter.default.unwrap_or_default(),
        };
        answers.push((parameter.name, value));
    }
    Ok(answers)
}
