//! Where an image is: `registry/repository:tag@digest`, written in full.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, Error, Result};

const DOCKER: &str = "docker.io";
const REPOSITORY_CHARACTERS_MAX: usize = 255;
const TAG_CHARACTERS_MAX: usize = 128;

/// An image in a registry. Names without a registry are Docker Hub's, as everywhere: `nginx` is
/// `docker.io/library/nginx`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// An image by the parts of its name.
    ///
    /// # Errors
    /// [`Error::Reference`]: one of them is not well formed.
    pub fn new(registry: &str, repository: &str) -> Result<Self> {
        check_registry(registry, registry)?;
        let repository = match registry {
            DOCKER if !repository.contains('/') => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        check_repository(&repository, &repository)?;
        Ok(Self { registry: registry.to_ascii_lowercase(), repository, tag: None, digest: None })
    }

    /// Host and port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a registry is asked for: the digest, else the tag, else `latest`.
    pub fn wanted(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// # Errors
    /// [`Error::Reference`]: it is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        check_tag(tag, tag)?;
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same image by digest alone, which no later push changes.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(wrong(text, "it is empty"));
        }
        if text.contains("://") {
            return Err(wrong(text, "it begins with a scheme, which names of images do not have"));
        }
        if text.contains(char::is_whitespace) {
            return Err(wrong(text, "it has white space in it"));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let parsed = digest.parse().map_err(|error: Error| wrong(text, &error.to_string()))?;
                (rest, Some(parsed))
            }
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(text, tag)?;
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, rest)) if is_host(host) => (host, rest.to_owned()),
            _ => (DOCKER, name.to_owned()),
        };
        let (registry, repository) = match registry {
            DOCKER | "index.docker.io" | "registry-1.docker.io" if !repository.contains('/') => {
                (DOCKER, format!("library/{repository}"))
            }
            "index.docker.io" | "registry-1.docker.io" => (DOCKER, repository),
            other => (other, repository),
        };
        check_registry(text, registry)?;
        check_repository(text, &repository)?;
        Ok(Self { registry: registry.to_ascii_lowercase(), repository, tag: tag.map(str::to_owned), digest })
    }
}

fn wrong(text: &str, reason: &str) -> Error {
    Error::Reference { text: text.to_owned(), reason: reason.to_owned() }
}

/// The first part of a name is a host if it could be nothing else, or is this machine.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn check_registry(text: &str, registry: &str) -> Result<()> {
    let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(wrong(text, &format!("{address:?} is no IPv6 address")));
            }
            ("v6", port.strip_prefix(':'))
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    if let Some(port) = port
        && port.parse::<u16>().is_err()
    {
        return Err(wrong(text, &format!("{port:?} is no port")));
    }
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match host.split('.').all(label) {
        true => Ok(()),
        false => Err(wrong(text, &format!("{host:?} is no host name"))),
    }
}

/// Parts of lower-case letters and digits, joined within by one dot, one or two underscores, or dashes.
pub(crate) fn check_repository(text: &str, repository: &str) -> Result<()> {
    if repository.is_empty() {
        return Err(wrong(text, "it names no repository"));
    }
    if repository.len() > REPOSITORY_CHARACTERS_MAX {
        return Err(wrong(
            text,
            &format!("its repository is longer than {REPOSITORY_CHARACTERS_MAX} characters"),
        ));
    }
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(wrong(text, "its repository has capitals, which registries do not take"));
    }
    for part in repository.split('/') {
        if part.is_empty() {
            return Err(wrong(text, "its repository has an empty part"));
        }
        if let Some(strange) = part.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
            return Err(wrong(text, &format!("its repository has {strange:?} in it")));
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric();
        let joined = part.as_bytes().split(|&byte| is_word(byte)).filter(|run| !run.is_empty());
        let runs_well =
            |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&byte| byte == b'-');
        if !part.bytes().next().is_some_and(is_word)
            || !part.bytes().last().is_some_and(is_word)
            || !joined.into_iter().all(runs_well)
        {
            return Err(wrong(
                text,
                &format!("{part:?} must begin and end with a letter or digit and be joined by . _ __ or -"),
            ));
        }
    }
    Ok(())
}

/// What a document may be asked for by: a digest or a tag, and nothing that means something else in an address.
pub(crate) fn check_wanted(text: &str) -> Result<()> {
    match text.contains(':') {
        true => text.parse::<Digest>().map(drop).map_err(|error| wrong(text, &error.to_string())),
        false => check_tag(text, text),
    }
}

pub(crate) fn check_tag(text: &str, tag: &str) -> Result<()> {
    if tag.is_empty() {
        return Err(wrong(text, "its tag is empty"));
    }
    if tag.len() > TAG_CHARACTERS_MAX {
        return Err(wrong(text, &format!("its tag is longer than {TAG_CHARACTERS_MAX} characters")));
    }
    if tag.starts_with(['.', '-']) {
        return Err(wrong(text, "its tag begins with neither a letter, a digit nor an underscore"));
    }
    match tag.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        Some(strange) => Err(wrong(text, &format!("its tag has {strange:?} in it"))),
        None => Ok(()),
    }
}
