//! `rtcctl deploy status`: Deployment, ReplicaSet, pod, container, each with its state and why.

use std::collections::BTreeMap;
use std::time::Duration;

use ::deploy::apply;
use codes::exit::{self, Exit};
use codes::{Error, Result};
use crossterm::event::{Event, KeyCode, KeyModifiers};
use futures_util::{Stream, StreamExt};
use kernel::Clock;
use kubernetes::Cluster;
use kubernetes::watch::{Feed, News, Told};
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::style::{Color, Style};
use ratatui::text::{Line as Drawn, Span, Text};
use rollout::failure::Allowance;
use rollout::objects::Kind;
use rollout::tree::{Mark, Row, rows};
use rollout::world::{Target, World};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::layout::{self, Room};
use super::{access, targets, within};
use crate::context::{Context, Screen};
use crate::metrics::watch::{FullScreen, Paint, Raw};
use crate::output::{Finding, Format, Report, Severity};
use crate::signals::{Interrupts, Signal};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: targets::Args,
    /// Go on showing what changes
    #[arg(short, long)]
    pub watch: bool,
    /// End with 23 where something fails
    #[arg(long, conflicts_with = "watch")]
    exit_code: bool,
}

const COMMAND: &str = "deploy/status";
/// A plain terminal, as far as it is known.
const WIDTH: usize = 80;
/// Between two drawings: changes come in heaps.
const REDRAW: Duration = Duration::from_millis(100);
/// Ages move on while nothing else does.
const AGE: Duration = Duration::from_secs(1);
/// Without a terminal something is said at least so often.
const HEARTBEAT: Duration = Duration::from_secs(30);

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let namespace = access::namespace(context);
    let (cluster, targets) = targets::looked_up(&args.which, &namespace, context).await?;
    if args.watch {
        return watch(&cluster, targets, &namespace, context).await;
    }
    let look = async { cluster.look(&targets, context.clock.now()).await.map_err(access::failed) };
    let snapshot = within(context, look).await?;
    let rows = rows(&snapshot.world, &Allowance::default(), context.clock.now());
    let mut report = Report::new(COMMAND, document(&cluster, &namespace, &rows));
    let width = context.width.unwrap_or(WIDTH);
    let lines = match context.format {
        Format::Wide => layout::whole(&rows, width.max(160)),
        _ => layout::lines(&rows, Room { width, height: Some(22) }),
    };
    report = report
        .with_text(head(&cluster, &namespace, &rows))
        .with_text(
            lines.iter().map(|line| layout::painted(line, context.screen)).collect::<Vec<_>>().join("\n"),
        )
        .with_names(rows.iter().filter(|row| row.kind == "Pod").map(|row| format!("pod/{}", row.name)));
    for (kind, error) in &snapshot.missing {
        report = report.with_finding(not_seen(*kind, error));
    }
    Ok(match worst(&rows) {
        Some(Mark::Failing) => {
            let ends_with = if args.exit_code { exit::ROLLOUT_FAILED } else { exit::DONE };
            report.with_status("failing", ends_with)
        }
        Some(Mark::Waiting | Mark::ComingUp) => report.with_status("moving", exit::DONE),
        _ => report,
    })
}

fn not_seen(kind: Kind, error: &kubernetes::Error) -> Finding {
    let message = format!("{} cannot be looked at: {}", kind.name(), apply::said(error));
    Finding::new(&codes::KUB015, Severity::Warning, message).with_hint(error.hint())
}

fn worst(rows: &[Row]) -> Option<Mark> {
    rows.iter().filter(|row| row.depth == 0).map(|row| row.mark).min()
}

fn document(cluster: &Cluster, namespace: &str, rows: &[Row]) -> Value {
    json!({
        "cluster": cluster.host(),
        "namespace": namespace,
        "state": worst(rows).map(layout::word),
        "rows": rows,
    })
}

/// One line above all: where, and how many pods are how.
fn head(cluster: &Cluster, namespace: &str, rows: &[Row]) -> String {
    let mut counts: BTreeMap<Mark, usize> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == "Pod") {
        *counts.entry(row.mark).or_default() += 1;
    }
    let counted: Vec<String> =
        counts.iter().map(|(mark, count)| format!("{count} {}", layout::word(*mark))).collect();
    let pods = if counted.is_empty() { "none".to_owned() } else { counted.join(", ") };
    format!("{namespace} at {}: pods {pods}", cluster.host())
}

/// What is known while it is watched.
struct Watched<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    world: World,
    feed: Feed,
    clock: &'a dyn Clock,
    /// What is not to be had.
    missing: BTreeMap<Kind, kubernetes::Error>,
    broken: BTreeMap<Kind, kubernetes::Error>,
}

