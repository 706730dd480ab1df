//! The image that another one is built upon: named by its digest, fetched for each platform that there is a program for.

use codes::{Error, Result, exit};
use image::elf::Elf;
use image::settings::{Base, Binary, Foundation};
use oci::registry::{Access, Repository};
use oci::{Digest, Layout, Platform, Reference, transfer};

use super::{access, failed, push};
use crate::context::Context;

/// What `base` says where there is none.
pub const NO_BASE: &str = "none";

/// The base, with its layers on disk for each platform that there is a program for.
pub async fn foundation(
    base: &str,
    binaries: &[Binary],
    layout: &Layout,
    context: &Context,
) -> Result<Foundation> {
    if base == NO_BASE {
        return Ok(Foundation::Minimal);
    }
    let (reference, repository, images) = bases(base, binaries, context).await?;
    let mut fetched = Vec::new();
    for (platform, digest) in images {
        let manifest = push::pull(&repository, &digest.to_string(), layout, context).await;
        let manifest = manifest.map_err(|error| without_base(base, &platform, error))?;
        fetched.push(Base { name: reference.to_string(), manifest });
    }
    Ok(Foundation::Bases(fetched))
}

/// Which image of a base each program stands on. Only documents are fetched for it.
pub async fn bases(
    base: &str,
    binaries: &[Binary],
    context: &Context,
) -> Result<(Reference, Repository, Vec<(Platform, Digest)>)> {
    // Without a host it is Docker Hub's, as everywhere: the environment's registry holds what is built.
    let reference: Reference = base.parse().map_err(failed::of_oci)?;
    let Some(digest) = reference.digest() else {
        let message = format!("the base {base} is named by a tag, which may be another image tomorrow");
        return Err(Error::new(&codes::IMG007, message)
            .with_hint(format!("rtcctl image inspect {base} shows its digest")));
    };
    // What is no program is told before anything is fetched for it.
    let mut platforms = Vec::new();
    for binary in binaries {
        platforms.push(Elf::read(&binary.path).map_err(failed::of_build)?.platform);
    }
    let repository = access::repository(&reference, Access::Pull, context)?;
    let mut images = Vec::new();
    for platform in platforms {
        let chosen = transfer::choose(&repository, &digest.to_string(), &platform).await;
        let chosen = chosen.map_err(|error| without_base(base, &platform, error))?;
        images.push((platform, chosen.descriptor.digest));
    }
    Ok((reference, repository, images))
}

fn without_base(base: &str, platform: &Platform, error: oci::Error) -> Error {
    let told = failed::of_oci(error);
    // Nothing was pushed.
    let exit = if told.exit() == exit::PUSH_FAILED { exit::BUILD_FAILED } else { told.exit() };
    let message = format!("the base {base} cannot be had for {platform}");
    let error = Error::new(&codes::IMG007, message).with_cause(told.message());
    let error = told.causes().iter().fold(error, |error, cause| error.with_cause(cause));
    error.with_exit(exit).with_hint(codes::IMG007.action)
}
