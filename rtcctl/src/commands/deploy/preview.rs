//! What a release would change: every object tried, as a table and as `rtcctl deploy diff`.
//!
//! Invariant: nothing is changed.

use ::deploy::apply::{self, Leftover, Planned, Refusal, What};
use ::deploy::diff::{Change, told};
use ::deploy::manifest::Manifest;
use ::deploy::port::Port;
use codes::{Error, Result};
use kubernetes::write::Force;
use manifests::Release;
use serde_json::json;

use super::{access, described};
use crate::context::Context;
use crate::output::{Column, Finding, Report, Severity, Table};

/// Tries every object; what the cluster would refuse is an error that names all of it.
pub(super) async fn previewed(port: &dyn Port, manifest: &Manifest, force: Force) -> Result<Vec<Planned>> {
    let planned = apply::preview(port, manifest, force).await.map_err(access::failed)?;
    let mut owned =
        Error::new(&codes::DEP010, "fields are owned by somebody else").with_hint(codes::DEP010.action);
    let mut refused =
        Error::new(&codes::DEP011, "the cluster does not accept the release").with_hint(codes::DEP011.action);
    let (mut is_owned, mut is_refused, mut is_denied) = (false, false, true);
    for one in &planned {
        match &one.what {
            What::Owned { owners } => {
                is_owned = true;
                for owner in owners {
                    let cause = format!("{}: {} is owned by {}", one.id, owner.field, owner.manager);
                    owned = owned.with_cause(cause);
                }
            }
            What::Refused { reason, hint, why } => {
                is_refused = true;
                is_denied &= *why == Refusal::Denied;
                refused = refused.with_cause(format!("{}: {reason}", one.id)).with_hint(hint.clone());
            }
            _ => {}
        }
    }
    match (is_refused, is_owned) {
        (true, _) if is_denied => Err(refused.with_exit(codes::exit::DENIED)),
        (true, _) => Err(refused),
        (_, true) => Err(owned),
        _ => Ok(planned),
    }
}

/// What becomes of objects, a line for each field.
pub(super) fn table() -> Table {
    Table::new([
        Column::left("object"),
        Column::left("change"),
        Column::left("field"),
        Column::left("before"),
        Column::left("after"),
    ])
}

/// The line of a field that is changed.
pub(super) fn changed(object: &str, change: &Change) -> [String; 5] {
    [
        object.to_owned(),
        "change".to_owned(),
        change.field.clone(),
        told(change.before.as_ref()),
        told(change.after.as_ref()),
    ]
}

/// What would be done, as a table.
pub(super) fn described_report(command: &'static str, planned: &[Planned], leftovers: &[Leftover]) -> Report {
    let mut table = table();
    let mut names = Vec::new();
    for one in planned.iter().filter(|one| one.what != What::Unchanged) {
        names.push(one.id.to_string());
        let row =
            |word: &str| [one.id.to_string(), word.to_owned(), String::new(), String::new(), String::new()];
        match &one.what {
            What::Created | What::CreatedLater => table.push(row("new")),
            What::Changed { fields } => {
                for field in fields {
                    table.push(changed(&one.id.to_string(), field));
                }
            }
            What::Owned { owners } => {
                for owner in owners {
                    let of = format!("owned by {}", owner.manager);
                    table.push([
                        one.id.to_string(),
                        "conflict".to_owned(),
                        owner.field.clone(),
                        of,
                        String::new(),
                    ]);
                }
            }
            What::Refused { reason, .. } => {
                let mut row = row("refused");
                row[2].clone_from(reason);
                table.push(row);
            }
            What::Unchanged => {}
        }
    }
    for leftover in leftovers {
        let word = if leftover.is_kept { "left over, kept" } else { "left over" };
        table.push([leftover.id.to_string(), word.to_owned(), String::new(), String::new(), String::new()]);
        names.push(leftover.id.to_string());
    }
    let count = |is: fn(&What) -> bool| planned.iter().filter(|one| is(&one.what)).count();
    let data = json!({
        "objects": planned, "left_over": leftovers,
        "new": count(|what| matches!(what, What::Created | What::CreatedLater)),
        "changed": count(|what| matches!(what, What::Changed { .. })),
        "unchanged": count(|what| *what == What::Unchanged),
    });
    let report = Report::new(command, data).with_names(names);
    match table.is_empty() {
        true => report.with_text(format!("{} objects, nothing would change", planned.len())),
        false => report.with_table(table),
    }
}

#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    described: described::Args,
    /// End with code 10 when something would change
    #[arg(long)]
    exit_code: bool,
}

/// `rtcctl deploy diff`
pub async fn diff(args: DiffArgs, context: &Context) -> Result<Report> {
    let release = described::release(&args.described, described::Naming::Needed, context).await?;
    let manifest = Manifest::of(&release);
    let cluster = access::cluster(context).await?;
    let planned = apply::preview(&cluster, &manifest, Force::Never).await.map_err(access::failed)?;
    let (leftovers, unseen) = leftovers(&cluster, &manifest, &release).await?;
    let is_changed = planned.iter().any(|one| one.what != What::Unchanged);
    let report = unseen_told(described_report("deploy/diff", &planned, &leftovers), &unseen);
    Ok(match is_changed && args.exit_code {
        true => report.with_status("changes", codes::exit::CHANGES),
        false => report,
    })
}

/// What earlier releases left, and what of it may not be listed.
pub(super) async fn leftovers(
    port: &dyn Port,
    manifest: &Manifest,
    release: &Release,
) -> Result<(Vec<Leftover>, Vec<String>)> {
    let environment = &release.description.environment;
    apply::leftovers(port, manifest, environment).await.map_err(access::failed)
}

/// Says with a report what was not seen.
pub(super) fn unseen_told(report: Report, unseen: &[String]) -> Report {
    match unseen.is_empty() {
        true => report,
        false => {
            let message = format!("may not be listed, so that leftovers are not seen: {}", unseen.join(", "));
            report.with_finding(Finding::new(&codes::KUB015, Severity::Warning, message))
        }
    }
}
