//! Images that others are put upon: which one is for a platform, and whether a program can start on it.

use std::path::Path;

use oci::{Document, Image, Layout, Manifest, Platform, document};

use crate::error::{Error, Result};
use crate::files::{self, What};
use crate::libraries::is_loader;
use crate::platform::same;
use crate::settings::Base;
use crate::sysroot::split;

/// So many loaders are named where another was looked for.
const SHOWN_MAX: usize = 4;

/// A base that has been read.
pub struct Based<'a> {
    pub base: &'a Base,
    pub manifest: Manifest,
    pub image: Image,
}

impl Based<'_> {
    /// Whether the kernel will find the loader that a program names. All layers are read for it.
    ///
    /// Errors: [`Error::Base`] if it is not there; [`Error::Layer`], [`Error::Layout`].
    pub fn check_loader(&self, loader: &str, program: &Path, layout: &Layout) -> Result<()> {
        let files = files::image(layout, &self.manifest)?;
        let found = files::real(&files, loader).and_then(|real| files.get(&real));
        if found.is_some_and(|item| matches!(item.what, What::File { .. } | What::Hard(_))) {
            return Ok(());
        }
        let others: Vec<String> = files
            .iter()
            .filter(|(path, item)| is_loader(split(path).1) && item.what != What::Directory)
            .map(|(path, _)| format!("/{path}"))
            .take(SHOWN_MAX)
            .collect();
        let has = if others.is_empty() { "no loader at all".to_owned() } else { others.join(", ") };
        let program = program.display();
        let reason =
            format!("it lacks the loader {loader}, without which {program} cannot start; it has {has}");
        Err(Error::Base { base: self.base.name.clone(), reason })
    }
}

/// The base of a platform. The only one there is must be for it.
pub fn base_for<'a>(platform: &Platform, bases: &'a [Base], layout: &Layout) -> Result<Based<'a>> {
    let mut found = Vec::new();
    for base in bases {
        let based = read_base(base, layout)?;
        if same(&based.image.platform, platform) {
            return Ok(based);
        }
        found.push(based);
    }
    match found.as_slice() {
        [only] => Err(Error::WrongPlatform {
            base: only.base.name.clone(),
            wanted: Box::new(platform.clone()),
            found: Box::new(only.image.platform.clone()),
        }),
        _ => Err(Error::NoBase { platform: Box::new(platform.clone()) }),
    }
}

fn read_base<'a>(base: &'a Base, layout: &Layout) -> Result<Based<'a>> {
    let invalid = |reason: String| Error::Base { base: base.name.clone(), reason };
    let Document::Manifest(manifest) = layout.document(&base.manifest)? else {
        return Err(invalid("it is an index; the image of a platform is needed".to_owned()));
    };
    let config = layout.read_blob(&manifest.config)?;
    let image: Image = document::read(&format!("the configuration of {}", base.name), &config)?;
    if image.rootfs.diff_ids.len() != manifest.layers.len() {
        let (digests, layers) = (image.rootfs.diff_ids.len(), manifest.layers.len());
        return Err(invalid(format!("{layers} layers, and a configuration of {digests}")));
    }
    for layer in &manifest.layers {
        if layout.blob_size(&layer.digest)? != Some(layer.size) {
            return Err(invalid(format!("its layer {} is not in the layout", layer.digest)));
        }
    }
    Ok(Based { base, manifest, image })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::build::{Built, build};
    use crate::fixture::{LOADER, Made, X86_64, project, put};
    use crate::settings::{Extra, Foundation, Settings};

    const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

    fn built(settings: &Settings, layout: &Layout) -> Result<Built> {
        build(settings, layout, &|_| {})
    }

    /// A program for glibc, and an image of another program as its base.
    fn prepared(below: impl FnOnce(&Path) -> Made) -> (TempDir, Settings, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let settings = project(folder.path());
        let layout = Layout::create(folder.path().join("layout")).unwrap();
        let mut other = settings.clone();
        other.binaries[0].path = below(folder.path()).write(folder.path().join("build/below"));
        let base = built(&other, &layout).unwrap().descriptor;
        let base = Base { name: "below:1".to_owned(), manifest: base };
        (folder, Settings { foundation: Foundation::Bases(vec![base]), ..settings }, layout)
    }

    fn on_musl(folder: &Path) -> Made {
        let root = folder.join("root/usr/lib");
        Made::library(X86_64, "ld-musl-x86_64.so.1").write(root.join("ld-musl-x86_64.so.1"));
        Made::program(X86_64, MUSL)
    }

    #[test]
    fn a_program_cannot_start_on_a_base_with_another_loader() {
        let (_folder, settings, layout) = prepared(on_musl);
        match built(&settings, &layout) {
            Err(Error::Base { base, reason }) => {
                assert_eq!(base, "below:1");
                assert!(reason.contains(LOADER), "{reason}");
                assert!(reason.ends_with("it has /usr/lib/ld-musl-x86_64.so.1"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_program_cannot_start_on_a_base_without_a_loader() {
        let (_folder, mut settings, layout) = prepared(|_| Made::static_program(X86_64));
        let refused = built(&settings, &layout);
        assert!(
            matches!(&refused, Err(Error::Base { reason, .. }) if reason.ends_with("it has no loader at all")),
            "{refused:?}"
        );
        Made::static_program(X86_64).write(&settings.binaries[0].path);
        built(&settings, &layout).unwrap();
        settings.binaries[0].path = settings.binaries[0].path.with_file_name("below");
        built(&settings, &layout).unwrap();
    }

    #[test]
    fn a_loader_that_comes_with_the_program_is_enough() {
        let (folder, mut settings, layout) = prepared(on_musl);
        let loader = put(folder.path().join("loader"), b"loader");
        settings.extras = vec![Extra { source: loader, target: LOADER.to_owned(), mode: 0o755 }];
        built(&settings, &layout).unwrap();
    }
}
