//! `rtcctl image inspect`: what an image is made of, what it runs, and what refers to it.

use oci::registry::{Access, Repository};
use oci::{Descriptor, Digest, Document, Image, Layout, Platform, document, layout};
use serde_json::{Value, json};

use super::subject::Subject;
use super::{access, failed};
use crate::codes;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::human;
use crate::output::{Column, Report, Table};

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

    /// What an image is for: the index says it, or its configuration. `None` for what is no image.
    async fn platform_of(&self, manifest: &Descriptor) -> Result<Option<Platform>> {
        if let Some(platform) = &manifest.platform {
            return Ok(Some(platform.clone()));
        }
        match self.document(manifest).await? {
            Document::Manifest(parts) if parts.artifact_type.is_none() => {
                Ok(Some(self.image(&parts.config).await?.platform))
            }
            _ => Ok(None),
        }
    }

    async fn referrers(&self, digest: &Digest) -> Result<Vec<Descriptor>> {
        match self {
            Self::Layout(layout) => layout.referrers(digest),
            Self::Remote(repository) => repository.referrers(digest, None).await,
        }
        .map_err(failed::of_oci)
    }
}

pub async fn run(args: Args, context: &Context) -> Result<Report> {
    let subject = Subject::find(&args.image, context).await?;
    let (place, top) = Place::open(&subject, context).await?;
    let images = match place.document(&top).await? {
        Document::Manifest(_) => vec![top.clone()],
        Document::Index(index) => index.manifests,
    };
    let images = chosen(images, args.platform.as_deref(), &args.image, &place).await?;
    let mut report = Report::new("image/inspect", Value::Null);
    let mut told = Vec::new();
    for manifest in &images {
        let Document::Manifest(parts) = place.document(manifest).await? else { continue };
        // An artifact has no configuration of an image.
        let image = match parts.artifact_type.is_none() {
            true => Some(place.image(&parts.config).await?),
            false => None,
        };
        let referrers = place.referrers(&manifest.digest).await?;
        report = screen(report, manifest, &parts, image.as_ref(), &referrers);
        told.push(json!({
            "digest": manifest.digest,
            "platform": image.as_ref().map(|image| image.platform.to_string()),
            "artifact_type": parts.artifact_type,
            "layers": parts.layers.iter().map(|layer| json!({
                "digest": layer.digest, "bytes": layer.size, "media_type": layer.media_type,
            })).collect::<Vec<_>>(),
            "bytes": parts.layers.iter().map(|layer| layer.size).sum::<u64>(),
            "configuration": image.as_ref().and_then(|image| serde_json::to_value(&image.config).ok()),
            "created": image.as_ref().and_then(|image| image.created.clone()),
            "annotations": parts.annotations,
            "referrers": referrers.iter().map(|one| json!({
                "digest": one.digest, "artifact_type": one.artifact_type,
            })).collect::<Vec<_>>(),
        }));
    }
    report.data =
        json!({"image": args.image, "digest": top.digest, "media_type": top.media_type, "images": told});
    Ok(report.with_names([top.digest.to_string()]))
}

/// The images for a platform; a variant is compared where it is asked for.
async fn chosen(
    images: Vec<Descriptor>,
    platform: Option<&str>,
    name: &str,
    place: &Place,
) -> Result<Vec<Descriptor>> {
    let Some(wanted) = platform else { return Ok(images) };
    let parsed = Platform::parse(wanted).map_err(|error| Error::new(&codes::USE001, error.to_string()))?;
    let (mut all, mut found) = (Vec::new(), Vec::new());
    for one in images {
        let Some(has) = place.platform_of(&one).await? else { continue };
        all.push(has.to_string());
        if serves(&has, &parsed) {
            found.push(one);
        }
    }
    match found.is_empty() {
        true => Err(Error::new(&codes::IMG009, format!("{name} has no image for {wanted}"))
            .with_hint(format!("it has {}", all.join(", ")))),
        false => Ok(found),
    }
}

/// Whether an image for one platform is what somebody means who asks for another, who may not say the variant.
pub fn serves(has: &Platform, wanted: &Platform) -> bool {
    (&has.os, &has.architecture) == (&wanted.os, &wanted.architecture)
        && (wanted.variant.is_none() || has.variant == wanted.variant)
}

fn screen(
    report: Report,
    manifest: &Descriptor,
    parts: &oci::Manifest,
    image: Option<&Image>,
    referrers: &[Descriptor],
) -> Report {
    let mut pairs = vec![("digest".to_owned(), manifest.digest.to_string())];
    let mut say = |key: &str, value: Option<String>| {
        pairs.extend(value.filter(|value| !value.is_empty()).map(|value| (key.to_owned(), value)));
    };
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
