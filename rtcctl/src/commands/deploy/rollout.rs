//! `rtcctl deploy rollout` and `apply`: what brings something else onto the cluster.
//!
//! Invariants: nothing is changed before every object was tried and the operator was asked; a protected environment has
//! its name typed; what is done is in the journal, and a run that stopped is taken up with `--resume`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ::deploy::apply::{Leftover, Planned};
use ::deploy::manifest::Manifest;
use ::deploy::port::Port;
use ::deploy::revision::{History, Others};
use ::deploy::room;
use ::deploy::run::colours::{self, Colour};
use ::deploy::run::{self, Action, Migration, Plan, Removal, Strategy, Word};
use codes::{Error, Result};
use kubernetes::Cluster;
use kubernetes::write::Force;
use manifests::Release;
use manifests::description::Entry;
use rollout::canary::{Approval, By, Step};
use rollout::evidence::Metric;
use rollout::lifecycle::OnFailure;
use rollout::objects::Kind;
use rollout::verdict::Rules;
use settings::Origin;

use super::driving::{self, Drive};
use super::gauge::{self, Metrics};
use super::preview::{described_report, leftovers, previewed, unseen_told};
use super::{access, described, prove, within};
use crate::cli::duration;
use crate::context::{Context, Effect};
use crate::output::{Finding, Report, Severity};

/// Of a canary of which nothing is said.
const WEIGHTS: [u8; 3] = [10, 25, 50];
const HOLD: Duration = Duration::from_secs(120);
/// Of blue-green, before it is sent anything.
const STANDS: Duration = Duration::from_secs(30);

/// How the new version takes over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// Pod by pod
    #[default]
    Rolling,
    /// Beside the old one first, judged at each weight
    Canary,
    /// Whole beside the old one, then all traffic at once; the old one stays until the bake is over
    BlueGreen,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A run that stopped, whyever, goes on with --resume RUN; what was done is not done twice."
)]
pub struct Args {
    #[command(flatten)]
    described: described::Args,
    /// How the new version takes over
    #[arg(long, value_enum, default_value_t)]
    strategy: Way,
    /// Canary: percentages, one after another [default: 10,25,50]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=99))]
    weights: Vec<u8>,
    /// Canary: how long each weight is judged [default: 2m]; blue-green: how long it stands before it is sent anything
    /// [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    hold: Option<Duration>,
    /// Canary, blue-green: only these targets; all without it
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    targets: Vec<String>,
    /// Canary: wait for --approve after each good analysis; blue-green: before it is sent everything
    #[arg(long)]
    ask_each: bool,
    /// What decides after the pods stand: the objectives (slo), or a file of checks
    #[arg(long, value_name = "slo|FILE")]
    gate: Option<String>,
    /// How long every pod has to stand before it is judged; blue-green: how long it is judged while it is sent everything
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    bake: Duration,
    /// Bring back what ran before when it fails; a canary and blue-green always do
    #[arg(long)]
    auto_rollback: bool,
    /// Copy what was saved of a failure into this folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    evidence: Option<PathBuf>,
    /// How long nothing may move
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration)]
    no_activity: Duration,
    /// Take fields that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Begin also where the run of somebody else seems to be under way
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    proving: prove::Args,
    /// Go on with a run that stopped
    #[arg(long, value_name = "RUN", conflicts_with_all = [
        "image", "outputs", "version_label", "gate", "auto_rollback", "strategy", "weights", "hold", "targets",
        "ask_each", "bake", "no_activity", "force_conflicts", "take_over",
    ])]
    resume: Option<String>,
    /// With --resume, a canary or blue-green that stands still: on to the next weight
    #[arg(long, requires = "resume", conflicts_with_all = ["promote", "abort"])]
    approve: bool,
    /// With --resume, a canary or blue-green: all of it, now
    #[arg(long, requires = "resume", conflicts_with = "abort")]
    promote: bool,
    /// With --resume: take it back
    #[arg(long, requires = "resume")]
    abort: bool,
}

