//! The Jenkins of an environment, and what a name on the command line stands for.

use std::time::Duration;

use codes::{Error, Result};
use jenkins::{Client, Job, JobName, Login, Pace};
use settings::{PipelineEntry, nearest};

use super::failed;
use crate::context::Context;

/// For one request.
const REQUEST: Duration = Duration::from_secs(30);

/// A client for the environment's Jenkins. Nothing is asked yet.
pub fn client(context: &Context) -> Result<Client> {
    let config = &context.config;
    let Some(url) = config.text("jenkins") else {
        return Err(Error::new(&codes::PIP001, format!("the environment {} has no jenkins", config.env()))
            .with_hint(codes::PIP001.action));
    };
    let signs_in = url
        .split_once("://")
        .is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|authority| authority.contains('@')));
    let wrong = |message: &str| Error::new(&codes::PIP002, message).with_hint(codes::PIP002.action);
    if signs_in {
        return Err(wrong("the address of Jenkins signs in: a secret does not belong there"));
    }
    let login = match (config.text("jenkins_user"), config.secret("jenkins_token")?) {
        (Some(user), Some(token)) => Some(Login { user: user.to_owned(), token: token.reveal().to_owned() }),
        (None, None) => None,
        (Some(user), None) => return Err(wrong(&format!("the user {user} of Jenkins has no token"))),
        (None, Some(_)) => return Err(wrong("there is a token for Jenkins and no user")),
    };
    Client::new(url, login, REQUEST).map_err(failed::of)
}

/// How often it is asked, and how long it may be away.
pub fn pace(context: &Context) -> Pace {
    let of = |key, default| context.config.duration(key).unwrap_or(default);
    Pace {
        poll: of("jenkins_poll", Duration::from_secs(1)),
        patience: of("jenkins_patience", Duration::from_secs(300)),
    }
}

/// A job as it was named.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// The job: a short name of rtc.toml, its full name (folder/job), or its address
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The branch of a multibranch, as it is called in the repository
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
}

/// What a name stands for.
pub struct Found<'c> {
    pub job: JobName,
    pub entry: Option<&'c PipelineEntry>,
}

pub fn find<'c>(name: &str, branch: Option<&str>, context: &'c Context) -> Result<Found<'c>> {
    let entry = context.config.pipelines.get(name);
    let text = entry.map_or(name, |entry| entry.job.as_str());
    let job: JobName = text.parse().map_err(failed::of)?;
    let job = match branch {
        Some("") => return Err(Error::new(&codes::PIP015, "--branch names no branch")),
        Some(branch) => job.branch(branch),
        None => job,
    };
    Ok(Found { job, entry })
}

impl Named {
    pub fn find<'c>(&self, context: &'c Context) -> Result<Found<'c>> {
        find(&self.name, self.branch.as_deref(), context)
    }

    /// The same as the operator would type it again.
    pub fn words(&self) -> String {
        match &self.branch {
            Some(branch) => format!("{} --branch {branch}", self.name),
            None => self.name.clone(),
        }
    }
}

/// What is asked where nothing is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unprotected {
    /// A yes.
    Asked,
    Free,
}

/// The environment whose name has to be typed for a job: the one that `[pipelines.NAME]` says it is of, or the one that is
/// worked in. `None` where neither is protected.
pub fn protected<'c>(job: &JobName, context: &'c Context) -> Option<&'c str> {
    let config = &context.config;
    let name = job.to_string();
    let is_of = |entry: &&PipelineEntry| {
        let of = entry.job.parse::<JobName>().map(|of| of.to_string()).unwrap_or_default();
        // Branches of a job are below it.
        name.strip_prefix(&of).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let said = config.pipelines.values().filter(is_of).filter_map(|entry| entry.environment.as_deref());
    said.chain([config.env()]).find(|name| config.is_protected(name))
}

/// Asks before something is done to a job. `what` completes "this will …"; `typed` is the operator's --confirm.
pub fn confirm(
    job: &JobName,
    what: &str,
    typed: Option<&str>,
    otherwise: Unprotected,
    context: &Context,
) -> Result<()> {
    match (protected(job, context), otherwise) {
        (Some(name), _) => context.confirm_by_name(what, name, typed),
        (None, Unprotected::Asked) => context.confirm(what),
        (None, Unprotected::Free) => Ok(()),
    }
}

/// A job with its parameters; where there is none, one that may have been meant.
pub async fn job(client: &Client, name: &JobName, context: &Context) -> Result<Job> {
    match client.job(name).await {
        Err(jenkins::Error::NotFound { .. }) => Err(absent(client, name, context).await),
        job => job.map_err(failed::of),
    }
}

/// Whatever was not found: says whether it was the job.
pub async fn told(client: &Client, name: &JobName, error: jenkins::Error, context: &Context) -> Error {
    let is_absent = matches!(&error, jenkins::Error::NotFound { .. });
    match is_absent && matches!(client.job(name).await, Err(jenkins::Error::NotFound { .. })) {
        true => absent(client, name, context).await,
        false => failed::of(error),
    }
}

async fn absent(client: &Client, name: &JobName, context: &Context) -> Error {
    let error = Error::new(&codes::PIP005, format!("there is no job {name}"));
    let short = context.config.pipelines.keys().map(String::as_str);
    if let Some(near) = nearest(&name.to_string(), short) {
        return error.with_hint(format!("did you mean {near}?"));
    }
    // Whoever may not look beside it is told less.
    let beside = client.jobs(name.folder().as_ref()).await.unwrap_or_default();
    let beside: Vec<String> = beside.iter().map(|job| job.name.to_string()).collect();
    match nearest(&name.to_string(), beside.iter().map(String::as_str)) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None => error.with_hint(codes::PIP005.action),
    }
}
