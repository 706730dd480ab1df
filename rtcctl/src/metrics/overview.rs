//! What one look at the platform asks: figures, their change and course, objectives, alerts, targets.
//!
//! Invariants: all questions are asked at once; one that fails leaves its figure empty and is told, unless the source as
//! a whole cannot be reached.

use codes::{Error, Result};
use futures_util::future::{join, join_all};
use rtc_metrics as names;
use rtc_metrics::Metric;
use serde_json::{Value, json};

use super::Source;
use super::model::{Alerts, Health, Labels, Reading, Sample, Span, Target, number};
use super::slo::{Objective, Standing, standings};
use super::units::Unit;

/// One figure of the screen, by what it is called and what it is asked with.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub key: &'static str,
    pub title: &'static str,
    pub unit: Unit,
    pub expr: String,
}

/// What differs between two looks.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    pub service: Option<String>,
    /// Over how much time rates are taken, as PromQL writes it.
    pub window: String,
}

impl Scope {
    /// Labels of a metric that has the label `service`.
    fn of(&self, more: &str) -> String {
        let service = self.service.as_ref().map(|service| format!("service=\"{}\"", escaped(service)));
        let parts: Vec<&str> =
            [service.as_deref(), (!more.is_empty()).then_some(more)].into_iter().flatten().collect();
        parts.join(", ")
    }

    /// Labels of requests: of a service wherever they came from; of all, each where it came in.
    fn requests(&self, more: &str) -> String {
        let entered = if self.service.is_none() { ENTERED } else { "" };
        let parts: Vec<&str> = [entered, more].into_iter().filter(|part| !part.is_empty()).collect();
        self.of(&parts.join(", "))
    }
}

/// Requests from outside: in several processes each request is counted by all that it goes through.
const ENTERED: &str = "hop=\"entry\"";

/// A text between the quotes of a matcher.
pub fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A sum over what every replica tells alike, such as what stands in a database that they share.
pub(super) fn fact(name: &str, by: &str) -> String {
    format!("sum(max by ({by}) ({name}))")
}

fn question(key: &'static str, title: &'static str, unit: Unit, expr: String) -> Question {
    Question { key, title, unit, expr }
}

/// The figures of one screen.
pub fn questions(scope: &Scope) -> Vec<Question> {
    let window = &scope.window;
    let requests = &names::HTTP_SERVER_REQUEST_DURATION;
    let all = scope.of("");
    let rate = |selector: &str| format!("sum(rate({selector}[{window}]))");
    let quantile = |share: &str| {
        let buckets = requests.bucket(&scope.requests(""));
        format!("histogram_quantile({share}, sum by (le) (rate({buckets}[{window}])))")
    };
    let served = rate(&requests.count(&scope.requests("")));
    let failed = rate(&requests.count(&scope.requests("http_response_status_code=~\"5..\"")));
    let mut list = vec![
        question("requests", "requests", Unit::PerSecond, served.clone()),
        question("errors", "errors", Unit::Share, format!("({failed} or vector(0)) / {served}")),
        question("p50", "latency p50", Unit::Seconds, quantile("0.5")),
        question("p95", "latency p95", Unit::Seconds, quantile("0.95")),
        question("p99", "latency p99", Unit::Seconds, quantile("0.99")),
    ];
    let sum = |of: &Metric, labels: &str| format!("sum({})", of.select(labels));
    if scope.service.is_some() {
        let commands = &names::DB_COMMAND_DURATION;
        list.extend([
            question("active", "in progress", Unit::Count, sum(&names::HTTP_SERVER_ACTIVE_REQUESTS, &all)),
            question("shed", "refused", Unit::PerSecond, rate(&names::HTTP_SHED.select(&all))),
            question("commands", "db commands", Unit::PerSecond, rate(&commands.count(&all))),
            question(
                "commands_p95",
                "db p95",
                Unit::Seconds,
                format!("histogram_quantile(0.95, sum by (le) (rate({}[{window}])))", commands.bucket(&all)),
            ),
            question("queued", "db queue", Unit::Count, sum(&names::DB_QUEUED, &all)),
            question("outbox", "outbox", Unit::Count, format!("max({})", names::OUTBOX_DEPTH.select(&all))),
            question(
                "outbox_lag",
                "outbox lag",
                Unit::Seconds,
                format!("max({})", names::OUTBOX_LAG.select(&all)),
            ),
        ]);
        return list;
    }
    let orders = names::ORDERS.name;
    list.extend([
        question("cpu", "cpu cores", Unit::Cores, rate(&names::PROCESS_CPU.select(""))),
        question("memory", "memory", Unit::Bytes, sum(&names::PROCESS_MEMORY, "")),
        question(
            "orders",
            "orders",
            Unit::PerMinute,
            format!("60 * {}", rate(&format!("{orders}{{state=\"placed\"}}"))),
        ),
        question(
            "revenue",
            "revenue",
            Unit::PerMinute,
            format!("60 * sum by (currency) (rate({}[{window}]))", names::REVENUE.name),
        ),
        question("sagas", "sagas", Unit::Count, fact(names::SAGA_STATE.name, "saga, state")),
        question("lag", "consumer lag", Unit::Count, fact(names::CONSUMER_LAG.name, "group, topic")),
        question("outbox", "outbox", Unit::Count, fact(names::OUTBOX_DEPTH.name, "service")),
        question("dead_letters", "dead letters", Unit::Count, fact(names::DLQ_DEPTH.name, "group")),
    ]);
    list
}

