//! What a job is made of: its `config.xml`, read and written whole.

mod described;
#[cfg(test)]
#[path = "definition/tests.rs"]
mod descriptions;

pub use described::{DefaultValue, Described, DescribedKind, Description, Filled, Keep, Kind, Triggers};

use crate::client::{Body, body};
use crate::name::encode;
use crate::{Client, Error, JobName, Result};

/// A job as code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    pub name: JobName,
    /// `config.xml`.
    pub xml: String,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    Created,
    Updated,
    /// It says so already.
    Unchanged,
}

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

    /// Makes a job so, where it is not.
    pub async fn define(&self, wanted: &Definition) -> Result<Defined> {
        let what = format!("job {}", wanted.name);
        match self.definition(&wanted.name).await? {
            Some(is) if same(&is, &wanted.xml) => Ok(Defined::Unchanged),
            Some(_) => {
                let path = format!("{}/config.xml", wanted.name.path());
                self.post(&path, Body::Xml(wanted.xml.clone()), &what).await?;
                Ok(Defined::Updated)
            }
            None => {
                let folder = wanted.name.folder();
                let at = folder.as_ref().map(JobName::path).unwrap_or_default();
                let path = format!("{at}/createItem?name={}", encode(wanted.name.last()));
                let what = folder.map_or(what, |folder| format!("folder {folder}"));
                self.post(&path, Body::Xml(wanted.xml.clone()), &what).await?;
                Ok(Defined::Created)
            }
        }
    }
}

/// Whether two definitions say the same: Jenkins writes them anew, with its own white space, declaration and the
/// versions of plug-ins.
pub fn same(one: &str, other: &str) -> bool {
    plain(one) == plain(other)
}

fn plain(xml: &str) -> String {
    let mut text = xml.trim();
    if text.starts_with("<?xml") {
        text = text.split_once("?>").map_or(text, |(_, rest)| rest);
    }
    let mut plain = String::with_capacity(text.len());
    for piece in text.split_inclusive('>') {
        let (before, tag) = piece.rfind('<').map_or((piece, ""), |at| piece.split_at(at));
        plain.push_str(before.trim());
        plain.push_str(&without_plugin(tag));
    }
    plain
}

/// The attribute with which Jenkins notes the plug-in that wrote an element.
fn without_plugin(tag: &str) -> String {
    match tag.split_once(" plugin=\"") {
        Some((start, rest)) => format!("{start}{}", rest.split_once('"').map_or("", |(_, rest)| rest)),
        None => tag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_declaration_and_versions_of_plug_ins_say_nothing() {
        let ours = "<flow-definition>\n  <description>a  b</description>\n  <keep/>\n</flow-definition>";
        let theirs = "<?xml version='1.1' encoding='UTF-8'?>\n<flow-definition plugin=\"workflow-job@2.42\">\n\
                      <description>a  b</description><keep/></flow-definition>\n";
        assert!(same(ours, theirs));
        assert!(!same(ours, &theirs.replace("a  b", "a b")));
        assert!(!same(ours, &theirs.replace("<keep/>", "")));
    }
}
