//! What stands on each dashboard.

use rtc_metrics::slo::{ALL as SLOS, recorded_name};
use rtc_metrics::{self as m, Metric, Unit};

use super::{Answers, Dashboard, Kind, Panel, Row};

/// The window of a rate: Grafana makes it four scrapes wide, or a step of the graph.
const W: &str = "$__rate_interval";

fn rate(metric: &Metric, labels: &str) -> String {
    format!("rate({}[{W}])", metric.select(labels))
}

fn count_rate(metric: &Metric, labels: &str) -> String {
    format!("rate({}[{W}])", metric.count(labels))
}

fn sum_by(labels: &str, of: &str) -> String {
    if labels.is_empty() { format!("sum({of})") } else { format!("sum by ({labels}) ({of})") }
}

/// A fact about something that several processes look at: the greatest of what they say.
fn fact(metric: &Metric, by: &str, labels: &str) -> String {
    format!("max by ({by}) ({})", metric.select(labels))
}

fn quantile(q: &str, metric: &Metric, by: &str, labels: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("le, {by}") };
    format!("histogram_quantile({q}, sum by ({by}) (rate({}[{W}])))", metric.bucket(labels))
}

fn three_quantiles(panel: Panel, metric: &Metric, labels: &str) -> Panel {
    panel
        .query("p50", quantile("0.5", metric, "", labels))
        .query("p95", quantile("0.95", metric, "", labels))
        .query("p99", quantile("0.99", metric, "", labels))
}

const MINE: &str = "service=~\"$service\"";

pub fn commerce() -> Dashboard {
    let placed = rate(&m::ORDERS, "state=\"placed\"");
    let confirmed = rate(&m::ORDERS, "state=\"confirmed\"");
    Dashboard {
        name: "commerce",
        title: "Commerce",
        about: "What the shop sells and earns, and what of it does not come to a good end.",
        rows: vec![
            Row {
                title: "Now",
                panels: vec![
                    Panel::new(Kind::Stat, "Orders a second", Unit::Count).query("", sum_by("", &placed)),
                    Panel::new(Kind::Stat, "Confirmed of those placed", Unit::Ratio)
                        .about("Orders confirmed for each order placed, over the last five minutes.")
                        .query(
                            "",
                            format!(
                                "sum(rate({0}{{state=\"confirmed\"}}[5m])) / (sum(rate({0}{{state=\"placed\"}}[5m])) > 0)",
                                m::ORDERS.name
                            ),
                        ),
                    Panel::new(Kind::Stat, "Revenue an hour", Unit::Money)
                        .about("Money captured, at the rate of the last five minutes, in minor units.")
                        .query("{{currency}}", format!("sum by (currency) (rate({}[5m])) * 3600", m::REVENUE.name)),
                    Panel::new(Kind::Stat, "p95 to settle", Unit::Seconds)
                        .query("", quantile("0.95", &m::ORDER_SETTLE, "", "")),
                    Panel::new(Kind::Stat, "Articles out of stock", Unit::Count)
                        .query("", format!("max({}{{level=\"out\"}})", m::STOCK_SKUS.name))
                        .red_above(1.0),
                    Panel::new(Kind::Stat, "Ledger imbalance", Unit::Count)
                        .about("Must be 0.")
                        .query("", format!("max({})", m::LEDGER_IMBALANCE.name))
                        .red_above(1.0),
                ],
            },
            Row {
                title: "Orders",
                panels: vec![
                    Panel::new(Kind::Series, "Orders by state entered, a second", Unit::Count)
                        .query("{{state}}", sum_by("state", &rate(&m::ORDERS, ""))),
                    Panel::new(Kind::Series, "Placed and confirmed, a second", Unit::Count)
                        .query("placed", sum_by("", &placed))
                        .query("confirmed", sum_by("", &confirmed)),
                    Panel::new(Kind::Series, "Orders that ended without their goods, by reason", Unit::Count)
                        .query("{{reason}}", sum_by("reason", &rate(&m::ORDERS_ENDED, ""))),
                    three_quantiles(
                        Panel::new(Kind::Series, "From placed to settled", Unit::Seconds),
                        &m::ORDER_SETTLE,
                        "",
                    ),
                    Panel::new(Kind::Heatmap, "From placed to settled, all of them", Unit::Seconds)
                        .query("{{le}}", sum_by("le", &format!("rate({}_bucket[{W}])", m::ORDER_SETTLE.name))),
                    Panel::new(Kind::Series, "Payments by state entered, a second", Unit::Count)
                        .query("{{state}}", sum_by("state", &rate(&m::PAYMENTS, ""))),
                ],
            },
            Row {
                title: "Money",
                panels: vec![
                    Panel::new(Kind::Series, "Revenue a second, in minor units", Unit::Money)
                        .query("{{currency}}", sum_by("currency", &rate(&m::REVENUE, ""))),
                    Panel::new(Kind::Series, "Refunds a second, in minor units", Unit::Money).query_that(
                        Answers::InTrouble,
                        "{{currency}}",
                        sum_by("currency", &rate(&m::REFUNDS, "")),
                    ),
                    Panel::new(Kind::Series, "Bank", Unit::Count)
                        .about("Calls whose outcome was not known, a second, and differences that reconciliation found.")
                        .query("outcome unknown", sum_by("", &rate(&m::BANK_UNKNOWN, "")))
                        .query("differences", format!("max({})", m::RECONCILIATION_DIFFERENCES.name))
                        .query("compared a second", sum_by("", &rate(&m::RECONCILIATION_CHECKED, ""))),
                ],
            },
            Row {
                title: "Analytics",
                panels: vec![
                    Panel::new(Kind::Series, "Events taken into windows, a second", Unit::Count)
                        .query("events", sum_by("", &rate(&m::ANALYTICS_EVENTS, ""))),
                    Panel::new(Kind::Series, "Events too late for their window, a second", Unit::Count)
                        .query("{{window}}", sum_by("window", &rate(&m::LATE_EVENTS, ""))),
                    Panel::new(Kind::Series, "Live numbers", Unit::Count)
                        .query("listeners", format!("sum({})", m::ANALYTICS_LISTENERS.name))
                        .query("computations a second", sum_by("", &rate(&m::ANALYTICS_COMPUTATIONS, ""))),
                ],
            },
            Row {
                title: "Stock and notifications",
                panels: vec![
                    Panel::new(Kind::Series, "Articles by what can be sold of them", Unit::Count)
                        .query("{{level}}", fact(&m::STOCK_SKUS, "level", "")),
                    Panel::new(Kind::Series, "Reservations, a second", Unit::Count)
                        .query("{{answer}}", sum_by("answer", &rate(&m::RESERVATIONS, "")))
                        .query("expired", sum_by("", &rate(&m::RESERVATIONS_EXPIRED, ""))),
                    Panel::new(Kind::Series, "Notifications, a second", Unit::Count)
                        .query("{{channel}} {{result}}", sum_by("channel, result", &rate(&m::NOTIFICATIONS, "")))
                        .query("ambiguous", sum_by("", &rate(&m::NOTIFICATIONS_AMBIGUOUS, ""))),
                ],
            },
        ],
    }
}

