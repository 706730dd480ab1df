//! x
use crate::cli::Stopping;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::Report;
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Topics,
}
impl Command {
    pub fn stopping(&self) -> Stopping {
        Stopping::Dropped
    }
}
pub async fn run(_: Command, _: &Context) -> Result<Report> {
    Err(Error::internal("x"))
}
