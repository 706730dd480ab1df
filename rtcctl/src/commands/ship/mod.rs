//! `rtcctl ship`: from the state of a folder to a release that is proved.
//!
//! The steps, what each needs, and what follows a failure are [`ship`]'s; here they are done by the same functions as
//! `infra`, `image`, `deploy` and `metrics check` are.
//!
//! Invariants: one question is asked, before the first step that changes something; a run that stopped before its end stays
//! open, and `--resume` goes on with it; who has to know is told at every end.

mod board;
mod budgets;
mod driver;
mod gate;
pub mod history;
mod others;
mod report;
mod rollout;
mod survey;
mod tell;

use std::collections::BTreeSet;
use std::time::Duration;

use codes::{Error, Result};
use ship::{IfUnknown, Pinned, Proving, Release, Request, Step, drive};

use crate::context::{Context, Effect};
use crate::output::Report;
use driver::{Driver, Said};

use super::deploy::prove;
use super::image::steps as images;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Steps: budget, plan, apply, build, push, deploy, prove, gate, notice. A run that was stopped or killed goes on with \
                  --resume RUN; what is there already is found, and not done twice."
)]
pub struct Args {
    /// Show what a release would do, and whether it would be let; --dry-run is the same
    #[arg(long)]
    plan_only: bool,
    /// Go on with a run that stopped before its end
    #[arg(long, value_name = "RUN", value_parser = clap::builder::NonEmptyStringValueParser::new(), conflicts_with_all = ["plan_only", "skip", "image", "allow_destroy", "on_failure", "prove"])]
    resume: Option<String>,
    /// With --resume: go on although nobody knows whether requests were lost during the rollout; the journal says who said so
    #[arg(long, requires = "resume")]
    unproved: bool,
    #[command(flatten)]
    proving: prove::Args,
    /// Leave a step out; may be given several times
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = step)]
    skip: Vec<Step>,
    /// Release this image, which the registry has, in place of building and pushing one
    #[arg(long, value_name = "REFERENCE")]
    image: Option<String>,
    /// A resource that keeps data and may be destroyed all the same
    #[arg(long, value_name = "ADDRESS")]
    allow_destroy: Vec<String>,
    /// What becomes of a release that turns out to be wrong after its rollout
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    on_failure: OnFailure,
    /// Wait for Terraform that still works for somebody, and for the lock that he holds [default: 10m]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "10m", value_parser = crate::cli::duration)]
    wait: Option<Duration>,
    /// The name of a protected environment, in place of typing it
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum OnFailure {
    /// Keep evidence, then bring back what ran before
    #[default]
    Rollback,
    /// Leave it as it is
    Leave,
}

fn step(text: &str) -> Result<Step, String> {
    Step::named(text).ok_or_else(|| {
        let names: Vec<&str> =
            Step::ALL.iter().filter(|step| step.row().may_be_skipped).map(|step| step.name()).collect();
        format!("the steps are {}", names.join(", "))
    })
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    if args.plan_only || (context.effect == Effect::Described && args.resume.is_none()) {
        let request = request(&args, context).await?;
        return Box::pin(survey::run(&request, args.wait, context)).await;
    }
    let (mut release, run, runs) = match &args.resume {
        Some(wanted) => {
            let (run, mut release, runs) = history::take_up(wanted, context)?;
            if context.effect == Effect::Described {
                return Ok(report::standing(&run.id(), &release, context));
            }
            let mut run = history::resumed(run, &mut release, context)?;
            if args.unproved {
                history::unproved(&mut run, &mut release, context)?;
            }
            (release, run, runs)
        }
        None => {
            let request = request(&args, context).await?;
            let run = history::begin(&request, context)?;
            (Release::new(request), run, Vec::new())
        }
    };
    let mut driver =
        Driver::new(context, run, runs, &release, Said { confirm: args.confirm, wait: args.wait });
    let end = Box::pin(drive(&mut release, &mut driver)).await?;
    driver.ended(&release, end)
}

/// What is asked for, with what the configuration says and what there is nothing to do for.
async fn request(args: &Args, context: &Context) -> Result<Request> {
    let skip: BTreeSet<Step> = args.skip.iter().copied().collect();
    // What the end of a release needs is asked for before its beginning.
    if !(skip.contains(&Step::Budget) && skip.contains(&Step::Gate)) {
        context.config.need_measures()?;
    }
    if args.proving.prove.as_deref() == Some("") {
        context.config.need_entry()?;
    }
    let described = &context.config.ship.image;
    let image = images::name_of(Some(described.as_str()).filter(|name| !name.is_empty()), context)?;
    let pinned = match &args.image {
        Some(text) => {
            let (reference, digest) = images::pinned(text, context).await?;
            let digest =
                digest.parse().map_err(|error: ship::NoDigest| Error::internal(error.to_string()))?;
            Some(Pinned { reference, digest })
        }
        None => None,
    };
    let refused = |refusal: ship::Refusal| {
        Error::new(&codes::SHP001, refusal.to_string()).with_hint(codes::SHP001.action)
    };
    let mut request = Request::new(context.config.env(), image, pinned, &skip).map_err(refused)?;
    if let Some(address) = &args.proving.prove {
        // What cannot be driven there is told now, and not after an image was built and sent.
        prove::check(&args.proving, context)?;
        let proving = Proving {
            address: Some(address.clone()).filter(|address| !address.is_empty()),
            rate: args.proving.prove_rate,
            if_unknown: IfUnknown::Stop,
        };
        request = request.proving(proving).map_err(refused)?;
    }
    if context.config.path_of("terraform").is_none() {
        for step in [Step::Plan, Step::Apply] {
            request
                .skip
                .entry(step)
                .or_insert_with(|| "the environment names no Terraform folder".to_owned());
        }
    }
    request.on_failure = match args.on_failure {
        OnFailure::Rollback => ship::OnFailure::RollBack,
        OnFailure::Leave => ship::OnFailure::Leave,
    };
    request.allow_destroy.clone_from(&args.allow_destroy);
    Ok(request)
}

#[cfg(test)]
mod tests;
