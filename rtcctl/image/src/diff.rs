//! Two images compared: their layers, the files that are left when layers are put on each other, their configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use oci::document::{self, Annotations};
use oci::{Descriptor, Digest, Document, Image, Layout, Manifest};

use crate::error::{Error, Result};
use crate::files::{self, Files, Item, Listing};

/// An image of one platform, in a layout.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    pub layout: &'a Layout,
    pub manifest: &'a Descriptor,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Those of the older image that the newer lacks, then those of the newer, the lowest first.
    pub layers: Vec<(Fate, Descriptor)>,
    /// Sorted by path.
    pub files: Vec<FileChange>,
    /// Sorted by what differs.
    pub configuration: Vec<Fact>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Added,
    Removed,
}

/// A file that is not the same in both; one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    pub path: String,
    pub before: Option<Item>,
    pub after: Option<Item>,
}

/// Something that the configuration or the annotations say, and that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// `user`, `env LOG_LEVEL`, `label team`, `port 8080/tcp`, `annotation …`.
    pub name: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.configuration.is_empty()
            && self.layers.iter().all(|(fate, _)| *fate == Fate::Kept)
    }

    /// How many bytes of layers somebody must pull who has the older image.
    pub fn added_bytes(&self) -> u64 {
        self.layers.iter().filter(|(fate, _)| *fate == Fate::Added).map(|(_, layer)| layer.size).sum()
    }
}

/// Errors: [`Error::Layer`], [`Error::Layout`]; [`Error::NoImage`] if one of the two is an index.
pub fn diff(before: Side<'_>, after: Side<'_>) -> Result<Difference> {
    let (old, old_image) = read(before)?;
    let (new, new_image) = read(after)?;
    let mut listings = BTreeMap::new();
    let old_files = files(before.layout, &old, &mut listings)?;
    let new_files = files(after.layout, &new, &mut listings)?;
    Ok(Difference {
        layers: layers(&old, &new),
        files: changes(&old_files, &new_files),
        configuration: compared(
            &facts(&old_image, old.annotations.as_ref()),
            &facts(&new_image, new.annotations.as_ref()),
        ),
    })
}

fn read(side: Side<'_>) -> Result<(Manifest, Image)> {
    let Document::Manifest(manifest) = side.layout.document(side.manifest)? else {
        return Err(Error::NoImage { digest: side.manifest.digest.to_string() });
    };
    let config = side.layout.read_blob(&manifest.config)?;
    let image = document::read(&format!("configuration {}", manifest.config.digest), &config)?;
    Ok((manifest, image))
}

/// A layer that both have is read once.
fn files(layout: &Layout, manifest: &Manifest, known: &mut BTreeMap<Digest, Rc<Listing>>) -> Result<Files> {
    let mut found = Files::new();
    for descriptor in &manifest.layers {
        let listing = match known.get(&descriptor.digest) {
            Some(listing) => Rc::clone(listing),
            None => {
                let listing = Rc::new(files::layer(layout, descriptor)?);
                known.insert(descriptor.digest, Rc::clone(&listing));
                listing
            }
        };
        listing.apply(&mut found);
    }
    Ok(found)
}

fn layers(old: &Manifest, new: &Manifest) -> Vec<(Fate, Descriptor)> {
    let has = |manifest: &Manifest, layer: &Descriptor| {
        manifest.layers.iter().any(|other| other.digest == layer.digest)
    };
    let removed =
        old.layers.iter().filter(|layer| !has(new, layer)).map(|layer| (Fate::Removed, layer.clone()));
    let here = new.layers.iter().map(|layer| match has(old, layer) {
        true => (Fate::Kept, layer.clone()),
        false => (Fate::Added, layer.clone()),
    });
    removed.chain(here).collect()
}

fn changes(old: &Files, new: &Files) -> Vec<FileChange> {
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    paths
        .into_iter()
        .map(|path| FileChange {
            path: path.clone(),
            before: old.get(path).cloned(),
            after: new.get(path).cloned(),
        })
        .filter(|change| change.before != change.after)
        .collect()
}

fn compared(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Fact> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .map(|name| Fact {
            name: name.clone(),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
        })
        .filter(|fact| fact.before != fact.after)
        .collect()
}

/// Everything that an image says about how it is run and where it comes from, each by a name.
pub fn facts(image: &Image, annotations: Option<&Annotations>) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut say = |name: String, value: Option<String>| {
        if let Some(value) = value {
            facts.insert(name, value);
        }
    };
    say("platform".to_owned(), Some(image.platform.to_string()));
    say("created".to_owned(), image.created.clone());
    say("author".to_owned(), image.author.clone());
    let run = image.config.clone().unwrap_or_default();
    for variable in run.env.unwrap_or_default() {
        let (name, value) = variable.split_once('=').unwrap_or((&variable, ""));
        say(format!("env {name}"), Some(value.to_owned()));
    }
    say("user".to_owned(), run.user);
    say("entrypoint".to_owned(), run.entrypoint.map(|words| words.join(" ")));
    say("cmd".to_owned(), run.cmd.map(|words| words.join(" ")));
    say("workdir".to_owned(), run.working_dir);
    say("stop signal".to_owned(), run.stop_signal);
    for port in run.exposed_ports.unwrap_or_default().into_keys() {
        say(format!("port {port}"), Some("exposed".to_owned()));
    }
    for volume in run.volumes.unwrap_or_default().into_keys() {
        say(format!("volume {volume}"), Some("declared".to_owned()));
    }
    for (label, value) in run.labels.unwrap_or_default() {
        say(format!("label {label}"), Some(value));
    }
    for (name, value) in annotations.into_iter().flatten() {
        say(format!("annotation {name}"), Some(value.clone()));
    }
    facts
}

#[cfg(test)]
mod tests;
