//! `rtcctl events tail TOPIC`.
//!
//! Invariant: without `--follow`, `-o json` is one document; with it, one message a line as the platform sent it.

use std::time::Duration;

use codes::{Error, Result, exit};
use kernel::Timestamp;
use serde_json::{Value, json};
use settings::{nearest, parse_duration};

use super::{compact, list_topics};
use crate::api::admin::Message;
use crate::api::{Call, Lines};
use crate::context::Context;
use crate::output::{Format, Report};
use crate::signals::Signal;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic, as rtcctl events topics names it
    topic: String,
    /// Go on with new events until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only events of this type: the whole type, or one word of it such as order_placed
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events about this key
    #[arg(long)]
    key: Option<String>,
    /// Where to begin: earliest, latest, an RFC 3339 time, or a length of time ago such as 10m [default: latest
    /// with --follow, earliest without]
    #[arg(long, value_name = "WHEN", value_parser = From::parse)]
    from: Option<From>,
    /// Stop after so many events
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
}

/// How many events are shown where neither --follow nor --limit was given.
const DEFAULT_LIMIT: u64 = 100;
/// How many events a filter looks through at most.
const LOOK_THROUGH: u64 = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Earliest,
    Latest,
    At(Timestamp),
    Ago(Duration),
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(From::Earliest),
            "latest" => Ok(From::Latest),
            _ => text.parse().map(From::At).or_else(|_| parse_duration(text).map(From::Ago)).map_err(|_| {
                "write earliest, latest, a time such as 2026-03-01T09:00:00Z, or 10m".to_owned()
            }),
        }
    }

    fn query(self, now: Timestamp) -> String {
        match self {
            From::Earliest => "earliest".to_owned(),
            From::Latest => "latest".to_owned(),
            From::At(at) => at.to_string(),
            From::Ago(time) => now.minus(time).to_string(),
        }
    }
}

/// What is shown of the stream.
struct Filter {
    kind: Option<String>,
    key: Option<String>,
}

impl Filter {
    fn takes(&self, message: &Message) -> bool {
        let kind = &message.envelope.kind;
        let kind_fits = self
            .kind
            .as_ref()
            .is_none_or(|wanted| kind == wanted || kind.split('.').any(|word| word == wanted));
        kind_fits && self.key.as_ref().is_none_or(|wanted| message.envelope.subject == *wanted)
    }

    fn is_open(&self) -> bool {
        self.kind.is_none() && self.key.is_none()
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let platform = context.platform()?;
    let from = args.from.unwrap_or(if args.follow { From::Latest } else { From::Earliest });
    let limit = args.limit.or((!args.follow).then_some(DEFAULT_LIMIT));
    let filter = Filter { kind: args.kind, key: args.key };
    let mut call = Call::get(&["admin", "topics", &args.topic, "messages"])
        .query("from", from.query(context.clock.now()))
        .query("follow", args.follow);
    // The platform counts before the filter, so only an unfiltered limit is its business.
    if !args.follow {
        call = call.query("limit", limit.filter(|_| filter.is_open()).unwrap_or(LOOK_THROUGH));
    }
    let lines = tokio::select! {
        lines = platform.admin.lines(call) => lines,
        signal = context.interrupts.wait() => return Err(signal.error("nothing was changed")),
    };
    let lines = match lines {
        Err(error) if error.exit() == exit::NOT_FOUND => {
            return Err(unknown_topic(&args.topic, context).await);
        }
        lines => lines?,
    };
    let mut stream = Stream { lines, filter, left: limit.unwrap_or(u64::MAX) };
    if args.follow {
        follow(&mut stream, context).await
    } else {
        collect(&mut stream, &args.topic, context).await
    }
}

struct Stream {
    lines: Lines,
    filter: Filter,
    left: u64,
}

impl Stream {
    /// The next message that is to be shown, with the line that it came in.
    async fn next(&mut self, context: &Context) -> Result<Option<(Message, Vec<u8>)>, Stopped> {
        while self.left > 0 {
            let line = tokio::select! {
                line = self.lines.next() => line?,
                signal = context.interrupts.wait() => return Err(Stopped::By(signal)),
            };
            let Some(line) = line else { return Ok(None) };
            let message: Message = serde_json::from_slice(&line).map_err(|error| {
                Error::new(&codes::NET004, "a line of the stream is not a message").with_source(&error)
            })?;
            if self.filter.takes(&message) {
                self.left -= 1;
                return Ok(Some((message, line)));
            }
        }
        Ok(None)
    }
}

enum Stopped {
    By(Signal),
    Failed(Error),
}

impl std::convert::From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Failed(error)
    }
}

