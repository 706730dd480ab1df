//! `rtcctl image inspect`: what an image is made of, what it runs, and what refers to it.

use codes::{Error, Result};
use oci::registry::{Access, Repository};
use oci::{Descriptor, Digest, Document, Image, Layout, Platform, document, layout, media, transfer};
use serde_json::{Value, json};

use super::subject::Subject;
use super::{access, failed};
use crate::context::Context;
use crate::human;
use crate::output::{Column, Report, Table};

/// By what builders mark what they say about an image.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// REFERENCE, an image of rtc.toml with a tag (rtcd:v1), or oci:DIR[:TAG]
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Which image of several, for example linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
}

/// Where documents come from.
pub enum Place {
    Layout(Layout),
    Remote(Repository),
}

impl Place {
    /// Opens what is named, and finds the document that is meant.
    pub async fn open(subject: &Subject, context: &Context) -> Result<(Self, Descriptor)> {
        match subject {
            Subject::Layout { folder, tag } => {
                let layout = Layout::open(folder).map_err(failed::of_oci)?;
                let top = layout.find(tag.as_deref()).map_err(failed::of_finding)?;
                Ok((Self::Layout(layout), top))
            }
            Subject::Remote(reference) => {
                let repository = access::repository(reference, Access::Pull, context)?;
                let fetched = repository.get_manifest(&reference.wanted()).await.map_err(failed::of_oci)?;
                Ok((Self::Remote(repository), fetched.descriptor))
            }
        }
    }

    pub async fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        match self {
            Self::Layout(layout) => layout.document(descriptor).map_err(failed::of_oci),
            Self::Remote(repository) => {
                let fetched = repository.get_manifest(&descriptor.digest.to_string()).await;
                fetched.and_then(|fetched| fetched.document()).map_err(failed::of_oci)
            }
        }
    }

    async fn image(&self, config: &Descriptor) -> Result<Image> {
        let what = format!("configuration {}", config.digest);
        let bytes = match self {
            Self::Layout(layout) => layout.read_blob(config).map_err(failed::of_oci)?,
            Self::Remote(repository) => {
                if config.size > layout::DOCUMENT_BYTES_MAX {
                    return Err(Error::new(
                        &codes::IMG025,
                        format!("{what} says that it has {} bytes", config.size),
                    ));
                }
                let mut download = repository.get_blob(config);
                let mut bytes = Vec::new();
                while let Some(piece) = download.next().await.map_err(failed::of_oci)? {
                    bytes.extend_from_slice(&piece);
                }
                bytes
            }
        };
        document::read(&what, &bytes).map_err(failed::of_oci)
    }

    /// The entries of a document: those of an index, or itself, with what its configuration says that it is for.
    pub async fn entries(&self, top: &Descriptor) -> Result<Vec<Descriptor>> {
        Ok(match self.document(top).await? {
            Document::Index(index) => index.manifests,
            Document::Manifest(parts) => {
                let mut top = top.clone();
                if top.platform.is_none() && is_image(&parts) {
                    top.platform = Some(self.image(&parts.config).await?.platform);
                }
                vec![top]
            }
        })
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        match self {
            Self::Layout(layout) => layout.referrers(digest),
            Self::Remote(repository) => repository.referrers(digest, None).await,
        }
        .map_err(failed::of_oci)
    }
}

/// Whether a manifest is of an image; those of artifacts have another configuration, or none.
fn is_image(parts: &oci::Manifest) -> bool {
    parts.artifact_type.is_none()
        && matches!(parts.config.media_type.as_str(), media::CONFIG | media::DOCKER_CONFIG)
}

/// The entry for a platform.
pub fn chosen(entries: &[Descriptor], platform: &Platform, name: &str) -> Result<Descriptor> {
    transfer::of_platform(entries, platform).cloned().ok_or_else(|| {
        let all: Vec<String> =
            entries.iter().filter_map(|one| Some(one.platform.as_ref()?.to_string())).collect();
        let error = Error::new(&codes::IMG009, format!("{name} has no image for {platform}"));
        error.with_hint(format!("it has {}", if all.is_empty() { "none".to_owned() } else { all.join(", ") }))
    })
}

/// Reads what an operator calls a platform.
pub fn platform(text: &str) -> Result<Platform> {
    Platform::parse(text).map_err(|error| Error::new(&codes::USE001, error.to_string()))
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let wanted = args.platform.as_deref().map(platform).transpose()?;
    let subject = Subject::find(&args.image, context).await?;
    let (place, top) = Place::open(&subject, context).await?;
    let mut entries = place.entries(&top).await?;
    if let Some(wanted) = wanted {
        entries = vec![chosen(&entries, &wanted, &args.image)?];
    }
    let mut report = Report::new("image/inspect", Value::Null);
    let mut told = Vec::new();
    for entry in &entries {
        let found = match look(&place, entry).await {
            Ok(found) => found,
            // In an index it hides none of the others; alone it is all that was asked for.
            Err(error) if entry.digest != top.digest && is_of_content(&error) => {
                Found { problem: Some(error.message().to_owned()), ..Found::default() }
            }
            Err(error) => return Err(error),
        };
        told.push(found.document(entry));
        report = found.screen(report, entry);
    }
    report.data =
        json!({"image": args.image, "digest": top.digest, "media_type": top.media_type, "images": told});
    Ok(report.with_names([top.digest.to_string()]))
}

/// Whether it is what lies there that is wrong, and not the way to it.
fn is_of_content(error: &Error) -> bool {
    [&codes::IMG009, &codes::IMG016, &codes::IMG025].iter().any(|code| error.code().id == code.id)
}

