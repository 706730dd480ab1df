//! Courses of values as text: one line of blocks, or a graph with its axes.
//!
//! Invariant: where nothing is known nothing is drawn, where the value is NaN a dot stands, and zero is the lowest block:
//! three different signs.

use super::units::Unit;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const GAP: char = ' ';
const NAN: char = '·';

/// The least and the greatest finite value; from zero where none is below it.
fn scale(values: &[Option<f64>]) -> Option<(f64, f64)> {
    let finite = || values.iter().copied().flatten().filter(|value| value.is_finite());
    let greatest = finite().reduce(f64::max)?;
    let least = finite().reduce(f64::min)?;
    Some((least.min(0.0), greatest.max(0.0)))
}

/// Which of `levels` steps above the ground a value reaches: zero is the ground.
fn level(value: f64, (least, greatest): (f64, f64), levels: usize) -> usize {
    if value == f64::INFINITY {
        return levels;
    }
    if value == f64::NEG_INFINITY || greatest <= least {
        return 0;
    }
    let share = (value - least) / (greatest - least);
    // What is more than nothing is seen to be.
    let steps = (share * levels as f64).round() as usize;
    if value > least { steps.clamp(1, levels) } else { steps.min(levels) }
}

/// As many values as there are columns: those in between are joined, the greatest wins, gaps and NaN lose.
pub fn fit(values: &[Option<f64>], columns: usize) -> Vec<Option<f64>> {
    if columns == 0 || values.len() <= columns {
        return values.to_vec();
    }
    (0..columns)
        .map(|column| {
            let part = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
            let known = || part.iter().copied().flatten();
            known().filter(|value| !value.is_nan()).reduce(f64::max).or(known().next())
        })
        .collect()
}

/// One line, a block a column, the newest value on the right.
pub fn sparkline(values: &[Option<f64>], columns: usize) -> String {
    let values = fit(values, columns);
    let scale = scale(&values);
    let line = values.iter().map(|value| match (value, scale) {
        (None, _) => GAP,
        (Some(value), _) if value.is_nan() => NAN,
        (Some(value), Some(scale)) => BLOCKS[level(*value, scale, BLOCKS.len() - 1)],
        (Some(_), None) => BLOCKS[BLOCKS.len() - 1],
    });
    let line: String = line.collect();
    let missing = columns.saturating_sub(line.chars().count());
    format!("{}{line}", " ".repeat(missing))
}

/// A graph of `columns` × `rows` characters without its axes, the values on the left, the times below.
pub fn graph(values: &[Option<f64>], columns: usize, rows: usize, unit: Unit, times: (&str, &str)) -> String {
    let values = fit(values, columns);
    let Some((least, greatest)) = scale(&values) else {
        return "nothing to draw: no finite value\n".to_owned();
    };
    let labels: Vec<String> = (0..rows)
        .map(|row| match row {
            0 => unit.format(greatest),
            row if row == rows - 1 => unit.format(least),
            row if row == rows / 2 => {
                unit.format(greatest - (greatest - least) * row as f64 / (rows - 1) as f64)
            }
            _ => String::new(),
        })
        .collect();
    let margin = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (row, label) in labels.iter().enumerate() {
        let below = (rows - 1 - row) * BLOCKS.len();
        let line: String = values
            .iter()
            .map(|value| match value {
                None => GAP,
                Some(value) if value.is_nan() => {
                    if row == rows - 1 {
                        NAN
                    } else {
                        GAP
                    }
                }
                Some(value) => {
                    let height = level(*value, (least, greatest), rows * BLOCKS.len());
                    match height.saturating_sub(below) {
                        // Zero stands on the ground, where it can be told from nothing.
                        0 if row == rows - 1 => '_',
                        0 => GAP,
                        part => BLOCKS[part.min(BLOCKS.len()) - 1],
                    }
                }
            })
            .collect();
        text.push_str(format!("{label:>margin$} ┤{line}").trim_end());
        text.push('\n');
    }
    let (from, to) = times;
    let room = values.len().saturating_sub(from.chars().count() + to.chars().count());
    text.push_str(&format!("{:margin$} └{}\n", "", "─".repeat(values.len())));
    text.push_str(&format!("{:margin$}  {from}{}{to}\n", "", " ".repeat(room.max(1))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_a_zero_and_a_nan_are_three_signs() {
        let values = [Some(0.0), Some(4.0), None, Some(8.0), Some(f64::NAN), Some(f64::INFINITY), Some(0.01)];
        assert_eq!(sparkline(&values, 9), "  ▁▅ █·█▂");
    }

    #[test]
    fn more_values_than_columns_keep_their_peaks_and_their_gaps() {
        let mut values: Vec<Option<f64>> = vec![Some(1.0); 90];
        values[44] = Some(9.0);
        values[60..80].fill(None);
        let line = sparkline(&values, 9);
        assert_eq!(line.chars().count(), 9);
        assert_eq!(line, "▂▂▂▂█▂  ▂");
    }

    #[test]
    fn an_empty_course_is_blank_and_a_flat_one_is_full() {
        assert_eq!(sparkline(&[], 4), "    ");
        assert_eq!(sparkline(&[None; 3], 3), "   ");
        assert_eq!(sparkline(&[Some(0.0); 3], 3), "▁▁▁");
        assert_eq!(sparkline(&[Some(5.0); 3], 3), "███");
    }

    #[test]
    fn a_graph_has_its_axes_and_its_gaps() {
        let values = [Some(0.0), Some(1.0), Some(2.0), None, Some(4.0), Some(f64::NAN)];
        let text = graph(&values, 20, 4, Unit::Count, ("09:00", "09:15"));
        assert_eq!(
            text,
            "   4 ┤    █\n     ┤    █\n1.33 ┤  █ █\n   0 ┤_██ █·\n     └──────\n      09:00 09:15\n"
        );
    }
}
