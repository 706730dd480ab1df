//! What is wrong with how replicas come and go.

use serde_json::Value;

use super::view::{Rounding, View, Workload, namespace, selects, share, short_name};
use super::{Code, Findings};

pub(super) fn workload(view: &View<'_>, workload: &Workload<'_>, findings: &mut Findings) {
    let object = workload.object;
    let spec = &object["spec"];
    if workload.rolls() && view.autoscaler(workload).is_some() && !spec["replicas"].is_null() {
        let message = format!("replicas is {}, and there is an autoscaler", spec["replicas"]);
        findings.add(Code::ReplicasFought, object, message);
    }
    if workload.kind == "Deployment" {
        strategy(view, workload, findings);
    }
    let selector = &spec["selector"];
    if !selector.is_null() && workload.kind != "Job" && !selects(selector, workload.labels()) {
        findings.add(Code::SelectorMissesTemplate, object, "its own pods would not be its own");
    }
}

fn strategy(view: &View<'_>, workload: &Workload<'_>, findings: &mut Findings) {
    let object = workload.object;
    let strategy = &object["spec"]["strategy"];
    if strategy["type"] == "Recreate" {
        return findings.add(Code::Recreated, object, "the strategy is Recreate");
    }
    let replicas = view.replicas(workload);
    let said = &strategy["rollingUpdate"]["maxUnavailable"];
    let default = Value::from("25%");
    let value = if said.is_null() { &default } else { said };
    let gone = share(value, replicas, Rounding::Down).unwrap_or_default();
    if gone >= replicas && replicas > 0 {
        let message = format!("{gone} of {replicas} may be missing (maxUnavailable {value})");
        findings.add(Code::AllAtOnce, object, message);
    }
}

pub(super) fn budgets(view: &View<'_>, findings: &mut Findings) {
    let budgets: Vec<&Value> = view.kind("PodDisruptionBudget").collect();
    for budget in &budgets {
        let selected = selected(view, budget);
        if selected.is_empty() {
            findings.add(Code::SelectsNothing, budget, "it protects no pods of these");
            continue;
        }
        // The workloads that it selects count as one: those beside each other are two versions of the same.
        let replicas: u64 = selected.iter().map(|workload| view.replicas(workload)).sum();
        let spec = &budget["spec"];
        let message = match (&spec["maxUnavailable"], &spec["minAvailable"]) {
            (Value::Null, least) => {
                let least_of = share(least, replicas, Rounding::Up).unwrap_or_default();
                (least_of >= replicas).then(|| format!("of {replicas} replicas {least} have to be there"))
            }
            (most, _) => {
                let most_of = share(most, replicas, Rounding::Up).unwrap_or_default();
                (most_of == 0).then(|| format!("{most} may be missing"))
            }
        };
        if let Some(message) = message {
            findings.add(Code::EvictionBlocked, budget, message);
        }
    }
    for workload in &view.workloads {
        let of = |budget: &&&Value| {
            namespace(budget) == namespace(workload.object)
                && selects(&budget["spec"]["selector"], workload.labels())
        };
        let names: Vec<&str> = budgets.iter().filter(of).map(|budget| short_name(budget)).collect();
        if names.len() > 1 {
            findings.add(
                Code::BudgetsOverlap,
                workload.object,
                format!("its pods have {}", names.join(" and ")),
            );
        }
    }
}

fn selected<'v, 'a>(view: &'v View<'a>, budget: &Value) -> Vec<&'v Workload<'a>> {
    let of = |workload: &&Workload<'_>| {
        workload.kind != "Job"
            && namespace(budget) == namespace(workload.object)
            && selects(&budget["spec"]["selector"], workload.labels())
    };
    view.workloads.iter().filter(of).collect()
}

pub(super) fn autoscalers(view: &View<'_>, findings: &mut Findings) {
    for autoscaler in view.kind("HorizontalPodAutoscaler") {
        let target = &autoscaler["spec"]["scaleTargetRef"];
        let scaled = view.workloads.iter().find(|workload| {
            namespace(workload.object) == namespace(autoscaler)
                && target["kind"] == workload.kind
                && target["name"] == short_name(workload.object)
        });
        let Some(scaled) = scaled else {
            let message = format!("there is no {}/{}", text(&target["kind"]), text(&target["name"]));
            findings.add(Code::ScalesNothing, autoscaler, message);
            continue;
        };
        for metric in autoscaler["spec"]["metrics"].as_array().into_iter().flatten() {
            if metric["resource"]["target"]["type"] != "Utilization" {
                continue;
            }
            let resource = text(&metric["resource"]["name"]);
            for container in scaled.containers() {
                let resources = &container["resources"];
                if resources["requests"][resource].is_null() && resources["limits"][resource].is_null() {
                    let name = text(&container["name"]);
                    findings.add(
                        Code::NothingToMeasure,
                        autoscaler,
                        format!("container {name} asks for no {resource}"),
                    );
                }
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
