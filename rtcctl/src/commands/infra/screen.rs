//! A plan as it is shown: a table of what changes, the counts, and the same as data.

use oci::Digest;
use serde_json::{Value as Json, json};
use terraform::attributes::{Difference, Value};
use terraform::guard;
use terraform::plan::{Action, Change, Counts, Order, Plan};

use crate::output::{Column, Finding, Report, Severity, Table};

/// Adds a plan to an answer.
pub fn with_plan(report: Report, plan: &Plan) -> Report {
    let mut report = report;
    if !plan.changes.is_empty() {
        report = report.with_table(table(&plan.changes));
    }
    report = report.with_text(sentence(&plan.counts(), plan.outputs.len()));
    report = report.with_names(plan.changes.iter().map(|change| change.address.clone()));
    if !plan.drift.is_empty() {
        report = report.with_finding(drifted(&plan.drift));
    }
    if !plan.is_complete {
        let finding = Finding::new(
            &codes::INF032,
            Severity::Warning,
            "the plan leaves out a part of the configuration",
        );
        report = report.with_finding(finding);
    }
    report
}

/// What somebody else changed.
pub fn drifted(drift: &[Change]) -> Finding {
    let some: Vec<&str> = drift.iter().take(3).map(|change| change.address.as_str()).collect();
    let more = drift.len().saturating_sub(some.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if drift.len() == 1 { "is" } else { "are" };
    Finding::new(
        &codes::INF030,
        Severity::Warning,
        format!("{}{more} {verb} not as terraform left them", some.join(", ")),
    )
    .with_hint("rtcctl infra drift shows each attribute")
}

pub fn table(changes: &[Change]) -> Table {
    let mut table = Table::new([
        Column::left(""),
        Column::left("action"),
        Column::left("resource"),
        Column::left("because"),
        Column::left("differences").wide(),
    ]);
    for change in changes {
        let differences: Vec<String> = change.differences.iter().map(difference).collect();
        table.push([
            symbol(change.action).to_owned(),
            change.action.word().to_owned(),
            change.address.clone(),
            because(change),
            differences.join("; "),
        ]);
    }
    table
}

/// An address without the modules around its own: `network.aws_instance.nat["nat"]`.
pub fn brief(address: &str) -> &str {
    let at = address.find(".aws_").or_else(|| address.find(".terraform_data")).unwrap_or(0);
    let outer = address[..at].rfind("module.").map_or(0, |module| module + "module.".len());
    &address[outer..]
}

fn symbol(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Replace(Order::DestroyFirst) => "-/+",
        Action::Replace(Order::CreateFirst) => "+/-",
        Action::Delete => "-",
        Action::Forget => ".",
        Action::Read => "<=",
        Action::Nothing => "",
    }
}

/// What makes it so, where that is not just that the configuration says it.
fn because(change: &Change) -> String {
    let mut reasons = Vec::new();
    if !change.forced_by.is_empty() {
        reasons.push(format!("forced by {}", change.forced_by.join(", ")));
    } else if let Some(reason) = &change.reason {
        reasons.push(
            reason
                .trim_start_matches("replace_because_")
                .trim_start_matches("delete_because_")
                .replace('_', " "),
        );
    }
    if let Some(previous) = &change.previous_address {
        reasons.push(format!("moved from {previous}"));
    }
    if change.is_imported {
        reasons.push("imported".to_owned());
    }
    if let (true, Some(loss)) = (change.action.destroys(), guard::loss(&change.kind)) {
        reasons.push(format!("LOSES {loss}"));
    }
    if reasons.is_empty() && change.action == Action::Update {
        let paths: Vec<&str> = change.differences.iter().map(|one| one.path.as_str()).take(3).collect();
        let more = change.differences.len().saturating_sub(paths.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        reasons.push(format!("{}{more}", paths.join(", ")));
    }
    reasons.join("; ")
}

pub fn difference(one: &Difference) -> String {
    format!("{}: {} -> {}", one.path, value(&one.before), value(&one.after))
}

fn value(value: &Value) -> String {
    match value {
        Value::Absent => "none".to_owned(),
        Value::Known(json) => json.to_string(),
        Value::Sensitive => "(sensitive)".to_owned(),
        Value::Unknown => "(known after apply)".to_owned(),
    }
}

/// `3 to create, 1 to replace`; nothing is said of what does not happen.
pub fn sentence(counts: &Counts, outputs: usize) -> String {
    let parts = [
        (counts.create, "to create"),
        (counts.update, "to update"),
        (counts.replace, "to replace"),
        (counts.delete, "to delete"),
        (counts.forget, "to forget"),
        (counts.import, "to import"),
        (counts.r#move, "to move"),
        (outputs, if outputs == 1 { "output to change" } else { "outputs to change" }),
    ];
    let said: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    match said.is_empty() {
        true => "nothing to change: the infrastructure is as the configuration says".to_owned(),
        false => said.join(", "),
    }
}

/// Of every difference that a plan would make. Values that are secret or not known yet are in it as just that.
pub fn digest(plan: &Plan) -> Digest {
    Digest::of(json!([changes(plan), outputs(plan)]).to_string().as_bytes())
}

fn changes(plan: &Plan) -> Vec<Json> {
    plan.changes.iter().map(change).collect()
}

fn outputs(plan: &Plan) -> Vec<Json> {
    let outputs = plan.outputs.iter();
    outputs.map(|output| json!({"name": output.name, "action": output.action.word()})).collect()
}

/// The plan under `-o json`.
pub fn data(env: &str, plan: &Plan) -> Json {
    json!({
        "environment": env,
        "digest": digest(plan).to_string(),
        "counts": counts(&plan.counts()),
        "changes": changes(plan),
        "drift": plan.drift.iter().map(change).collect::<Vec<_>>(),
        "outputs": outputs(plan),
        "applicable": plan.is_applicable,
        "complete": plan.is_complete,
        "terraform": plan.terraform_version,
    })
}

pub fn counts(counts: &Counts) -> Json {
    json!({
        "create": counts.create, "update": counts.update, "replace": counts.replace, "delete": counts.delete,
        "forget": counts.forget, "import": counts.import, "move": counts.r#move, "drift": counts.drift,
    })
}

pub fn change(change: &Change) -> Json {
    json!({
        "address": change.address,
        "previous_address": change.previous_address,
        "type": change.kind,
        "action": change.action.word(),
        "forced_by": change.forced_by,
        "reason": change.reason,
        "loses": guard::loss(&change.kind).filter(|_| change.action.destroys()),
        "differences": change.differences.iter().map(|one| json!({
            "path": one.path, "before": side(&one.before), "after": side(&one.after),
        })).collect::<Vec<_>>(),
    })
}

/// A value, or a word in its place that no value can be.
fn side(value: &Value) -> Json {
    match value {
        Value::Absent => json!({"is": "absent"}),
        Value::Known(json) => json!({"is": "known", "value": json}),
        Value::Sensitive => json!({"is": "sensitive"}),
        Value::Unknown => json!({"is": "unknown"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shortened_to_its_own_module() {
        for (address, short) in [
            ("module.platform.module.network.aws_eip.a[\"x\"]", "network.aws_eip.a[\"x\"]"),
            ("module.rds.aws_db_instance.primary", "rds.aws_db_instance.primary"),
            ("aws_vpc.main", "aws_vpc.main"),
            ("module.m[\"a.b\"].aws_vpc.main", "m[\"a.b\"].aws_vpc.main"),
        ] {
            assert_eq!(brief(address), short);
        }
    }
}