impl<'a> Watched<'a> {
    fn begin(cluster: &'a Cluster, namespace: &'a str, targets: Vec<Target>, clock: &'a dyn Clock) -> Self {
        Self {
            cluster,
            namespace,
            feed: cluster.watch(&targets),
            world: World::new(targets),
            clock,
            missing: BTreeMap::new(),
            broken: BTreeMap::new(),
        }
    }

    /// Takes a piece of news and all that has come with it.
    fn take(&mut self, first: News) -> Told {
        let mut told = Told::Same;
        let mut next = Some(first);
        while let Some(news) = next {
            match &news {
                News::Unavailable { kind, why } => {
                    self.missing.insert(*kind, why.clone());
                }
                News::Disconnected { kind, why } => {
                    self.broken.insert(*kind, why.clone());
                }
                News::Connected { kind } | News::Listed { kind, .. } => {
                    self.broken.remove(kind);
                }
                News::Line { .. } => {}
            }
            if news.tell(&mut self.world, self.clock.now()) == Told::Changed {
                told = Told::Changed;
            }
            next = self.feed.ready();
        }
        told
    }

    fn rows(&self) -> Vec<Row> {
        rows(&self.world, &Allowance::default(), self.clock.now())
    }

    fn is_complete(&self) -> bool {
        self.world.targets().iter().all(|target| self.world.is_listed(target))
    }

    /// What nothing can be judged without is not to be had.
    fn refused(&self) -> Option<Error> {
        let needed = |kind: &Kind| self.world.targets().iter().any(|target| target.kinds().contains(kind));
        let (_, error) = self.missing.iter().find(|(kind, _)| needed(kind))?;
        Some(access::failed(error.clone()))
    }
}

async fn watch(
    cluster: &Cluster,
    targets: Vec<Target>,
    namespace: &str,
    context: &Context,
) -> Result<Report> {
    let mut watched = Watched::begin(cluster, namespace, targets, &*context.clock);
    let paint = match (context.format, context.screen) {
        (Format::Table | Format::Wide, Screen::Plain) => Some(Paint::Plain),
        (Format::Table | Format::Wide, Screen::Coloured) => Some(Paint::Coloured),
        _ => None,
    };
    let ended = match paint {
        Some(paint) => {
            let mut screen = FullScreen::enter(context.stdout.clone(), Raw::On)?;
            let keys = crossterm::event::EventStream::new();
            redrawn(&mut watched, paint, &mut screen.terminal, keys, &context.interrupts).await?
        }
        None => as_lines(&mut watched, context).await?,
    };
    Ok(Report::already_written(COMMAND, ended))
}

/// Draws what is new and listens to the keyboard until somebody has seen enough.
async fn redrawn<B: Backend>(
    watched: &mut Watched<'_>,
    paint: Paint,
    terminal: &mut Terminal<B>,
    keys: impl Stream<Item = std::io::Result<Event>>,
    interrupts: &Interrupts,
) -> Result<Exit>
where
    B::Error: 'static,
{
    let mut keys = std::pin::pin!(keys);
    let mut redraw_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            signal = interrupts.wait() => return Ok(signal.exit()),
            event = keys.next() => match event {
                Some(Ok(event)) => {
                    if let Event::Key(key) = event {
                        match key.code {
                            KeyCode::Char('q') | KeyCode::Esc => return Ok(exit::DONE),
                            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                                return Ok(Signal::Interrupt.exit());
                            }
                            _ => {}
                        }
                    }
                    redraw_at = redraw_at.min(Instant::now() + REDRAW);
                }
                Some(Err(error)) => {
                    return Err(Error::internal("cannot read the keyboard").with_source(&error));
                }
                // Nobody types any more, so nobody watches.
                None => return Ok(exit::DONE),
            },
            news = watched.feed.next() => {
                let Some(news) = news else { return Err(over(watched)) };
                if watched.take(news) == Told::Changed {
                    redraw_at = redraw_at.min(Instant::now() + REDRAW);
                }
                if let Some(error) = watched.refused() {
                    return Err(error);
                }
            }
            () = sleep_until(redraw_at) => {
                let drawn = terminal.draw(|frame| {
                    let area = frame.area();
                    frame.render_widget(text(watched, area.width.into(), area.height.into(), paint), area);
                });
                drawn.map_err(|error| Error::internal("cannot draw on the terminal").with_source(&error))?;
                redraw_at = Instant::now() + AGE;
            }
        }
    }
}

