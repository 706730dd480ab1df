//! What a month of a plan costs: a table of what is dear, the sums, and what is in none of them.

use codes::{Error, Result};
use serde_json::{Value, json};
use terraform::cost::{self, Backend, Estimate, Line, Micros, Prices};
use terraform::plan::Plan;

use super::screen::brief;
use crate::output::{Column, Finding, Report, Severity, Table};

/// Where a plan does not say its region.
const REGION: &str = "ap-northeast-2";
/// Resources below this, before and after, share a row.
const SMALL: Micros = 2_000_000;

/// Adds a month of the plan to an answer.
pub fn add(mut report: Report, plan: &Plan) -> Result<Report> {
    let prices = Prices::of_the_repository()
        .map_err(|error| Error::internal("the table of prices cannot be read").with_cause(error))?;
    let month = cost::estimate(&plan.inventory, &prices, REGION);
    report.data["cost"] = data(&month);
    report = report.with_text("US dollars a month, on demand, without tax:").with_table(table(&month));
    report = report.with_text(sentence(&month));
    if !month.backends.is_empty() {
        report = report.with_text("the event bus either way, as many brokers with as much disk:");
        report = report.with_table(backends(&month.backends));
    }
    if !month.left_out.is_empty() {
        let mut table =
            Table::new([Column::left("not in the sum"), Column::right("count"), Column::left("why")]);
        for left in &month.left_out {
            table.push([left.what.clone(), left.count.to_string(), left.why.clone()]);
        }
        report = report.with_table(table);
    }
    Ok(warnings(report, &month, &prices))
}

fn warnings(mut report: Report, month: &Estimate, prices: &Prices) -> Report {
    let unverified = unverified(month);
    if !unverified.is_empty() {
        let message =
            format!("{} prices were not compared with AWS's: {}", unverified.len(), unverified.join(", "));
        let mut finding = Finding::new(&codes::INF033, Severity::Warning, message);
        for item in &unverified {
            if let Some(price) = prices.find(&month.region, item) {
                finding = finding.with_hint(format!("{item}: {}, of {}", price.source, price.date));
            }
        }
        report = report.with_finding(finding);
    }
    if !month.is_region_known {
        let message = format!("the plan does not say its region; priced as in {}", month.region);
        report = report.with_finding(Finding::new(&codes::INF034, Severity::Warning, message));
    } else if !prices.regions().contains(month.region.as_str()) {
        let message = format!("there are no prices of {}", month.region);
        let known: Vec<&str> = prices.regions().into_iter().collect();
        let finding = Finding::new(&codes::INF034, Severity::Warning, message)
            .with_hint(format!("the table has {}", known.join(" and ")));
        report = report.with_finding(finding);
    }
    report
}

