//! `rtcctl deploy logs`: what the containers of workloads say, the failing ones first; `-f` goes on, over new pods too.
//!
//! Invariants: a line is never mixed with another; the log of one container is in its own order; what cannot be read is
//! said on stderr and holds up no other; a line of a failing pod is marked in its prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::deploy::apply;
use codes::exit::{self, Exit};
use codes::{Error, Result};
use futures_util::StreamExt;
use kubernetes::Cluster;
use kubernetes::read::{Life, LogEnd, LogRequest};
use rollout::failure::{self, Allowance};
use rollout::objects::{ContainerStatus, Object, Pod};
use rollout::world::{Target, World};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{access, targets, within};
use crate::cli::duration;
use crate::context::{Context, Screen};
use crate::output::{Format, Report};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: targets::Args,
    /// Go on, also with pods that come
    #[arg(short, long)]
    pub follow: bool,
    /// The life before the last restart
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Only what was said since, for example 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    since: Option<Duration>,
    /// The last lines of each container; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    tail: u32,
    /// Containers of this name alone
    #[arg(short, long, value_name = "NAME")]
    container: Option<String>,
}

const COMMAND: &str = "deploy/logs";
/// Lines that wait to be written.
const WAITING: usize = 1024;
/// Colours of prefixes, none of them that of a failure.
const COLOURS: [&str; 6] = ["36", "35", "34", "32", "33", "96"];

/// A container whose log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    /// Failing ones come first.
    is_well: bool,
    pod: String,
    container: String,
    namespace: String,
    uid: String,
    restarts: u32,
}

impl Source {
    /// One life of one container.
    fn life(&self) -> (String, String, u32) {
        (self.uid.clone(), self.container.clone(), self.restarts)
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let namespace = access::namespace(context);
    let (cluster, targets) = targets::looked_up(&args.which, &namespace, context).await?;
    let ended = if args.follow {
        Box::pin(follow(&args, &cluster, &targets, context)).await?
    } else {
        Box::pin(within(context, once(&args, &cluster, &targets, context))).await?
    };
    Ok(Report::already_written(COMMAND, ended))
}

/// The containers that have something to say, failing ones first.
fn sources(world: &World, args: &Args, context: &Context) -> Vec<Source> {
    let now = context.clock.now();
    let mut found = Vec::new();
    for object in world.objects() {
        let Object::Pod(pod) = object else { continue };
        let is_well = failure::of_pod(world, pod, &Allowance::default(), now).is_empty();
        for status in pod.status.init_containers.iter().chain(&pod.status.containers) {
            let is_meant = args.container.as_ref().is_none_or(|name| *name == status.name);
            if is_meant && has_log(pod, status, args) {
                found.push(Source {
                    is_well,
                    pod: pod.metadata.name.clone(),
                    container: status.name.clone(),
                    namespace: pod.metadata.namespace.clone(),
                    uid: pod.metadata.uid.to_string(),
                    restarts: status.restarts,
                });
            }
        }
    }
    found.sort();
    found
}

fn has_log(pod: &Pod, status: &ContainerStatus, args: &Args) -> bool {
    if args.previous {
        return status.restarts > 0;
    }
    // An init container that is done has said what it had to; asked for by name it is told.
    let is_past = pod.spec.init_containers.iter().any(|init| init.name == status.name)
        && status.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0)
        && args.container.is_none();
    let has_begun = status.state.running.is_some()
        || status.state.terminated.is_some()
        || status.last.terminated.is_some();
    has_begun && !is_past
}

fn request(source: &Source, args: &Args) -> LogRequest {
    LogRequest {
        namespace: source.namespace.clone(),
        pod: source.pod.clone(),
        container: Some(source.container.clone()),
        life: if args.previous { Life::Previous } else { Life::Present },
        tail: (args.tail > 0).then_some(args.tail),
        since: args.since,
        end: if args.follow { LogEnd::Follow } else { LogEnd::Now },
        ..LogRequest::default()
    }
}

/// Writes lines with where they come from.
struct Writer<'a> {
    context: &'a Context,
    colours: BTreeMap<String, &'static str>,
    written: u64,
}

impl<'a> Writer<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, colours: BTreeMap::new(), written: 0 }
    }

    fn line(&mut self, source: &Source, line: &str) -> Result<()> {
        self.written += 1;
        if matches!(self.context.format, Format::Json | Format::Yaml) {
            let document = json!({
                "pod": source.pod, "container": source.container, "failing": !source.is_well, "line": line,
            });
            return self.context.print(&format!("{document}\n"));
        }
        let next = COLOURS[self.colours.len() % COLOURS.len()];
        let colour = *self.colours.entry(source.pod.clone()).or_insert(next);
        let (colour, sign) = if source.is_well { (colour, "") } else { ("31", "✗ ") };
        let line = harmless(line, self.context.screen);
        let prefix = match self.context.screen {
            Screen::Coloured => format!("\x1b[{colour}m{sign}{}/{}\x1b[0m", source.pod, source.container),
            Screen::Plain | Screen::None => format!("{sign}{}/{}", source.pod, source.container),
        };
        self.context.print(&format!("{prefix} {line}\n"))
    }

    fn refused(&self, source: &Source, error: &kubernetes::Error) {
        self.context.progress.say(format!("{}/{}: {}", source.pod, source.container, apply::said(error)));
    }
}

