//! Tables and aligned pairs that fit the terminal.

use tabled::builder::Builder;
use tabled::settings::object::Columns as ColumnsOf;
use tabled::settings::peaker::Priority;
use tabled::settings::{Alignment, Padding, Style, Width};

use super::Columns;

/// On which side a column's values stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

#[derive(Debug, Clone)]
pub struct Column {
    title: &'static str,
    align: Align,
    only_wide: bool,
}

impl Column {
    pub const fn left(title: &'static str) -> Self {
        Self { title, align: Align::Left, only_wide: false }
    }

    pub const fn right(title: &'static str) -> Self {
        Self { title, align: Align::Right, only_wide: false }
    }

    /// Shown under `-o wide` alone.
    #[must_use]
    pub const fn wide(mut self) -> Self {
        self.only_wide = true;
        self
    }
}

/// Rows under headings. Every row has as many cells as there are columns; missing ones are empty.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    pub fn push<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let mut row: Vec<String> = cells.into_iter().map(Into::into).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As it stands in a narrow answer: for talk before a question.
    pub fn to_text(&self, width: Option<usize>) -> String {
        self.render(Columns::Narrow, width)
    }

    pub(super) fn render(&self, columns: Columns, width: Option<usize>) -> String {
        let shown: Vec<usize> = (0..self.columns.len())
            .filter(|&index| columns == Columns::All || !self.columns[index].only_wide)
            .collect();
        let mut builder = Builder::default();
        builder.push_record(shown.iter().map(|&index| self.columns[index].title.to_uppercase()));
        for row in &self.rows {
            builder.push_record(shown.iter().map(|&index| printable(&row[index])));
        }
        let mut table = builder.build();
        table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
        for (position, &index) in shown.iter().enumerate() {
            if self.columns[index].align == Align::Right {
                table.modify(ColumnsOf::one(position), Alignment::right());
            }
        }
        if let Some(width) = width {
            table.with(Width::wrap(width.max(20)).keep_words(true).priority(Priority::max(true)));
        }
        without_trailing_spaces(&table.to_string())
    }
}

/// Names in one column, values in a second one, wrapped under themselves between words. A word that is longer than the
/// line stays whole: it is most often a path or an address that somebody wants to copy.
pub(super) fn render_pairs(pairs: &[(String, String)], width: Option<usize>) -> String {
    let indent = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
    let mut text = String::new();
    for (name, value) in pairs {
        text.push_str(&format!("{:indent$}", printable(name)));
        let mut used = 0;
        for word in printable(value).split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length > room {
                text.push_str(&format!("\n{:indent$}", ""));
                used = 0;
            } else if used > 0 {
                text.push(' ');
                used += 1;
            }
            text.push_str(word);
            used += length;
        }
        text.push('\n');
    }
    without_trailing_spaces(&text)
}

/// Text from outside must not move the cursor: control characters are shown, not obeyed.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn without_trailing_spaces(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        result.push_str(line.trim_end());
        result.push('\n');
    }
    result
}
