//! What is asked for one refresh of the full screen.

use codes::Result;
use futures_util::future::{join, join4, join5};
use rtc_metrics as names;
use serde_json::{Value, json};

use crate::metrics::Source;
use crate::metrics::model::{Alerts, Answer, Labels, Reading, Sample, Span, Target, number};
use crate::metrics::overview::{Notes, escaped, fact};
use crate::metrics::slo::{Objective, Standing, standings};

/// How much of the past the courses show.
const COURSE_MS: i64 = 15 * 60 * 1000;
const COURSE_POINTS: i64 = 120;

/// Rate, errors and duration of whatever answers requests: a service, or a route of one.
#[derive(Debug, Clone, PartialEq)]
pub struct Red {
    pub name: String,
    pub rate: Reading,
    /// The share of requests that failed by a fault of ours.
    pub errors: Reading,
    pub p50: Reading,
    pub p95: Reading,
    pub p99: Reading,
    pub course: Vec<Option<f64>>,
}

/// A figure and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    pub name: String,
    pub now: Reading,
    pub course: Vec<Option<f64>>,
}

/// One refresh.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub source: String,
    pub at_ms: i64,
    pub sampled_ms: Option<i64>,
    pub span: Span,
    pub services: Vec<Red>,
    /// The routes of the service that is looked into.
    pub routes: Vec<Red>,
    /// Orders placed, and orders by how they ended, a minute.
    pub orders: Vec<Flow>,
    /// Money captured a minute, by currency.
    pub revenue: Vec<Flow>,
    /// Sagas that wait, by step; then those that are stuck.
    pub sagas: Vec<(String, f64)>,
    pub stuck: Reading,
    /// Consumer groups and how far they are behind, the furthest first.
    pub lag: Vec<(String, f64)>,
    pub outbox: Reading,
    pub dead_letters: Reading,
    pub standings: Vec<Standing>,
    pub alerts: Alerts,
    pub targets: Vec<Target>,
    pub failures: Vec<String>,
}

struct Asked {
    rate: Result<Answer>,
    failed: Result<Answer>,
    quantiles: [Result<Answer>; 3],
    course: Result<Answer>,
}

/// Rate, failures and three quantiles, by labels.
fn expressions(by: &str, labels: &str, window: &str) -> [String; 5] {
    let requests = &names::HTTP_SERVER_REQUEST_DURATION;
    let failed = match labels {
        "" => "http_response_status_code=~\"5..\"".to_owned(),
        labels => format!("{labels}, http_response_status_code=~\"5..\""),
    };
    let rate = |selected: String| format!("sum by ({by}) (rate({selected}[{window}]))");
    let quantile = |share: &str| {
        let buckets = requests.bucket(labels);
        format!("histogram_quantile({share}, sum by ({by}, le) (rate({buckets}[{window}])))")
    };
    let [p50, p95, p99] = ["0.5", "0.95", "0.99"].map(quantile);
    [rate(requests.count(labels)), rate(requests.count(&failed)), p50, p95, p99]
}

/// Asks for rate, errors and duration by labels.
async fn ask_red(source: &Source, by: &str, labels: &str, window: &str, now_ms: i64, span: Span) -> Asked {
    let [rate, failed, p50, p95, p99] = expressions(by, labels, window);
    let (rate, failed, course, (p50, (p95, p99))) = join4(
        source.instant(&rate, now_ms),
        source.instant(&failed, now_ms),
        source.range(&rate, span),
        join(source.instant(&p50, now_ms), join(source.instant(&p95, now_ms), source.instant(&p99, now_ms))),
    )
    .await;
    Asked { rate, failed, quantiles: [p50, p95, p99], course }
}

