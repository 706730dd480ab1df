//! `rtcctl metrics check EXPR --min|--max [--for TIME] …`: a gate that can say that it does not know.

use std::time::Duration;

use codes::{Error, Result, exit};
use serde_json::json;

use super::query::plain;
use super::{open, with_warnings};
use crate::cli::duration;
use crate::context::Context;
use crate::human;
use crate::metrics::model::{Data, Labels, Span};
use crate::metrics::verdict::{
    Because, Conditions, Judged, Judgement, Limits, Measured, NoData, Rule, Verdict, judge, limits_json,
};
use crate::metrics::{Source, counters};
use crate::output::{Column, Finding, Report, Severity, Table};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A PromQL expression
    pub(in crate::commands) expr: String,
    /// The least that is allowed
    #[arg(long, value_name = "X", required_unless_present = "max", allow_hyphen_values = true, value_parser = limit)]
    pub(in crate::commands) min: Option<f64>,
    /// The most that is allowed
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = limit)]
    pub(in crate::commands) max: Option<f64>,
    /// Judge every value of the last TIME instead of the one of now; the worst decides
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(in crate::commands) time: Option<Duration>,
    /// How many samples each series must be made of within --for: those that were scraped, however often they are looked at
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=11_000))]
    pub(in crate::commands) min_samples: u32,
    /// What decides when there are several series; without it several are inconclusive
    #[arg(long, value_name = "RULE")]
    pub(in crate::commands) series: Option<Rule>,
    /// What no series, or NaN, means
    #[arg(long, value_name = "MEANING", value_enum, default_value_t)]
    pub(in crate::commands) no_data: NoData,
}

fn limit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if !value.is_nan() => Ok(value),
        _ => Err("a number".to_owned()),
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    if args.min_samples > 1 && args.time.is_none() {
        return Err(Error::new(&codes::USE001, "--min-samples takes --for: of now there is one sample"));
    }
    if let (Some(min), Some(max)) = (args.min, args.max)
        && min > max
    {
        return Err(Error::new(&codes::USE001, format!("--min {min} is above --max {max}")));
    }
    let conditions = Conditions {
        limits: Limits { min: args.min, max: args.max },
        samples_min: args.min_samples as usize,
        rule: args.series,
        no_data: args.no_data,
    };
    let source = open(context).await?;
    let now_ms = context.clock.now().as_millis();
    let answer = match args.time {
        None => source.instant(&args.expr, now_ms).await?,
        Some(time) => {
            let length_ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX).max(1);
            let wanted_ms = length_ms / i64::from(args.min_samples);
            let step_ms = source.step_min_ms().min(wanted_ms).max(length_ms / 10_000).max(1);
            let start_ms = now_ms - length_ms / step_ms * step_ms;
            source.range(&args.expr, Span { start_ms, end_ms: now_ms, step_ms }).await?
        }
    };
    let measured = |labels: Labels, values: Vec<f64>| Measured { labels, values, scraped: None };
    let mut series: Vec<Measured> = match answer.data {
        Data::Scalar(_, value) => vec![measured(Labels::default(), vec![value])],
        Data::Vector(samples) => {
            samples.into_iter().map(|sample| measured(sample.labels, vec![sample.value])).collect()
        }
        Data::Matrix(series) if args.time.is_some() => series
            .into_iter()
            .map(|series| {
                measured(series.labels, series.points.into_iter().map(|(_, value)| value).collect())
            })
            .collect(),
        Data::Matrix(_) => {
            return Err(Error::new(
                &codes::MET004,
                "the expression is a range: there is no one value to judge",
            )
            .with_hint("take rate(), max_over_time() or another function of it, or pass --for"));
        }
        Data::Text(_) => {
            return Err(Error::new(&codes::MET004, "the expression is a text: there is no value to judge"));
        }
    };
    if let Some(time) = args.time.filter(|_| args.min_samples > 1) {
        count_samples(&source, &args.expr, time, now_ms, &mut series).await?;
    }
    let judgement = judge(&conditions, series);
    Ok(with_warnings(report(&args, &conditions, &judgement), &answer.warnings))
}

/// Asks of how many samples each series is made. An expression may be made of several series: the one with the most says
/// for how long its process has been looked at.
async fn count_samples(
    source: &Source,
    expr: &str,
    time: Duration,
    now_ms: i64,
    series: &mut [Measured],
) -> Result<()> {
    let mut counted = Vec::new();
    for counter in counters(expr, time)? {
        counted.extend(source.instant(&counter, now_ms).await?.samples());
    }
    for one in series {
        let has_part_in =
            |labels: &Labels| one.labels.iter().all(|(name, value)| [value, ""].contains(&labels.get(name)));
        let parts = counted.iter().filter(|part| has_part_in(&part.labels));
        let most = parts.map(|part| part.value).fold(0.0, f64::max);
        // Numbers and time() are made of no sample: they are there whenever they are looked at.
        one.scraped = (!counted.is_empty()).then_some(most as usize);
    }
    Ok(())
}