pub fn services() -> Dashboard {
    let requests = &m::HTTP_SERVER_REQUEST_DURATION;
    let errors = format!("{MINE}, http_response_status_code=~\"5..\"");
    Dashboard {
        name: "services",
        title: "Services",
        about: "Rate, errors and duration of requests, by service and by route.",
        rows: vec![
            Row {
                title: "Services",
                panels: vec![
                    Panel::new(Kind::Series, "Requests a second", Unit::Count)
                        .unit("reqps")
                        .query("{{service}}", sum_by("service", &count_rate(requests, MINE))),
                    Panel::new(Kind::Series, "Share of requests that failed (5xx)", Unit::Ratio).query(
                        "{{service}}",
                        format!(
                            "(sum by (service) ({}) or sum by (service) ({}) * 0) / (sum by (service) ({}) > 0)",
                            count_rate(requests, &errors),
                            count_rate(requests, MINE),
                            count_rate(requests, MINE)
                        ),
                    ),
                    Panel::new(Kind::Series, "p99", Unit::Seconds)
                        .query("{{service}}", quantile("0.99", requests, "service", MINE)),
                    Panel::new(Kind::Series, "At work", Unit::Count)
                        .query("{{service}}", sum_by("service", &m::HTTP_SERVER_ACTIVE_REQUESTS.select(MINE))),
                    Panel::new(Kind::Series, "Refused before anything was done, a second", Unit::Count)
                        .query("{{service}} {{reason}}", sum_by("service, reason", &rate(&m::HTTP_SHED, MINE))),
                    Panel::new(Kind::Series, "Answers by status, a second", Unit::Count).query(
                        "{{http_response_status_code}}",
                        sum_by("http_response_status_code", &count_rate(requests, MINE)),
                    ),
                ],
            },
            Row {
                title: "Routes",
                panels: vec![
                    Panel::new(Kind::Series, "Busiest routes, a second", Unit::Count).unit("reqps").query(
                        "{{http_request_method}} {{http_route}}",
                        format!("topk(10, {})", sum_by("http_request_method, http_route", &count_rate(requests, MINE))),
                    ),
                    Panel::new(Kind::Series, "Slowest routes, p95", Unit::Seconds).query(
                        "{{http_request_method}} {{http_route}}",
                        format!("topk(10, {})", quantile("0.95", requests, "http_request_method, http_route", MINE)),
                    ),
                    Panel::new(Kind::Series, "Routes that fail, a second", Unit::Count).query_that(
                        Answers::InTrouble,
                        "{{http_request_method}} {{http_route}} {{http_response_status_code}}",
                        sum_by("http_request_method, http_route, http_response_status_code", &count_rate(requests, &errors)),
                    ),
                    Panel::new(Kind::Heatmap, "Durations", Unit::Seconds)
                        .about("Exemplars lead to traces.")
                        .query("{{le}}", sum_by("le", &format!("rate({}[{W}])", requests.bucket(MINE)))),
                    three_quantiles(Panel::new(Kind::Series, "All routes", Unit::Seconds), requests, MINE),
                    Panel::new(Kind::Series, "Calls between processes, a second", Unit::Count).query_that(
                        Answers::Split,
                        "{{service}} {{error_type}}",
                        sum_by("service, error_type", &count_rate(&m::HTTP_CLIENT_REQUEST_DURATION, MINE)),
                    ),
                ],
            },
        ],
    }
}