fn red(notes: &mut Notes, asked: Asked, span: Span, name_of: impl Fn(&Labels) -> String) -> Result<Vec<Red>> {
    let rates = notes.samples("requests", asked.rate)?;
    let failed = notes.samples("errors", asked.failed)?;
    let [p50, p95, p99] = asked.quantiles;
    let quantiles = [notes.samples("p50", p50)?, notes.samples("p95", p95)?, notes.samples("p99", p99)?];
    let courses = notes.keep("course", asked.course)?.map(Answer::series).unwrap_or_default();
    let of = |samples: &[Sample], labels: &Labels| {
        samples.iter().find(|sample| sample.labels == *labels).map(|sample| sample.value)
    };
    let mut rows: Vec<Red> = rates
        .iter()
        .map(|sample| {
            let labels = &sample.labels;
            let course = courses.iter().find(|series| series.labels == *labels);
            // No failure was ever counted: none of the requests failed.
            let errors = of(&failed, labels).unwrap_or(0.0) / sample.value;
            Red {
                name: name_of(labels),
                rate: Reading::of(Some(sample.value)),
                errors: Reading::of(Some(errors)),
                p50: Reading::of(of(&quantiles[0], labels)),
                p95: Reading::of(of(&quantiles[1], labels)),
                p99: Reading::of(of(&quantiles[2], labels)),
                course: span.on_grid(course.map_or(&[], |series| series.points.as_slice())),
            }
        })
        .collect();
    rows.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(rows)
}

/// Takes one look; `detail` is the service whose routes are wanted.
pub async fn look(
    source: &Source,
    objectives: &[Objective],
    window: &str,
    detail: Option<String>,
    now_ms: i64,
) -> Result<Live> {
    source.refresh(now_ms).await?;
    let course_ms =
        source.reach().map_or(COURSE_MS, |reach| COURSE_MS.min(reach.as_millis() as i64)).max(60_000);
    let span = Span::last(course_ms, COURSE_POINTS, source.step_min_ms(), now_ms);
    let service = detail.map(|service| format!("service=\"{}\"", escaped(&service)));
    let instant = |expr: String| async move { source.instant(&expr, now_ms).await };
    let flow = |expr: String| async move {
        let (now, course) = join(source.instant(&expr, now_ms), source.range(&expr, span)).await;
        (now, course)
    };
    let orders = format!(
        "60 * sum by (state) (rate({}{{state=~\"placed|confirmed|rejected|cancelled\"}}[{window}]))",
        names::ORDERS.name
    );
    let revenue = format!("60 * sum by (currency) (rate({}[{window}]))", names::REVENUE.name);
    let (requests, shop, queues, operations, standings) = Box::pin(join5(
        join(ask_red(source, "service", "", window, now_ms, span), async {
            match &service {
                Some(selector) => {
                    let by = "http_request_method, http_route";
                    Some(ask_red(source, by, selector, window, now_ms, span).await)
                }
                None => None,
            }
        }),
        join4(
            flow(orders),
            flow(revenue),
            instant(format!("sum by (state) (max by (saga, state) ({}))", names::SAGA_STATE.name)),
            instant(fact(names::SAGA_STUCK.name, "saga")),
        ),
        join4(
            instant(format!("sum by (group) (max by (group, topic) ({}))", names::CONSUMER_LAG.name)),
            instant(fact(names::OUTBOX_DEPTH.name, "service")),
            instant(fact(names::DLQ_DEPTH.name, "group")),
            instant(format!("max(timestamp({}))", names::PROCESS_START.select(""))),
        ),
        join(source.alerts(now_ms), source.targets()),
        standings(source, objectives, now_ms),
    ))
    .await;

    let mut notes = Notes::default();
    let services = red(&mut notes, requests.0, span, |labels| labels.get("service").to_owned())?;
    let routes = match requests.1 {
        Some(asked) => red(&mut notes, asked, span, |labels| {
            format!("{} {}", labels.get("http_request_method"), labels.get("http_route"))
        })?,
        None => Vec::new(),
    };
    let (orders, revenue, sagas, stuck) = shop;
    let mut orders = flows(&mut notes, "orders", orders, span, "state")?;
    let order = ["placed", "confirmed", "rejected", "cancelled"];
    orders.sort_by_key(|flow| order.iter().position(|state| *state == flow.name));
    let mut revenue = flows(&mut notes, "revenue", revenue, span, "currency")?;
    revenue.sort_by(|left, right| by_value(right.now, left.now));
    let sagas = named(notes.samples("sagas", sagas)?, "state");
    let stuck = only(notes.samples("stuck sagas", stuck)?);
    let (lag, outbox, dead_letters, sampled) = queues;
    let mut lag = named(notes.samples("consumer lag", lag)?, "group");
    lag.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    let sampled = only(notes.samples("sample age", sampled)?);
    Ok(Live {
        source: source.describe(),
        at_ms: now_ms,
        sampled_ms: sampled.value().map(|seconds| (seconds * 1000.0) as i64),
        span,
        services,
        routes,
        orders,
        revenue,
        sagas,
        stuck,
        lag,
        outbox: only(notes.samples("outbox", outbox)?),
        dead_letters: only(notes.samples("dead letters", dead_letters)?),
        standings: notes.value("objectives", standings)?.unwrap_or_default(),
        alerts: notes.value("alerts", operations.0)?.unwrap_or_default(),
        targets: notes.value("targets", operations.1)?.unwrap_or_default(),
        failures: notes.failures,
    })
}

