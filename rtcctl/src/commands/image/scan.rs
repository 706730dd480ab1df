//! `rtcctl image scan`: what ECR found in an image, as a table and as a gate.

use std::time::Duration;

use codes::{Error, Result, exit};
use ecr::Ecr;
use ecr::scan::{Finding, Findings, Severity, State};
use oci::registry::Access;
use oci::transfer;
use oci::{Platform, Reference};
use serde_json::{Value, json};

use super::{access, failed, subject};
use crate::context::Context;
use crate::output::{Column, Report, Table};
use crate::{human, output};

/// So many findings are shown; `-o json` has all of them.
const SHOWN: usize = 30;
const WAIT: Duration = Duration::from_secs(300);
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image: a reference, or an image of rtc.toml with a tag (rtcd:v1)
    #[arg(value_name = "IMAGE")]
    image: String,
    /// End with 30 where a finding is at least so bad: critical, high, medium, low
    #[arg(long, value_name = "SEVERITY")]
    fail_on: Option<Severity>,
    /// Have it scanned now, and wait
    #[arg(long)]
    start: bool,
    /// Which image of several
    #[arg(long, value_name = "PLATFORM", default_value = "linux/amd64")]
    platform: String,
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let reference = subject::remote(&args.image, context).await?;
    let Some(ecr) = access::ecr(&reference, context).await? else {
        return Err(Error::new(&codes::IMG021, format!("{} does not scan images", reference.registry())));
    };
    let digest = digest_of(&reference, &args.platform, context).await?;
    if args.start {
        ecr.start_scan(reference.repository(), &digest).await.map_err(failed::of_aws)?;
    }
    let found = wait(&ecr, &reference, &digest, context).await?;
    if let State::Impossible { status, reason } = &found.state {
        return Err(Error::new(&codes::IMG019, format!("{} cannot be scanned: {status}", args.image))
            .with_cause(reason)
            .with_hint(
                "the scanner does not read images of this kind; enhanced scanning reads more of them",
            ));
    }
    Ok(report(&args, &reference, &digest, &found, context))
}

/// Scanners look at the image of a platform, not at an index; a digest is taken as it is.
async fn digest_of(reference: &Reference, platform: &str, context: &Context) -> Result<String> {
    if let Some(digest) = reference.digest() {
        return Ok(digest.to_string());
    }
    let platform =
        Platform::parse(platform).map_err(|error| Error::new(&codes::USE001, error.to_string()))?;
    let repository = access::repository(reference, Access::Pull, context)?;
    let chosen =
        transfer::choose(&repository, &reference.wanted(), &platform).await.map_err(failed::of_oci)?;
    Ok(chosen.descriptor.digest.to_string())
}

async fn wait(ecr: &Ecr, reference: &Reference, digest: &str, context: &Context) -> Result<Findings> {
    let timeout = context.timeout_or(WAIT);
    let ends_at = tokio::time::Instant::now() + timeout;
    let mut task = None;
    loop {
        let found = ecr.findings(reference.repository(), digest).await.map_err(failed::of_aws)?;
        let Some(found) = found else {
            return Err(Error::new(&codes::IMG019, format!("{digest} was never scanned"))
                .with_hint("rtcctl image scan --start has it scanned now"));
        };
        if found.state != State::Running {
            return Ok(found);
        }
        if tokio::time::Instant::now() >= ends_at {
            let message = format!("the scan of {digest} has not finished after {}", human::duration(timeout));
            return Err(Error::new(&codes::IMG020, message));
        }
        task.get_or_insert_with(|| context.progress.task("scan", "the scanner is at work"));
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn report(args: &Args, reference: &Reference, digest: &str, found: &Findings, context: &Context) -> Report {
    let counts: Vec<(Severity, u64)> =
        found.counts.iter().rev().map(|(severity, count)| (*severity, *count)).collect();
    let data = json!({
        "image": reference.to_string(), "digest": digest,
        "completed_at": found.completed_at.map(|at| at.to_string()),
        "counts": counts.iter().map(|(severity, count)| (severity.as_str().to_lowercase(), json!(count)))
            .collect::<serde_json::Map<_, _>>(),
        "fail_on": args.fail_on.map(Severity::as_str),
        "list": found.list.iter().map(told).collect::<Vec<_>>(),
    });
    let said: Vec<String> = counts
        .iter()
        .map(|(severity, count)| format!("{count} {}", severity.as_str().to_lowercase()))
        .collect();
    let when = human::ago(found.completed_at, context.clock.now());
    let mut report =
        Report::new("image/scan", data).with_names(found.list.iter().map(|one| one.name.clone()));
    if found.list.is_empty() && counts.iter().all(|(_, count)| *count == 0) {
        report = report.with_text(format!("no findings; scanned {when}"));
    } else {
        let left = found.list.len().saturating_sub(SHOWN);
        report = report.with_table(table(&found.list));
        if left > 0 {
            report = report.with_text(format!("and {left} more; -o json has them all"));
        }
        report = report.with_text(format!("{}; scanned {when}", said.join(", ")));
    }
    let Some(limit) = args.fail_on else { return report };
    match found.at_least(limit) {
        0 => report,
        many => {
            let message = format!("{many} findings are {} or worse", limit.as_str().to_lowercase());
            report
                .with_finding(output::Finding::new(&codes::IMG018, output::Severity::Error, message))
                .with_status("breached", exit::BREACHED)
        }
    }
}

fn table(list: &[Finding]) -> Table {
    let mut table = Table::new([
        Column::left("severity"),
        Column::left("finding"),
        Column::left("package"),
        Column::left("version"),
        Column::left("fixed in"),
    ]);
    for one in list.iter().take(SHOWN) {
        table.push([
            one.severity.to_string(),
            one.name.clone(),
            one.package.clone(),
            one.version.clone(),
            one.fixed_in.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

fn told(one: &Finding) -> Value {
    json!({
        "severity": one.severity.as_str().to_lowercase(), "name": one.name, "package": one.package,
        "version": one.version, "fixed_in": one.fixed_in, "url": one.url,
    })
}
