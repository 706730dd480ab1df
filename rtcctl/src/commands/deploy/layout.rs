//! Rows of workloads as lines of text that fit a screen.
//!
//! Invariants: no line is wider than the screen; what fails is the last to be left out, and what is left out is counted;
//! the mark at the head of a line is also said in words.

use std::time::Duration;

use rollout::tree::{Mark, Row};

use crate::context::Screen;

/// How much there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub width: usize,
    /// Lines; any number without one.
    pub height: Option<usize>,
}

/// One line and how it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub mark: Mark,
    pub text: String,
}

/// What is shown at a level of detail.
#[derive(Debug, Clone, Copy)]
struct Detail {
    /// Pods of each mark below one parent: failing, waiting, coming up, well, leaving.
    pods: [usize; 5],
    /// Containers of pods that are not well.
    containers: bool,
    /// Reasons on lines of their own.
    reasons: bool,
    /// What is below workloads: of all, of those that are not well, of none.
    below: Below,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    All,
    Unwell,
    None,
}

const ALL: usize = usize::MAX;

const fn detail(pods: [usize; 5], containers: bool, reasons: bool, below: Below) -> Detail {
    Detail { pods, containers, reasons, below }
}

/// From everything to the least, in the order in which they are tried.
const DETAILS: [Detail; 8] = [
    detail([ALL; 5], true, true, Below::All),
    detail([ALL, ALL, ALL, 3, 3], true, true, Below::All),
    detail([4, 4, 4, 1, 1], true, true, Below::All),
    detail([4, 4, 4, 1, 1], true, true, Below::Unwell),
    detail([3, 2, 1, 0, 0], false, true, Below::Unwell),
    detail([1, 1, 0, 0, 0], false, true, Below::Unwell),
    detail([1, 0, 0, 0, 0], false, false, Below::Unwell),
    detail([0; 5], false, false, Below::None),
];

/// As much as there is room for.
pub fn lines(rows: &[Row], room: Room) -> Vec<Line> {
    let mut lines = Vec::new();
    for detail in DETAILS {
        lines = shown(rows, detail, room.width);
        if room.height.is_none_or(|height| lines.len() <= height) {
            return lines;
        }
    }
    let height = room.height.unwrap_or(ALL).max(1);
    let left_out = lines.len() - (height - 1);
    lines.truncate(height - 1);
    lines
        .push(Line {
            mark: Mark::Leaving, text: fit(&format!("  … {left_out} more workloads"), room.width)
        });
    lines
}

/// Everything, whatever there is room for.
pub fn whole(rows: &[Row], width: usize) -> Vec<Line> {
    shown(rows, DETAILS[0], width)
}

/// Pods of one parent that are left out.
#[derive(Default)]
struct Folded {
    counts: [usize; 5],
    depth: u8,
}

impl Folded {
    fn flush(&mut self, width: usize, lines: &mut Vec<Line>) {
        for (mark, count) in MARKS.into_iter().zip(std::mem::take(&mut self.counts)) {
            if count > 0 {
                let indent = "  ".repeat(usize::from(self.depth));
                let text = format!("{} {indent}… {count} more {}", sign(mark), word(mark));
                lines.push(Line { mark, text: fit(&text, width) });
            }
        }
    }
}

const MARKS: [Mark; 5] = [Mark::Failing, Mark::Waiting, Mark::ComingUp, Mark::Well, Mark::Leaving];

fn place(mark: Mark) -> usize {
    MARKS.iter().position(|known| *known == mark).unwrap_or(0)
}

fn shown(rows: &[Row], detail: Detail, width: usize) -> Vec<Line> {
    let names = rows
        .iter()
        .filter(|row| row.kind != "container")
        .map(|row| usize::from(row.depth) * 2 + row.name.chars().count())
        .max()
        .unwrap_or(0);
    let columns = Columns { name: names.clamp(12, (width / 2).max(12)), width };
    let mut lines = Vec::new();
    let mut folded = Folded::default();
    let mut taken = [0; 5];
    let mut is_hidden = false;
    let mut pod_is_well = true;
    let mut is_closed = false;
    for row in rows {
        if row.depth == 0 {
            is_closed = match detail.below {
                Below::All => false,
                Below::Unwell => row.mark == Mark::Well,
                Below::None => true,
            };
        } else if is_closed {
            continue;
        }
        match row.kind {
            "container" => {
                if is_hidden || !detail.containers || pod_is_well {
                    continue;
                }
            }
            "Pod" => {
                let at = place(row.mark);
                is_hidden = taken[at] >= detail.pods[at];
                taken[at] += 1;
                if is_hidden {
                    folded.counts[at] += 1;
                    folded.depth = row.depth;
                    continue;
                }
                pod_is_well = matches!(row.mark, Mark::Well | Mark::Leaving);
            }
            _ => {
                folded.flush(width, &mut lines);
                taken = [0; 5];
            }
        }
        columns.line(row, detail.reasons, &mut lines);
    }
    folded.flush(width, &mut lines);
    lines
}

struct Columns {
    name: usize,
    width: usize,
}

