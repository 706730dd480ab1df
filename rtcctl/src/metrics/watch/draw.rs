//! The full screen, drawn from a [`View`] alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span as Run};
use ratatui::widgets::{Block, Borders, Clear, Paragraph};

use rtc_metrics::slo::BURNS;

use super::live::{Flow, Live, Red};
use super::view::{Column, Direction, Mode, View};
use crate::metrics::draw::sparkline;
use crate::metrics::model::{AlertState, Health, Reading};
use crate::metrics::units::{Unit, age, sample_age};

/// Whether colours are used; a sign always says the same thing too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Coloured,
}

impl Paint {
    fn of(self, colour: Color) -> Style {
        match self {
            Paint::Plain => Style::new(),
            Paint::Coloured => Style::new().fg(colour),
        }
    }

    fn title(self) -> Style {
        self.of(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}

/// The smallest terminal on which something can be read.
const SMALLEST: (u16, u16) = (40, 10);
const NAME_WIDTH: usize = 14;
const FIGURE_WIDTH: usize = 10;
const BURN_WIDTH: usize = 9;

/// How many lines each part of the screen gets.
struct Places {
    table: u16,
    shop: u16,
    objectives: u16,
    bottom: u16,
}

/// A title and a heading above the rows of a table.
const ABOVE_ROWS: usize = 2;

impl Places {
    /// What is alarming comes first, then the table as far as it goes; objectives only where room is left for them.
    fn of(area: Rect, rows: usize, objectives: usize, alerts: usize) -> Self {
        let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let between = area.height.saturating_sub(2);
        let bottom = lines(alerts + 1).min(area.height / 4).max(2);
        let shop = (area.height / 3).clamp(4, 16);
        let table = between.saturating_sub(bottom + shop);
        let wanted = lines(rows.max(1) + ABOVE_ROWS + 1);
        let objectives = lines(objectives + ABOVE_ROWS + 1);
        match table.saturating_sub(wanted) {
            spare if spare >= objectives => {
                let bottom = bottom + (spare - objectives);
                Self { table: wanted, shop, objectives, bottom }
            }
            _ => Self { table, shop, objectives: 0, bottom },
        }
    }

    fn areas(&self, area: Rect) -> [Rect; 6] {
        Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(self.table),
            Constraint::Length(self.shop),
            Constraint::Length(self.objectives),
            Constraint::Length(self.bottom),
            Constraint::Length(1),
        ])
        .areas(area)
    }
}

pub fn screen(frame: &mut Frame<'_>, view: &View, paint: Paint) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("at least {}×{}", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let Some(live) = &view.live else {
        waiting(frame, view, area, paint);
        return;
    };
    let alerts = alert_lines(view, live, paint);
    let places = Places::of(area, view.rows().len(), live.standings.len(), alerts.len());
    let [head, table, shop, objectives, bottom, foot] = places.areas(area);
    frame.render_widget(Paragraph::new(head_line(view, live, head.width, paint)), head);
    red_table(frame, view, table, paint);
    let [orders, sagas, lag] = Layout::horizontal([
        Constraint::Percentage(48),
        Constraint::Percentage(22),
        Constraint::Percentage(30),
    ])
    .spacing(1)
    .areas(shop);
    orders_pane(frame, live, orders, paint);
    sagas_pane(frame, live, sagas, paint);
    lag_pane(frame, live, lag, paint);
    if objectives.height > 0 {
        objectives_pane(frame, live, objectives, paint);
    }
    pane(frame, "ALERTS AND TARGETS", alerts, bottom, paint);
    frame.render_widget(Paragraph::new(foot_line(view, paint)), foot);
    if view.mode == Mode::Help {
        help(frame, area, paint);
    }
}

