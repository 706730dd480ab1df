//! What a job is made of: described by a file, written as `config.xml`, compared by meaning.

mod compare;
mod described;
mod sync;
#[cfg(test)]
#[path = "definition/tests.rs"]
mod tests;
mod write;
mod xml;

pub use compare::Difference;
pub(crate) use described::REQUIRED;
pub use described::{DefaultValue, Described, DescribedKind, Description, Filled, Keep, Kind, Triggers};
pub use sync::{Adopting, Change, Planned, Refusal, Sync};
#[cfg(feature = "testing")]
pub(crate) use xml::Element;

use crate::client::{Body, body};
use crate::name::encode;
use crate::{Client, Error, JobName, Result};

impl Client {
    /// The definition that a job has; `None` where there is no such job.
    pub async fn definition(&self, name: &JobName) -> Result<Option<String>> {
        let what = format!("job {name}");
        let answer = self.fetch(&format!("{}/config.xml", name.path()), &what, "application/xml").await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let url = answer.url().clone();
        let text = body(answer, &url).await?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    async fn create(&self, name: &JobName, xml: &str) -> Result<()> {
        let folder = name.folder();
        let at = folder.as_ref().map(JobName::path).unwrap_or_default();
        let path = format!("{at}/createItem?name={}", encode(name.last()));
        let what = folder.map_or_else(|| format!("job {name}"), |folder| format!("folder {folder}"));
        self.post(&path, Body::Xml(xml.to_owned()), &what).await.map(drop)
    }

    async fn update(&self, name: &JobName, xml: &str) -> Result<()> {
        let path = format!("{}/config.xml", name.path());
        self.post(&path, Body::Xml(xml.to_owned()), &format!("job {name}")).await.map(drop)
    }

    /// Deletes a job with all its builds, and a folder with all its jobs.
    async fn delete(&self, name: &JobName) -> Result<()> {
        let path = format!("{}/doDelete", name.path());
        self.post(&path, Body::Nothing, &format!("job {name}")).await.map(drop)
    }
}
