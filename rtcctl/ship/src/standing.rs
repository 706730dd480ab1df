//! How measures stood before a release, and whether they stand worse after it.
//!
//! Invariants: what stands well after a release passes; what stands badly passes where it stood badly before and no figure of
//! it is worse, and nowhere else; where there is nothing to compare, what stands badly does not pass; a figure that was known
//! and is not now shows nothing; two answers to different questions are not compared.

use serde::{Deserialize, Serialize};

/// A tenth more is how far two looks at the same thing differ.
const SAME: f64 = 0.1;

/// What a measure says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    Well,
    Badly,
    /// No data, or too few samples.
    Unknown,
}

/// Which way a figure gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worse {
    Up,
    Down,
}

/// A number by which a measure is compared with itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub name: String,
    /// None where nothing is known.
    pub value: Option<f64>,
    pub worse: Worse,
    /// So far it does no harm, whatever it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harmless_to: Option<f64>,
}

impl Figure {
    /// Whether this one is worse than that one, by more than two looks differ. What is not known is not worse.
    fn is_worse_than(&self, before: Option<f64>) -> bool {
        let Some(now) = self.value else { return false };
        // Signs turned, so that up is worse.
        let turned = |value: f64| match self.worse {
            Worse::Up => value,
            Worse::Down => -value,
        };
        if self.harmless_to.is_some_and(|harmless| turned(now) <= turned(harmless)) {
            return false;
        }
        match before {
            // An infinity is as bad as itself.
            Some(before) if before == now => false,
            Some(before) => turned(now) > turned(before) + SAME * before.abs(),
            None => true,
        }
    }
}

/// How one measure stood at a moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stood {
    /// The name of a gate or of an objective.
    pub measure: String,
    pub stands: Stands,
    /// In words, with its number.
    pub says: String,
    /// What was asked, with what is allowed; none in journals that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    pub figures: Vec<Figure>,
}

impl Stood {
    /// The same with nothing to compare by: the windows of its figures have another release in them.
    pub fn without_figures(mut self) -> Self {
        for figure in &mut self.figures {
            figure.value = None;
        }
        self
    }
}

/// What has become of a measure.
#[derive(Debug, Clone, PartialEq)]
pub enum Compared {
    Well,
    /// Badly, and no worse than before the release: both are in the words.
    AsBefore(String),
    /// Badly, and it was well before, or not so bad.
    Worse(String),
    Unknown(String),
}

impl Compared {
    /// One word for programs.
    pub const fn name(&self) -> &'static str {
        match self {
            Compared::Well => "well",
            Compared::AsBefore(_) => "as_before",
            Compared::Worse(_) => "worse",
            Compared::Unknown(_) => "unknown",
        }
    }
}

/// Finds a measure among those that were looked at before. One that was asked another question was not.
pub fn stood<'a>(before: &'a [Stood], now: &Stood) -> Option<&'a Stood> {
    let is_same = |was: &Stood| match (&was.asked, &now.asked) {
        (Some(was), Some(now)) => was == now,
        _ => true,
    };
    before.iter().find(|was| was.measure == now.measure && is_same(was))
}

/// Compares a measure with how it stood.
pub fn compare(before: Option<&Stood>, now: &Stood) -> Compared {
    let said = format!("{}: {}", now.measure, now.says);
    match (now.stands, before) {
        (Stands::Well, _) => Compared::Well,
        (Stands::Unknown, _) => Compared::Unknown(said),
        (Stands::Badly, None) => Compared::Worse(said),
        (Stands::Badly, Some(before)) if before.stands != Stands::Badly => {
            Compared::Worse(format!("{said}; before the release {}", before.says))
        }
        (Stands::Badly, Some(before)) => figures(before, now, &said),
    }
}

fn figures(before: &Stood, now: &Stood, said: &str) -> Compared {
    let was = |figure: &Figure| {
        before.figures.iter().find(|known| known.name == figure.name).and_then(|known| known.value)
    };
    let both = |figure: &Figure| {
        let before = was(figure).map_or_else(|| "not known".to_owned(), number);
        let now = figure.value.map_or_else(|| "not known".to_owned(), number);
        format!("{} {now}, before the release {before}", figure.name)
    };
    let told = |which: &dyn Fn(&Figure) -> bool| {
        let said: Vec<String> = now.figures.iter().filter(|figure| which(figure)).map(both).collect();
        said.join("; ")
    };
    let is_worse = |figure: &Figure| figure.is_worse_than(was(figure));
    if now.figures.iter().any(is_worse) {
        return Compared::Worse(format!("{said}; {}", told(&is_worse)));
    }
    let is_lost = |figure: &Figure| figure.value.is_none() && was(figure).is_some();
    if now.figures.iter().any(is_lost) {
        return Compared::Unknown(format!("{said}; {}", told(&is_lost)));
    }
    let is_known = |figure: &Figure| figure.value.is_some();
    match now.figures.iter().any(is_known) {
        true => Compared::AsBefore(format!("{said}; {}", told(&is_known))),
        false => {
            Compared::Unknown(format!("{said}, as before the release; nothing shows whether it is worse"))
        }
    }
}

/// Three digits that count; whole numbers as they are.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || !value.is_finite() || value.abs() >= 1_000.0 {
        return format!("{value:.0}");
    }
    let whole = value.abs().log10().floor();
    let decimals = (2.0 - whole).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