fn text(watched: &Watched<'_>, width: usize, height: usize, paint: Paint) -> Text<'static> {
    let rows = watched.rows();
    let mut drawn = vec![Drawn::raw(head(watched.cluster, watched.namespace, &rows))];
    let mut foot: Vec<String> = watched
        .broken
        .iter()
        .map(|(kind, error)| format!("{} may be old: {}", kind.name(), apply::said(error)))
        .chain(watched.missing.keys().map(|kind| format!("{} cannot be looked at", kind.name())))
        .collect();
    if !watched.is_complete() {
        foot.push("reading …".to_owned());
    }
    let room = Room { width, height: Some(height.saturating_sub(1 + foot.len()).max(1)) };
    for line in layout::lines(&rows, room) {
        let style = match paint {
            Paint::Coloured => Style::new().fg(colour(line.mark)),
            Paint::Plain => Style::new(),
        };
        let mut letters = line.text.chars();
        let first = letters.next().map(String::from).unwrap_or_default();
        drawn.push(Drawn::from(vec![Span::styled(first, style), Span::raw(letters.as_str().to_owned())]));
    }
    drawn.extend(foot.into_iter().map(Drawn::raw));
    Text::from(drawn)
}

fn colour(mark: Mark) -> Color {
    match mark {
        Mark::Failing => Color::Red,
        Mark::Waiting => Color::Yellow,
        Mark::ComingUp => Color::Cyan,
        Mark::Well => Color::Green,
        Mark::Leaving => Color::DarkGray,
    }
}

fn over(watched: &Watched<'_>) -> Error {
    match watched.missing.values().next() {
        Some(error) => access::failed(error.clone()),
        None => Error::internal("the watching ended by itself"),
    }
}

/// What a row says, without its age.
type Said = (Mark, String, String, Option<(u32, u32)>);

/// A line for every change, a sign of life otherwise; with `-o json` a document a change.
async fn as_lines(watched: &mut Watched<'_>, context: &Context) -> Result<Exit> {
    let mut said: BTreeMap<String, Said> = BTreeMap::new();
    let mut last_document = Value::Null;
    let mut look_at: Option<Instant> = None;
    let mut alive_at = Instant::now() + HEARTBEAT;
    loop {
        tokio::select! {
            biased;
            signal = context.interrupts.wait() => return Ok(signal.exit()),
            news = watched.feed.next() => {
                let Some(news) = news else { return Err(over(watched)) };
                if watched.take(news) == Told::Changed && watched.is_complete() {
                    look_at.get_or_insert(Instant::now() + REDRAW);
                }
                if let Some(error) = watched.refused() {
                    return Err(error);
                }
            }
            () = sleep_until(look_at.unwrap_or(alive_at)) => {
                let rows = watched.rows();
                let now = context.clock.now();
                if matches!(context.format, Format::Json | Format::Yaml) {
                    let document = ageless(document(watched.cluster, watched.namespace, &rows));
                    if document != last_document {
                        let line = json!({"schema": format!("rtcctl/{COMMAND}/v1"), "at": now, "data": document});
                        context.print(&format!("{line}\n"))?;
                        last_document = document;
                    }
                } else {
                    let was_alive = changed(&rows, &mut said);
                    for line in &was_alive {
                        context.print(&format!("{now} {line}\n"))?;
                    }
                    if was_alive.is_empty() && look_at.is_none() {
                        context.print(&format!("{now} {}\n", head(watched.cluster, watched.namespace, &rows)))?;
                    }
                }
                look_at = None;
                alive_at = Instant::now() + HEARTBEAT;
            }
        }
        if context.stdout_is_closed() {
            return Ok(exit::DONE);
        }
    }
}

fn ageless(mut document: Value) -> Value {
    for row in document["rows"].as_array_mut().into_iter().flatten() {
        if let Some(row) = row.as_object_mut() {
            row.remove("age");
        }
    }
    document
}

/// The rows that say something else than before, as lines.
fn changed(rows: &[Row], said: &mut BTreeMap<String, Said>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut present = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind != "container") {
        let name = format!("{}/{}", row.kind.to_lowercase(), row.name);
        let says: Said = (row.mark, row.state.clone(), row.reason.clone(), row.ready);
        if said.get(&name) != Some(&says) {
            let ready = row.ready.map_or_else(String::new, |(ready, wanted)| format!(" {ready}/{wanted}"));
            let reason = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
            let reason: String =
                reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
            lines.push(format!("{} {name}{ready} {}{reason}", layout::word(row.mark), row.state));
        }
        present.insert(name, says);
    }
    lines.extend(said.keys().filter(|name| !present.contains_key(*name)).map(|name| format!("gone {name}")));
    *said = present;
    lines
}

#[cfg(test)]
mod tests;
