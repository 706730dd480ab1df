//! The short history that a running platform keeps of its own metrics, with PromQL evaluated here.
//!
//! Invariants: only what is new is fetched; a process that does not answer is a target that is down, and its series go
//! stale as they would in a Prometheus server; labels say which process a series comes from (`job`, `instance` and, of a
//! split platform, `process` and `replica`); of such a platform the supervisor says what it knows alone.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use codes::{Error, Result, exit};
use futures_util::future::join_all;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use settings::masked;

use super::model::{Alerts, Answer, Health, Labels, NAME, Span, Target, parse_number};
use super::promql::{self, History, Refusal, evaluate_instant, evaluate_range};
use super::rules;
use crate::api::admin::Status;
use crate::api::{Call, Endpoint, Platform};
use crate::human;

/// The label `job` of every process, as in the scrape configuration of the platform.
const JOB: &str = "rtcd";
/// What is older than this is of no use to anybody here.
const KEEP_MS: i64 = 20 * 60 * 1000;

/// The history of a running platform.
pub struct Local {
    platform: Option<Platform>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    history: History,
    processes: Vec<Process>,
}

/// One process that is asked for its history.
struct Process {
    /// The labels that each of its series gets.
    origin: Labels,
    admin_url: String,
    newest_ms: i64,
    known: BTreeSet<Labels>,
    health: Health,
    last_error: String,
}

/// What a process answers: values by series, one a time.
#[derive(serde::Deserialize)]
pub(super) struct View {
    #[serde(default)]
    pub times: Vec<i64>,
    #[serde(default)]
    pub series: Vec<SeriesView>,
}

#[derive(serde::Deserialize)]
pub(super) struct SeriesView {
    name: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    values: Vec<Figure>,
}