/// How far back a figure is compared.
pub const COMPARED: [(&str, i64); 3] = [("1h", 3_600_000), ("1d", 86_400_000), ("7d", 604_800_000)];

/// A figure, answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    pub question: Question,
    /// What tells it from others of the same question, such as its currency.
    pub labels: Labels,
    pub now: Reading,
    pub before: [Reading; COMPARED.len()],
    pub course: Vec<Option<f64>>,
}

/// One look.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub source: String,
    pub kind: &'static str,
    pub env: String,
    pub at_ms: i64,
    pub scope: Scope,
    pub span: Span,
    pub figures: Vec<Figure>,
    pub standings: Vec<Standing>,
    pub alerts: Alerts,
    pub targets: Vec<Target>,
    /// When the newest sample was taken.
    pub sampled_ms: Option<i64>,
    /// What runs; several during a rollout.
    pub versions: Vec<String>,
    /// When the youngest process began: the last deployment or restart.
    pub deployed_ms: Option<i64>,
    /// What could not be asked, and what the source remarked.
    pub failures: Vec<String>,
    pub warnings: Vec<String>,
}

/// Collects answers; what fails is noted.
#[derive(Default)]
pub(super) struct Notes {
    pub failures: Vec<String>,
    pub warnings: Vec<String>,
}

impl Notes {
    pub fn samples(&mut self, what: &str, answer: Result<super::model::Answer>) -> Result<Vec<Sample>> {
        Ok(self.keep(what, answer)?.map(super::model::Answer::samples).unwrap_or_default())
    }

    pub fn keep(
        &mut self,
        what: &str,
        answer: Result<super::model::Answer>,
    ) -> Result<Option<super::model::Answer>> {
        Ok(self.value(what, answer)?.inspect(|answer| {
            for warning in &answer.warnings {
                if !self.warnings.contains(warning) {
                    self.warnings.push(warning.clone());
                }
            }
        }))
    }

    /// A source that cannot be reached fails the whole look: every figure would fail alike.
    pub fn value<T>(&mut self, what: &str, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_of_the_source(&error) => Err(error),
            Err(error) => {
                let cause = error.causes().last().map(|cause| format!(" ({cause})")).unwrap_or_default();
                self.failures.push(format!("{what}: {} {}{cause}", error.code().id, error.message()));
                Ok(None)
            }
        }
    }
}

fn is_of_the_source(error: &Error) -> bool {
    [&codes::MET001, &codes::MET002, &codes::MET003, &codes::MET006].contains(&error.code())
}

/// Takes one look; courses are of the last `course_ms`, in about `points` values.
pub async fn summary(
    source: &Source,
    env: &str,
    scope: Scope,
    objectives: &[Objective],
    now_ms: i64,
    course_ms: i64,
    points: i64,
) -> Result<Summary> {
    source.refresh(now_ms).await?;
    let course_ms =
        source.reach().map_or(course_ms, |reach| course_ms.min(reach.as_millis() as i64)).max(60_000);
    let span = Span::last(course_ms, points, source.step_min_ms(), now_ms);
    let questions = questions(&scope);
    let figures = join_all(questions.into_iter().map(|question| async move {
        let expr = question.expr.as_str();
        let earlier = COMPARED.map(|(_, ago_ms)| ago_ms).into_iter().map(|ago_ms| async move {
            // What a short history cannot know is not asked.
            match source.reach() {
                Some(reach) if (reach.as_millis() as i64) < ago_ms => {
                    Ok(super::model::Answer::new(super::model::Data::Vector(Vec::new())))
                }
                _ => source.instant(expr, now_ms - ago_ms).await,
            }
        });
        let (now, (earlier, course)) =
            join(source.instant(expr, now_ms), join(join_all(earlier), source.range(expr, span))).await;
        (question, now, earlier, course)
    }));
    let start = names::PROCESS_START.select("");
    let age = format!("max(timestamp({start}))");
    let version = format!("count by (version) ({})", names::BUILD_INFO.name);
    let deployed = format!("max({start})");
    let others = join(
        join(source.instant(&age, now_ms), source.instant(&version, now_ms)),
        join(source.instant(&deployed, now_ms), join(source.alerts(now_ms), source.targets())),
    );
    let (figures, (((age, version), (deployed, (alerts, targets))), standings)) =
        join(figures, join(others, standings(source, objectives, now_ms))).await;

    let mut notes = Notes::default();
    let figures = figures
        .into_iter()
        .map(|(question, now, earlier, course)| figure(&mut notes, span, question, now, earlier, course))
        .collect::<Result<Vec<_>>>()?;
    let only = |samples: Vec<Sample>| samples.first().map(|sample| (sample.value * 1000.0) as i64);
    let sampled_ms = only(notes.samples("sample age", age)?);
    let deployed_ms = only(notes.samples("deployment", deployed)?);
    let versions = notes.samples("version", version)?;
    let summary = Summary {
        source: source.describe(),
        kind: source.kind(),
        env: env.to_owned(),
        at_ms: now_ms,
        scope,
        span,
        figures,
        standings: notes.value("objectives", standings)?.unwrap_or_default(),
        alerts: notes.value("alerts", alerts)?.unwrap_or_default(),
        targets: notes.value("targets", targets)?.unwrap_or_default(),
        sampled_ms,
        versions: versions.iter().map(|sample| sample.labels.get("version").to_owned()).collect(),
        deployed_ms,
        failures: notes.failures,
        warnings: notes.warnings,
    };
    match &summary.scope.service {
        Some(service) if summary.figures.iter().all(|figure| figure.now == Reading::NoSeries) => {
            Err(Error::new(&codes::MET023, format!("nothing is recorded for a service {service:?}")))
        }
        _ => Ok(summary),
    }
}

