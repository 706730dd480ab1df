//! What a job is called, and where it is.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{Error, Result};

/// A job's full name as Jenkins shows it: folders and job with slashes between them. A slash within a branch's name
/// is written `%2F`, as Jenkins itself writes it (`shop/feature%2Fcart`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobName(Vec<String>);

impl JobName {
    /// The path below the root: `/job/shop/job/feature%252Fcart`. Every part is encoded by itself, so that the slash of
    /// a branch, encoded in its name already, is encoded twice.
    pub fn path(&self) -> String {
        self.0.iter().map(|part| format!("/job/{}", encode(part))).collect()
    }

    /// The folder that it is in; `None` at the root.
    pub fn folder(&self) -> Option<Self> {
        let (_, folder) = self.0.split_last()?;
        (!folder.is_empty()).then(|| Self(folder.to_vec()))
    }

    /// Its own name, without folders.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The branch of a multibranch, as people name it: its slashes are no folders.
    #[must_use]
    pub fn branch(&self, name: &str) -> Self {
        self.with(&encode(name))
    }

    /// How many folders it is deep; a job at the root is none.
    pub fn depth(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// A job in this folder.
    #[must_use]
    pub fn with(&self, name: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(name.to_owned());
        Self(parts)
    }
}

/// What an address of Jenkins leads to. Its host is not looked at: behind a proxy Jenkins names itself wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An item of the queue.
    Item(u64),
    Build(JobName, u64),
    Job(JobName),
}

impl FromStr for Place {
    type Err = Error;

    /// Reads `…/queue/item/17/`, `…/job/A/job/B/17/console`, `…/job/A/job/B/`, or the number of an item alone.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(item) = item_of(text).or_else(|| text.parse().ok()) {
            return Ok(Place::Item(item));
        }
        let job: JobName = text.parse()?;
        let after = text.split_once(&job.path()).map_or("", |(_, rest)| rest);
        let number = after.trim_start_matches('/').split(['/', '?', '#']).next().and_then(|n| n.parse().ok());
        Ok(match number {
            Some(number) => Place::Build(job, number),
            None => Place::Job(job),
        })
    }
}

/// The number in `…/queue/item/17/`, whatever stands before it.
pub(crate) fn item_of(location: &str) -> Option<u64> {
    let (_, rest) = location.split_once("queue/item/")?;
    rest.split(['/', '?', '#']).next()?.parse().ok()
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

impl FromStr for JobName {
    type Err = Error;

    /// Reads a full name, or the address of a job, also of one of its builds.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &'static str| Error::Name { text: text.to_owned(), reason };
        let parts: Vec<String> = match text.split_once("://") {
            Some((_, rest)) => {
                let mut segments = rest.split('/').skip_while(|segment| *segment != "job");
                let mut parts = Vec::new();
                while segments.next() == Some("job") {
                    let part = segments.next().filter(|part| !part.is_empty());
                    parts.push(decode(part.ok_or_else(|| wrong("the address ends after /job/"))?));
                }
                parts
            }
            None => text.trim_matches('/').split('/').map(str::to_owned).collect(),
        };
        match parts.as_slice() {
            [] => Err(wrong("the address has no /job/ in it")),
            parts if parts.iter().any(|part| part.trim().is_empty()) => Err(wrong("a part of it is empty")),
            parts if parts.iter().any(|part| part == "." || part == "..") => {
                Err(wrong("a part of it is dots"))
            }
            _ => Ok(Self(parts)),
        }
    }
}

/// Everything but letters, digits and `-._~`, RFC 3986's unreserved characters.
const WRITTEN_IN_PERCENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, WRITTEN_IN_PERCENT).to_string()
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_encoded_one_by_one_and_a_branch_twice() {
        for (name, path) in [
            ("shop", "/job/shop"),
            ("team a/shop", "/job/team%20a/job/shop"),
            ("shop/feature%2Fcart", "/job/shop/job/feature%252Fcart"),
            ("shop/äpfel", "/job/shop/job/%C3%A4pfel"),
        ] {
            let parsed: JobName = name.parse().unwrap();
            assert_eq!((parsed.path().as_str(), parsed.to_string().as_str()), (path, name));
        }
    }

    #[test]
    fn the_address_of_a_job_or_of_its_build_names_it() {
        for address in [
            "https://ci.example/jenkins/job/shop/job/feature%252Fcart/",
            "https://ci.example/job/shop/job/feature%252Fcart/17/console",
        ] {
            let parsed: JobName = address.parse().unwrap();
            assert_eq!(parsed.to_string(), "shop/feature%2Fcart");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "/", "a//b", "a/../b", "https://ci.example/view/all", "https://ci.example/job/"] {
            assert!(text.parse::<JobName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_leads_to_an_item_a_build_or_a_job() {
        let branch: JobName = "shop/feature%2Fcart".parse().unwrap();
        for (text, place) in [
            ("https://wrong.invalid:8443/jenkins/queue/item/17/", Place::Item(17)),
            ("/queue/item/17/api/json?x", Place::Item(17)),
            ("17", Place::Item(17)),
            ("https://ci/job/shop/job/feature%252Fcart/9/console", Place::Build(branch.clone(), 9)),
            ("https://ci/job/shop/job/feature%252Fcart/", Place::Job(branch.clone())),
            ("https://ci/job/shop/job/feature%252Fcart/lastBuild/", Place::Job(branch)),
        ] {
            assert_eq!(text.parse::<Place>().unwrap(), place, "{text}");
        }
        assert!("https://ci/view/all".parse::<Place>().is_err());
    }

    #[test]
    fn of_a_location_only_the_number_is_believed() {
        for location in [
            "http://wrong:8080/jenkins/queue/item/17/",
            "/queue/item/17/",
            "queue/item/17",
            "../queue/item/17/",
        ] {
            assert_eq!(item_of(location), Some(17), "{location}");
        }
        assert_eq!(item_of("http://ci/job/shop/"), None);
    }

    #[test]
    fn a_job_knows_its_folder() {
        let name: JobName = "a/b/c".parse().unwrap();
        assert_eq!(name.folder().unwrap().to_string(), "a/b");
        assert_eq!(name.folder().unwrap().with("c"), name);
        assert_eq!("a".parse::<JobName>().unwrap().folder(), None);
    }
}
