//! Talk while a command works: bars on a terminal, one timestamped line per change of state elsewhere, NDJSON events
//! for machines.
//!
//! Invariants: nothing here writes to stdout unless `--events -` asks for it; without bars, silence never lasts longer
//! than [`HEARTBEAT`] while a task is open; what a task says and what its events say is the same.

mod events;

pub use events::EventSink;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kernel::Clock;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::io::Sink;

/// The longest silence while something is under way.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// What the operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// Bars and spinners
    Bars,
    /// One timestamped line per change of state
    Plain,
    /// Nothing
    None,
}

/// How much talk there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    Quiet,
    Normal,
    Verbose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bars,
    Plain,
    Silent,
}

/// How a [`Reporter`] is to behave.
pub struct Settings {
    pub mode: ProgressMode,
    pub verbosity: Verbosity,
    pub colour: bool,
    /// Whether stderr is a terminal that can move its cursor.
    pub live_terminal: bool,
    pub events: Option<EventSink>,
}

/// Says what is going on. Clones are the same reporter.
#[derive(Clone)]
pub struct Reporter(Arc<Inner>);

struct Inner {
    style: Style,
    verbosity: Verbosity,
    colour: bool,
    stderr: Sink,
    clock: Arc<dyn Clock>,
    bars: Option<MultiProgress>,
    events: Option<EventSink>,
    state: Mutex<State>,
}

struct State {
    open: Vec<Open>,
    next_id: u64,
    last_line_at: Instant,
}

struct Open {
    id: u64,
    name: Cow<'static, str>,
    message: String,
    started_at: Instant,
    position: Option<(u64, u64)>,
}

impl Reporter {
    pub fn new(settings: Settings, stderr: Sink, clock: Arc<dyn Clock>) -> Self {
        let style = match settings.mode {
            _ if settings.verbosity == Verbosity::Quiet => Style::Silent,
            ProgressMode::None => Style::Silent,
            ProgressMode::Plain => Style::Plain,
            // A terminal that cannot move its cursor would show no bar at all.
            ProgressMode::Bars if settings.live_terminal => Style::Bars,
            // Many lines and bars do not go together, so verbose wins.
            ProgressMode::Auto if settings.live_terminal && settings.verbosity < Verbosity::Verbose => {
                Style::Bars
            }
            ProgressMode::Bars | ProgressMode::Auto => Style::Plain,
        };
        let bars =
            (style == Style::Bars).then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        let state = State { open: Vec::new(), next_id: 0, last_line_at: Instant::now() };
        let reporter = Self(Arc::new(Inner {
            style,
            verbosity: settings.verbosity,
            colour: settings.colour,
            stderr,
            clock,
            bars,
            events: settings.events,
            state: Mutex::new(state),
        }));
        if (style == Style::Plain || reporter.0.events.is_some())
            && tokio::runtime::Handle::try_current().is_ok()
        {
            tokio::spawn(beat(Arc::downgrade(&reporter.0)));
        }
        reporter
    }

    /// Whether tasks are bars, which say their message without their name.
    pub fn has_bars(&self) -> bool {
        self.0.bars.is_some()
    }

    /// Starts something that takes a while. `name` is a short stable word (it is in the events), `message` says what
    /// is being done.
    pub fn task(&self, name: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Task {
        let (name, message) = (name.into(), message.into());
        let id = {
            let mut state = self.0.state();
            state.next_id += 1;
            let id = state.next_id;
            state.open.push(Open {
                id,
                name: name.clone(),
                message: message.clone(),
                started_at: Instant::now(),
                position: None,
            });
            id
        };
        let bar = self.0.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner().with_message(message.clone()));
            bar.set_style(style("{spinner} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        self.0.event("task_started", &[("task", name.as_ref().into()), ("message", message.as_str().into())]);
        self.0.line(&name, &message);
        Task { reporter: self.clone(), id, name, bar, finished: false }
    }

    /// A line that stays where it is while tasks come and go below it; nothing where nothing can be redrawn.
    pub fn line(&self) -> Line {
        let bar = self.0.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("{wide_msg}"));
            bar
        });
        Line(bar)
    }

    /// Says something worth reading, once, whatever the style; silent under `-q`.
    pub fn say(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.0.event("note", &[("message", anstream::adapter::strip_str(text).to_string().into())]);
        if self.0.verbosity > Verbosity::Quiet {
            self.0.write(&format!("{text}\n"));
        }
    }

    /// Says something under `-v` only.
    pub fn detail(&self, text: impl AsRef<str>) {
        if self.0.verbosity == Verbosity::Verbose {
            self.0.write(&format!("{}\n", text.as_ref()));
        }
    }

    /// Writes to stderr even under `-q`: errors, findings, questions.
    pub fn write(&self, text: &str) {
        self.0.write(text);
    }

    /// Writes one event of its own kind; nothing without `--events`.
    pub fn event(&self, kind: &str, fields: &[(&str, Value)]) {
        self.0.event(kind, fields);
    }

    /// Whether there are bars, so that a caller may redraw often.
    pub fn is_live(&self) -> bool {
        self.0.style == Style::Bars
    }

    /// Whether only what is wrong is to be said.
    pub fn is_quiet(&self) -> bool {
        self.0.verbosity == Verbosity::Quiet
    }

    /// Whether `--events -` has taken stdout.
    pub fn owns_stdout(&self) -> bool {
        self.0.events.as_ref().is_some_and(EventSink::is_stdout)
    }

    /// The first write to the events file that failed, once.
    pub fn take_event_error(&self) -> Option<std::io::Error> {
        self.0.events.as_ref().and_then(EventSink::take_error)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, text: &str) {
        let text =
            if self.colour { Cow::from(text) } else { anstream::adapter::strip_str(text).to_string().into() };
        // There is nobody left to tell when stderr itself fails.
        let write = || drop(self.stderr.write(&text));
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
        self.state().last_line_at = Instant::now();
    }

    fn line(&self, name: &str, text: &str) {
        if self.style == Style::Plain {
            self.write(&format!("{} {name}: {text}\n", self.clock.now()));
        }
    }

    fn event(&self, kind: &str, fields: &[(&str, Value)]) {
        let Some(sink) = &self.events else { return };
        let mut event = Map::new();
        event.insert("schema".into(), "rtcctl/event/v1".into());
        event.insert("at".into(), self.clock.now().to_string().into());
        event.insert("kind".into(), kind.into());
        event.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        sink.write(&Value::Object(event));
    }

    fn heartbeat(&self) {
        let open: Vec<(Cow<'static, str>, String, u64)> = self
            .state()
            .open
            .iter()
            .map(|open| {
                let position =
                    open.position.map(|(done, total)| format!(" {done}/{total}")).unwrap_or_default();
                let seconds = open.started_at.elapsed().as_secs();
                (open.name.clone(), format!("still {}{position}, {seconds} s", open.message), seconds)
            })
            .collect();
        for (name, text, seconds) in open {
            self.event(
                "heartbeat",
                &[
                    ("task", name.as_ref().into()),
                    ("message", text.as_str().into()),
                    ("elapsed_s", seconds.into()),
                ],
            );
            self.line(&name, &text);
        }
        self.state().last_line_at = Instant::now();
    }
}

