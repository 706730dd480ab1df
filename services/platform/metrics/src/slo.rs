//! Service level objectives: what is promised over 30 days, and how fast its budget may be used up.
//!
//! Invariants: without traffic an error ratio is no number, never zero and never one; a request counts once, where it
//! came in, and not at all where nobody offers its address; one whose caller went away was not answered wrongly, but it
//! was answered no faster than it was given up.

use crate::{CALLER_GONE, HTTP_SERVER_REQUEST_DURATION, ORDER_SETTLE, ORDERS, ORDERS_ENDED, OTHER};

/// The window of every objective.
pub const PERIOD_DAYS: u32 = 30;

/// One objective. Ratios are of events: of all that count, those that were bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slo {
    /// As in the label `slo`.
    pub name: &'static str,
    pub title: &'static str,
    /// In thousandths of a percent: 99,900 is 99.9 %.
    pub objective_milli_percent: u32,
    events: Events,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Events {
    Requests,
    /// Faster than the bucket of this bound.
    Fast(&'static str),
    Checkouts,
    Settled(&'static str),
}

pub const ALL: [Slo; 4] = [
    Slo {
        name: "availability",
        title: "Requests are answered without a fault of ours",
        objective_milli_percent: 99_900,
        events: Events::Requests,
    },
    Slo {
        name: "latency",
        title: "Requests are answered within 500 ms",
        objective_milli_percent: 99_000,
        events: Events::Fast("0.5"),
    },
    Slo {
        name: "checkout",
        title: "Orders do not fail for want of an answer of ours",
        objective_milli_percent: 99_900,
        events: Events::Checkouts,
    },
    Slo {
        name: "settle",
        title: "Orders settle within 10 s",
        objective_milli_percent: 99_000,
        events: Events::Settled("10.0"),
    },
];

impl Slo {
    pub fn by_name(name: &str) -> Option<&'static Slo> {
        ALL.iter().find(|slo| slo.name == name)
    }

    /// 0.999.
    pub fn objective(&self) -> f64 {
        f64::from(self.objective_milli_percent) / 100_000.0
    }

    /// What may go wrong: 0.001.
    pub fn budget(&self) -> f64 {
        f64::from(100_000 - self.objective_milli_percent) / 100_000.0
    }

    /// PromQL: bad events a second over `window` (`5m`).
    pub fn bad(&self, window: &str) -> String {
        let requests = &HTTP_SERVER_REQUEST_DURATION;
        let rate = |selected: String| format!("sum(rate({selected}[{window}]))");
        match self.events {
            Events::Requests => {
                let failed = format!("{}, http_response_status_code=~\"5..\"", offered());
                format!("{} or vector(0)", rate(requests.count(&failed)))
            }
            Events::Fast(bound) => {
                let fast = format!("{}, le=\"{bound}\"", offered());
                format!("{} - {}", rate(requests.count(&offered())), rate(requests.bucket(&fast)))
            }
            Events::Checkouts => {
                format!("sum(rate({}{{reason=\"timeout\"}}[{window}])) or vector(0)", ORDERS_ENDED.name)
            }
            Events::Settled(bound) => {
                let settle = ORDER_SETTLE.name;
                format!(
                    "sum(rate({settle}_count[{window}])) - sum(rate({settle}_bucket{{le=\"{bound}\"}}[{window}]))"
                )
            }
        }
    }

    /// PromQL: all events a second over `window`.
    pub fn events(&self, window: &str) -> String {
        match self.events {
            Events::Requests => {
                let answered = format!("{}, http_response_status_code!=\"{CALLER_GONE}\"", offered());
                format!("sum(rate({}[{window}]))", HTTP_SERVER_REQUEST_DURATION.count(&answered))
            }
            Events::Fast(_) => {
                format!("sum(rate({}[{window}]))", HTTP_SERVER_REQUEST_DURATION.count(&offered()))
            }
            Events::Checkouts => format!("sum(rate({}{{state=\"placed\"}}[{window}]))", ORDERS.name),
            Events::Settled(_) => format!("sum(rate({}_count[{window}]))", ORDER_SETTLE.name),
        }
    }

    /// PromQL: the share of bad events over `window`; no series where there were none at all.
    pub fn error_ratio(&self, window: &str) -> String {
        let events = self.events(window);
        format!("({}) / ({events} > 0)", self.bad(window))
    }

    /// The recorded series of the same.
    pub fn recorded_ratio(&self, window: &str) -> String {
        format!("{}{{slo=\"{}\"}}", recorded_name(window), self.name)
    }
}

/// Labels of the requests that objectives are about.
fn offered() -> String {
    format!("hop=\"entry\", http_route!=\"{OTHER}\"")
}

/// The rule that records error ratios over `window`; one series an objective.
pub fn recorded_name(window: &str) -> String {
    format!("rtc:slo_error_ratio:rate{window}")
}

/// Somebody is woken, or somebody looks at it tomorrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Ticket,
    Page,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Ticket => "ticket",
            Severity::Page => "page",
        }
    }
}

/// A budget that burns so many times as fast as it may, over a long window and still over a short one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burn {
    pub factor: f64,
    pub long: &'static str,
    pub short: &'static str,
    pub severity: Severity,
}

impl Burn {
    /// Minutes after which both windows are above it, when traffic is even and from now on every event is bad: the share
    /// of the long window that has to be bad.
    pub fn minutes_to_fire(&self, slo: &Slo) -> f64 {
        self.factor * slo.budget() * minutes(self.long)
    }

    /// The error ratio above which it fires.
    pub fn threshold(&self, slo: &Slo) -> f64 {
        self.factor * slo.budget()
    }
}

/// The minutes of a window such as `5m`, `6h`, `3d`.
pub fn minutes(window: &str) -> f64 {
    let (number, unit) = window.split_at(window.len().saturating_sub(1));
    let number: f64 = number.parse().unwrap_or(f64::NAN);
    match unit {
        "m" => number,
        "h" => number * 60.0,
        "d" => number * 1_440.0,
        _ => f64::NAN,
    }
}

/// Google's and Sloth's windows: 2 % of the budget in 1 h, 5 % in 6 h, 10 % in 1 d, 10 % in 3 d.
pub const BURNS: [Burn; 4] = [
    Burn { factor: 14.4, long: "1h", short: "5m", severity: Severity::Page },
    Burn { factor: 6.0, long: "6h", short: "30m", severity: Severity::Page },
    Burn { factor: 3.0, long: "1d", short: "2h", severity: Severity::Ticket },
    Burn { factor: 1.0, long: "3d", short: "6h", severity: Severity::Ticket },
];

/// Every window over which ratios are recorded, the shortest first.
pub const WINDOWS: [&str; 8] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"];
