//! Jobs as code: what would have to change, and changing it.
//!
//! Invariants: a job that is not ours is never changed without being adopted, and never deleted; a folder that holds a
//! job of somebody else is not deleted; a job that somebody changed since it was looked at is left alone; what Jenkins
//! did not take over is told.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Difference, differences, is_redacted, overlay};
use super::described::{Description, Kind};
use super::write::{FOLDER, MULTIBRANCH, PIPELINE, is_marked, write};
use super::xml::Element;
use crate::{Client, Error, Job, JobKind, JobName, Result};

/// Whose jobs are ours, and what becomes of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// What marks the jobs of this repository in their descriptions.
    pub owner: String,
    pub adopting: Adopting,
}

/// What becomes of a job of that name that somebody else made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopting {
    Refused,
    Allowed,
}

/// What would be done with one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create,
    Update,
    Delete,
    Nothing,
    /// It would have to be changed, and must not be.
    Refused(Refusal),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It does not bear our mark.
    NotOurs,
    /// What a job is cannot be changed: `has` is the element that Jenkins keeps it in.
    OtherKind { has: String },
    /// Neither is there nor described.
    NoFolder { folder: JobName },
    /// Jenkins hides secrets of it from us, which would be lost.
    Redacted,
    /// A folder that holds jobs of others.
    Holds { others: Vec<JobName> },
}

/// One job and what would be done with it.
#[derive(Debug, Clone)]
pub struct Planned {
    pub name: JobName,
    /// The file that describes it; none for what would be deleted.
    pub file: Option<String>,
    pub kind: JobKind,
    pub change: Change,
    pub differences: Vec<Difference>,
    was: Option<String>,
    wanted: Option<Element>,
}

impl Sync {
    /// Looks at every described job. Folders come before what is in them.
    pub async fn plan(&self, client: &Client, described: &[(String, Description)]) -> Result<Vec<Planned>> {
        let mut jobs: BTreeMap<JobName, (&str, &Description)> = BTreeMap::new();
        for (file, description) in described {
            let name = description.job()?;
            if let Some((other, _)) = jobs.insert(name, (file, description)) {
                let reason = format!("{} is described by {other} too", description.name);
                return Err(Error::Described { file: file.clone(), reason });
            }
        }
        let mut order: Vec<_> = jobs.iter().collect();
        order.sort_by_key(|(name, _)| name.depth());
        let mut planned = Vec::with_capacity(order.len());
        for (name, (file, description)) in order {
            let mut one = self.look(client, name, file, description).await?;
            if one.change == Change::Create
                && let Some(folder) = name.folder()
            {
                let is_described = jobs.get(&folder).is_some_and(|(_, parent)| parent.kind == Kind::Folder);
                if !is_described && client.definition(&folder).await?.is_none() {
                    one.change = Change::Refused(Refusal::NoFolder { folder });
                }
            }
            planned.push(one);
        }
        Ok(planned)
    }

    async fn look(
        &self,
        client: &Client,
        name: &JobName,
        file: &str,
        description: &Description,
    ) -> Result<Planned> {
        let wanted = write(description, &self.owner);
        let was = client.definition(name).await?;
        let mut planned = Planned {
            name: name.clone(),
            file: Some(file.to_owned()),
            kind: match description.kind {
                Kind::Folder => JobKind::Folder,
                Kind::Pipeline => JobKind::Pipeline,
                Kind::Multibranch => JobKind::Multibranch,
            },
            change: Change::Create,
            differences: Vec::new(),
            was: None,
            wanted: None,
        };
        if let Some(was) = was {
            let actual = read(name, &was)?;
            planned.differences = differences(&actual, &wanted);
            let is_ours = is_marked(actual.text_of("description").unwrap_or_default(), &self.owner);
            planned.change = if actual.name != wanted.name {
                Change::Refused(Refusal::OtherKind { has: kind_of(&actual) })
            } else if !is_ours && self.adopting == Adopting::Refused {
                Change::Refused(Refusal::NotOurs)
            } else if planned.differences.is_empty() {
                Change::Nothing
            } else if is_redacted(&actual) {
                Change::Refused(Refusal::Redacted)
            } else {
                Change::Update
            };
            planned.was = Some(was);
        }
        planned.wanted = Some(wanted);
        Ok(planned)
    }