fn waiting(frame: &mut Frame<'_>, view: &View, area: Rect, paint: Paint) {
    let mut lines = vec![Line::raw(format!("{}: asking …", view.env))];
    if let Some(error) = &view.trouble {
        lines.push(Line::styled(format!("{}: {error}", error.code().id), paint.of(Color::Red)));
        lines.extend(error.causes().iter().map(|cause| Line::raw(format!("  {cause}"))));
        lines.extend(error.hints().iter().map(|hint| Line::raw(format!("hint: {hint}"))));
        lines.push(Line::raw("it is asked again and again; q quits"));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Lines below a rule with a title.
fn pane(frame: &mut Frame<'_>, title: &str, lines: Vec<Line<'_>>, area: Rect, paint: Paint) {
    let block = Block::new().borders(Borders::TOP).title(Line::styled(format!(" {title} "), paint.title()));
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn head_line(view: &View, live: &Live, width: u16, paint: Paint) -> Line<'static> {
    let mut right = sample_age(live.sampled_ms, live.at_ms);
    if view.is_paused() {
        right = format!("PAUSED  {right}");
    }
    if let Some(error) = &view.trouble {
        right = format!("{} {error}", error.code().id);
    }
    let time = kernel::Timestamp::from_millis(live.at_ms).to_string();
    let time = time.get(11..19).unwrap_or_default().to_owned();
    let left = format!("{} · {} · {time}Z", view.env, live.source);
    let room = usize::from(width).saturating_sub(right.chars().count() + 2);
    let left: String = left.chars().take(room).collect();
    let gap = " ".repeat(usize::from(width).saturating_sub(left.chars().count() + right.chars().count()));
    let alarming = view.is_paused() || view.trouble.is_some();
    let style = if alarming { paint.of(Color::Yellow) } else { Style::new() };
    Line::from(vec![Run::styled(left, paint.title()), Run::raw(gap), Run::styled(right, style)])
}

fn left(text: &str, columns: usize) -> String {
    let text: String = text.chars().take(columns).collect();
    format!("{text:<columns$}")
}

fn right(text: &str, columns: usize) -> String {
    let text: String = text.chars().take(columns).collect();
    format!("{text:>columns$}")
}

fn red_table(frame: &mut Frame<'_>, view: &View, area: Rect, paint: Paint) {
    let what = match view.detail() {
        Some(service) => format!("{service}: ROUTES"),
        None => "SERVICES".to_owned(),
    };
    let filter = match (view.mode, view.filter.as_str()) {
        (Mode::Typing, filter) => format!(" · filter: {filter}▏"),
        (_, "") => String::new(),
        (_, filter) => format!(" · filter: {filter}"),
    };
    let name_width =
        if view.detail().is_some() { (usize::from(area.width) / 3).max(NAME_WIDTH) } else { NAME_WIDTH };
    let figures = FIGURE_WIDTH * (Column::ALL.len() - 1);
    let course = usize::from(area.width).saturating_sub(name_width + 2 + figures + 2);
    let mut heading = String::from("  ");
    for column in Column::ALL {
        let arrow = match (view.sort == column, view.direction) {
            (false, _) => "",
            (true, Direction::Natural) => "▼",
            (true, Direction::Reversed) => "▲",
        };
        let title = if column == Column::Name && view.detail().is_some() { "ROUTE" } else { column.title() };
        let title = format!("{title}{arrow}");
        heading.push_str(&match column {
            Column::Name => left(&title, name_width),
            _ => right(&title, FIGURE_WIDTH),
        });
    }
    let minutes = view.live.as_ref().map_or(0, |live| (live.span.end_ms - live.span.start_ms) / 60_000);
    heading.push_str(&format!("  LAST {minutes} MIN"));
    let mut lines = vec![Line::styled(heading, Style::new().add_modifier(Modifier::BOLD))];
    let rows = view.rows();
    let marked = view.marked();
    // The marked row stays in sight.
    let visible = usize::from(area.height).saturating_sub(2).max(1);
    let first = (marked + 1).saturating_sub(visible);
    for (place, row) in rows.iter().enumerate().skip(first).take(visible) {
        lines.push(red_line(row, place == marked, name_width, course, paint));
    }
    if rows.is_empty() {
        lines.push(Line::raw(match view.filter.as_str() {
            "" => "  nothing is recorded yet",
            _ => "  nothing passes the filter",
        }));
    }
    pane(frame, &format!("{what}{filter}"), lines, area, paint);
}

fn red_line(row: &Red, is_marked: bool, name_width: usize, course: usize, paint: Paint) -> Line<'static> {
    let quantile = |reading: Reading| match reading {
        Reading::NaN => right("–", FIGURE_WIDTH),
        reading => right(&Unit::Seconds.show(reading), FIGURE_WIDTH),
    };
    let errors = match row.errors {
        Reading::NaN => "–".to_owned(),
        Reading::Value(share) if share > 0.0 => format!("!{}", Unit::Share.format(share)),
        reading => Unit::Share.show(reading),
    };
    let alarming = row.errors.value().is_some_and(|share| share > 0.0);
    let name = format!("{}{}", if is_marked { "> " } else { "  " }, left(&row.name, name_width));
    let name_style = if is_marked { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
    Line::from(vec![
        Run::styled(name, name_style),
        Run::raw(right(&Unit::PerSecond.show(row.rate), FIGURE_WIDTH)),
        Run::styled(right(&errors, FIGURE_WIDTH), if alarming { paint.of(Color::Red) } else { Style::new() }),
        Run::raw(quantile(row.p50)),
        Run::raw(quantile(row.p95)),
        Run::raw(quantile(row.p99)),
        Run::raw("  "),
        Run::styled(sparkline(&row.course, course), paint.of(Color::Green)),
    ])
}

fn flow_line(title: &str, flow: &Flow, width: usize, paint: Paint) -> Line<'static> {
    let course = width.saturating_sub(12 + FIGURE_WIDTH + 2);
    Line::from(vec![
        Run::raw(left(title, 12)),
        Run::raw(right(&Unit::PerMinute.show(flow.now), FIGURE_WIDTH)),
        Run::raw("  "),
        Run::styled(sparkline(&flow.course, course), paint.of(Color::Green)),
    ])
}

fn orders_pane(frame: &mut Frame<'_>, live: &Live, area: Rect, paint: Paint) {
    let width = usize::from(area.width);
    let mut lines: Vec<Line<'_>> =
        live.orders.iter().map(|flow| flow_line(&flow.name, flow, width, paint)).collect();
    if lines.is_empty() {
        lines.push(Line::raw("no order yet"));
    }
    for flow in &live.revenue {
        lines.push(flow_line(&format!("revenue {}", flow.name), flow, width, paint));
    }
    pane(frame, "ORDERS AND REVENUE", lines, area, paint);
}

fn pair_line(name: &str, value: String, width: usize, style: Style) -> Line<'static> {
    let figure = value.chars().count().max(4);
    let name_width = width.saturating_sub(figure + 1);
    Line::styled(format!("{} {}", left(name, name_width), right(&value, figure)), style)
}

