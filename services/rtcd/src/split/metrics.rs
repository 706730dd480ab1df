//! The metrics of all processes on one page, so that one scrape has the whole platform.
//!
//! Invariant: a family stands once on the page, however many processes have it: a scraper refuses the page otherwise.

use std::collections::HashMap;
use std::fmt::Write;

use rtc_metrics::{Metric, SPLIT_MEMORY, SPLIT_RESTARTS, SPLIT_UP};

use super::fleet::ProcessView;
use super::replica::State;

/// What one process has to say. Empty where it said nothing.
pub struct Page {
    pub process: &'static str,
    pub replica: u32,
    pub text: String,
}

#[derive(Default)]
struct Family<'a> {
    head: Vec<&'a str>,
    samples: String,
}

/// The name that `# TYPE name …` and its like speak of.
fn subject(line: &str) -> Option<&str> {
    let mut words = line.strip_prefix("# ")?.split(' ');
    matches!(words.next()?, "TYPE" | "HELP" | "UNIT").then(|| words.next()).flatten()
}

/// `name{labels} 1` with two labels before the others. They are not called `service`: requests are counted by service
/// already, wherever they were handled.
fn label(line: &str, process: &str, replica: u32, out: &mut String) {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let _ = match rest.strip_prefix('{') {
        Some(rest) if rest.starts_with('}') => {
            writeln!(out, "{name}{{process=\"{process}\",replica=\"{replica}\"{rest}")
        }
        Some(rest) => writeln!(out, "{name}{{process=\"{process}\",replica=\"{replica}\",{rest}"),
        None => writeln!(out, "{name}{{process=\"{process}\",replica=\"{replica}\"}}{rest}"),
    };
}

pub fn merge(pages: &[Page], processes: &[ProcessView]) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut families: HashMap<&str, Family<'_>> = HashMap::new();
    for page in pages {
        let mut current = "";
        for line in page.text.lines().filter(|line| !line.is_empty() && *line != "# EOF") {
            if let Some(name) = subject(line) {
                current = name;
            }
            let family = families.entry(current).or_insert_with(|| {
                order.push(current);
                Family::default()
            });
            if subject(line).is_none() {
                label(line, page.process, page.replica, &mut family.samples);
            } else if !family.head.contains(&line) {
                family.head.push(line);
            }
        }
    }
    let mut text = own(processes);
    for name in order {
        let family = &families[name];
        for line in &family.head {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&family.samples);
    }
    text.push_str("# EOF\n");
    text
}

/// What the supervisor itself says of the processes.
pub fn own(processes: &[ProcessView]) -> String {
    type Figure = fn(&ProcessView) -> u64;
    let families: [(&Metric, Figure); 3] = [
        (&SPLIT_UP, |process| u64::from(process.state == State::Ready)),
        (&SPLIT_RESTARTS, |process| u64::from(process.restarts)),
        (&SPLIT_MEMORY, |process| process.resident_bytes),
    ];
    let mut text = String::new();
    for (of, figure) in families {
        let family = of.family();
        let _ = writeln!(text, "# HELP {family} {}.\n# TYPE {family} {}", of.help, of.kind.exposed());
        for process in processes {
            label(&format!("{} {}", of.name, figure(process)), process.service, process.replica, &mut text);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_several_processes_stands_once_and_says_whose_each_sample_is() {
        let page = |process, replica, text: &str| Page { process, replica, text: text.to_owned() };
        let orders = "# HELP rtc_depth Waiting.\n# TYPE rtc_depth gauge\nrtc_depth 3\n\
                      # HELP http_seconds Time.\n# TYPE http_seconds histogram\n# UNIT http_seconds seconds\n\
                      http_seconds_sum{service=\"orders\",path=\"/a{b}\"} 1.5\nhttp_seconds_count{} 2\n# EOF\n";
        let gateway = "# HELP http_seconds Time.\n# TYPE http_seconds histogram\n# UNIT http_seconds seconds\n\
                       http_seconds_sum{service=\"gateway\"} 9 # {trace=\"x y\"} 1\n# EOF\n";
        let pages = [page("orders", 1, orders), page("orders", 2, ""), page("gateway", 1, gateway)];
        let merged = merge(&pages, &[]);
        let from = merged.find("# HELP rtc_depth").unwrap();
        assert_eq!(
            &merged[from..],
            "# HELP rtc_depth Waiting.\n# TYPE rtc_depth gauge\nrtc_depth{process=\"orders\",replica=\"1\"} 3\n\
             # HELP http_seconds Time.\n# TYPE http_seconds histogram\n# UNIT http_seconds seconds\n\
             http_seconds_sum{process=\"orders\",replica=\"1\",service=\"orders\",path=\"/a{b}\"} 1.5\n\
             http_seconds_count{process=\"orders\",replica=\"1\"} 2\n\
             http_seconds_sum{process=\"gateway\",replica=\"1\",service=\"gateway\"} 9 # {trace=\"x y\"} 1\n# EOF\n"
        );
        assert_eq!(merged.matches("# EOF").count(), 1);
    }

    #[test]
    fn the_supervisor_says_of_each_process_whether_it_is_up() {
        let view = |replica, state| ProcessView {
            service: "orders",
            replica,
            pid: None,
            state,
            api_url: String::new(),
            admin_url: String::new(),
            restarts: 4,
            resident_bytes: 0,
            log: "log".into(),
        };
        let text = merge(&[], &[view(1, State::Ready), view(2, State::Down)]);
        assert!(text.contains("rtc_split_process_up{process=\"orders\",replica=\"1\"} 1\n"), "{text}");
        assert!(text.contains("rtc_split_process_up{process=\"orders\",replica=\"2\"} 0\n"), "{text}");
        assert!(
            text.contains("rtc_split_process_restarts_total{process=\"orders\",replica=\"1\"} 4\n"),
            "{text}"
        );
    }
}