fn by_value(left: Reading, right: Reading) -> std::cmp::Ordering {
    let number = |reading: Reading| reading.value().unwrap_or(f64::NEG_INFINITY);
    number(left).total_cmp(&number(right))
}

fn only(samples: Vec<Sample>) -> Reading {
    Reading::of(samples.first().map(|sample| sample.value))
}

fn named(samples: Vec<Sample>, label: &str) -> Vec<(String, f64)> {
    samples.into_iter().map(|sample| (sample.labels.get(label).to_owned(), sample.value)).collect()
}

fn flows(
    notes: &mut Notes,
    what: &str,
    (now, course): (Result<Answer>, Result<Answer>),
    span: Span,
    label: &str,
) -> Result<Vec<Flow>> {
    let samples = notes.samples(what, now)?;
    let courses = notes.keep(what, course)?.map(Answer::series).unwrap_or_default();
    let flow = |sample: Sample| {
        let course = courses.iter().find(|series| series.labels == sample.labels);
        Flow {
            name: sample.labels.get(label).to_owned(),
            now: Reading::of(Some(sample.value)),
            course: span.on_grid(course.map_or(&[], |series| series.points.as_slice())),
        }
    };
    Ok(samples.into_iter().map(flow).collect())
}

impl Live {
    /// One line of `watch -o json`.
    pub fn to_json(&self) -> Value {
        let red = |rows: &[Red]| -> Vec<Value> {
            let row = |red: &Red| {
                json!({
                    "name": red.name, "rate": red.rate.to_json(), "error_ratio": red.errors.to_json(),
                    "p50_s": red.p50.to_json(), "p95_s": red.p95.to_json(), "p99_s": red.p99.to_json(),
                })
            };
            rows.iter().map(row).collect()
        };
        let flows = |flows: &[Flow]| -> Value {
            flows
                .iter()
                .map(|flow| (flow.name.clone(), flow.now.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        let named = |pairs: &[(String, f64)]| -> Value {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), number(*value)))
                .collect::<serde_json::Map<_, _>>()
                .into()
        };
        json!({
            "at_ms": self.at_ms,
            "sample_age_ms": self.sampled_ms.map(|at| self.at_ms - at),
            "services": red(&self.services),
            "orders_a_minute": flows(&self.orders),
            "revenue_a_minute": flows(&self.revenue),
            "sagas": named(&self.sagas),
            "sagas_stuck": self.stuck.to_json(),
            "lag": named(&self.lag),
            "outbox": self.outbox.to_json(),
            "dead_letters": self.dead_letters.to_json(),
            "objectives": self.standings.iter().map(Standing::to_json).collect::<Vec<_>>(),
            "alerts": self.alerts.active,
            "targets_down": self.targets.iter().filter(|target| target.health == crate::metrics::model::Health::Down)
                .map(|target| target.instance.as_str()).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_programs_count_too_is_asked_of_the_platform_alone() {
        for labels in ["", "service=\"orders\""] {
            for expression in expressions("service", labels, "1m") {
                assert_eq!(rtc_metrics::unscoped(&expression), None, "{expression}");
            }
        }
    }
}