fn alarming(reading: Reading, paint: Paint) -> Style {
    match reading.value() {
        Some(value) if value > 0.0 => paint.of(Color::Red),
        _ => Style::new(),
    }
}

fn sagas_pane(frame: &mut Frame<'_>, live: &Live, area: Rect, paint: Paint) {
    let width = usize::from(area.width);
    let mut lines = vec![pair_line("stuck", marked(live.stuck), width, alarming(live.stuck, paint))];
    lines.extend(
        live.sagas
            .iter()
            .map(|(state, count)| pair_line(state, Unit::Count.format(*count), width, Style::new())),
    );
    pane(frame, "SAGAS THAT WAIT", lines, area, paint);
}

/// What should be zero, with a sign where it is not.
fn marked(reading: Reading) -> String {
    match reading {
        Reading::Value(value) if value > 0.0 => format!("!{}", Unit::Count.format(value)),
        reading => Unit::Count.show(reading),
    }
}

fn lag_pane(frame: &mut Frame<'_>, live: &Live, area: Rect, paint: Paint) {
    let width = usize::from(area.width);
    let mut lines = vec![
        pair_line("outbox", Unit::Count.show(live.outbox), width, Style::new()),
        pair_line("dead letters", marked(live.dead_letters), width, alarming(live.dead_letters, paint)),
    ];
    lines.extend(
        live.lag.iter().map(|(group, lag)| pair_line(group, Unit::Count.format(*lag), width, Style::new())),
    );
    pane(frame, "LAG BY GROUP", lines, area, paint);
}

