//! `rtcctl pipeline params`: what a job takes.

use codes::Result;
use jenkins::ParameterKind;
use serde_json::json;

use super::access::{self, Named};
use super::shape;
use crate::context::Context;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let found = args.job.find(context)?;
    let job = access::job(&client, &found.job, context).await?;
    let preset = |name: &str| found.entry.and_then(|entry| entry.parameters.get(name));
    let mut table = Table::new([
        Column::left("parameter"),
        Column::left("kind"),
        Column::left("default"),
        Column::left("description"),
    ]);
    let mut told = Vec::new();
    for parameter in &job.parameters {
        let kind = match &parameter.kind {
            ParameterKind::Choice(choices) => choices.join(" | "),
            kind => kind.as_str().to_owned(),
        };
        let is_password = parameter.kind == ParameterKind::Password;
        let set = preset(&parameter.name).filter(|_| !is_password);
        let default = match (set, &parameter.default) {
            (Some(set), _) => format!("{set} (rtc.toml)"),
            (None, Some(default)) if !default.is_empty() => default.clone(),
            (None, _) if parameter.is_required => "required".to_owned(),
            (None, _) => "-".to_owned(),
        };
        let about = parameter.description.clone().unwrap_or_default();
        table.push([parameter.name.clone(), kind, default, about]);
        let mut one = shape::parameter(parameter);
        one["preset"] = json!(set);
        told.push(one);
    }
    let names: Vec<String> = job.parameters.iter().map(|parameter| parameter.name.clone()).collect();
    let data = json!({"job": job.name.to_string(), "parameters": told});
    let report = Report::new("pipeline/params", data).with_names(names);
    Ok(match job.parameters.is_empty() {
        true => report.with_text(format!("{} takes no parameters", job.name)),
        false => report.with_table(table),
    })
}