fn unverified(month: &Estimate) -> Vec<String> {
    let lines = month.lines.iter().flat_map(|line| &line.unverified);
    let backends = month.backends.iter().flat_map(|backend| &backend.unverified);
    let mut all: Vec<String> = lines.chain(backends).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The dear ones one by one, dearest first; the others together.
fn table(month: &Estimate) -> Table {
    let mut table = Table::new([
        Column::left("resource"),
        Column::right("before"),
        Column::right("after"),
        Column::right("change"),
        Column::left("note").wide(),
    ]);
    let is_small = |line: &&Line| line.before < SMALL && line.after < SMALL;
    let mut dear: Vec<&Line> = month.lines.iter().filter(|line| !is_small(line)).collect();
    dear.sort_by_key(|line| std::cmp::Reverse((line.change().abs(), line.after)));
    for line in dear {
        let mut notes = line.notes.clone();
        notes.extend(line.unverified.iter().map(|item| format!("{item} unverified")));
        let mark = if line.unverified.is_empty() { "" } else { " *" };
        table.push([
            format!("{}{mark}", brief(&line.address)),
            dollars(line.before),
            dollars(line.after),
            signed(line.change()),
            notes.join("; "),
        ]);
    }
    let small: Vec<&Line> = month.lines.iter().filter(is_small).collect();
    if !small.is_empty() {
        let before = small.iter().map(|line| line.before).sum();
        let after = small.iter().map(|line| line.after).sum();
        let name = format!("{} below {} each", small.len(), dollars(SMALL));
        table.push([name, dollars(before), dollars(after), signed(after - before), String::new()]);
    }
    table.push([
        "in all".to_owned(),
        dollars(month.before),
        dollars(month.after),
        signed(month.after - month.before),
        String::new(),
    ]);
    table
}

fn sentence(month: &Estimate) -> String {
    let mut text = format!(
        "{} a month before, {} after: {}; prices of {}",
        dollars(month.before),
        dollars(month.after),
        signed(month.after - month.before),
        month.region,
    );
    if let Some((first, last)) = &month.dates {
        let days = if first == last { first.clone() } else { format!("{first} to {last}") };
        text.push_str(&format!(" of {days}"));
    }
    if !unverified(month).is_empty() {
        text.push_str(", * unverified");
    }
    text
}

fn backends(backends: &[Backend]) -> Table {
    let mut table = Table::new([
        Column::left("bus"),
        Column::left("brokers"),
        Column::right("disk"),
        Column::right("a month"),
        Column::left(""),
    ]);
    for backend in backends {
        let mark = if backend.unverified.is_empty() { "" } else { " *" };
        let monthly = backend.monthly.map_or_else(|| "no price".to_owned(), dollars);
        table.push([
            format!("{}{mark}", backend.name),
            format!("{} × {}", backend.bus.brokers, backend.bus.machine),
            format!("{} × {} GiB", backend.bus.brokers, backend.bus.disk_gib + backend.bus.root_gib),
            monthly,
            if backend.is_planned { "in this plan" } else { "" }.to_owned(),
        ]);
    }
    table
}

/// Cents are enough for a person.
fn dollars(micros: Micros) -> String {
    let cents = (micros.abs() + 5_000) / 10_000;
    let (whole, cents) = ((cents / 100).to_string(), cents % 100);
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{}{grouped}.{cents:02}", if micros < 0 { "-" } else { "" })
}

fn signed(micros: Micros) -> String {
    let plus = if micros > 0 { "+" } else { "" };
    format!("{plus}{}", dollars(micros))
}

/// Sums as text with every digit: a number of JSON is read as a float.
fn exact(micros: Micros) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", micros.abs() / 1_000_000, micros.abs() % 1_000_000)
}

fn data(month: &Estimate) -> Value {
    json!({
        "currency": "USD",
        "region": month.region,
        "dates": month.dates.as_ref().map(|(first, last)| json!({"oldest": first, "newest": last})),
        "before": exact(month.before),
        "after": exact(month.after),
        "change": exact(month.after - month.before),
        "resources": month.lines.iter().map(|line| json!({
            "address": line.address, "type": line.kind,
            "before": exact(line.before), "after": exact(line.after), "change": exact(line.change()),
            "notes": line.notes, "unverified": line.unverified,
        })).collect::<Vec<_>>(),
        "left_out": month.left_out.iter().map(|left| json!({
            "what": left.what, "count": left.count, "why": left.why,
        })).collect::<Vec<_>>(),
        "event_bus": month.backends.iter().map(|backend| json!({
            "backend": if backend.bus.is_managed { "msk" } else { "ec2" },
            "planned": backend.is_planned,
            "machine": backend.bus.machine, "brokers": backend.bus.brokers,
            "disk_gib": backend.bus.disk_gib + backend.bus.root_gib,
            "monthly": backend.monthly.map(exact), "unverified": backend.unverified,
        })).collect::<Vec<_>>(),
        "unverified": unverified(month),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_rounded_for_people_and_whole_for_programs() {
        for (micros, shown, exactly) in [
            (0, "0.00", "0.000000"),
            (4_999, "0.00", "0.004999"),
            (5_000, "0.01", "0.005000"),
            (1_234_567_890_000, "1,234,567.89", "1234567.890000"),
            (-39_784_000, "-39.78", "-39.784000"),
        ] {
            assert_eq!((dollars(micros).as_str(), exact(micros).as_str()), (shown, exactly));
        }
        assert_eq!(signed(1_000_000), "+1.00");
    }
}
