//! x
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::Report;
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Seed {
    Demo,
    None,
}
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    pub host: Option<String>,
    #[arg(long)]
    pub port: Option<u16>,
    #[arg(long)]
    pub admin_port: Option<u16>,
    #[arg(long)]
    pub seed: Option<Seed>,
}
pub async fn run(_: Args, _: &Context) -> Result<Report> {
    Err(Error::internal("x"))
}
