//! Telling those whom `[notices.NAME]` names what a run came to.
//!
//! Invariants: telling fails nothing by itself, whoever calls it decides; no address is in what it answers.

use codes::{Error, Result};
use notices::{Delivery, Limits, Notice, Sent, Target};
use serde_json::json;
use settings::{NoticeEntry, nearest};

use crate::context::Context;
use crate::output::{Finding, Severity};

/// What became of a notice.
#[derive(Debug)]
pub struct Told {
    pub deliveries: Vec<Delivery>,
}

impl Told {
    /// Who was not reached, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.deliveries.iter().filter_map(|delivery| match &delivery.sent {
            Sent::Failed { reason } => Some((delivery.target.as_str(), reason.as_str())),
            Sent::Delivered | Sent::NotWanted => None,
        })
    }

    /// A warning for each receiver that was not reached: for a release, which goes on all the same.
    pub fn findings(&self) -> Vec<Finding> {
        self.failures()
            .map(|(name, reason)| {
                let message = format!("{name} was not told: {reason}");
                Finding::new(&codes::NTC001, Severity::Warning, message).with_hint(codes::NTC001.action)
            })
            .collect()
    }
}

type Receiver<'a> = (&'a str, &'a NoticeEntry);

/// Those who are told of an environment.
pub fn of_environment<'a>(environment: &str, context: &'a Context) -> Vec<Receiver<'a>> {
    let all = context.config.notices.iter();
    all.filter(|(_, entry)| entry.is_of(environment)).map(|(name, entry)| (name.as_str(), entry)).collect()
}

/// Those with these names.
pub fn by_name<'a>(names: &[String], context: &'a Context) -> Result<Vec<Receiver<'a>>> {
    let all = &context.config.notices;
    names
        .iter()
        .map(|wanted| {
            let found = all.iter().find(|(name, _)| name == wanted);
            found.map(|(name, entry)| (name.as_str(), entry)).ok_or_else(|| {
                let error = Error::new(&codes::NTC002, format!("there is no receiver {wanted:?}"));
                match nearest(wanted, all.iter().map(|(name, _)| name.as_str())) {
                    Some(near) => error.with_hint(format!("did you mean {near}?")),
                    None => error.with_hint(codes::NTC002.action),
                }
            })
        })
        .collect()
}

/// Tells everybody who is to know of it, each of the outcomes that it wants.
pub async fn tell(notice: &Notice, context: &Context) -> Told {
    tell_them(notice, &of_environment(&notice.environment, context), Wanted::AsDescribed, context).await
}

/// Which outcomes a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those of its `on`.
    AsDescribed,
    /// Whatever it is: somebody named the receiver.
    Any,
}

/// Tells these.
pub async fn tell_them(
    notice: &Notice,
    receivers: &[Receiver<'_>],
    wanted: Wanted,
    context: &Context,
) -> Told {
    let limits = Limits::default();
    let limits = Limits { deadline: context.timeout_or(limits.deadline), ..limits };
    let mut targets = Vec::new();
    let mut deliveries = Vec::new();
    for (name, entry) in receivers {
        let is_wanted = wanted == Wanted::Any || entry.on.is_empty() || entry.on.contains(&notice.outcome);
        // What is behind a reference is fetched for those alone that are told.
        let sent = match is_wanted.then(|| target(name, entry, context)) {
            None => Sent::NotWanted,
            Some(Err(error)) => Sent::Failed { reason: error.message().to_owned() },
            Some(Ok(target)) => {
                targets.push((deliveries.len(), target));
                Sent::NotWanted
            }
        };
        let (target, kind) = ((*name).to_owned(), entry.kind);
        deliveries.push(Delivery { target, kind, sent, attempts: 0, shortened: Vec::new() });
    }
    let (places, targets): (Vec<usize>, Vec<Target>) = targets.into_iter().unzip();
    for (place, delivery) in places.into_iter().zip(notices::send(notice, &targets, limits).await) {
        deliveries[place] = delivery;
    }
    for delivery in &deliveries {
        let fields = [("receiver", json!(delivery.target)), ("delivery", json!(delivery))];
        context.progress.event("notice", &fields);
    }
    Told { deliveries }
}

fn target(name: &str, entry: &NoticeEntry, context: &Context) -> Result<Target> {
    let url = context.config.referred(&entry.url, &entry.folder)?;
    let target = Target::new(name, entry.kind, url.reveal(), &[])
        .map_err(|error| Error::new(&codes::NTC001, error.to_string()))?;
    if entry.key.is_empty() {
        return Ok(target);
    }
    Ok(target.signed(context.config.referred(&entry.key, &entry.folder)?.reveal()))
}
