//! From a wish to build to the build that it became.

use reqwest::StatusCode;
use reqwest::header::LOCATION;
use serde::Deserialize;

use crate::client::Body;
use crate::name::item_of;
use crate::{Client, Error, Job, JobName, Result, check};

/// A wish to build that Jenkins has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// The number of the item in the queue.
    pub item: u64,
    /// The same wish was in the queue already, and this one joined it.
    pub joined: bool,
}

/// How far an item of the queue is (`hudson.model.Queue`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Within the quiet period.
    Waiting {
        why: String,
    },
    /// Something else must end first.
    Blocked {
        why: String,
    },
    /// Nothing but an executor is missing.
    Buildable {
        why: String,
    },
    /// It has become a build.
    Left {
        number: u64,
    },
    Cancelled,
    /// Items that have left are kept for five minutes; nobody knows this one any more.
    Gone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    #[serde(rename = "_class", default)]
    class: String,
    why: Option<String>,
    #[serde(default)]
    cancelled: bool,
    executable: Option<Executable>,
    task: Option<Task>,
}

#[derive(Deserialize)]
struct Task {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Executable {
    number: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Builds {
    #[serde(default)]
    builds: Vec<OfQueue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfQueue {
    number: u64,
    queue_id: Option<u64>,
}

impl Client {
    /// Looks at a job and asks for a build of it.
    pub async fn run(&self, name: &JobName, given: &[(String, String)]) -> Result<Queued> {
        self.ask(&self.job(name).await?, given).await
    }

    /// Asks for a build, without the quiet period. Parameters are compared with the job's own first.
    ///
    /// # Errors
    /// [`Error::Parameters`], [`Error::NotBuildable`], [`Error::Refused`]. After [`Error::Unreachable`] nobody knows
    /// whether the wish was heard.
    pub async fn ask(&self, job: &Job, given: &[(String, String)]) -> Result<Queued> {
        let name = &job.name;
        let problems = check(&job.parameters, given);
        if !problems.is_empty() {
            return Err(Error::Parameters { job: name.to_string(), problems });
        }
        if !job.is_buildable {
            return Err(Error::NotBuildable { job: name.to_string() });
        }
        let what = format!("job {name}");
        let with = format!("{}/buildWithParameters?delay=0sec", name.path());
        let without = format!("{}/build?delay=0sec", name.path());
        let answer = match job.parameters.is_empty() {
            true => self.post(&without, Body::Nothing, &what).await?,
            false => match self.post(&with, Body::Form(given), &what).await {
                // Somebody took the parameters away since we looked.
                Err(Error::Answer { status: 400, reason, .. })
                    if given.is_empty() && reason.contains("not parameterized") =>
                {
                    self.post(&without, Body::Nothing, &what).await?
                }
                answer => answer?,
            },
        };
        let item = answer.headers().get(LOCATION).and_then(|to| item_of(to.to_str().ok()?));
        match (answer.status(), item) {
            (StatusCode::CONFLICT, _) => Err(Error::NotBuildable { job: name.to_string() }),
            (StatusCode::CREATED, Some(item)) => Ok(Queued { item, joined: false }),
            (StatusCode::SEE_OTHER, Some(item)) => Ok(Queued { item, joined: true }),
            (StatusCode::FOUND, _) => Err(Error::Refused { job: name.to_string() }),
            (status, _) => Err(Error::Unreadable {
                url: self.address(&without),
                reason: format!("{status} without the item's place in the queue"),
            }),
        }
    }

    async fn told_of_item(&self, item: u64) -> Result<Option<Told>> {
        let path =
            format!("queue/item/{item}/api/json?tree=_class,why,cancelled,executable[number],task[url]");
        match self.get(&path, "item").await {
            Ok(told) => Ok(Some(told)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The job that an item is to build; `None` where nobody knows the item any more.
    pub async fn job_of_item(&self, item: u64) -> Result<Option<JobName>> {
        let told = self.told_of_item(item).await?;
        told.and_then(|told| told.task?.url).map(|url| url.parse()).transpose()
    }

    /// How far an item is.
    pub async fn item(&self, item: u64) -> Result<Item> {
        let Some(told) = self.told_of_item(item).await? else { return Ok(Item::Gone) };
        let why = told.why.unwrap_or_default();
        Ok(match (told.class.rsplit('$').next().unwrap_or_default(), told.executable) {
            (_, Some(Executable { number })) => Item::Left { number },
            _ if told.cancelled => Item::Cancelled,
            ("BlockedItem", None) => Item::Blocked { why },
            ("BuildableItem", None) => Item::Buildable { why },
            // It has left and its build is about to be known.
            (_, None) => Item::Waiting { why },
        })
    }

    /// The build that came of an item which nobody knows any more, among the job's last hundred.
    pub async fn build_of_item(&self, name: &JobName, item: u64) -> Result<Option<u64>> {
        let path = format!("{}/api/json?tree=builds[number,queueId]{{0,100}}", name.path());
        let told: Builds = self.get(&path, &format!("job {name}")).await?;
        Ok(told.builds.iter().find(|build| build.queue_id == Some(item)).map(|build| build.number))
    }

    /// Takes an item out of the queue.
    pub async fn cancel(&self, item: u64) -> Result<()> {
        match self.post(&format!("queue/cancelItem?id={item}"), Body::Nothing, "item").await {
            // Older ones answer so although it worked.
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
