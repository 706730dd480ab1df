//! The live status of `rtcctl up` until Ctrl-C, which stops rtcd.

use std::time::Duration;

use codes::{Error, Result, exit};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::start::Started;
use crate::api::admin::Status;
use crate::api::{Call, Platform};
use crate::context::Context;
use crate::human;
use crate::output::Report;

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn watch(context: &Context, platform: &Platform, started: &mut Started) -> Result<Report> {
    let id = started.process.id();
    context.interrupts.cost_of_leaving(format!("rtcd (pid {id}) goes on draining by itself and then ends"));
    let task = context.progress.task("serve", "serving; Ctrl-C stops the platform");
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut view = View::default();
    loop {
        tokio::select! {
            signal = context.interrupts.wait() => {
                drop(task);
                started.stop(context).await?;
                let place = started.data.path().display();
                context.progress.say(format!("rtcd has drained and stopped; everything is kept in {place}"));
                return Ok(Report::already_written("up", signal.exit()));
            }
            status = started.child.wait() => {
                drop(task);
                return ended(context, started, status);
            }
            _ = ticks.tick() => {
                // A platform under load may be late with its status; the next look tells more.
                if let Ok(status) = platform.admin.json::<Status>(Call::get(&["admin", "status"])).await {
                    let seen = view.take(status, Instant::now());
                    if let Some(change) = seen.changed {
                        task.state(change);
                    }
                    task.show(seen.line);
                }
            }
        }
    }
}

fn ended(
    context: &Context,
    started: &Started,
    status: std::io::Result<std::process::ExitStatus>,
) -> Result<Report> {
    match status {
        Ok(status) if status.success() => {
            context.progress.say("rtcd was stopped by somebody else, cleanly");
            Ok(Report::already_written("up", exit::DONE))
        }
        Ok(status) => {
            Err(Error::new(&codes::RUN009, format!("rtcd ended while it was being watched: {status}"))
                .with_hint(format!("its log is {}", started.data.log().display()))
                .with_hint("rtcctl up starts it again; it recovers by itself"))
        }
        Err(error) => Err(Error::internal("cannot wait for rtcd").with_source(&error)),
    }
}

/// What was seen last, for rates and changes.
#[derive(Default)]
struct View {
    last: Option<(Status, Instant)>,
}

struct Seen {
    line: String,
    /// A change of state that deserves a line of its own.
    changed: Option<String>,
}

impl View {
    fn take(&mut self, status: Status, now: Instant) -> Seen {
        let (mut rate, mut changed) = (0.0, None);
        if let Some((last, at)) = &self.last {
            let seconds = now.duration_since(*at).as_secs_f64().max(0.001);
            rate = status.orders_total().saturating_sub(last.orders_total()) as f64 / seconds;
            changed = change(last, &status);
        }
        let line = describe(&status, rate);
        self.last = Some((status, now));
        Seen { line, changed }
    }
}

fn describe(status: &Status, rate: f64) -> String {
    let ready = status.services.iter().filter(|service| service.state == "ready").count();
    // A narrow terminal cuts the end off, so what changes most and matters most stands first.
    let mut line = format!(
        "serving: {ready}/{} services ready, {rate:.0} orders/s, outbox {}",
        status.services.len(),
        status.outbox_depth()
    );
    if status.dead_letters() > 0 {
        line.push_str(&format!(", {} dead letters", status.dead_letters()));
    }
    if status.resident_bytes > 0 {
        line.push_str(&format!(", {}", human::bytes(status.resident_bytes)));
    }
    match status.orders_total() {
        0 => line.push_str(", no orders yet"),
        total => {
            let states: Vec<String> =
                status.orders.by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
            line.push_str(&format!(", {total} orders: {}", states.join(", ")));
        }
    }
    line
}

fn change(before: &Status, after: &Status) -> Option<String> {
    let mut changes = Vec::new();
    for service in &after.services {
        let old = before.services.iter().find(|old| old.name == service.name);
        if old.is_none_or(|old| old.state != service.state) {
            changes.push(format!("{} is {}", service.name, service.state));
        }
        if old.is_some_and(|old| service.dead_letters > old.dead_letters) {
            changes.push(format!("{} has {} dead letters", service.name, service.dead_letters));
        }
    }
    (!changes.is_empty()).then(|| changes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(orders: u64, state: &str, dead: u64) -> Status {
        serde_json::from_value(json!({
            "services": [{"name": "orders", "state": state, "outbox_depth": 2, "dead_letters": dead}],
            "orders": {"by_state": {"confirmed": orders}},
            "resident_bytes": 45_000_000,
        }))
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn rates_come_from_two_looks_and_changes_get_a_line() {
        let mut view = View::default();
        let start = Instant::now();
        let first = view.take(status(10, "starting", 0), start);
        assert!(first.changed.is_none());
        let second = view.take(status(110, "ready", 1), start + Duration::from_secs(2));
        assert_eq!(
            second.line,
            "serving: 1/1 services ready, 50 orders/s, outbox 2, 1 dead letters, 45 MB, 110 orders: 110 confirmed"
        );
        assert_eq!(second.changed.as_deref(), Some("orders is ready, orders has 1 dead letters"));
        assert!(view.take(status(110, "ready", 1), start + Duration::from_secs(3)).changed.is_none());
    }
}