fn allowed(limits: Limits) -> String {
    match (limits.min, limits.max) {
        (Some(min), Some(max)) => format!("from {} to {}", plain(min), plain(max)),
        (Some(min), None) => format!("at least {}", plain(min)),
        (None, Some(max)) => format!("at most {}", plain(max)),
        (None, None) => "anything".to_owned(),
    }
}

fn report(args: &Args, conditions: &Conditions, judgement: &Judgement) -> Report {
    let (word, status, exit) = match judgement.verdict {
        Verdict::Pass => ("pass", "ok", exit::DONE),
        Verdict::Breached => ("BREACHED", "breached", exit::BREACHED),
        Verdict::Inconclusive => ("inconclusive", "inconclusive", exit::INCONCLUSIVE),
    };
    let decisive = judgement.decisive.and_then(|place| judgement.series.get(place));
    let document = json!({
        "expr": args.expr, "limits": limits_json(conditions.limits),
        "for_ms": args.time.map(|time| time.as_millis() as u64), "min_samples": conditions.samples_min,
        "verdict": judgement.verdict, "because": judgement.because.name(),
        "decisive": decisive.map(Judged::to_json),
        "series": judgement.series.iter().map(Judged::to_json).collect::<Vec<_>>(),
    });
    let mut pairs = vec![
        ("verdict", word.to_owned()),
        ("expression", args.expr.clone()),
        ("allowed", allowed(conditions.limits)),
    ];
    if let Some(time) = args.time {
        pairs.push(("over", format!("the last {}", human::duration(time))));
    }
    let mut report = Report::new("metrics/check", document)
        .with_status(status, exit)
        .with_pairs(pairs)
        .with_names([word.to_lowercase()]);
    if !judgement.series.is_empty() {
        let mut table = Table::new([
            Column::left("series"),
            Column::right("value"),
            Column::right("samples"),
            Column::left("verdict"),
        ]);
        for one in &judgement.series {
            let value = one.value.value().map_or_else(|| "NaN".to_owned(), plain);
            let verdict = match one.verdict {
                Verdict::Pass => "pass",
                Verdict::Breached => "BREACHED",
                Verdict::Inconclusive => "inconclusive",
            };
            table.push([one.labels.to_string(), value, one.samples.to_string(), verdict.to_owned()]);
        }
        report = report.with_table(table);
    }
    match finding(conditions, judgement, decisive) {
        Some(finding) => report.with_finding(finding),
        None => report,
    }
}

fn finding(conditions: &Conditions, judgement: &Judgement, decisive: Option<&Judged>) -> Option<Finding> {
    let severity = match judgement.verdict {
        Verdict::Pass => Severity::Info,
        Verdict::Breached => Severity::Error,
        Verdict::Inconclusive => Severity::Warning,
    };
    let series = decisive.map(|one| one.labels.to_string()).unwrap_or_default();
    Some(match judgement.because {
        Because::Within => return None,
        Because::Outside => {
            let value = decisive.and_then(|one| one.value.value()).map(plain).unwrap_or_default();
            let finding = Finding::new(
                &codes::MET009,
                severity,
                format!("{series} is {value}, and {} is allowed", allowed(conditions.limits)),
            );
            match value.as_str() {
                "+Inf" | "-Inf" => {
                    finding.with_hint("an infinite value is most often something divided by nought")
                }
                _ => finding,
            }
        }
        Because::NoSeries => Finding::new(&codes::MET010, severity, "the expression selects no series")
            .with_hint("rtcctl metrics targets shows what is scraped; --no-data says what this means"),
        Because::NaN => Finding::new(&codes::MET011, severity, format!("{series} is NaN"))
            .with_hint("nought divided by nought is no traffic; --no-data says what this means"),
        Because::TooFewSamples => Finding::new(
            &codes::MET012,
            severity,
            format!(
                "{series} has {} of {} samples",
                decisive.map_or(0, |one| one.samples),
                conditions.samples_min
            ),
        ),
        Because::SeveralSeries => Finding::new(
            &codes::MET013,
            severity,
            format!("the expression comes to {} series", judgement.series.len()),
        )
        .with_hint("pass --series any, all or worst, or make one of them: sum(…), max(…)"),
    })
}
