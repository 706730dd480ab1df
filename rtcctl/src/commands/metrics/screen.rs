//! The one screen of `rtcctl metrics summary`, for 80 columns and more.

use super::clock_text;
use super::slo::target;
use crate::metrics::draw::sparkline;
use crate::metrics::model::{Health, Reading};
use crate::metrics::overview::{Figure, Summary};
use crate::metrics::slo::Standing;
use crate::metrics::units::{Unit, age, change, sample_age};

/// No narrower than this: below it, lines are cut.
const NARROWEST: usize = 60;
const TITLE: usize = 14;
const NOW: usize = 10;
const CHANGE: usize = 8;

/// At most so many characters; an ellipsis stands where something was cut.
pub fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn padded(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{text}{}", " ".repeat(columns - text.chars().count()))
}

fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{}{text}", " ".repeat(columns - text.chars().count()))
}

/// How many columns a course has.
pub fn course_columns(width: usize) -> usize {
    width.max(NARROWEST) - TITLE - NOW - 3 * CHANGE - 2
}

/// The whole screen.
pub fn summary(look: &Summary, width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut lines = vec![head(look, width)];
    let course = course_columns(width);
    let length = age(look.span.end_ms - look.span.start_ms);
    lines.push(format!(
        "{}{}{}{}{}  {}",
        padded("FIGURE", TITLE),
        right("NOW", NOW),
        right("1 H", CHANGE),
        right("1 D", CHANGE),
        right("7 D", CHANGE),
        cut(&format!("LAST {}", length.to_uppercase()), course),
    ));
    lines.extend(look.figures.iter().map(|figure| row(figure, course)));
    if !look.standings.is_empty() {
        lines.push(format!(
            "{}{}{}{}{}{}{}  STATE",
            padded("OBJECTIVE", TITLE),
            right("TARGET", 8),
            right("BUDGET", 9),
            right("1H/5M", 9),
            right("6H/30M", 9),
            right("1D/2H", 9),
            right("3D/6H", 9),
        ));
    }
    lines.extend(look.standings.iter().map(objective));
    lines.push(cut(&format!("ALERTS   {}", alerts(look)), width));
    lines.push(cut(&format!("TARGETS  {}", targets(look)), width));
    lines.push(cut(&format!("RUNNING  {}", running(look)), width));
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn head(look: &Summary, width: usize) -> String {
    let sample = sample_age(look.sampled_ms, look.at_ms);
    let service = look.scope.service.as_ref().map(|service| format!(" · {service}")).unwrap_or_default();
    let left = format!("{}{service} · {} · {}", look.env, look.source, clock_text(look.at_ms).split_off(11));
    let room = width.saturating_sub(sample.chars().count() + 2);
    format!("{}  {sample}", padded(&left, room))
}

fn row(figure: &Figure, course: usize) -> String {
    let question = &figure.question;
    let currency = figure.labels.get("currency");
    let title = if currency.is_empty() {
        question.title.to_owned()
    } else {
        format!("{} {currency}", question.title)
    };
    // What nobody asked for is not a failure.
    let now = match (figure.now, question.unit) {
        (Reading::NaN, Unit::Seconds | Unit::Share) => "no traffic".to_owned(),
        (reading, unit) => unit.show(reading),
    };
    let changes: String =
        figure.before.iter().map(|before| right(&change(figure.now, *before), CHANGE)).collect();
    format!("{}{}{changes}  {}", padded(&title, TITLE), right(&now, NOW), sparkline(&figure.course, course))
}

fn objective(standing: &Standing) -> String {
    let burns: String = standing.burns.iter().map(|rate| right(&rate.text(), 9)).collect();
    format!(
        "{}{}{}{burns}  {}",
        padded(&standing.objective.name, TITLE),
        right(&target(standing), 8),
        right(&standing.left_text(), 9),
        standing.state().name()
    )
}

fn alerts(look: &Summary) -> String {
    let firing: Vec<String> = look
        .alerts
        .firing()
        .map(|alert| {
            let since =
                alert.since_ms.map(|since| format!(", {}", age(look.at_ms - since))).unwrap_or_default();
            format!("{} ({}{since})", alert.name, alert.severity)
        })
        .collect();
    let pending = look.alerts.active.len() - firing.len();
    match (firing.len(), pending, look.alerts.rules) {
        (0, 0, 0) => look.alerts.remarks.first().cloned().unwrap_or_else(|| "no rules".to_owned()),
        (0, 0, rules) => format!("none of {rules} rules fires"),
        (0, pending, _) => format!("none fires, {pending} pending"),
        (count, _, _) => format!("{count} FIRING: {}", firing.join(", ")),
    }
}

fn targets(look: &Summary) -> String {
    let up = look.targets.iter().filter(|target| target.health == Health::Up).count();
    let down: Vec<String> =
        look.down().map(|target| format!("{} ({})", target.instance, target.last_error)).collect();
    match (look.targets.len(), down.len()) {
        (0, _) => "none".to_owned(),
        (_, 0) => format!("{up} up"),
        (_, count) => format!("{up} up, {count} DOWN: {}", down.join(", ")),
    }
}

fn running(look: &Summary) -> String {
    let version = match look.versions.as_slice() {
        [] => "version unknown".to_owned(),
        [one] => one.clone(),
        several => format!("{} (several versions)", several.join(", ")),
    };
    match look.deployed_ms {
        Some(at) => format!("{version}, deployed {} ago", age(look.at_ms - at)),
        None => version,
    }
}
