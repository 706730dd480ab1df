//! What an expression of PromQL names: metrics and labels, compared with the catalogue.
//!
//! No parser: Prometheus itself parses every expression in `cargo xtask test metrics`. Here it is enough to know which
//! words are names.

use rtc_metrics::{Metric, of_sample};

use crate::prometheus;

const KEYWORDS: [&str; 11] =
    ["and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset"];
/// What Prometheus adds itself.
const OF_THE_SERVER: [&str; 3] = ["up", "ALERTS", "scrape_duration_seconds"];
const LABELS_OF_THE_SERVER: [&str; 8] =
    ["job", "instance", "le", "alertname", "alertstate", "severity", "slo", "metric"];
/// What the supervisor of processes adds.
const LABELS_OF_THE_SPLIT: [&str; 2] = ["process", "replica"];

/// A name in an expression with the labels that stand in its braces.
#[derive(Debug, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub labels: Vec<String>,
}

/// Every series that an expression names, and every label that it groups by.
pub fn names(expression: &str) -> (Vec<Named>, Vec<String>) {
    let mut tokens = tokens(expression).into_iter().peekable();
    let (mut named, mut grouped): (Vec<Named>, Vec<String>) = (Vec::new(), Vec::new());
    while let Some(token) = tokens.next() {
        match token.as_str() {
            "by" | "without" | "on" | "ignoring" | "group_left" | "group_right"
                if tokens.peek().is_some_and(|next| next == "(") =>
            {
                let inside = tokens.by_ref().take_while(|inside| inside != ")");
                grouped.extend(inside.filter(|inside| is_word(inside)));
            }
            "{" => {
                let inside: Vec<String> = tokens.by_ref().take_while(|inside| inside != "}").collect();
                if let Some(last) = named.last_mut() {
                    last.labels.extend(inside.into_iter().filter(|inside| is_word(inside)));
                }
            }
            "[" => {
                tokens.by_ref().find(|inside| inside == "]");
            }
            word if is_word(word)
                && !KEYWORDS.contains(&word)
                && tokens.peek().is_none_or(|next| next != "(" && next != "by" && next != "without") =>
            {
                named.push(Named { name: token, labels: Vec::new() });
            }
            _ => {}
        }
    }
    (named, grouped)
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// Words, and single signs; strings and numbers are left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' => while chars.next().is_some_and(|char| char != '"') {},
            // A number with its unit, or a variable of Grafana's.
            '0'..='9' | '$' => {
                while chars.next_if(|next| next.is_ascii_alphanumeric() || "._".contains(*next)).is_some() {}
            }
            first if first.is_ascii_alphabetic() || first == '_' => {
                let mut word = first.to_string();
                while let Some(next) =
                    chars.next_if(|next| next.is_ascii_alphanumeric() || "_:".contains(*next))
                {
                    word.push(next);
                }
                tokens.push(word);
            }
            sign if !sign.is_whitespace() => tokens.push(sign.to_string()),
            _ => {}
        }
    }
    tokens
}

fn has_label(metric: &Metric, label: &str) -> bool {
    metric.label(label).is_some()
        || LABELS_OF_THE_SERVER.contains(&label)
        || LABELS_OF_THE_SPLIT.contains(&label)
}

/// Whether it names only what there is.
pub fn check(expression: &str) -> Result<(), String> {
    let (named, grouped) = names(expression);
    if named.is_empty() && !expression.contains("vector(") {
        return Err("it names no series".to_owned());
    }
    for Named { name, labels } in &named {
        if let Some(metric) = of_sample(name) {
            if metric.is_shared() && !labels.iter().any(|label| label == "job") {
                return Err(format!("{name} is not asked of the platform alone: other programs have it too"));
            }
            match labels.iter().find(|label| !has_label(metric, label)) {
                None => {}
                Some(label) => return Err(format!("{name} has no label {label}")),
            }
        } else if !OF_THE_SERVER.contains(&name.as_str()) && !prometheus::records(name) {
            return Err(format!("there is no {name}: neither in the catalogue nor recorded by a rule"));
        }
    }
    let is_known = |label: &str| {
        LABELS_OF_THE_SERVER.contains(&label)
            || LABELS_OF_THE_SPLIT.contains(&label)
            || named.iter().any(|one| match of_sample(&one.name) {
                Some(metric) => metric.label(label).is_some(),
                None => rtc_metrics::all().any(|metric| metric.label(label).is_some()),
            })
    };
    match grouped.iter().find(|label| !is_known(label)) {
        None => Ok(()),
        Some(label) => Err(format!("nothing of it has the label {label}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_found() {
        let (named, grouped) = names(
            "sum by (service, le) (rate(rtc_a_bucket{service=~\"$service\", x!=\"{}\"}[5m])) / on () up > 0.5",
        );
        let words: Vec<&str> = named.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(words, ["rtc_a_bucket", "up"]);
        assert_eq!(named[0].labels, ["service", "x"]);
        assert_eq!(grouped, ["service", "le"]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        for (wrong, why) in [
            ("rate(rtc_oders_total[5m])", "there is no rtc_oders_total"),
            ("rtc_orders_total{sku=\"a\"}", "rtc_orders_total has no label sku"),
            ("sum by (sku) (rtc_orders_total)", "nothing of it has the label sku"),
            ("rtc_orders", "there is no rtc_orders"),
            ("1 + 1", "it names no series"),
            ("sum(process_open_fds)", "process_open_fds is not asked of the platform alone"),
            (
                "rate(http_server_request_duration_seconds_count{service=\"a\"}[5m])",
                "http_server_request_duration_seconds_count is not asked of the platform alone",
            ),
        ] {
            let reason = check(wrong).unwrap_err();
            assert!(reason.starts_with(why), "{wrong}: {reason}");
        }
        check("histogram_quantile(0.99, sum by (le, service) (rate(http_server_request_duration_seconds_bucket{job=\"rtcd\", service=~\"$service\"}[$__rate_interval])))").unwrap();
    }
}