/// One entry of an index, as far as it can be understood.
#[derive(Default)]
struct Found {
    parts: Option<oci::Manifest>,
    image: Option<Image>,
    referrers: Vec<Descriptor>,
    problem: Option<String>,
}

async fn look(place: &Place, entry: &Descriptor) -> Result<Found> {
    if !media::is_manifest(&entry.media_type) {
        // Another index, or what only its maker knows.
        return Ok(Found::default());
    }
    let Document::Manifest(parts) = place.document(entry).await? else { return Ok(Found::default()) };
    let image = match is_image(&parts) {
        true => Some(place.image(&parts.config).await?),
        false => None,
    };
    let referrers = place.referrers(&entry.digest).await?;
    Ok(Found { parts: Some(parts), image, referrers, problem: None })
}

impl Found {
    /// Proofs of who built an image stand in its index as images for no platform.
    fn kind(&self, entry: &Descriptor) -> &'static str {
        match (&self.image, &self.parts) {
            _ if entry.annotation(REFERENCE_TYPE).is_some() => "attestation",
            (Some(_), _) => "image",
            (None, Some(_)) => "artifact",
            (None, None) if self.problem.is_some() => "unreadable",
            (None, None) if media::is_index(&entry.media_type) => "index",
            (None, None) => "unknown",
        }
    }

    fn document(&self, entry: &Descriptor) -> Value {
        let parts = self.parts.as_ref();
        let layers = parts.map(|parts| parts.layers.as_slice()).unwrap_or_default();
        let platform = self.image.as_ref().map(|image| &image.platform).or(entry.platform.as_ref());
        json!({
            "digest": entry.digest,
            "kind": self.kind(entry),
            "media_type": entry.media_type,
            "platform": platform.map(ToString::to_string),
            "artifact_type": parts.and_then(|parts| parts.artifact_type.clone()).or_else(|| entry.artifact_type.clone()),
            "layers": layers.iter().map(|layer| json!({
                "digest": layer.digest, "bytes": layer.size, "media_type": layer.media_type,
            })).collect::<Vec<_>>(),
            "bytes": layers.iter().map(|layer| layer.size).sum::<u64>(),
            "configuration": self.image.as_ref().and_then(|image| serde_json::to_value(&image.config).ok()),
            "created": self.image.as_ref().and_then(|image| image.created.clone()),
            "annotations": parts.and_then(|parts| parts.annotations.clone()),
            "referrers": self.referrers.iter().map(|one| json!({
                "digest": one.digest, "artifact_type": one.artifact_type,
            })).collect::<Vec<_>>(),
            "problem": self.problem,
        })
    }

    fn screen(&self, report: Report, entry: &Descriptor) -> Report {
        match &self.parts {
            Some(parts) => {
                screen(report, (entry, self.kind(entry)), parts, self.image.as_ref(), &self.referrers)
            }
            None => {
                let mut pairs = vec![
                    ("digest".to_owned(), entry.digest.to_string()),
                    ("kind".to_owned(), format!("{}, {}", self.kind(entry), entry.media_type)),
                ];
                pairs.extend(
                    entry.platform.iter().map(|platform| ("platform".to_owned(), platform.to_string())),
                );
                pairs.extend(self.problem.iter().map(|problem| ("problem".to_owned(), problem.clone())));
                report.with_pairs(pairs)
            }
        }
    }
}

fn screen(
    report: Report,
    (manifest, kind): (&Descriptor, &'static str),
    parts: &oci::Manifest,
    image: Option<&Image>,
    referrers: &[Descriptor],
) -> Report {
    let mut pairs = vec![("digest".to_owned(), manifest.digest.to_string())];
    let mut say = |key: &str, value: Option<String>| {
        pairs.extend(value.filter(|value| !value.is_empty()).map(|value| (key.to_owned(), value)));
    };
    say("kind", Some(kind.to_owned()).filter(|kind| kind != "image"));
    say("artifact", parts.artifact_type.clone());
    if let Some(image) = image {
        say("platform", Some(image.platform.to_string()));
        let config = image.config.clone().unwrap_or_default();
        let words = |words: Option<Vec<String>>| words.map(|words| words.join(" "));
        say("runs", words(config.entrypoint));
        say("with", words(config.cmd));
        say("as", config.user);
        say("in", config.working_dir);
        say("ports", config.exposed_ports.map(|ports| ports.into_keys().collect::<Vec<_>>().join(", ")));
        say("stopped by", config.stop_signal);
        for variable in config.env.unwrap_or_default() {
            say("variable", Some(variable));
        }
        for (label, value) in config.labels.unwrap_or_default() {
            say("label", Some(format!("{label}={value}")));
        }
    }
    for (key, value) in parts.annotations.clone().unwrap_or_default() {
        say(key.strip_prefix("org.opencontainers.image.").unwrap_or(&key), Some(value));
    }
    for one in referrers {
        let kind = one.artifact_type.clone().unwrap_or_else(|| one.media_type.clone());
        say("referred to by", Some(format!("{kind} {}", one.digest.short())));
    }
    let mut table = Table::new([Column::left("layer"), Column::right("size"), Column::left("kind")]);
    for layer in &parts.layers {
        let kind = layer.media_type.rsplit('.').next().unwrap_or_default().to_owned();
        table.push([layer.digest.to_string(), human::bytes(layer.size), kind]);
    }
    let all = parts.layers.iter().map(|layer| layer.size).sum();
    report.with_pairs(pairs).with_table(table).with_text(format!(
        "{} layers, {}",
        parts.layers.len(),
        human::bytes(all)
    ))
}