    /// What is ours in Jenkins and is described no more, the deepest first.
    pub async fn strays(&self, client: &Client, described: &[(String, Description)]) -> Result<Vec<Planned>> {
        let wanted: BTreeSet<JobName> =
            described.iter().map(|(_, description)| description.job()).collect::<Result<_>>()?;
        let all = everything(client).await?;
        let is_ours = |job: &Job| job.description.as_deref().is_some_and(|text| is_marked(text, &self.owner));
        let is_stray = |job: &Job| is_ours(job) && !wanted.contains(&job.name);
        let mut strays = Vec::new();
        for job in all.iter().filter(|job| is_stray(job)) {
            let is_within = |other: &Job| within(&other.name, &job.name);
            let others: Vec<JobName> = all
                .iter()
                .filter(|other| is_within(other) && !is_stray(other))
                .map(|other| other.name.clone())
                .collect();
            strays.push(Planned {
                name: job.name.clone(),
                file: None,
                kind: job.kind,
                change: match others.is_empty() {
                    true => Change::Delete,
                    false => Change::Refused(Refusal::Holds { others }),
                },
                differences: Vec::new(),
                was: None,
                wanted: None,
            });
        }
        strays.sort_by_key(|stray| std::cmp::Reverse(stray.name.depth()));
        Ok(strays)
    }

    /// Does what was planned for one job, and looks whether it is so.
    pub async fn apply(&self, client: &Client, planned: &Planned) -> Result<()> {
        let name = &planned.name;
        match (&planned.change, &planned.wanted) {
            (Change::Create, Some(wanted)) => client.create(name, &wanted.print()).await?,
            (Change::Update, Some(wanted)) => {
                let is = client.definition(name).await?;
                if is != planned.was {
                    return Err(Error::ChangedMeanwhile { job: name.to_string() });
                }
                let mut becomes = read(name, is.as_deref().unwrap_or_default())?;
                overlay(&mut becomes, wanted);
                client.update(name, &becomes.print()).await?;
            }
            (Change::Delete, _) => return client.delete(name).await,
            _ => return Ok(()),
        }
        let taken = client.definition(name).await?.map(|xml| read(name, &xml)).transpose()?;
        let (Some(taken), Some(wanted)) = (taken, &planned.wanted) else {
            return Err(Error::NotTaken { job: name.to_string(), at: "all of it".to_owned() });
        };
        match differences(&taken, wanted).first() {
            None => Ok(()),
            Some(lost) => Err(Error::NotTaken { job: name.to_string(), at: lost.at.clone() }),
        }
    }
}

/// Every job of a Jenkins, but not the branches of multibranches, which are nobody's.
async fn everything(client: &Client) -> Result<Vec<Job>> {
    let mut all = client.jobs(None).await?;
    let mut next = 0;
    while let Some(job) = all.get(next) {
        next += 1;
        if job.kind == JobKind::Folder {
            let inside = client.jobs(Some(&job.name.clone())).await?;
            all.extend(inside);
        }
    }
    Ok(all)
}

fn within(name: &JobName, folder: &JobName) -> bool {
    std::iter::successors(name.folder(), JobName::folder).any(|above| above == *folder)
}

fn read(name: &JobName, xml: &str) -> Result<Element> {
    Element::parse(xml).map_err(|reason| Error::Unreadable { url: format!("config.xml of {name}"), reason })
}

fn kind_of(actual: &Element) -> String {
    match actual.name.as_str() {
        FOLDER => "folder".to_owned(),
        PIPELINE => "pipeline".to_owned(),
        MULTIBRANCH => "multibranch".to_owned(),
        _ => actual.short_name().to_owned(),
    }
}