impl Args {
    fn word(&self) -> Word {
        match (self.approve, self.promote, self.abort) {
            (true, ..) => Word::Approve,
            (_, true, _) => Word::Promote,
            (.., true) => Word::Abort,
            _ => Word::GoOn,
        }
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let word = args.word();
    let metrics = Metrics(context);
    let evidence = args.evidence.as_ref().map(|folder| context.current_dir.join(folder));
    if let Some(wanted) = &args.resume {
        if let Origin::Flag(flag) = &context.config.get("timeout").origin {
            let message =
                format!("{flag} does not go with --resume: a run keeps the deadline that it was begun with");
            return Err(Error::new(&codes::DEP016, message));
        }
        let mut book = driving::find(wanted, context)?;
        if context.effect == Effect::Described {
            return Ok(driving::standing_of(&book, context));
        }
        let cluster = Box::pin(within(context, access::changeable(context))).await?;
        let asked = match word {
            Word::Promote => Some("take all of"),
            Word::Abort => Some("take back"),
            Word::GoOn | Word::Approve => None,
        };
        if let Some(verb) = asked {
            let plan = book.plan();
            let what = format!("{verb} the run {} ({}) in {}", book.id(), plan.image, plan.environment);
            consent(&what, &cluster, context)?;
        }
        book.resumed(&context.config.operator()).map_err(driving::of_run)?;
        let proof = prove::begin(&args.proving, context).await?;
        let drive = Drive { port: &cluster, gauge: Some(&metrics), evidence, word };
        return prove::conclude(proof, driving::drive(book, drive, context).await).await;
    }
    if args.strategy == Way::Canary && args.gate.is_none() {
        return Err(Error::new(
            &codes::DEP016,
            "--strategy canary takes --gate: nobody else can judge a weight",
        )
        .with_hint("--gate slo, or a file of checks"));
    }
    let is_beside = args.hold.is_some() || !args.targets.is_empty() || args.ask_each;
    if args.strategy == Way::Rolling && (is_beside || !args.weights.is_empty()) {
        let message = "--weights, --hold, --targets and --ask-each are those of a second version";
        return Err(Error::new(&codes::DEP016, message).with_hint("--strategy canary, --strategy blue-green"));
    }
    if args.strategy == Way::BlueGreen && !args.weights.is_empty() {
        let message = "--weights are those of a canary: blue-green is at nothing, then at everything";
        return Err(Error::new(&codes::DEP016, message).with_hint("--strategy canary"));
    }
    let gate = args.gate.as_deref().map(|text| gauge::gate(text, context)).transpose()?;
    let looking = async {
        let (release, manifest) = described::guarded(&args.described, context).await?;
        let cluster = access::changeable(context).await?;
        let strategy = match args.strategy {
            Way::Rolling => Strategy::Rolling,
            Way::Canary => canary(&args, &release, &cluster).await?,
            Way::BlueGreen => blue_green(&args, &release, &manifest, &cluster, context).await?,
        };
        let force = if args.force_conflicts { Force::Take } else { Force::Never };
        let previewed = previewed(&cluster, &manifest, force).await?;
        Ok((release, manifest, cluster, strategy, previewed))
    };
    let (release, manifest, cluster, strategy, previewed) = Box::pin(within(context, looking)).await?;
    if context.effect == Effect::Described {
        return Ok(described_report("deploy/rollout", &previewed, &[]));
    }
    confirm(&release, &previewed, 0, &cluster, context)?;
    // What stands beside is of no use where it failed, and what was stable is there.
    let goes_back = args.auto_rollback || args.strategy != Way::Rolling;
    let on_failure = if goes_back { OnFailure::RollBack } else { OnFailure::Leave };
    let plan = Plan {
        strategy,
        gate,
        bake: args.bake,
        on_failure,
        takes_fields: args.force_conflicts,
        others: others(args.take_over),
        rules: Rules {
            no_activity: args.no_activity,
            deadline: context.config.duration("timeout"),
            ..Rules::default()
        },
        ..plan("rollout", &release, manifest, context)
    };
    let inputs = [("image", plan.image.clone())];
    let proof = prove::begin(&args.proving, context).await?;
    let book = driving::begin(plan, &inputs, context)?;
    let drive = Drive { port: &cluster, gauge: Some(&metrics), evidence, word };
    prove::conclude(proof, driving::drive(book, drive, context).await).await
}

pub(super) fn others(take_over: bool) -> Others {
    if take_over { Others::TakenOver } else { Others::Respected }
}

/// A plan without any of the choices.
fn plan(command: &str, release: &Release, manifest: Manifest, context: &Context) -> Plan {
    let description = &release.description;
    let (environment, namespace) = (&description.environment, &description.namespace);
    let action = Action::Apply { manifest };
    Plan {
        image: release.image.to_string(),
        version: description.version.clone(),
        description: serde_json::to_value(description).unwrap_or_default(),
        migration: Migration::Run,
        rules: Rules { deadline: context.config.duration("timeout"), ..Rules::default() },
        metrics: metrics_of_a_failure(),
        ..Plan::new(command, environment, namespace, context.config.operator(), action)
    }
}

/// What is kept of the metrics when something failed.
pub(super) fn metrics_of_a_failure() -> Vec<Metric> {
    let metric = |name: &str, query: &str| Metric { name: name.to_owned(), query: query.to_owned() };
    vec![
        metric("requests", "sum by (service) (rate(http_server_request_duration_seconds_count[1m]))"),
        metric(
            "errors",
            "sum by (service) (rate(http_server_request_duration_seconds_count{http_response_status_code=~\"5..\"}[1m]))",
        ),
    ]
}

/// The targets that are meant: all where none is named.
fn meant(args: &Args, release: &Release) -> Result<Vec<String>> {
    let known = &release.description.targets;
    let targets: Vec<String> = match args.targets.is_empty() {
        true => known.keys().cloned().collect(),
        false => args.targets.clone(),
    };
    let Some(unknown) = targets.iter().find(|name| !known.contains_key(*name)) else { return Ok(targets) };
    let message = format!("--targets: there is no target {unknown:?}");
    let error = Error::new(&codes::DEP016, message);
    Err(match settings::nearest(unknown, known.keys().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error,
    })
}

fn approval(args: &Args) -> Approval {
    if args.ask_each { Approval::Operator } else { Approval::Analysis }
}

/// Everything a second time: there has to be something to stand beside, and room for it.
async fn blue_green(
    args: &Args,
    release: &Release,
    manifest: &Manifest,
    port: &dyn Port,
    context: &Context,
) -> Result<Strategy> {
    let description = &release.description;
    let mut targets = meant(args, release)?;
    // A load balancer would have to find every pod of green well before it sends anything again.
    let behind = match &description.entry {
        Entry::None | Entry::GatewayApi { pods_in: Some(_), .. } => None,
        entry => entry.target(),
    };
    if let Some(entry) = behind.filter(|_| args.targets.is_empty() && targets.len() > 1) {
        targets.retain(|name| name != entry);
        context.progress.write(&format!("{entry} is behind a load balancer, and is rolled pod by pod\n"));
    }
    let history = History { port, namespace: &description.namespace, environment: &description.environment };
    let current = history.current().await.map_err(access::failed)?;
    let current = current.ok_or_else(|| driving::of_run(run::Error::NothingStable))?;
    let both = colours::targets(&current.manifest, manifest, &targets);
    if both.is_empty() {
        let why = "none of its targets runs with a track now and will then".to_owned();
        return Err(driving::of_run(run::Error::Beside(why)));
    }
    if let Some(why) = colours::unlike(&current.manifest, manifest, &both) {
        return Err(driving::of_run(run::Error::Beside(why)));
    }
    let green = colours::green(manifest, &both, Colour::Stable);
    let green = colours::whole(port, green).await.map_err(access::failed)?;
    let lacks = room::lacking(port, &description.namespace, &green).await.map_err(access::failed)?;
    if !lacks.is_empty() {
        let message = "the namespace does not hold the release twice";
        let error = Error::new(&codes::DEP027, message).with_hint(codes::DEP027.action);
        return Err(lacks.iter().fold(error, |error, lack| error.with_cause(lack.to_string())));
    }
    previewed(port, &green, Force::Never).await?;
    Ok(Strategy::BlueGreen { targets, hold: args.hold.unwrap_or(STANDS), approval: approval(args) })
}

async fn canary(args: &Args, release: &Release, port: &dyn Port) -> Result<Strategy> {
    let targets = meant(args, release)?;
    let (mut total, mut pods) = (1, BTreeMap::new());
    for name in &targets {
        let gvk = kubernetes::Gvk::from(Kind::Deployment);
        let found = port.get(&gvk, &release.description.namespace, name).await.map_err(access::failed)?;
        let replicas = found.and_then(|found| found["spec"]["replicas"].as_u64()).unwrap_or(1);
        let replicas = u32::try_from(replicas).unwrap_or(u32::MAX);
        total = total.max(replicas);
        pods.insert(name.clone(), replicas);
    }
    let by = match release.description.mesh {
        // Its weights divide calls, whatever the number of pods.
        Some(_) => {
            pods.clear();
            By::Mesh
        }
        None => By::Replicas { total },
    };
    let approval = approval(args);
    let weights = if args.weights.is_empty() { &WEIGHTS[..] } else { &args.weights };
    let hold = args.hold.unwrap_or(HOLD);
    let steps: Vec<Step> = weights.iter().map(|weight| Step { weight: *weight, hold, approval }).collect();
    rollout::canary::Plan::new(by, steps.clone())
        .map_err(|error| Error::new(&codes::DEP016, format!("--weights: {error}")))?;
    Ok(Strategy::Canary { targets, by, steps, pods })
}

fn confirm(
    release: &Release,
    planned: &[Planned],
    pruned: usize,
    cluster: &Cluster,
    context: &Context,
) -> Result<()> {
    let changes = planned.iter().filter(|one| one.is_change()).count();
    let env = context.config.env();
    let mut what = format!("change {changes} of {} objects in {env} to {}", planned.len(), release.image);
    if pruned > 0 {
        what.push_str(&format!(" and delete {pruned} that are left over"));
    }
    consent(&what, cluster, context)
}

/// A protected environment has its name typed. Which cluster it is is said.
pub(super) fn consent(what: &str, cluster: &Cluster, context: &Context) -> Result<()> {
    let what = &format!("{what}, on {}", cluster.host());
    match context.config.text("protected") == Some("yes") {
        true => context.confirm_by_name(what, context.config.env(), None),
        false => context.confirm(what),
    }
}

#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    described: described::Args,
    /// Delete what is left over of earlier releases, after a look at it
    #[arg(long)]
    prune: bool,
    /// Take fields that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Begin also where the run of somebody else seems to be under way
    #[arg(long)]
    take_over: bool,
    /// How long nothing may move
    #[arg(long, value_name = "TIME", default_value = "4m", value_parser = duration)]
    no_activity: Duration,
}

