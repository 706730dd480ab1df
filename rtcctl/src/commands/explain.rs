//! `rtcctl explain [CODE]`: what a code means and what to do, without any network.

use codes::{Code, Error, Result, exit};
use serde_json::json;
use settings::nearest;

use crate::output::{Column, Report, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The code of an error or a finding, or `exit-codes`; without it, every code is listed
    code: Option<String>,
}

pub fn run(args: Args) -> Result<Report> {
    match args.code.as_deref() {
        None => Ok(list()),
        Some("exit-codes") => Ok(exit_codes()),
        Some(id) => match codes::find(id) {
            Some(code) => Ok(explain(code)),
            None => Err(unknown(id)),
        },
    }
}

fn document(code: &Code) -> serde_json::Value {
    json!({
        "code": code.id,
        "exit_code": code.exit.code(),
        "summary": code.summary,
        "cause": code.cause,
        "action": code.action,
    })
}

fn explain(code: &Code) -> Report {
    Report::new("explain", document(code))
        .with_text(format!("{}: {}", code.id, code.summary))
        .with_pairs([
            ("Cause", code.cause.to_owned()),
            ("What to do", code.action.to_owned()),
            ("Exit code", code.exit.code().to_string()),
        ])
        .with_names([code.id])
}

fn list() -> Report {
    let mut table = Table::new([Column::left("code"), Column::right("exit"), Column::left("summary")]);
    for code in codes::all() {
        table.push([code.id.to_owned(), code.exit.code().to_string(), code.summary.to_owned()]);
    }
    Report::new("explain", codes::all().map(document).collect::<Vec<_>>())
        .with_table(table)
        .with_names(codes::all().map(|code| code.id))
}

fn exit_codes() -> Report {
    let mut table = Table::new([Column::right("exit"), Column::left("meaning")]);
    for (exit, meaning) in exit::ALL {
        table.push([exit.code().to_string(), meaning.to_owned()]);
    }
    let data: Vec<_> = exit::ALL
        .iter()
        .map(|(exit, meaning)| json!({"exit_code": exit.code(), "meaning": meaning}))
        .collect();
    Report::new("explain/exit-codes", data)
        .with_table(table)
        .with_names(exit::ALL.iter().map(|(exit, _)| exit.code().to_string()))
}

fn unknown(id: &str) -> Error {
    let error = Error::new(&codes::EXP001, format!("there is no code {id:?}"));
    match nearest(id, codes::all().map(|code| code.id)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("rtcctl explain lists them all"),
    }
}
