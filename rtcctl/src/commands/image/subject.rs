//! What an operator calls an image.
//!
//! `oci:DIR[:TAG]` is a layout on disk; a name whose first part has a dot, a colon or is `localhost` is a reference in
//! full; the name of an image of `rtc.toml` is its repository in the environment's registry; any other name is a
//! repository there.

use std::path::PathBuf;

use aws::Place;
use codes::{Error, Result};
use ecr::Ecr;
use oci::Reference;
use settings::{ImageEntry, nearest};

use super::failed;
use crate::context::Context;

const LAYOUT: &str = "oci:";
/// What `registry` says for the account that we are signed in to.
const OWN: &str = "ecr";

/// An image that somebody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A layout on disk, and the tag in it.
    Layout {
        folder: PathBuf,
        tag: Option<String>,
    },
    Remote(Reference),
}

impl Subject {
    /// Reads a name. The account is asked for only where the environment's registry is ECR's own.
    pub async fn find(text: &str, context: &Context) -> Result<Self> {
        match layout(text, context) {
            Some(layout) => Ok(layout),
            None => Ok(Self::Remote(remote(text, context).await?)),
        }
    }
}

/// A layout on disk, where the text names one.
pub fn layout(text: &str, context: &Context) -> Option<Subject> {
    let text = text.strip_prefix(LAYOUT)?;
    // A folder may have a colon in its name; a tag has no slash.
    let (folder, tag) = match text.rsplit_once(':') {
        Some((folder, tag)) if !tag.contains('/') && !context.current_dir.join(text).is_dir() => {
            (folder, Some(tag))
        }
        _ => (text, None),
    };
    Some(Subject::Layout { folder: context.current_dir.join(folder), tag: tag.map(str::to_owned) })
}

/// A reference in full.
pub async fn remote(text: &str, context: &Context) -> Result<Reference> {
    if names_host(text) {
        return text.parse().map_err(failed::of_oci);
    }
    let end = text.find([':', '@']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let repository = match context.config.images.iter().find(|(known, _)| known == name) {
        Some((name, entry)) => repository(name, entry, context),
        None if name.contains('/') => name.to_owned(),
        None => return Err(unknown(name, context)),
    };
    // Before the network is asked, what can be seen to be wrong is said, of what was typed.
    format!("registry.invalid/{repository}{rest}").parse::<Reference>().map_err(|error| {
        failed::of_oci(match error {
            oci::Error::Reference { reason, .. } => oci::Error::Reference { text: text.to_owned(), reason },
            other => other,
        })
    })?;
    let host = registry(context).await?;
    format!("{host}/{repository}{rest}").parse().map_err(failed::of_oci)
}

/// The repository of an image of `rtc.toml`.
pub fn repository(name: &str, entry: &ImageEntry, context: &Context) -> String {
    match (entry.repository.name.as_str(), context.config.text("image_prefix")) {
        ("", Some(prefix)) => format!("{prefix}/{name}"),
        ("", None) => name.to_owned(),
        (said, _) => said.to_owned(),
    }
}

/// The image that is meant: the one that is named, or the only one there is.
pub fn described<'a>(name: Option<&str>, context: &'a Context) -> Result<(&'a str, &'a ImageEntry)> {
    let images = &context.config.images;
    let found = match (name, images.as_slice()) {
        (Some(name), _) => images.iter().find(|(known, _)| known == name),
        (None, [one]) => Some(one),
        (None, []) => return Err(Error::new(&codes::IMG001, "rtc.toml describes no image")),
        (None, _) => {
            let names: Vec<&str> = images.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::new(&codes::IMG001, format!("which image: {}?", names.join(", "))));
        }
    };
    match found {
        Some((name, entry)) => Ok((name, entry)),
        None => Err(unknown(name.unwrap_or_default(), context)),
    }
}

fn unknown(name: &str, context: &Context) -> Error {
    let names: Vec<&str> = context.config.images.iter().map(|(name, _)| name.as_str()).collect();
    let error = Error::new(&codes::IMG001, format!("rtc.toml describes no image {name:?}"));
    match nearest(name, names.iter().copied()) {
        Some(near) => error.with_hint(format!("did you mean {near}?")),
        None if names.is_empty() => error,
        None => error.with_hint(format!("described are: {}", names.join(", "))),
    }
}

/// The registry of the environment.
pub async fn registry(context: &Context) -> Result<String> {
    let said = context.config.text("registry").unwrap_or(OWN);
    if said != OWN {
        return Ok(said.trim_end_matches('/').to_owned());
    }
    let config = configure(&place(context), context).await.map_err(|error| {
        Error::new(&codes::IMG023, "the environment's registry is ECR, of no known region")
            .with_source(&error)
            .with_hint("name the whole reference, or set registry = \"HOST\" in rtc.toml")
    })?;
    // Whoever may push may ask for a token, and it says whose registry it opens.
    let token = Ecr::new(&config, None).token().await.map_err(failed::of_aws)?;
    Ok(token.host.to_string())
}

/// AWS as the variables of this process have it.
pub async fn configure(place: &Place, context: &Context) -> aws::Result<aws::SdkConfig> {
    aws::configure_from(place, profiles(context).as_deref()).await
}

/// The file of profiles that is named, if it is there.
pub fn profiles(context: &Context) -> Option<PathBuf> {
    context.config.variable("AWS_CONFIG_FILE").map(PathBuf::from).filter(|file| file.is_file())
}

/// Which AWS the environment is in.
pub fn place(context: &Context) -> Place {
    Place {
        region: context.config.text("region").map(str::to_owned),
        profile: context.config.text("aws_profile").map(str::to_owned),
    }
}

/// Whether a name begins with a host, as every tool of images decides it.
fn names_host(text: &str) -> bool {
    let Some((first, _)) = text.split_once('/') else { return false };
    first == "localhost" || first.contains(['.', ':'])
}
