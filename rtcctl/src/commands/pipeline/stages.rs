//! `rtcctl pipeline stages`: how far a build is, as a tree where Jenkins tells one.

use codes::Result;
use jenkins::{Beside, Branch, Stage};
use serde_json::{Value, json};

use super::access::{self, Named};
use super::status::build_of;
use super::{failed, shape};
use crate::context::Context;
use crate::output::{Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    job: Named,
    /// The number of the build [default: the last one]
    #[arg(long, value_name = "N")]
    build: Option<u64>,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let client = access::client(context)?;
    let job = args.job.find(context)?.job;
    let build = build_of(&client, &job, args.build, context).await?;
    let (stages, tree) =
        tokio::join!(client.stages(&job, build.number), client.stage_tree(&job, build.number));
    let stages = stages.map_err(failed::of)?;
    // The tree is more than the list where there is one: without it the list is told all the same.
    let (mut tree, unread) = match tree {
        Ok(tree) => (tree, None),
        Err(error) if stages.is_some() => (None, Some(error)),
        Err(error) => return Err(failed::of(error)),
    };
    if let Some(listed) = &stages {
        tree = tree.filter(|tree| !tree.is_empty() || listed.is_empty());
        jenkins::complete(tree.as_deref_mut().unwrap_or_default(), listed);
    }
    let data = json!({
        "job": job.to_string(), "build": build.number, "stages": stages.as_deref().map(shape::stages),
        "tree": tree.as_deref().map(branches),
    });
    let mut report = Report::new("pipeline/stages", data);
    if let Some(error) = unread {
        report = report.with_finding(Finding::new(
            &codes::PIP030,
            Severity::Warning,
            format!("the tree of the stages cannot be read: {error}"),
        ));
    }
    let listed = match (&tree, &stages) {
        (Some(tree), _) => {
            let mut rows = Vec::new();
            flattened(tree, "", &mut rows);
            rows
        }
        (None, Some(stages)) => stages.iter().map(|stage| (stage.name.clone(), stage)).collect(),
        (None, None) => {
            return Ok(report.with_text("Jenkins tells no stages").with_finding(shape::no_stages()));
        }
    };
    if listed.is_empty() {
        return Ok(report.with_text("no stage has begun"));
    }
    let names: Vec<String> = listed.iter().map(|(_, stage)| shape::plain(&stage.name)).collect();
    Ok(report.with_table(table(&listed)).with_names(names))
}

fn table(listed: &[(String, &Stage)]) -> Table {
    shape::stage_rows(listed.iter().map(|(words, stage)| (words.as_str(), *stage)))
}

/// Each stage with its name as the tree shows it: what is parallel has a double line.
fn flattened<'a>(branches: &'a [Branch], before: &str, rows: &mut Vec<(String, &'a Stage)>) {
    let last = branches.len().saturating_sub(1);
    for (place, branch) in branches.iter().enumerate() {
        let is_root = before.is_empty() && branch.beside == Beside::After;
        let mark = match (branch.beside, place == last) {
            _ if is_root => "",
            (Beside::Parallel, false) => "╠ ",
            (Beside::Parallel, true) => "╚ ",
            (Beside::After, false) => "├ ",
            (Beside::After, true) => "└ ",
        };
        rows.push((format!("{before}{mark}{}", branch.stage.name), &branch.stage));
        let below = match (branch.beside, place == last) {
            _ if is_root => " ",
            (_, true) => "  ",
            (Beside::Parallel, false) => "║ ",
            (Beside::After, false) => "│ ",
        };
        flattened(&branch.children, &format!("{before}{below}"), rows);
    }
}

fn branches(branches: &[Branch]) -> Value {
    let one = |branch: &Branch| {
        let mut told = shape::stage(&branch.stage);
        told["parallel"] = json!(branch.beside == Beside::Parallel);
        told["children"] = self::branches(&branch.children);
        told
    };
    branches.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jenkins::StageStatus;

    use super::*;

    fn branch(name: &str, beside: Beside, children: Vec<Branch>) -> Branch {
        let stage = Stage {
            name: name.to_owned(),
            status: StageStatus::Success,
            took: Duration::from_secs(1),
            error: None,
        };
        Branch { stage, beside, children }
    }

    #[test]
    fn what_runs_within_and_beside_something_is_seen() {
        use Beside::{After, Parallel};
        let unit =
            branch("unit", Parallel, vec![branch("compile", After, vec![]), branch("run", After, vec![])]);
        let test = branch("Test", After, vec![unit, branch("lint", Parallel, vec![])]);
        let release = branch("Release", After, vec![test, branch("Deploy", After, vec![])]);
        let tree = [branch("Prepare", After, vec![]), release];
        let mut rows = Vec::new();
        flattened(&tree, "", &mut rows);
        let names: Vec<&str> = rows.iter().map(|(words, _)| words.as_str()).collect();
        assert_eq!(
            names,
            [
                "Prepare",
                "Release",
                " ├ Test",
                " │ ╠ unit",
                " │ ║ ├ compile",
                " │ ║ └ run",
                " │ ╚ lint",
                " └ Deploy",
            ]
        );
    }
}
