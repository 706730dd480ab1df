//! Dashboards as code: described here by the names of the catalogue, written to dashboards/grafana as Grafana reads them.
//!
//! Invariant: an expression names nothing that is not in the catalogue or recorded by a rule; a test looks.

mod boards;
pub mod expression;

use std::path::PathBuf;

use rtc_metrics::Unit;
use serde_json::{Value, json};

use crate::codegen::Mode;
use crate::run::{Outcome, root};
use crate::{metrics_page, prometheus};

/// One dashboard.
pub struct Dashboard {
    /// Of the file and of Grafana's address.
    pub name: &'static str,
    pub title: &'static str,
    pub about: &'static str,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub title: &'static str,
    pub panels: Vec<Panel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The last value, large.
    Stat,
    Series,
    /// Buckets over time.
    Heatmap,
    Table,
}

/// Whether an expression has an answer whenever the shop is at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Always,
    /// Only when something is the matter; a test of promtool causes it.
    InTrouble,
    /// Only where the platform is split into processes.
    Split,
}

pub struct Query {
    pub legend: &'static str,
    pub expression: String,
    pub answers: Answers,
}

pub struct Panel {
    pub title: &'static str,
    pub about: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    pub queries: Vec<Query>,
    /// Above it the value is shown in red.
    pub red_above: Option<f64>,
}

impl Panel {
    pub fn new(kind: Kind, title: &'static str, unit: Unit) -> Self {
        Self { title, about: "", kind, unit: unit.grafana(), queries: Vec::new(), red_above: None }
    }

    pub fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    pub fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }

    pub fn query(self, legend: &'static str, expression: impl Into<String>) -> Self {
        self.query_that(Answers::Always, legend, expression)
    }

    pub fn query_that(
        mut self,
        answers: Answers,
        legend: &'static str,
        expression: impl Into<String>,
    ) -> Self {
        self.queries.push(Query { legend, expression: expression.into(), answers });
        self
    }

    pub fn red_above(mut self, limit: f64) -> Self {
        self.red_above = Some(limit);
        self
    }
}

/// All of them.
pub fn all() -> Vec<Dashboard> {
    vec![boards::commerce(), boards::services(), boards::sagas(), boards::infrastructure(), boards::slo()]
}

const WIDTH: u64 = 24;

fn height(kind: Kind) -> u64 {
    if kind == Kind::Stat { 4 } else { 8 }
}

fn render(dashboard: &Dashboard) -> Value {
    let (mut panels, mut y, mut id) = (Vec::new(), 0, 0);
    for row in &dashboard.rows {
        id += 1;
        panels.push(json!({
            "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
            "gridPos": { "h": 1, "w": WIDTH, "x": 0, "y": y },
        }));
        y += 1;
        let (mut x, mut tallest) = (0, 0);
        for panel in &row.panels {
            let width = if panel.kind == Kind::Stat { 4 } else { 8 };
            if x + width > WIDTH {
                (x, y, tallest) = (0, y + tallest, 0);
            }
            id += 1;
            panels.push(render_panel(
                panel,
                id,
                json!({ "h": height(panel.kind), "w": width, "x": x, "y": y }),
            ));
            x += width;
            tallest = tallest.max(height(panel.kind));
        }
        y += tallest;
    }
    json!({
        "uid": format!("rtc-{}", dashboard.name),
        "title": format!("RTC / {}", dashboard.title),
        "description": dashboard.about,
        "tags": ["rtc"],
        "schemaVersion": 39,
        "version": 1,
        "editable": false,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "timezone": "browser",
        "templating": { "list": [{
            "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus",
        }, {
            "name": "service", "type": "query", "label": "service", "multi": true, "includeAll": true,
            "allValue": ".*", "refresh": 2, "current": { "text": "All", "value": "$__all" },
            "datasource": datasource(),
            "query": format!("label_values({}, service)", rtc_metrics::HTTP_SERVER_REQUEST_DURATION.count("")),
        }]},
        "annotations": { "list": [{
            "name": "starts", "enable": true, "datasource": datasource(), "iconColor": "blue",
            "expr": format!("changes({}[1m]) > 0", rtc_metrics::PROCESS_START.select("")), "titleFormat": "started",
        }]},
        "panels": panels,
    })
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn render_panel(panel: &Panel, id: u64, place: Value) -> Value {
    let kind = match panel.kind {
        Kind::Stat => "stat",
        Kind::Series => "timeseries",
        Kind::Heatmap => "heatmap",
        Kind::Table => "table",
    };
    let steps = match panel.red_above {
        Some(limit) => json!([{ "color": "green", "value": null }, { "color": "red", "value": limit }]),
        None => json!([{ "color": "green", "value": null }]),
    };
    let targets: Vec<Value> = panel
        .queries
        .iter()
        .zip('A'..)
        .map(|(query, name)| {
            json!({
                "refId": name.to_string(), "expr": query.expression, "legendFormat": query.legend,
                "datasource": datasource(),
                "format": match panel.kind { Kind::Heatmap => "heatmap", Kind::Table => "table", _ => "time_series" },
                "instant": panel.kind == Kind::Table,
                "exemplar": query.expression.contains("_bucket"),
            })
        })
        .collect();
    let mut rendered = json!({
        "id": id, "type": kind, "title": panel.title, "description": panel.about, "gridPos": place,
        "datasource": datasource(), "targets": targets,
        "fieldConfig": { "defaults": {
            "unit": panel.unit, "thresholds": { "mode": "absolute", "steps": steps },
            // What was not measured is not drawn as if it had been.
            "custom": { "spanNulls": false },
        }, "overrides": [] },
    });
    if panel.kind == Kind::Stat {
        rendered["options"] = json!({ "reduceOptions": { "calcs": ["lastNotNull"] }, "colorMode": "value" });
        rendered["fieldConfig"]["defaults"]["noValue"] = json!("no data");
    }
    rendered
}

/// Every file that is generated from the catalogue: its path from the root, and its text.
pub fn files() -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = all()
        .iter()
        .map(|dashboard| {
            let path = PathBuf::from(format!("dashboards/grafana/{}.json", dashboard.name));
            (path, format!("{:#}\n", render(dashboard)))
        })
        .collect();
    files.extend(prometheus::files());
    files.push((PathBuf::from("docs/METRICS.md"), metrics_page::text()));
    files
}