/// What a program writes may be coloured where there are colours; whatever else moves the cursor is taken out.
fn harmless(line: &str, screen: Screen) -> String {
    let line: String =
        line.chars().filter(|letter| !letter.is_control() || matches!(letter, '\t' | '\u{1b}')).collect();
    let mut parts = line.split("\u{1b}[");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    let mut is_coloured = false;
    for part in parts {
        match part.find(|letter: char| ('\u{40}'..='\u{7e}').contains(&letter)) {
            Some(end) if part[end..].starts_with('m') && screen == Screen::Coloured => {
                is_coloured = true;
                kept.push('\u{0}');
                kept.push_str(part);
            }
            Some(end) => kept.push_str(&part[end + 1..]),
            None => {}
        }
    }
    let mut kept = kept.replace('\u{1b}', "").replace('\u{0}', "\u{1b}[");
    if is_coloured {
        kept.push_str("\u{1b}[0m");
    }
    kept
}

async fn once(args: &Args, cluster: &Cluster, targets: &[Target], context: &Context) -> Result<Exit> {
    let snapshot = cluster.look(targets, context.clock.now()).await.map_err(access::failed)?;
    let sources = sources(&snapshot.world, args, context);
    let mut writer = Writer::new(context);
    let mut last = None;
    for source in &sources {
        let mut lines = match cluster.logs(&request(source, args)).await {
            Ok(lines) => lines,
            Err(error) => {
                writer.refused(source, &error);
                last = Some(error);
                continue;
            }
        };
        while let Some(line) = lines.next().await {
            match line {
                Ok(line) => writer.line(source, &line)?,
                Err(error) => {
                    writer.refused(source, &error);
                    break;
                }
            }
            if context.stdout_is_closed() {
                return Ok(exit::DONE);
            }
        }
    }
    if writer.written > 0 || (last.is_none() && !sources.is_empty()) {
        return Ok(exit::DONE);
    }
    let message = match (&args.container, args.previous) {
        (Some(name), _) => format!("no container {name} has a log"),
        (None, true) => "no container has restarted".to_owned(),
        (None, false) => "no container has begun to run".to_owned(),
    };
    let error = Error::new(&codes::KUB016, message).with_hint(codes::KUB016.action);
    Err(match last {
        Some(last) => error.with_cause(apply::said(&last)),
        None => error,
    })
}

/// A line, or the end of a log.
enum Said {
    Line(Source, String),
    Ended(Source, Option<kubernetes::Error>),
}

async fn follow(args: &Args, cluster: &Cluster, targets: &[Target], context: &Context) -> Result<Exit> {
    let mut world = World::new(targets.to_vec());
    let mut feed = cluster.watch(targets);
    let (sender, mut said) = mpsc::channel(WAITING);
    let mut readers = JoinSet::new();
    let mut begun = BTreeSet::new();
    let mut broken_at: BTreeMap<_, Instant> = BTreeMap::new();
    let mut writer = Writer::new(context);
    loop {
        tokio::select! {
            biased;
            signal = context.interrupts.wait() => return Ok(signal.exit()),
            Some(said) = said.recv() => match said {
                Said::Line(source, line) => writer.line(&source, &line)?,
                Said::Ended(source, Some(error)) => {
                    writer.refused(&source, &error);
                    // It goes on where it broke off, to a second, as soon as anything is heard of a pod.
                    begun.remove(&source.life());
                    broken_at.entry(source.life()).or_insert_with(Instant::now);
                }
                Said::Ended(_, None) => {}
            },
            news = feed.next() => {
                let Some(news) = news else {
                    return Err(Error::internal("the watching ended by itself"));
                };
                if let kubernetes::watch::News::Unavailable { kind, why } = &news
                    && targets.iter().any(|target| target.kinds().contains(kind))
                {
                    return Err(access::failed(why.clone()));
                }
                news.tell(&mut world, context.clock.now());
                for source in sources(&world, args, context) {
                    if begun.insert(source.life()) {
                        let mut request = request(&source, args);
                        if let Some(at) = broken_at.remove(&source.life()) {
                            request.tail = None;
                            request.since = Some(at.elapsed() + Duration::from_secs(1));
                        }
                        readers.spawn(read(cluster.clone(), source, request, sender.clone()));
                    }
                }
            }
        }
        if context.stdout_is_closed() {
            return Ok(exit::DONE);
        }
    }
}

async fn read(cluster: Cluster, source: Source, request: LogRequest, sender: mpsc::Sender<Said>) {
    let mut ended = None;
    match cluster.logs(&request).await {
        Ok(mut lines) => {
            while let Some(line) = lines.next().await {
                match line {
                    Ok(line) => {
                        if sender.send(Said::Line(source.clone(), line)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => ended = Some(error),
                }
            }
        }
        Err(error) => ended = Some(error),
    }
    // Nobody listens any more where this fails.
    let _ = sender.send(Said::Ended(source, ended)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_may_be_coloured_and_moves_no_cursor() {
        let line = "\u{1b}[31mred\u{1b}[2Jgone\u{1b}[1;1Hx\r\u{1b}]0;title\u{7}";
        assert_eq!(harmless(line, Screen::Coloured), "\u{1b}[31mredgonex]0;title\u{1b}[0m");
        assert_eq!(harmless(line, Screen::None), "redgonex]0;title");
        assert_eq!(harmless("plain [31m", Screen::None), "plain [31m");
        assert_eq!(harmless("cut \u{1b}[3", Screen::None), "cut ");
    }
}