pub fn sagas() -> Dashboard {
    let process = &m::MESSAGING_PROCESS_DURATION;
    let group = "messaging_consumer_group_name";
    Dashboard {
        name: "sagas",
        title: "Sagas and events",
        about: "What is under way between the services: sagas, outboxes, topics, consumers, dead letters.",
        rows: vec![
            Row {
                title: "Sagas",
                panels: vec![
                    Panel::new(Kind::Stat, "Stuck", Unit::Count)
                        .about("Sagas a minute past their deadline that nobody has taken further. Must be 0.")
                        .query("{{saga}}", fact(&m::SAGA_STUCK, "saga", ""))
                        .red_above(1.0),
                    Panel::new(Kind::Stat, "Dead letters", Unit::Count)
                        .query("", format!("sum(max by (group) ({}))", m::DLQ_DEPTH.name))
                        .red_above(1.0),
                    Panel::new(Kind::Stat, "Oldest message in an outbox", Unit::Seconds)
                        .query("", format!("max({})", m::OUTBOX_LAG.name))
                        .red_above(60.0),
                    Panel::new(Kind::Stat, "Messages not handled yet", Unit::Count)
                        .query("", format!("sum(max by (group, topic) ({}))", m::CONSUMER_LAG.name)),
                    Panel::new(Kind::Stat, "Bus", Unit::Count)
                        .about("1 while it answers.")
                        .query("", format!("min({})", m::BUS_UP.name)),
                ],
            },
            Row {
                title: "Under way",
                panels: vec![
                    Panel::new(Kind::Series, "Sagas by the step that they wait in", Unit::Count)
                        .query("{{saga}} {{state}}", fact(&m::SAGA_STATE, "saga, state", "")),
                    Panel::new(Kind::Series, "Messages in outboxes", Unit::Count)
                        .query("{{service}}", fact(&m::OUTBOX_DEPTH, "service", MINE)),
                    Panel::new(Kind::Series, "Age of the oldest message in an outbox", Unit::Seconds)
                        .query("{{service}}", fact(&m::OUTBOX_LAG, "service", MINE)),
                    Panel::new(Kind::Series, "From commit to bus, p99", Unit::Seconds)
                        .query("{{service}}", quantile("0.99", &m::RELAY_LAG, "service", MINE)),
                    Panel::new(Kind::Series, "Sent, a second", Unit::Count).query(
                        "{{messaging_destination_name}} {{error_type}}",
                        sum_by("messaging_destination_name, error_type", &rate(&m::MESSAGING_SENT, "")),
                    ),
                    Panel::new(Kind::Series, "Time for the bus to have them, p99", Unit::Seconds)
                        .query("", quantile("0.99", &m::MESSAGING_SEND_DURATION, "", "")),
                ],
            },
            Row {
                title: "Consumers",
                panels: vec![
                    Panel::new(Kind::Series, "Delivered, a second", Unit::Count).query(
                        "{{messaging_consumer_group_name}}",
                        sum_by(group, &rate(&m::MESSAGING_CONSUMED, "")),
                    ),
                    Panel::new(Kind::Series, "Lag, in messages", Unit::Count)
                        .query("{{group}} {{topic}}", fact(&m::CONSUMER_LAG, "group, topic", "")),
                    Panel::new(Kind::Series, "Batches that are taken again, a second", Unit::Count)
                        .query_that(
                            Answers::InTrouble,
                            "{{messaging_consumer_group_name}}",
                            sum_by(group, &count_rate(process, "error_type!=\"\"")),
                        ),
                    Panel::new(Kind::Series, "From delivery to commit, p95", Unit::Seconds)
                        .query("{{messaging_consumer_group_name}}", quantile("0.95", process, group, "")),
                    Panel::new(Kind::Series, "Batches, a second", Unit::Count)
                        .query("{{messaging_consumer_group_name}}", sum_by(group, &count_rate(process, ""))),
                    Panel::new(Kind::Series, "Dead letters", Unit::Count)
                        .query("{{group}}", fact(&m::DLQ_DEPTH, "group", "")),
                ],
            },
        ],
    }
}

