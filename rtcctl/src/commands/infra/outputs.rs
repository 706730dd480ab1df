//! `rtcctl infra outputs`: what the infrastructure says of itself.

use std::collections::BTreeMap;

use codes::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use settings::nearest;

use super::failed;
use super::site::Site;
use crate::context::Context;
use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// This one alone, as plain text where it is one
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Show values that are marked as sensitive
    #[arg(long, requires = "name")]
    reveal: bool,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    sensitive: bool,
    #[serde(default)]
    value: Value,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let outputs = read(context).await?;
    match &args.name {
        Some(name) => one(name, args.reveal, &outputs),
        None => Ok(all(&outputs)),
    }
}

/// What other commands read: the output `rtc`, if anything has been applied.
pub async fn rtc(context: &Context) -> Result<Option<Value>> {
    Ok(read(context).await?.remove("rtc").map(|output| output.value))
}

async fn read(context: &Context) -> Result<BTreeMap<String, Output>> {
    let site = Site::open(context)?;
    site.initialise_once().await?;
    let shown = site.output(&["output", "-json", "-no-color"]).await?;
    if !shown.status.success() {
        site.refuse_what_is_no_terraform().await?;
        return Err(failed::of_text("terraform output failed", &String::from_utf8_lossy(&shown.stderr)));
    }
    serde_json::from_slice(&shown.stdout)
        .map_err(|error| Error::new(&codes::INF017, "the outputs cannot be read").with_source(&error))
}

fn one(name: &str, reveal: bool, outputs: &BTreeMap<String, Output>) -> Result<Report> {
    let Some(output) = outputs.get(name) else {
        let error = Error::new(&codes::INF021, format!("there is no output {name:?}"));
        return Err(match nearest(name, outputs.keys().map(String::as_str)) {
            Some(near) => error.with_hint(format!("did you mean {near}?")),
            None if outputs.is_empty() => error.with_hint("there are none: nothing has been applied yet"),
            None => {
                let names: Vec<&str> = outputs.keys().map(String::as_str).take(8).collect();
                error.with_hint(format!("there are {}", names.join(", ")))
            }
        });
    };
    if output.sensitive && !reveal {
        return Err(Error::new(&codes::INF022, format!("{name} is marked as sensitive"))
            .with_hint("--reveal shows it to whoever looks"));
    }
    Ok(Report::new("infra/outputs", json!({ name: output.value })).with_text(plain(&output.value)))
}

fn all(outputs: &BTreeMap<String, Output>) -> Report {
    let mut table = Table::new([Column::left("output"), Column::left("value")]);
    let mut data = serde_json::Map::new();
    for (name, output) in outputs {
        let (shown, value) = match output.sensitive {
            true => ("(sensitive)".to_owned(), json!({"sensitive": true})),
            false => (plain(&output.value), json!({"sensitive": false, "value": output.value})),
        };
        table.push([name.clone(), shown]);
        data.insert(name.clone(), value);
    }
    let report = Report::new("infra/outputs", data).with_names(outputs.keys().cloned());
    match outputs.is_empty() {
        true => report.with_text("no outputs: nothing has been applied yet"),
        false => report.with_table(table),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