impl Columns {
    fn line(&self, row: &Row, reasons: bool, lines: &mut Vec<Line>) {
        let indent = "  ".repeat(usize::from(row.depth));
        let name = fit(&format!("{indent}{}", row.name), self.name);
        let ready = row.ready.map_or_else(String::new, |(ready, wanted)| format!("{ready}/{wanted}"));
        let age = row.age.map_or_else(String::new, short);
        let mut text = format!("{} {name:<width$} {ready:>7} {age:>4}  ", sign(row.mark), width = self.name);
        text.push_str(&row.state);
        if row.restarts > 0 {
            text.push_str(&match row.restarts {
                1 => ", 1 restart".to_owned(),
                many => format!(", {many} restarts"),
            });
        }
        if !matches!(row.mark, Mark::Well) && row.depth == 0 {
            text.push_str(&format!(" ({})", word(row.mark)));
        }
        lines.push(Line { mark: row.mark, text: fit(text.trim_end(), self.width) });
        if reasons && !row.reason.is_empty() {
            let text = format!("  {indent}  {}", row.reason);
            lines.push(Line { mark: row.mark, text: fit(&text, self.width) });
        }
    }
}

/// At most so wide; what is cut ends with an ellipsis.
fn fit(text: &str, width: usize) -> String {
    let plain: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if plain.chars().count() <= width {
        return plain;
    }
    let mut cut: String = plain.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// `12s`, `3m`, `5h`, `4d`.
fn short(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

pub fn sign(mark: Mark) -> char {
    match mark {
        Mark::Failing => '✗',
        Mark::Waiting => '!',
        Mark::ComingUp => '~',
        Mark::Well => '✓',
        Mark::Leaving => '-',
    }
}

pub fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Failing => "failing",
        Mark::Waiting => "waiting",
        Mark::ComingUp => "coming up",
        Mark::Well => "well",
        Mark::Leaving => "leaving",
    }
}

/// The colour of a mark for a terminal: the number of ANSI.
pub fn colour(mark: Mark) -> &'static str {
    match mark {
        Mark::Failing => "31",
        Mark::Waiting => "33",
        Mark::ComingUp => "36",
        Mark::Well => "32",
        Mark::Leaving => "90",
    }
}

/// The line in its colour, where there are colours.
pub fn painted(line: &Line, screen: Screen) -> String {
    let mut letters = line.text.chars();
    match letters.next().filter(|first| *first != ' ' && screen == Screen::Coloured) {
        Some(first) => format!("\x1b[{}m{first}\x1b[0m{}", colour(line.mark), letters.as_str()),
        None => line.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(depth: u8, kind: &'static str, name: &str, mark: Mark) -> Row {
        Row {
            depth,
            kind,
            name: name.to_owned(),
            mark,
            state: "Running".to_owned(),
            reason: if mark == Mark::Failing { "ROL010 it ended with 1".repeat(9) } else { String::new() },
            ready: Some((1, 1)),
            restarts: 0,
            age: Some(Duration::from_secs(90)),
        }
    }

    fn many(pods: usize, failing: usize) -> Vec<Row> {
        let mut rows =
            vec![row(0, "Deployment", "web", Mark::Failing), row(1, "ReplicaSet", "web-1", Mark::Failing)];
        for at in 0..pods {
            let mark = if at < failing { Mark::Failing } else { Mark::Well };
            rows.push(row(2, "Pod", &format!("web-1-{at:04}"), mark));
            rows.push(row(3, "container", "web", mark));
        }
        rows
    }

    #[test]
    fn five_hundred_pods_are_one_screen_that_counts_what_it_leaves_out() {
        let lines = lines(&many(500, 7), Room { width: 80, height: Some(23) });
        assert!(lines.len() <= 23, "{}", lines.len());
        assert!(lines.iter().all(|line| line.text.chars().count() <= 80));
        let counted: usize = lines
            .iter()
            .filter_map(|line| line.text.split_once("… ")?.1.split_once(" more")?.0.parse::<usize>().ok())
            .sum();
        let shown = lines.iter().filter(|line| line.text.contains("web-1-0")).count();
        assert_eq!(counted + shown, 500, "{lines:#?}");
        assert!(lines.iter().any(|line| line.mark == Mark::Failing && line.text.contains("web-1-0000")));
    }

    #[test]
    fn what_fails_is_shown_before_what_is_well_below_other_workloads() {
        let mut rows = many(50, 5);
        for at in 0..15 {
            rows.push(row(0, "Deployment", &format!("well{at}"), Mark::Well));
            rows.push(row(1, "ReplicaSet", &format!("well{at}-1"), Mark::Well));
            rows.push(row(2, "Pod", &format!("well{at}-1-x"), Mark::Well));
        }
        let lines = lines(&rows, Room { width: 80, height: Some(22) });
        assert!(lines.len() <= 22, "{lines:#?}");
        assert!(lines.iter().any(|line| line.text.contains("web-1-0000")), "{lines:#?}");
        assert!(!lines.iter().any(|line| line.text.contains("well3-1")), "{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.text.starts_with("✓ well")).count(), 15);
    }

    #[test]
    fn everything_is_shown_where_there_is_room() {
        let rows = many(3, 1);
        let lines = lines(&rows, Room { width: 80, height: Some(23) });
        assert_eq!(lines.iter().filter(|line| line.text.contains("web-1-0")).count(), 3);
        // The failing pod shows its container, the others are well.
        assert_eq!(
            lines.iter().filter(|line| line.text.trim_start_matches(['✗', ' ']).starts_with("web ")).count(),
            2
        );
    }

    #[test]
    fn a_hundred_workloads_end_with_how_many_are_missing() {
        let rows: Vec<Row> = (0..100).map(|at| row(0, "Deployment", &format!("w{at}"), Mark::Well)).collect();
        let lines = lines(&rows, Room { width: 40, height: Some(10) });
        assert_eq!(lines.len(), 10);
        assert!(lines[9].text.contains("91 more workloads"), "{lines:?}");
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        assert_eq!(fit("a\nb\u{1b}[31m", 20), "a b [31m");
    }
}