pub fn infrastructure() -> Dashboard {
    Dashboard {
        name: "infrastructure",
        title: "Infrastructure",
        about: "Utilisation, saturation and errors of processes, runtimes, databases and caches.",
        rows: vec![
            Row {
                title: "Processes",
                panels: vec![
                    Panel::new(Kind::Stat, "Up", Unit::Count).query("{{instance}}", "up{job=\"rtcd\"}"),
                    Panel::new(Kind::Stat, "Ready", Unit::Count)
                        .query("{{instance}}", format!("min by (instance) ({})", m::READY.name)),
                    Panel::new(Kind::Stat, "Running for", Unit::Seconds)
                        .query("{{instance}}", format!("time() - {}", m::PROCESS_START.select(""))),
                    Panel::new(Kind::Stat, "Version", Unit::Count).query(
                        "{{version}} {{profile}}",
                        format!("count by (version, profile) ({})", m::BUILD_INFO.name),
                    ),
                ],
            },
            Row {
                title: "Use",
                panels: vec![
                    Panel::new(Kind::Series, "Processors in use", Unit::Count)
                        .query("{{instance}} {{process}}", rate(&m::PROCESS_CPU, "")),
                    Panel::new(Kind::Series, "Memory", Unit::Bytes)
                        .query("{{instance}} {{process}}", m::PROCESS_MEMORY.select("")),
                    Panel::new(Kind::Series, "File descriptors in use", Unit::Ratio).query(
                        "{{instance}} {{process}}",
                        format!("{} / {}", m::PROCESS_FDS.select(""), m::PROCESS_MAX_FDS.select("")),
                    ),
                    Panel::new(Kind::Series, "Runtime: share of its threads at work", Unit::Ratio).query(
                        "{{instance}} {{process}} {{runtime}}",
                        format!("{} / {}", rate(&m::RUNTIME_BUSY, ""), m::RUNTIME_WORKERS.name),
                    ),
                    Panel::new(Kind::Series, "Runtime: tasks", Unit::Count)
                        .query("alive", sum_by("", m::RUNTIME_TASKS.name))
                        .query("waiting", sum_by("", m::RUNTIME_QUEUE.name)),
                    Panel::new(Kind::Series, "Threads", Unit::Count)
                        .query("{{instance}} {{process}}", m::PROCESS_THREADS.select("")),
                ],
            },
            Row {
                title: "Databases",
                panels: vec![
                    Panel::new(Kind::Series, "Commands, p95", Unit::Seconds).query(
                        "{{service}} {{operation}}",
                        quantile("0.95", &m::DB_COMMAND_DURATION, "service, operation", MINE),
                    ),
                    Panel::new(Kind::Series, "Wait for a connection, p95", Unit::Seconds)
                        .about("Of queries on a server; those from outside are refused rather than kept waiting.")
                        .query(
                            "{{service}} {{asker}}",
                            quantile("0.95", &m::DB_WAIT_DURATION, "service, asker", MINE),
                        ),
                    Panel::new(Kind::Series, "Commands that wait", Unit::Count)
                        .query("{{service}}", sum_by("service", &format!("{}{{{MINE}}}", m::DB_QUEUED.name))),
                    Panel::new(Kind::Series, "Under way", Unit::Count).query(
                        "{{service}} {{operation}}",
                        sum_by("service, operation", &format!("{}{{{MINE}}}", m::DB_ACTIVE.name)),
                    ),
                    Panel::new(Kind::Series, "Commands and commits, a second", Unit::Count)
                        .about("With group commit several commands share one commit.")
                        .query("{{service}} commands", sum_by("service", &rate(&m::DB_COMMANDS, MINE)))
                        .query("{{service}} commits", sum_by("service", &rate(&m::DB_COMMITS, MINE))),
                    Panel::new(Kind::Series, "Run again after a deadlock, a second", Unit::Count)
                        .query("{{service}}", sum_by("service", &rate(&m::DB_RETRIES, MINE))),
                    Panel::new(Kind::Series, "Size of embedded databases", Unit::Bytes)
                        .query("{{service}}", fact(&m::DB_SIZE, "service", MINE)),
                ],
            },
            Row {
                title: "Cache, history, traces, processes",
                panels: vec![
                    Panel::new(Kind::Series, "Cache: share of look-ups that hit", Unit::Ratio).query(
                        "",
                        format!(
                            "sum({}) / (sum({}) > 0)",
                            rate(&m::CACHE_LOOKUPS, "result=\"hit\""),
                            rate(&m::CACHE_LOOKUPS, "")
                        ),
                    ),
                    Panel::new(Kind::Series, "Cache: answers, and went away", Unit::Count)
                        .query("answers", format!("min({})", m::CACHE_UP.name))
                        .query("went away a second", sum_by("", &rate(&m::CACHE_OUTAGES, ""))),
                    Panel::new(Kind::Series, "Series kept by the processes themselves", Unit::Count)
                        .query("kept", sum_by("", m::HISTORY_SERIES.name))
                        .query("refused a second", sum_by("", &rate(&m::HISTORY_REFUSED, ""))),
                    Panel::new(Kind::Series, "Looks that fail, a second", Unit::Count)
                        .about("What they would tell is absent meanwhile.")
                        .query("{{look}}", sum_by("look", &rate(&m::LOOKS_FAILED, ""))),
                    Panel::new(Kind::Series, "Spans, a second", Unit::Count).query_that(
                        Answers::InTrouble,
                        "{{result}}",
                        sum_by("result", &rate(&m::TRACE_SPANS, "")),
                    ),
                    Panel::new(Kind::Series, "Processes of a split platform", Unit::Count)
                        .query_that(Answers::Split, "{{process}} {{replica}}", m::SPLIT_UP.name)
                        .query_that(
                            Answers::Split,
                            "{{process}} {{replica}} restarts",
                            m::SPLIT_RESTARTS.name,
                        ),
                    Panel::new(Kind::Series, "Memory of a split platform", Unit::Bytes).query_that(
                        Answers::Split,
                        "{{process}} {{replica}}",
                        m::SPLIT_MEMORY.name,
                    ),
                ],
            },
        ],
    }
}

