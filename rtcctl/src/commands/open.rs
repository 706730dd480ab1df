//! `rtcctl open`: the address of a page of the running platform, in a browser where there is one.

use std::process::Stdio;

use codes::{Error, Result};
use serde_json::json;

use crate::context::{Context, Effect};
use crate::output::{Format, Report};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to open
    #[arg(value_enum, default_value_t = Page::Api)]
    page: Page,
    /// Only print the address
    #[arg(long)]
    print: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Page {
    /// The description of the API (OpenAPI 3.1)
    Api,
    /// The products of the shop
    Products,
    /// The metrics in Prometheus' text form
    Metrics,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let platform = context.platform()?;
    let (endpoint, path) = match args.page {
        Page::Api => (&platform.api, "/api/v1/openapi.json"),
        Page::Products => (&platform.api, "/api/v1/products"),
        Page::Metrics => (&platform.admin, "/metrics"),
    };
    let url = format!("{}{path}", endpoint.base().as_str().trim_end_matches('/'));
    let report = Report::new("open", json!({"url": url})).with_text(&url).with_names([&url]);
    let only_print = args.print
        || context.effect == Effect::Described
        || context.width.is_none()
        || !matches!(context.format, Format::Table | Format::Wide);
    if only_print {
        return Ok(report);
    }
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let status = tokio::process::Command::new(opener)
        .arg(&url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    match status {
        Ok(status) if status.success() => Ok(report),
        Ok(status) => Err(no_opener(&url).with_cause(format!("{opener} ended with {status}"))),
        Err(error) => Err(no_opener(&url).with_cause(format!("{opener}: {error}"))),
    }
}

fn no_opener(url: &str) -> Error {
    Error::new(&codes::RUN015, format!("cannot open {url} in a browser"))
        .with_hint("open it by hand, or use rtcctl open --print")
}