fn objectives_pane(frame: &mut Frame<'_>, live: &Live, area: Rect, paint: Paint) {
    let heading = format!(
        "{}{}{}{}  STATE",
        left("OBJECTIVE", NAME_WIDTH),
        right("BAD", BURN_WIDTH),
        right("LEFT", BURN_WIDTH),
        BURNS
            .iter()
            .map(|burn| right(&format!("{}/{}", burn.long, burn.short), BURN_WIDTH))
            .collect::<String>(),
    );
    let mut lines = vec![Line::styled(heading, Style::new().add_modifier(Modifier::BOLD))];
    for standing in &live.standings {
        let burns = standing.burns.iter().map(|rate| right(&rate.text(), BURN_WIDTH));
        let state = standing.state();
        let colour = if state.is_broken() { paint.of(Color::Red) } else { Style::new() };
        let figures = format!(
            "{}{}{}{}",
            left(&standing.objective.name, NAME_WIDTH),
            right(&Unit::Share.show(standing.ratio), BURN_WIDTH),
            right(&standing.left_text(), BURN_WIDTH),
            burns.collect::<String>(),
        );
        lines.push(Line::from(vec![Run::raw(figures), Run::raw("  "), Run::styled(state.name(), colour)]));
    }
    let period = live.standings.first().map_or("", |standing| standing.period.as_str());
    pane(frame, &format!("OBJECTIVES OVER {period}"), lines, area, paint);
}

fn alert_lines(view: &View, live: &Live, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for alert in &live.alerts.active {
        let (sign, style) = match alert.state {
            AlertState::Firing => ("FIRING ", paint.of(Color::Red)),
            AlertState::Pending => ("pending", paint.of(Color::Yellow)),
        };
        let since = alert.since_ms.map(|since| format!(" {}", age(live.at_ms - since))).unwrap_or_default();
        lines.push(Line::styled(
            format!("{sign} {} ({}{since}) {}", alert.name, alert.severity, alert.summary),
            style,
        ));
    }
    for standing in live.standings.iter().filter(|standing| standing.state().is_broken()) {
        let text = format!("OBJECTIVE {}: {}", standing.objective.name, standing.state().name());
        lines.push(Line::styled(text, paint.of(Color::Red)));
    }
    for target in live.targets.iter().filter(|target| target.health == Health::Down) {
        let text = format!("DOWN {} {}", target.instance, target.last_error);
        lines.push(Line::styled(text, paint.of(Color::Red)));
    }
    for failure in &live.failures {
        lines.push(Line::styled(format!("MISSING {failure}"), paint.of(Color::Yellow)));
    }
    if let Some(error) = &view.trouble {
        lines.push(Line::styled(format!("NO ANSWER {error}"), paint.of(Color::Yellow)));
    }
    let up = live.targets.iter().filter(|target| target.health == Health::Up).count();
    let alerts = match (live.alerts.active.is_empty(), live.alerts.rules) {
        (true, 0) => live.alerts.remarks.first().cloned().unwrap_or_else(|| "no alert rules".to_owned()),
        (true, rules) => format!("none of {rules} alerts fires"),
        (false, rules) => format!("{rules} rules"),
    };
    lines.push(Line::raw(format!("{up} of {} targets up · {alerts}", live.targets.len())));
    lines
}

fn foot_line(view: &View, paint: Paint) -> Line<'static> {
    let keys = match view.mode {
        Mode::Typing => "type to filter · Enter keeps it · Esc clears it",
        _ if view.detail().is_some() => {
            "q quit · Esc back · s sort · r reverse · / filter · p pause · ? help"
        }
        _ => "q quit · ↑↓ Enter look into · s sort · r reverse · / filter · p pause · ? help",
    };
    Line::styled(keys, paint.of(Color::DarkGray))
}

fn help(frame: &mut Frame<'_>, area: Rect, paint: Paint) {
    let lines: Vec<Line<'_>> = [
        "q, Ctrl-C      leave",
        "↑ ↓ j k        mark a row",
        "Enter, →       the routes of the marked service",
        "Esc, ←         back",
        "s              sort by the next column",
        "r              the other way round",
        "/              show only what contains a word",
        "p, space       pause, and go on",
        "Ctrl-L         draw anew",
        "",
        "! stands where something should be nought and is not;",
        "a blank in a course is a gap, a dot is NaN",
    ]
    .into_iter()
    .map(Line::raw)
    .collect();
    let width = 58.min(area.width);
    let height = (lines.len() as u16 + 2).min(area.height);
    let place = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    let block = Block::bordered().title(Line::styled(" KEYS ", paint.title()));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(block), place);
}