/// Every expression names what there is.
fn names() -> Outcome {
    let panels = all().into_iter().flat_map(|dashboard| dashboard.rows).flat_map(|row| row.panels);
    let asked = panels.flat_map(|panel| panel.queries).map(|query| query.expression);
    let recorded = prometheus::recording().into_iter().map(|recorded| recorded.expression);
    let alarmed = prometheus::alerts().into_iter().map(|alert| alert.expression);
    for expression in asked.chain(recorded).chain(alarmed) {
        expression::check(&expression).map_err(|reason| format!("{expression}: {reason}"))?;
    }
    Ok(())
}

/// `cargo xtask dashboards`: writes them, or fails where one is not as it would be written.
pub fn run(mode: Mode) -> Outcome {
    names()?;
    let mut stale = Vec::new();
    for (path, text) in files() {
        let whole = root().join(&path);
        match mode {
            Mode::Write => {
                let folder = whole.parent().map(PathBuf::from).unwrap_or_default();
                std::fs::create_dir_all(folder)
                    .and_then(|()| std::fs::write(&whole, text))
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Mode::Check if std::fs::read_to_string(&whole).unwrap_or_default() != text => {
                stale.push(path.display().to_string());
            }
            Mode::Check => {}
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("{} is out of date: cargo xtask dashboards", stale.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_expression_names_what_there_is_and_every_panel_asks() {
        names().unwrap();
        let panels = all().into_iter().flat_map(|dashboard| dashboard.rows).flat_map(|row| row.panels);
        for panel in panels {
            assert!(!panel.queries.is_empty(), "{} asks nothing", panel.title);
        }
    }

    #[test]
    fn nothing_that_is_generated_asks_for_what_belongs_to_other_programs() {
        let folder = Path::new("dashboards");
        for (path, text) in files().into_iter().filter(|(path, _)| path.starts_with(folder)) {
            // As PromQL has it: JSON escapes the quotes.
            let text = text.replace("\\\"", "\"");
            assert_eq!(rtc_metrics::unscoped(&text), None, "{}", path.display());
        }
    }

    #[test]
    fn panels_of_a_row_stand_side_by_side_and_never_on_each_other() {
        for dashboard in all() {
            let rendered = render(&dashboard);
            let places: Vec<[u64; 4]> = rendered["panels"]
                .as_array()
                .unwrap()
                .iter()
                .map(|panel| ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap()))
                .collect();
            for (index, [x, y, w, h]) in places.iter().enumerate() {
                assert!(x + w <= WIDTH);
                for [x2, y2, w2, h2] in &places[index + 1..] {
                    let apart = x + w <= *x2 || x2 + w2 <= *x || y + h <= *y2 || y2 + h2 <= *y;
                    assert!(apart, "{}: {x},{y} and {x2},{y2}", dashboard.name);
                }
            }
        }
    }
}
