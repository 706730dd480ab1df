//! Which source an image is built from.

use std::path::Path;
use std::process::Command;

use codes::{Error, Result};

use crate::output::{Finding, Severity};

/// A commit, and whether files differ from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Forty hexadecimal digits.
    pub commit: String,
    /// When it was committed, in seconds: what an image is dated by, so that the same source gives the same image.
    pub committed_at_s: i64,
    pub is_dirty: bool,
}

impl Revision {
    /// The tag of an image that nobody named: twelve digits, and whether they tell the whole truth.
    pub fn tag(&self) -> String {
        let short = self.commit.get(..12).unwrap_or(&self.commit);
        match self.is_dirty {
            true => format!("{short}-dirty"),
            false => short.to_owned(),
        }
    }

    /// As the annotation has it.
    pub fn text(&self) -> String {
        match self.is_dirty {
            true => format!("{}-dirty", self.commit),
            false => self.commit.clone(),
        }
    }

    pub fn finding(&self) -> Option<Finding> {
        self.is_dirty.then(|| {
            Finding::new(
                &codes::IMG031,
                Severity::Warning,
                format!("files differ from the commit {}", &self.tag()),
            )
        })
    }
}

/// What git says of a folder; `None` where it is no checkout, or there is no git.
pub fn of(folder: &Path) -> Result<Option<Revision>> {
    let Some(mut revision) = named(folder, "HEAD")? else { return Ok(None) };
    // What is not tracked is not built from either, or is made by the build. Where git cannot tell, it is not clean.
    let changed = git(folder, &["status", "--porcelain", "--untracked-files=no"]);
    revision.is_dirty = changed.is_none_or(|changed| !changed.trim().is_empty());
    Ok(Some(revision))
}

/// A commit that somebody names, as it was committed.
pub fn named(folder: &Path, commit: &str) -> Result<Option<Revision>> {
    let Some(said) = git(folder, &["log", "-1", "--format=%H %ct", commit, "--"]) else { return Ok(None) };
    let found = said.trim().split_once(' ').and_then(|(commit, at)| Some((commit, at.parse().ok()?)));
    let Some((commit, committed_at_s)) = found else {
        return Err(Error::internal(format!("git says {said:?} of its last commit")));
    };
    Ok(Some(Revision { commit: commit.to_owned(), committed_at_s, is_dirty: false }))
}

fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(words).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let run = |words: &[&str]| {
            let done = Command::new("git")
                .arg("-C")
                .arg(folder.path())
                .args(["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"])
                .args(words)
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        std::fs::write(folder.path().join("a"), "1").unwrap();
        run(&["init", "-q"]);
        run(&["add", "a"]);
        run(&["commit", "-q", "-m", "first"]);
        folder
    }

    #[test]
    fn a_checkout_says_its_commit_and_whether_files_differ() {
        let folder = checkout();
        let clean = of(folder.path()).unwrap().unwrap();
        assert_eq!((clean.commit.len(), clean.is_dirty, clean.tag().len()), (40, false, 12));
        assert!(clean.committed_at_s > 1_600_000_000);
        std::fs::write(folder.path().join("new"), "is not tracked").unwrap();
        assert_eq!(of(folder.path()).unwrap().unwrap(), clean);
        std::fs::write(folder.path().join("a"), "2").unwrap();
        assert_eq!(named(folder.path(), &clean.commit).unwrap().unwrap(), clean);
        assert_eq!(named(folder.path(), "nothing").unwrap(), None);
        let dirty = of(folder.path()).unwrap().unwrap();
        assert!(dirty.is_dirty && dirty.tag().ends_with("-dirty") && dirty.finding().is_some());
    }

    #[test]
    fn a_folder_that_is_no_checkout_has_no_revision() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of(folder.path()).unwrap(), None);
    }
}
