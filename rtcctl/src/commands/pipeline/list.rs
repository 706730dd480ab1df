//! `rtcctl pipeline list`: what there is in Jenkins.

use std::collections::BTreeMap;

use codes::Result;
use futures_util::future::try_join_all;
use jenkins::{Client, Job, JobKind, JobName};
use serde_json::json;

use super::{access, failed};
use crate::context::Context;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to look into [default: everything]
    #[arg(value_name = "FOLDER")]
    folder: Option<String>,
    /// What lies directly in it alone
    #[arg(long)]
    flat: bool,
}

/// How deep it is looked for jobs within folders.
const DEPTH_MAX: usize = 16;

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let folder = match &args.folder {
        Some(name) => Some(access::find(name, None, context)?.job),
        None => None,
    };
    let jobs = match look(&client, folder.as_ref(), !args.flat).await {
        Ok(jobs) => jobs,
        Err(error) => {
            return Err(match &folder {
                Some(folder) => access::told(&client, folder, error, context).await,
                None => failed::of(error),
            });
        }
    };
    let short: BTreeMap<&str, &str> =
        context.config.pipelines.iter().map(|(name, entry)| (entry.job.as_str(), name.as_str())).collect();
    let mut table = Table::new([
        Column::left("job"),
        Column::left("kind"),
        Column::right("last"),
        Column::left("result"),
        Column::left("name"),
        Column::left("description").wide(),
    ]);
    let mut told = Vec::new();
    for job in &jobs {
        let full = job.name.to_string();
        let name = short.get(full.as_str()).copied();
        let result = result(job);
        let last = job.last.as_ref().map_or_else(String::new, |(number, _)| number.to_string());
        let about = job.description.as_deref().and_then(|text| text.lines().next()).unwrap_or_default();
        table.push([&full, job.kind.as_str(), &last, result.as_str(), name.unwrap_or(""), about]);
        told.push(json!({
            "job": full, "kind": job.kind.as_str(), "name": name, "disabled": is_disabled(job),
            "queued": job.queued.as_ref().map(|(item, _)| item),
            "last_build": job.last.as_ref().map(|(number, _)| number),
            "last_result": job.last.as_ref().and_then(|(_, result)| result.as_ref()).map(jenkins::BuildResult::as_str),
            "description": job.description,
        }));
    }
    let names: Vec<String> = jobs.iter().map(|job| job.name.to_string()).collect();
    let report = Report::new("pipeline/list", json!({"jobs": told})).with_names(names);
    Ok(match jobs.is_empty() {
        true => report.with_text("there are no jobs, or none that this user may see"),
        false => report.with_table(table),
    })
}

fn is_disabled(job: &Job) -> bool {
    !job.is_buildable && !job.kind.holds_jobs()
}

fn result(job: &Job) -> String {
    match &job.last {
        _ if job.kind.holds_jobs() => String::new(),
        _ if is_disabled(job) => "disabled".to_owned(),
        None if job.queued.is_some() => "queued".to_owned(),
        None => "never built".to_owned(),
        Some((_, None)) => "running".to_owned(),
        Some((_, Some(result))) => result.to_string(),
    }
}

/// Folders before what is in them; those of one depth at once.
async fn look(client: &Client, folder: Option<&JobName>, is_deep: bool) -> jenkins::Result<Vec<Job>> {
    let mut found = client.jobs(folder).await?;
    let mut open: Vec<JobName> = holding(&found);
    for _ in 0..DEPTH_MAX {
        if open.is_empty() || !is_deep {
            break;
        }
        let inside = try_join_all(open.iter().map(|folder| client.jobs(Some(folder)))).await?;
        let inside: Vec<Job> = inside.into_iter().flatten().collect();
        open = holding(&inside);
        found.extend(inside);
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn holding(jobs: &[Job]) -> Vec<JobName> {
    jobs.iter()
        .filter(|job| matches!(job.kind, JobKind::Folder | JobKind::Multibranch))
        .map(|job| job.name.clone())
        .collect()
}
