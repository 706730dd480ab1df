//! What a rollout would change, for whoever has more to do than that.
//!
//! Invariant: nothing is changed.

use ::deploy::apply::{self, What};
use ::deploy::manifest::Manifest;
use codes::Result;
use kubernetes::write::Force;
use manifests::lint::{self, Severity as Grave};
use serde_json::{Value, json};

use crate::commands::deploy::{access, described, preview};
use crate::context::Context;
use crate::output::{Finding, Severity, Table};

/// What a rollout would change.
pub struct Survey {
    pub data: Value,
    pub sentence: String,
    pub table: Option<Table>,
    pub findings: Vec<Finding>,
}

/// What a rollout would change, and what is wrong with what it would bring.
pub async fn survey(reference: &str, context: &Context) -> Result<Survey> {
    let args = described::Args { image: Some(reference.to_owned()), ..described::Args::default() };
    let release = Box::pin(described::release(&args, described::Naming::Needed, context)).await?;
    let manifest = Manifest::of(&release);
    let bodies: Vec<Value> = manifest.items.iter().map(|item| item.body.clone()).collect();
    let linted = lint::check(&bodies);
    let cluster = access::cluster(context).await?;
    let planned = apply::preview(&cluster, &manifest, Force::Never).await.map_err(access::failed)?;
    let mut findings: Vec<Finding> = linted
        .iter()
        .map(|one| {
            let severity = if one.severity == Grave::Error { Severity::Error } else { Severity::Warning };
            let message = format!("{}: {}", one.object, one.message);
            Finding::new(codes::of_lint(one.id), severity, message).with_hint(one.hint)
        })
        .collect();
    let mut table = preview::table();
    let (mut new, mut changed) = (0, 0);
    for one in &planned {
        let id = one.id.to_string();
        match &one.what {
            What::Created | What::CreatedLater => {
                new += 1;
                table.push([id, "new".to_owned()]);
            }
            What::Changed { fields } => {
                changed += 1;
                for field in fields {
                    table.push(preview::changed(&id, field));
                }
            }
            What::Owned { owners } => {
                let owners: Vec<&str> = owners.iter().map(|owner| owner.manager.as_str()).collect();
                let message = format!("{id} has fields of {}", owners.join(", "));
                findings.push(
                    Finding::new(&codes::DEP010, Severity::Error, message).with_hint(codes::DEP010.action),
                );
            }
            What::Refused { reason, hint, .. } => {
                let message = format!("{id}: {reason}");
                findings.push(Finding::new(&codes::DEP011, Severity::Error, message).with_hint(hint.clone()));
            }
            What::Unchanged => {}
        }
    }
    let sentence = match new + changed {
        0 => format!("{} objects, nothing would change", planned.len()),
        _ => format!("{new} of {} objects new, {changed} changed", planned.len()),
    };
    Ok(Survey {
        data: json!({
            "reference": reference, "objects": planned.len(), "new": new, "changed": changed, "changes": planned,
            "lint": linted,
        }),
        sentence,
        table: (!table.is_empty()).then_some(table),
        findings,
    })
}