/// A number, what JSON has no number for as a text, or nothing.
struct Figure(Option<f64>);

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Figure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"NaN\", \"+Inf\", \"-Inf\" or null")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Figure, E> {
                Ok(Figure(Some(value)))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Figure, E> {
                Ok(Figure(Some(value as f64)))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Figure, E> {
                Ok(Figure(Some(value as f64)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Figure, E> {
                match parse_number(text) {
                    Some(value) => Ok(Figure(Some(value))),
                    None => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_unit<E: de::Error>(self) -> Result<Figure, E> {
                Ok(Figure(None))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

impl Local {
    /// The history of a platform; nothing is fetched before [`Local::refresh`].
    pub fn new(platform: Platform) -> Self {
        Self { platform: Some(platform), state: Mutex::default() }
    }

    /// A history that is known already, for one process that answers no more.
    pub fn of_history(history: History) -> Self {
        Self { platform: None, state: Mutex::new(State { history, processes: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn describe(&self) -> String {
        format!("rtcd's own history ({})", human::duration(self.reach()))
    }

    /// How much of the past it has.
    pub fn reach(&self) -> Duration {
        let millis = self.state().history.reach().map_or(0, |(first, last)| last - first);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    pub fn instant(&self, expr: &str, at_ms: i64) -> Result<Answer> {
        let query = promql::parse(expr).map_err(|refusal| told(refusal, expr))?;
        let state = self.state();
        evaluate_instant(&query, &state.history, at_ms)
            .map(Answer::new)
            .map_err(|refusal| told(refusal, expr))
    }

    pub fn range(&self, expr: &str, span: Span) -> Result<Answer> {
        let query = promql::parse(expr).map_err(|refusal| told(refusal, expr))?;
        let state = self.state();
        evaluate_range(&query, &state.history, span).map(Answer::new).map_err(|refusal| told(refusal, expr))
    }

    pub fn alerts(&self, now_ms: i64) -> Alerts {
        let mut state = self.state();
        rules::record(&mut state.history, now_ms);
        let judged = rules::judge(&state.history, now_ms);
        let remark = match judged.left_out.as_slice() {
            [] => return Alerts { active: judged.active, rules: judged.evaluated, remarks: Vec::new() },
            [one] => format!("1 rule needs a Prometheus server: {one}"),
            several => format!("{} rules need a Prometheus server: {}", several.len(), several.join(", ")),
        };
        Alerts { active: judged.active, rules: judged.evaluated, remarks: vec![remark] }
    }

    pub fn targets(&self) -> Vec<Target> {
        let state = self.state();
        let mut targets: Vec<Target> = state
            .processes
            .iter()
            .map(|process| Target {
                job: JOB.to_owned(),
                instance: process.origin.get("instance").to_owned(),
                health: process.health,
                last_error: process.last_error.clone(),
                last_sample_ms: (process.newest_ms > 0).then_some(process.newest_ms),
                duration_s: None,
                address: format!("{}/admin/metrics/history", masked(&process.admin_url)),
            })
            .collect();
        targets.sort_by(|left, right| (left.health, &left.instance).cmp(&(right.health, &right.instance)));
        targets
    }

    /// Asks every process for what is new since the last time.
    pub async fn refresh(&self, now_ms: i64) -> Result<()> {
        let Some(platform) = &self.platform else { return Ok(()) };
        let status: Status = platform.admin.json(Call::get(&["admin", "status"])).await?;
        let wanted: Vec<(Labels, Endpoint)> = if status.processes.is_empty() {
            vec![(origin(platform.admin.base().as_str(), &[]), platform.admin.clone())]
        } else {
            let of = |process: &crate::api::admin::ProcessStatus| {
                let replica = process.replica.to_string();
                let labels = [("process", process.service.as_str()), ("replica", replica.as_str())];
                let endpoint = platform.admin.at(&process.admin_url)?;
                Ok((origin(&process.admin_url, &labels), endpoint))
            };
            let supervisor = (origin(platform.admin.base().as_str(), &[]), platform.admin.clone());
            let processes = status.processes.iter().map(of);
            std::iter::once(Ok(supervisor)).chain(processes).collect::<Result<_>>()?
        };
        let questions = wanted.iter().map(|(origin, endpoint)| {
            let since = {
                let state = self.state();
                state
                    .processes
                    .iter()
                    .find(|known| known.origin == *origin)
                    .map_or(0, |known| known.newest_ms)
            };
            async move {
                let call = Call::get(&["admin", "metrics", "history"]).query("since_ms", since);
                endpoint.json::<View>(call).await
            }
        });
        let answers = join_all(questions).await;
        let mut state = self.state();
        let mut failures = Vec::new();
        for ((origin, endpoint), answer) in wanted.iter().zip(answers) {
            let url = endpoint.base().as_str().trim_end_matches('/');
            match answer {
                Ok(view) => state.take(origin, url, view),
                Err(error) => {
                    state.lose(origin, url, now_ms, &error);
                    failures.push(error);
                }
            }
        }
        state.history.forget_before(now_ms - KEEP_MS);
        if failures.len() == wanted.len()
            && let Some(error) = failures.pop()
        {
            return Err(match error.exit() {
                exit::NOT_FOUND => Error::new(&codes::MET021, "the platform keeps no history of its metrics")
                    .with_cause(error.message())
                    .with_hint("run the same version of rtcd and rtcctl, or name a Prometheus server in prometheus_url"),
                _ => error,
            });
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn take(&self, url: &str, process: &[(&str, &str)], view: View) {
        self.state().take(&origin(url, process), url, view);
    }
}

impl State {
    fn process(&mut self, origin: &Labels, admin_url: &str) -> &mut Process {
        let place = match self.processes.iter().position(|known| known.origin == *origin) {
            Some(place) => place,
            None => {
                self.processes.push(Process {
                    origin: origin.clone(),
                    admin_url: admin_url.to_owned(),
                    newest_ms: 0,
                    known: BTreeSet::new(),
                    health: Health::Unknown,
                    last_error: String::new(),
                });
                self.processes.len() - 1
            }
        };
        &mut self.processes[place]
    }

    fn take(&mut self, origin: &Labels, admin_url: &str, view: View) {
        let mut recorded: Vec<(Labels, Vec<(i64, Option<f64>)>)> = view
            .series
            .into_iter()
            .map(|series| {
                let mut labels = Labels::new(series.labels);
                labels.set(NAME, &series.name);
                for (name, value) in origin.iter() {
                    labels.set(name, value);
                }
                (
                    labels,
                    view.times.iter().copied().zip(series.values.iter().map(|figure| figure.0)).collect(),
                )
            })
            .collect();
        let mut up = origin.clone();
        up.set(NAME, "up");
        recorded.push((up, view.times.iter().map(|at_ms| (*at_ms, Some(1.0))).collect()));

        let process = self.process(origin, admin_url);
        process.health = Health::Up;
        process.last_error.clear();
        process.newest_ms = view.times.last().copied().unwrap_or(process.newest_ms);
        // A series that is not in the answer had no value at any of its times.
        let seen: BTreeSet<Labels> = recorded.iter().map(|(labels, _)| labels.clone()).collect();
        if let Some(first) = view.times.first() {
            let ended = process.known.difference(&seen).map(|labels| (labels.clone(), vec![(*first, None)]));
            let ended: Vec<_> = ended.collect();
            process.known = seen;
            recorded.extend(ended);
        }
        for (labels, points) in recorded {
            self.history.record(labels, points);
        }
    }

    fn lose(&mut self, origin: &Labels, admin_url: &str, now_ms: i64, error: &Error) {
        let process = self.process(origin, admin_url);
        process.health = Health::Down;
        process.last_error = error.causes().last().map_or_else(|| error.message().to_owned(), Clone::clone);
        // When it comes back, what it remembers of the time in between is taken.
        let ended = std::mem::take(&mut process.known);
        let mut up = origin.clone();
        up.set(NAME, "up");
        for labels in ended.into_iter().filter(|labels| *labels != up) {
            self.history.record(labels, [(now_ms, None)]);
        }
        self.history.record(up, [(now_ms, Some(0.0))]);
    }
}

fn origin(admin_url: &str, process: &[(&str, &str)]) -> Labels {
    let instance = masked(admin_url);
    let instance = instance.trim_end_matches('/');
    let instance = instance.split_once("://").map_or(instance, |(_, address)| address);
    Labels::new([("job", JOB), ("instance", instance)].into_iter().chain(process.iter().copied()))
}

pub(super) fn told(refusal: Refusal, expr: &str) -> Error {
    match refusal {
        Refusal::Syntax(problem) => {
            Error::new(&codes::MET004, format!("the expression is not PromQL: {problem}")).with_cause(expr)
        }
        Refusal::Unsupported(what) => {
            Error::new(&codes::MET008, format!("{what} needs a Prometheus server")).with_hint(
                "name one in prometheus_url; without one, rtcctl evaluates a part of PromQL over the platform's own \
                 history",
            )
        }
        Refusal::Execution(problem) => {
            Error::new(&codes::MET005, "the expression cannot be executed").with_cause(problem)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::metrics::model::Data;

    fn view(times: &[i64], series: serde_json::Value) -> View {
        serde_json::from_value(json!({"interval_ms": 5000, "times": times, "series": series})).unwrap()
    }

    fn empty() -> Local {
        Local::of_history(History::default())
    }

    fn values(local: &Local, expr: &str, at_ms: i64) -> Vec<(String, f64)> {
        let samples = local.instant(expr, at_ms).unwrap().samples();
        samples.into_iter().map(|sample| (sample.labels.to_string(), sample.value)).collect()
    }

    #[test]
    fn a_series_that_disappears_between_two_answers_is_stale_at_once() {
        let local = empty();
        let both = json!([
            {"name": "a", "labels": {"k": "x"}, "values": [1.0, 2.0]},
            {"name": "b", "values": [7, null]},
        ]);
        local.take("http://127.0.0.1:9080/", &[], view(&[1_000, 6_000], both));
        let a = "a{instance=\"127.0.0.1:9080\", job=\"rtcd\", k=\"x\"}".to_owned();
        assert_eq!(values(&local, "a", 6_000), [(a, 2.0)]);
        assert_eq!(values(&local, "b", 5_999).len(), 1);
        assert!(values(&local, "b", 6_000).is_empty(), "a gap is stale");
        local.take(
            "http://127.0.0.1:9080/",
            &[],
            view(&[11_000], json!([{"name": "b", "values": ["+Inf"]}])),
        );
        assert!(values(&local, "a", 11_000).is_empty(), "left out is gone");
        assert_eq!(values(&local, "a", 10_999).len(), 1);
        assert_eq!(values(&local, "b", 11_000)[0].1, f64::INFINITY);
        assert_eq!(values(&local, "sum(up)", 11_000), [("{}".to_owned(), 1.0)]);
    }

    #[test]
    fn processes_are_told_apart_and_one_that_is_lost_is_down() {
        let local = empty();
        let one = || json!([{"name": "a", "values": [1]}]);
        local.take("http://127.0.0.1:1", &[("process", "orders"), ("replica", "1")], view(&[1_000], one()));
        local.take("http://127.0.0.1:2", &[("process", "orders"), ("replica", "2")], view(&[1_200], one()));
        assert_eq!(values(&local, "count(a{process=\"orders\"})", 2_000)[0].1, 2.0);
        let lost = origin("http://127.0.0.1:2", &[("process", "orders"), ("replica", "2")]);
        let error = Error::new(&codes::NET002, "no answer").with_cause("connection refused");
        local.state().lose(&lost, "http://127.0.0.1:2", 6_000, &error);
        assert_eq!(values(&local, "a", 7_000).len(), 1);
        assert_eq!(values(&local, "up == 0", 7_000).len(), 1);
        let targets = local.targets();
        assert_eq!((targets[0].health, targets[0].last_error.as_str()), (Health::Down, "connection refused"));
        assert_eq!(targets[1].health, Health::Up);
    }

    #[test]
    fn what_only_a_server_evaluates_is_refused_by_name() {
        let local = empty();
        let refused = |expr: &str| {
            let error = local.instant(expr, 0).unwrap_err();
            (error.code().id, error.message().to_owned())
        };
        assert_eq!(
            refused("label_replace(up, \"a\", \"b\", \"c\", \"d\")"),
            ("MET008", "the function label_replace() needs a Prometheus server".to_owned())
        );
        assert_eq!(refused("max_over_time(rate(a[1m])[5m:1m])").0, "MET008");
        assert_eq!(refused("a @ 5"), ("MET008", "the modifier @ needs a Prometheus server".to_owned()));
        assert_eq!(refused("stddev(a)").0, "MET008");
        assert_eq!(refused("sum(").0, "MET004");
    }

    #[test]
    fn a_history_of_nothing_answers_with_nothing() {
        let answer = empty().instant("up", 0).unwrap();
        assert_eq!(answer.data, Data::Vector(Vec::new()));
        assert_eq!(empty().reach(), Duration::ZERO);
    }
}
