//! The way into the cluster.

use serde_json::Value;
use ship::{Collected, Deployed, Digest, Failure, How, Proved, RolledBack, Step};

use super::driver::{Driver, failure};
use crate::codes;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{Finding, Table};

type Came<T> = std::result::Result<T, Box<Failure>>;

/// What a rollout would change.
pub struct Seen {
    pub data: Value,
    pub sentence: String,
    pub table: Option<Table>,
    pub findings: Vec<Finding>,
}

fn undescribed(context: &Context) -> Error {
    Error::new(&codes::SHP012, format!("nothing says what is deployed in {}", context.config.env()))
        .with_hint("leave it out: --skip deploy,prove,gate")
}

pub async fn deploy(driver: &mut Driver<'_>, _reference: &str, _image: &Digest, _how: How) -> Came<Deployed> {
    Err(failure(Step::Deploy, &undescribed(driver.context)))
}

pub async fn running(context: &Context, _deployed: &Deployed) -> Result<Proved> {
    Err(undescribed(context))
}

pub async fn collect(driver: &mut Driver<'_>, _deployed: &Deployed) -> Came<Collected> {
    Err(failure(Step::Collect, &undescribed(driver.context)))
}

pub async fn roll_back(driver: &mut Driver<'_>, _deployed: &Deployed, _how: How) -> Came<RolledBack> {
    Err(failure(Step::RollBack, &undescribed(driver.context)))
}

pub async fn survey(context: &Context, _reference: &str) -> Result<Seen> {
    Err(undescribed(context))
}