async fn follow(stream: &mut Stream, context: &Context) -> Result<Report> {
    let mut shown = 0_u64;
    let done = |exit| Ok(Report::already_written("events/tail", exit));
    loop {
        match stream.next(context).await {
            Ok(Some((message, line))) => {
                shown += 1;
                context.print(&match context.format {
                    Format::Json | Format::Yaml => format!("{}\n", String::from_utf8_lossy(&line)),
                    Format::Name => format!("{}\n", message.envelope.id),
                    format => one_line(&message, format, context.width),
                })?;
                if context.stdout_is_closed() {
                    return done(exit::DONE);
                }
            }
            Ok(None) if stream.left == 0 => return done(exit::DONE),
            Ok(None) => return Err(Error::new(&codes::EVT002, "the platform ended the stream")),
            Err(Stopped::By(signal)) => {
                context.progress.say(format!("stopped after {shown} events; nothing was changed"));
                return done(signal.exit());
            }
            Err(Stopped::Failed(error)) => return Err(error),
        }
    }
}

async fn collect(stream: &mut Stream, topic: &str, context: &Context) -> Result<Report> {
    let mut messages = Vec::new();
    let mut names = Vec::new();
    let mut text = String::new();
    loop {
        match stream.next(context).await {
            Ok(Some((message, line))) => {
                text.push_str(&one_line(&message, context.format, context.width));
                names.push(message.envelope.id);
                messages.push(serde_json::from_slice::<Value>(&line).unwrap_or_default());
            }
            Ok(None) => break,
            Err(Stopped::By(signal)) => return Err(signal.error("nothing was changed")),
            Err(Stopped::Failed(error)) => return Err(error),
        }
    }
    if messages.is_empty() {
        text = format!("no events on {topic}");
    }
    Ok(Report::new("events/tail", json!({"topic": topic, "messages": messages}))
        .with_text(text)
        .with_names(names))
}

fn one_line(message: &Message, format: Format, width: Option<usize>) -> String {
    let envelope = &message.envelope;
    let place = format!("{}/{}", message.partition, message.offset);
    let head = match format {
        Format::Wide => {
            format!("{} {place} {} {} {}", envelope.time, envelope.id, envelope.kind, envelope.subject)
        }
        _ => format!("{} {place} {} {}", envelope.time, envelope.kind, envelope.subject),
    };
    let room = match (format, width) {
        (Format::Table, Some(width)) => width.saturating_sub(head.chars().count() + 2).max(20),
        _ => usize::MAX,
    };
    let line = match &message.unreadable {
        Some(payload) => format!("{place} unreadable: {}", compact(&payload.as_str().into(), room)),
        None => format!("{head} {}", compact(&envelope.data, room)),
    };
    format!("{}\n", line.replace(|c: char| c.is_control(), "\u{fffd}"))
}

async fn unknown_topic(topic: &str, context: &Context) -> Error {
    let error = Error::new(&codes::EVT001, format!("there is no topic {topic:?}"));
    let topics = list_topics(context).await.unwrap_or_default();
    let names = || topics.iter().map(|topic| topic.name.as_str());
    let whole = names().find(|name| name.strip_suffix(topic).is_some_and(|rest| rest.ends_with('.')));
    match whole.or_else(|| nearest(topic, names())) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint("rtcctl events topics lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_is_a_word_a_time_or_a_while_ago() {
        let now: Timestamp = "2026-03-01T09:10:00Z".parse().unwrap();
        let query = |text: &str| From::parse(text).unwrap().query(now);
        assert_eq!(query("earliest"), "earliest");
        assert_eq!(query("10m"), "2026-03-01T09:00:00.000Z");
        assert_eq!(query("2026-03-01T18:00:00+09:00"), "2026-03-01T09:00:00.000Z");
        assert!(From::parse("yesterday").is_err());
    }

    fn message(kind: &str, key: &str) -> Message {
        serde_json::from_value(json!({"envelope": {"type": kind, "subject": key, "data": {}}})).unwrap()
    }

    #[test]
    fn a_type_is_matched_whole_or_by_one_of_its_words() {
        let placed = message("rtc.orders.order_placed.v1", "ord_1");
        let takes = |kind: &str| Filter { kind: Some(kind.to_owned()), key: None }.takes(&placed);
        assert!(takes("order_placed") && takes("rtc.orders.order_placed.v1") && takes("orders"));
        assert!(!takes("order") && !takes("placed"));
        assert!(!Filter { kind: None, key: Some("ord_2".to_owned()) }.takes(&placed));
    }

    #[test]
    fn a_line_never_outgrows_a_terminal_that_is_wide_enough_for_its_head() {
        let mut long = message("rtc.orders.order_placed.v1", "ord_1");
        long.envelope.data = json!({"note": "가".repeat(500) + "\x1b[2J"});
        assert!(one_line(&long, Format::Table, Some(120)).chars().count() <= 121);
        assert!(!one_line(&long, Format::Wide, None).contains('\x1b'));
    }
}
