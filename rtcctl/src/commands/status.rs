//! `rtcctl status`.

use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::Report;

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_: Args, _: &Context) -> Result<Report> {
    Err(Error::internal("status is not part of this build"))
}