/// `rtcctl deploy apply`
pub async fn apply(args: ApplyArgs, context: &Context) -> Result<Report> {
    let looking = async {
        let (release, manifest) = described::guarded(&args.described, context).await?;
        let cluster = access::changeable(context).await?;
        let force = if args.force_conflicts { Force::Take } else { Force::Never };
        let planned = previewed(&cluster, &manifest, force).await?;
        let (found, unseen) = leftovers(&cluster, &manifest, &release).await?;
        Ok((release, manifest, cluster, planned, found, unseen))
    };
    let (release, manifest, cluster, planned, found, unseen) = Box::pin(within(context, looking)).await?;
    let removal = |one: &Leftover| Removal { id: one.id.clone(), uid: Some(one.uid.clone()) };
    let removes: Vec<Removal> = match args.prune {
        true => found.iter().filter(|one| !one.is_kept).map(removal).collect(),
        false => Vec::new(),
    };
    let preview = unseen_told(described_report("deploy/apply", &planned, &found), &unseen);
    if context.effect == Effect::Described {
        return Ok(preview);
    }
    if !removes.is_empty() {
        let list = removes.iter().map(|one| format!("  {}\n", one.id)).collect::<String>();
        context.progress.write(&format!("Left over, and deleted when everything else stands:\n{list}"));
    }
    confirm(&release, &planned, removes.len(), &cluster, context)?;
    let rules = Rules {
        no_activity: args.no_activity,
        deadline: context.config.duration("timeout"),
        ..Rules::default()
    };
    let takes_fields = args.force_conflicts;
    let others = others(args.take_over);
    let plan = Plan { removes, takes_fields, others, rules, ..plan("apply", &release, manifest, context) };
    let inputs = [("image", plan.image.clone())];
    let book = driving::begin(plan, &inputs, context)?;
    let drive = Drive { port: &cluster, gauge: None, evidence: None, word: Word::GoOn };
    let mut report = driving::drive(book, drive, context).await?;
    report.command = "deploy/apply";
    report.data["preview"] = preview.data;
    let is_left = found.iter().any(|one| !one.is_kept);
    Ok(match is_left && !args.prune {
        true => {
            let left: Vec<String> =
                found.iter().filter(|one| !one.is_kept).map(|one| one.id.to_string()).collect();
            let message = format!("left over: {}", left.join(", "));
            let finding = Finding::new(&codes::DEP012, Severity::Warning, message);
            report.with_finding(finding.with_hint(codes::DEP012.action))
        }
        false => report,
    })
}