type Asked = Result<super::model::Answer>;

fn figure(
    notes: &mut Notes,
    span: Span,
    question: Question,
    now: Asked,
    earlier: Vec<Asked>,
    course: Asked,
) -> Result<Figure> {
    let samples = notes.samples(question.title, now)?;
    // Of several (currencies), the greatest.
    let greatest = samples
        .into_iter()
        .reduce(|most, sample| if sample.value > most.value || most.value.is_nan() { sample } else { most });
    let labels = greatest.as_ref().map(|sample| sample.labels.clone()).unwrap_or_default();
    let mut before = [Reading::NoSeries; COMPARED.len()];
    for (slot, answer) in before.iter_mut().zip(earlier) {
        let samples = notes.samples(question.title, answer)?;
        let same = samples.iter().find(|sample| sample.labels == labels);
        *slot = Reading::of(same.map(|sample| sample.value));
    }
    let series = notes.keep(question.title, course)?.map(super::model::Answer::series).unwrap_or_default();
    let same = series.iter().find(|series| series.labels == labels);
    Ok(Figure {
        course: span.on_grid(same.map_or(&[], |series| series.points.as_slice())),
        now: Reading::of(greatest.map(|sample| sample.value)),
        question,
        labels,
        before,
    })
}

impl Summary {
    pub fn down(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.health == Health::Down)
    }

    pub fn to_json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                let before: serde_json::Map<String, Value> = COMPARED
                    .iter()
                    .zip(figure.before)
                    .map(|((name, _), reading)| ((*name).to_owned(), reading.to_json()))
                    .collect();
                let course: Vec<Value> =
                    figure.course.iter().map(|value| value.map_or(Value::Null, number)).collect();
                json!({
                    "key": figure.question.key, "title": figure.question.title, "expr": figure.question.expr,
                    "labels": figure.labels.to_json(), "value": figure.now.to_json(),
                    "state": figure.now.state(), "before": before, "course": course,
                })
            })
            .collect();
        json!({
            "source": {"kind": self.kind, "name": self.source},
            "at_ms": self.at_ms,
            "service": self.scope.service,
            "window": self.scope.window,
            "course": {"start_ms": self.span.start_ms, "end_ms": self.span.end_ms, "step_ms": self.span.step_ms},
            "figures": figures,
            "objectives": self.standings.iter().map(Standing::to_json).collect::<Vec<_>>(),
            "alerts": self.alerts.active,
            "remarks": self.alerts.remarks,
            "targets": self.targets,
            "sample_age_ms": self.sampled_ms.map(|at| self.at_ms - at),
            "versions": self.versions,
            "deployed_at_ms": self.deployed_ms,
            "failures": self.failures,
            "warnings": self.warnings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_programs_count_too_is_asked_of_the_platform_alone() {
        for service in [None, Some("orders".to_owned())] {
            let scope = Scope { service, window: "5m".to_owned() };
            for question in questions(&scope) {
                assert_eq!(rtc_metrics::unscoped(&question.expr), None, "{}", question.expr);
            }
        }
    }

    #[test]
    fn a_request_that_went_through_two_processes_is_one_request() {
        let of = |service: Option<&str>| {
            let scope = Scope { service: service.map(str::to_owned), window: "5m".to_owned() };
            questions(&scope).into_iter().find(|question| question.key == "requests").unwrap().expr
        };
        assert!(of(None).contains("hop=\"entry\""), "{}", of(None));
        assert!(!of(Some("orders")).contains("hop"), "behind the entry a service has requests of its own");
    }
}
