//! Planning and applying for whoever has more to do than that.
//!
//! Invariant: the plan that is carried out is the one whose judgement was asked for.

use std::time::Duration;

use codes::{Error, Result};
use oci::Digest;
use serde_json::Value;
use terraform::guard::{self, Judgement};

use super::apply::{self, Consent};
use super::earlier;
use super::planning::{self, Aim, Planned, Scope};
use super::screen;
use super::site::Site;
use crate::context::Context;
use crate::output::{Finding, Report, Table};

/// A plan with its judgement, ready to be carried out.
pub struct Plan<'a> {
    site: Site<'a>,
    planned: Planned,
    judged: Judgement,
    earlier: Vec<Finding>,
    scope: Scope,
}

/// One change of a plan.
pub struct Change<'a> {
    pub address: &'a str,
    pub action: &'static str,
    pub destroys: bool,
    pub reason: Option<&'a str>,
}

/// Plans what the configuration wants, and judges it; whoever is at work there is waited for as long as `patience` says.
pub async fn plan<'a>(
    context: &'a Context,
    allow_destroy: &[String],
    patience: Option<Duration>,
) -> Result<Plan<'a>> {
    let site = Site::open(context)?;
    let mut scope = Scope { lock_timeout: patience, ..Scope::default() };
    let earlier = earlier::account_for(&site, &mut scope.lock_timeout).await?;
    let planned = planning::plan(&site, Aim::Wanted, &scope).await?;
    let judged = guard::check(&planned.plan, allow_destroy);
    Ok(Plan { site, planned, judged, earlier, scope })
}

impl Plan<'_> {
    /// Of every difference that it would make.
    pub fn digest(&self) -> Digest {
        screen::digest(&self.planned.plan)
    }

    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.planned.plan.changes.iter().map(|change| Change {
            address: &change.address,
            action: change.action.word(),
            destroys: change.action.destroys(),
            reason: change.reason.as_deref(),
        })
    }

    pub fn outputs(&self) -> usize {
        self.planned.plan.outputs.len()
    }

    pub fn sentence(&self) -> String {
        screen::sentence(&self.planned.plan.counts(), self.outputs())
    }

    /// The plan under `-o json`.
    pub fn data(&self) -> Value {
        let mut data = screen::data(&self.site.env, &self.planned.plan);
        data["refused"] = self.judged.refused.iter().map(|refusal| refusal.address.clone()).collect();
        data
    }

    pub fn table(&self) -> Option<Table> {
        let changes = &self.planned.plan.changes;
        (!changes.is_empty()).then(|| screen::table(changes))
    }

    /// Why it is not let.
    pub fn refusal(&self) -> Option<Error> {
        (!self.judged.passes()).then(|| apply::refuse(&self.judged))
    }

    /// What the guard says, and what became of earlier runs.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.earlier.clone();
        findings.extend(apply::refusals(&self.judged));
        findings
    }

    /// Carries it out; whoever calls has asked the operator.
    pub async fn apply(self) -> Result<Report> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        apply::carry_out(&self.site, "infra apply", self.planned, &self.scope, Consent::Asked, self.earlier)
            .await
    }
}