async fn beat(inner: Weak<Inner>) {
    let mut due = Instant::now() + HEARTBEAT;
    loop {
        tokio::time::sleep_until(due).await;
        let Some(inner) = inner.upgrade() else { return };
        let quiet_until = inner.state().last_line_at + HEARTBEAT;
        if quiet_until <= Instant::now() {
            inner.heartbeat();
            due = Instant::now() + HEARTBEAT;
        } else {
            due = quiet_until;
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A line on the terminal. It goes when it is dropped.
pub struct Line(Option<ProgressBar>);

impl Line {
    pub fn show(&self, text: impl Into<String>) {
        if let Some(bar) = &self.0 {
            bar.set_message(text.into());
            bar.tick();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// Something under way. Dropping it without a word closes it as abandoned.
pub struct Task {
    reporter: Reporter,
    id: u64,
    name: Cow<'static, str>,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Task {
    /// A change of state: a line, an event, a new text on the bar.
    pub fn state(&self, message: impl Into<String>) {
        let message = message.into();
        let inner = &self.reporter.0;
        inner.event(
            "task_state",
            &[("task", self.name.as_ref().into()), ("message", message.as_str().into())],
        );
        inner.line(&self.name, &message);
        self.show(message);
    }

    /// Something that changes too often for a line each: shown on the bar, and in the next heartbeat.
    pub fn show(&self, message: impl Into<String>) {
        let message = message.into();
        if let Some(bar) = &self.bar {
            bar.set_message(message.clone());
        }
        self.with_open(|open| open.message = message);
    }

    /// How far it is. A bar appears; elsewhere the next heartbeat says it.
    pub fn position(&self, done: u64, total: u64) {
        self.moved(done, total, "{spinner} [{bar:24}] {pos}/{len} {wide_msg}");
    }

    /// The same in bytes.
    pub fn bytes(&self, done: u64, total: u64) {
        self.moved(done, total, "{spinner} [{bar:24}] {decimal_bytes}/{decimal_total_bytes} {wide_msg}");
    }

    fn moved(&self, done: u64, total: u64, template: &'static str) {
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                bar.set_length(total);
                bar.set_style(style(template).progress_chars("=> "));
            }
            bar.set_position(done);
        }
        let events = &self.reporter.0.events;
        if events.is_some() {
            self.reporter.0.event(
                "task_progress",
                &[("task", self.name.as_ref().into()), ("done", done.into()), ("total", total.into())],
            );
        }
        self.with_open(|open| open.position = Some((done, total)));
    }

    pub fn done(mut self, message: impl Into<String>) {
        self.finish("task_done", &message.into());
    }

    pub fn fail(mut self, message: impl Into<String>) {
        self.finish("task_failed", &message.into());
    }

    fn with_open(&self, change: impl FnOnce(&mut Open)) {
        if let Some(open) = self.reporter.0.state().open.iter_mut().find(|open| open.id == self.id) {
            change(open);
        }
    }

    fn finish(&mut self, kind: &str, message: &str) {
        self.finished = true;
        let inner = &self.reporter.0;
        let elapsed = {
            let mut state = inner.state();
            let index = state.open.iter().position(|open| open.id == self.id);
            index.map(|index| state.open.remove(index).started_at.elapsed()).unwrap_or_default()
        };
        inner.event(
            kind,
            &[
                ("task", self.name.as_ref().into()),
                ("message", message.into()),
                ("elapsed_ms", u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).into()),
            ],
        );
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            if !message.is_empty() {
                inner.write(&format!("{message}\n"));
            }
        } else if !message.is_empty() {
            inner.line(&self.name, message);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.finished {
            self.finish("task_abandoned", "");
        }
    }
}

#[cfg(test)]
mod tests;