pub fn slo() -> Dashboard {
    let panels = SLOS
        .iter()
        .flat_map(|slo| {
            [
                Panel::new(Kind::Stat, slo.title, Unit::Ratio)
                    .about("What is left of the budget of 30 days.")
                    .query("budget left", format!("1 - {} / {}", slo.recorded_ratio("30d"), slo.budget())),
                Panel::new(Kind::Stat, "Burn rate, 1 h", Unit::Count)
                    .about("How many times as fast as it may the budget is used up. Above 14.4 somebody is woken.")
                    .query(slo.name, format!("{} / {}", slo.recorded_ratio("1h"), slo.budget()))
                    .red_above(14.4),
            ]
        })
        .collect();
    let windows = ["5m", "1h", "6h", "3d"].map(|window| {
        let title = match window {
            "5m" => "Error ratio, 5 minutes",
            "1h" => "Error ratio, 1 hour",
            "6h" => "Error ratio, 6 hours",
            _ => "Error ratio, 3 days",
        };
        Panel::new(Kind::Series, title, Unit::Ratio).query("{{slo}}", recorded_name(window))
    });
    Dashboard {
        name: "slo",
        title: "Objectives",
        about: "What is promised, what is left of the budget, how fast it burns, and what fires.",
        rows: vec![
            Row { title: "Budgets", panels },
            Row { title: "Error ratios", panels: windows.into() },
            Row {
                title: "Alerts",
                panels: vec![
                    Panel::new(Kind::Table, "Firing", Unit::Count).query_that(
                        Answers::InTrouble,
                        "{{alertname}}",
                        "ALERTS{alertstate=\"firing\"}",
                    ),
                    Panel::new(Kind::Series, "Targets up", Unit::Count)
                        .query("up", "sum(up{job=\"rtcd\"})")
                        .query("scraped", "count(up{job=\"rtcd\"})"),
                ],
            },
        ],
    }
}
