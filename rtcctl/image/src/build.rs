//! Binaries to images: layers, configuration and manifest of each platform, and an index over several.
//!
//! Everything that can be refused is refused before the first layer is packed.

use std::path::PathBuf;

use oci::document::Index;
use oci::{Descriptor, Digest, Layout, Manifest, Platform, media};

use crate::base::{Based, base_for};
use crate::configuration::{add_layer, annotations, image, owner_on};
use crate::contents::{Contents, Stamp};
use crate::elf::{Elf, Linkage};
use crate::error::{Error, Result};
use crate::kept::Kept;
use crate::layer::{Layer, Origin, pack};
use crate::libraries::{self, Libraries};
use crate::platform::same;
use crate::root::{Account, minimal, world};
use crate::sbom;
use crate::settings::{Binary, Concern, Foundation, Settings};
use crate::sysroot::{Sysroot, normal};
use crate::tree::{Kind, ROOT, RUN, SEARCHED, Source, Tree};

/// What is told while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A layer is begun, of so many bytes of files.
    Begun {
        platform: &'a Platform,
        concern: Concern,
        bytes: u64,
    },
    /// So many more bytes of it were read. A layer may be read twice, to see whether it must be packed.
    Read {
        bytes: u64,
    },
    Done {
        platform: &'a Platform,
        concern: Concern,
        layer: &'a Layer,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Of the manifest, or of the index if several binaries were given.
    pub descriptor: Descriptor,
    /// In the order of the binaries.
    pub images: Vec<BuiltImage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    pub platform: Platform,
    pub binary: PathBuf,
    pub linkage: Linkage,
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub layers: Vec<BuiltLayer>,
    /// What the program is loaded with; nothing on a base, which has its own.
    pub libraries: Libraries,
    /// The manifest of the bill of materials, which refers to the image's.
    pub sbom: Option<Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltLayer {
    /// `None` for a layer of the base.
    pub concern: Option<Concern>,
    pub layer: Layer,
}

impl Built {
    pub fn digest(&self) -> Digest {
        self.descriptor.digest
    }

    /// Gives the image a name in its layout, and lists what refers to it.
    ///
    /// Errors: [`Error::Layout`], [`Error::Full`].
    pub fn name(&self, layout: &Layout, name: &str) -> Result<()> {
        layout.tag(&self.descriptor, name)?;
        for sbom in self.images.iter().filter_map(|image| image.sbom.as_ref()) {
            layout.list(sbom)?;
        }
        Ok(())
    }
}

impl BuiltImage {
    /// What is pulled, in bytes: the layers as they are packed.
    pub fn size(&self) -> u64 {
        self.layers.iter().map(|built| built.layer.descriptor.size).sum()
    }
}

/// A binary of which everything is known that can be refused.
struct Planned<'a> {
    binary: &'a Binary,
    /// Of the file that was looked at.
    stamp: Stamp,
    elf: Elf,
    libraries: Libraries,
    base: Option<Based<'a>>,
}

/// Builds into a layout, without naming the image there.
///
/// Errors: every one of [`Error`] but those of reading layers.
pub fn build(settings: &Settings, layout: &Layout, tell: &dyn Fn(Event<'_>)) -> Result<Built> {
    let planned = plan(settings, Some(layout))?;
    let world = world_of(settings)?;
    let materials = settings.materials.as_ref().map(sbom::crates::read).transpose()?;
    let mut kept = Kept::of(layout);
    let mut ready = Vec::new();
    for planned in planned {
        let trees = trees(settings, &planned, world.as_ref())?;
        ready.push((planned, trees));
    }
    let mut images = Vec::new();
    for (planned, trees) in ready {
        images.push(one(settings, planned, &trees, layout, &mut kept, tell, materials.as_deref())?);
    }
    let descriptor = match images.as_slice() {
        [image] => image.manifest.clone(),
        several => {
            let mut index = Index::new(several.iter().map(|image| image.manifest.clone()).collect());
            index.annotations = Some(annotations(settings, None)?);
            layout.put_document(media::INDEX, &index)?
        }
    };
    Ok(Built { descriptor, images })
}

/// One image as it would be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub platform: Platform,
    pub binary: PathBuf,
    pub linkage: Linkage,
    /// The loader and the libraries, by their paths in the image; nothing on a base.
    pub libraries: Vec<String>,
    /// Of the files that would be packed.
    pub bytes: u64,
}

/// Finds out what would be built, and refuses what [`build`] would refuse. Nothing is written, and nothing of a base
/// is read: it need not be here.
///
/// Errors: as [`build`], but those of bases and of writing.
pub fn check(settings: &Settings) -> Result<Vec<Outline>> {
    let planned = plan(settings, None)?;
    let world = world_of(settings)?;
    if let Some(materials) = &settings.materials {
        sbom::crates::read(materials)?;
    }
    annotations(settings, None)?;
    let mut outlines = Vec::new();
    for planned in planned {
        image(settings, &planned.elf.platform, None)?;
        let trees = match settings.foundation {
            Foundation::Minimal => trees(settings, &planned, world.as_ref())?,
            Foundation::Bases(_) => {
                let mut application = Tree::default();
                let program = Source::File(planned.binary.path.clone());
                application.file(&settings.target(), RUN, ROOT, program)?;
                vec![(Concern::Application, application)]
            }
        };
        for (_, entry) in trees.iter().flat_map(|(_, tree)| tree.iter()) {
            if let Kind::File(Source::File(path)) = &entry.kind {
                let unreadable = |source| Error::Unreadable { path: path.clone(), source };
                std::fs::File::open(path).map_err(unreadable)?;
            }
        }
        let Libraries { loader, libraries, .. } = planned.libraries;
        outlines.push(Outline {
            platform: planned.elf.platform,
            binary: planned.binary.path.clone(),
            linkage: planned.elf.linkage,
            libraries: loader.into_iter().chain(libraries).map(|library| library.path).collect(),
            bytes: trees.iter().map(|(_, tree)| bytes_of(tree)).sum(),
        });
    }
    Ok(outlines)
}

/// Certificates and time zones, where no base has its own.
fn world_of(settings: &Settings) -> Result<Option<Tree>> {
    match settings.foundation {
        Foundation::Minimal => {
            world(&Sysroot::new(&settings.system), &settings.certificates, &settings.zones).map(Some)
        }
        Foundation::Bases(_) => Ok(None),
    }
}

/// Without a layout bases are not looked at.
fn plan<'a>(settings: &'a Settings, layout: Option<&Layout>) -> Result<Vec<Planned<'a>>> {
    if settings.binaries.is_empty() {
        return Err(Error::NoBinary);
    }
    let mut planned: Vec<Planned<'a>> = Vec::new();
    for binary in &settings.binaries {
        let stamp = Stamp::at(&binary.path)?;
        let elf = Elf::read(&binary.path)?;
        if elf.linkage == Linkage::Library {
            return Err(Error::NotExecutable { path: binary.path.clone() });
        }
        if let Some(wanted) = binary.platform.as_ref().filter(|wanted| !same(wanted, &elf.platform)) {
            return Err(Error::WrongMachine {
                path: binary.path.clone(),
                wanted: Box::new(wanted.clone()),
                found: Box::new(elf.platform),
            });
        }
        if let Some(other) = planned.iter().find(|other| same(&other.elf.platform, &elf.platform)) {
            return Err(Error::SamePlatform {
                platform: Box::new(elf.platform),
                first: other.binary.path.clone(),
                second: binary.path.clone(),
            });
        }
        let (libraries, base) = match (&settings.foundation, layout) {
            (Foundation::Minimal, _) => {
                let sysroot = Sysroot::new(&binary.sysroot);
                (libraries::resolve(&binary.path, &elf, &settings.target(), &sysroot)?, None)
            }
            (Foundation::Bases(_), None) => (Libraries::default(), None),
            (Foundation::Bases(bases), Some(layout)) => {
                let based = base_for(&elf.platform, bases, layout)?;
                let is_brought =
                    |path: &str| settings.extras.iter().any(|extra| normal(&extra.target) == normal(path));
                if let Some(loader) = elf.interpreter.as_deref().filter(|loader| !is_brought(loader)) {
                    based.check_loader(loader, &binary.path, layout)?;
                }
                (Libraries::default(), Some(based))
            }
        };
        planned.push(Planned { binary, stamp, elf, libraries, base });
    }
    Ok(planned)
}

/// The trees of a platform, the lowest first.
fn trees(settings: &Settings, planned: &Planned<'_>, world: Option<&Tree>) -> Result<Vec<(Concern, Tree)>> {
    let mut trees = Vec::new();
    let mut application = Tree::default();
    match &planned.base {
        None => {
            let account = settings.account.clone().unwrap_or_default();
            trees.push((Concern::Root, minimal(&planned.libraries, &account, &settings.owned)?));
            trees
                .extend(world.filter(|world| !world.is_empty()).map(|world| (Concern::World, world.clone())));
        }
        Some(based) => {
            let owner = owner_on(settings, based.base, &based.image)?;
            let home = settings.account.as_ref().map(|account: &Account| &account.home);
            for folder in settings.owned.iter().chain(home).filter(|folder| *folder != "/") {
                application.directory(folder, SEARCHED, owner)?;
            }
        }
    }
    let real = |path: &str| match trees.first() {
        Some((_, root)) => root.real(path),
        None => Ok(path.to_owned()),
    };
    // Above a base it may be what is wanted that a file of the base is replaced.
    let free = |path: String| match trees.iter().find_map(|(_, tree)| tree.get(&path)) {
        Some(entry) => Err(Error::Covers { path, below: entry.shown() }),
        None => Ok(path),
    };
    let target = free(real(&settings.target())?)?;
    application.file(&target, RUN, ROOT, Source::File(planned.binary.path.clone()))?;
    for extra in &settings.extras {
        let source = Source::File(extra.source.clone());
        application.file(&free(real(&extra.target)?)?, extra.mode & 0o7777, ROOT, source)?;
    }
    // A base has its folders already, some of them as links, which a folder of the same name would replace.
    if planned.base.is_none() {
        let below: Vec<&Tree> = trees.iter().map(|(_, tree)| tree).collect();
        application.complete(&below)?;
    }
    trees.push((Concern::Application, application));
    Ok(trees)
}

fn one(
    settings: &Settings,
    planned: Planned<'_>,
    trees: &[(Concern, Tree)],
    layout: &Layout,
    kept: &mut Kept,
    tell: &dyn Fn(Event<'_>),
    materials: Option<&[sbom::crates::Crate]>,
) -> Result<BuiltImage> {
    let platform = planned.elf.platform;
    let mut config = image(settings, &platform, planned.base.as_ref().map(|based| &based.image))?;
    let mut layers = planned.base.as_ref().map(layers_of).unwrap_or_default();
    let mut contents = Contents::default();
    for (concern, tree) in trees {
        let concern = *concern;
        tell(Event::Begun { platform: &platform, concern, bytes: bytes_of(tree) });
        let read = |bytes| tell(Event::Read { bytes });
        let layer = pack(tree, settings.packing(), layout, kept, &read)?;
        tell(Event::Done { platform: &platform, concern, layer: &layer });
        add_layer(&mut config, concern, layer.diff_id);
        contents.extend(&layer.contents);
        layers.push(BuiltLayer { concern: Some(concern), layer });
    }
    contents.check(&planned.binary.path, &planned.stamp)?;
    let config = layout.put_document(media::CONFIG, &config)?;
    let descriptors = layers.iter().map(|built| built.layer.descriptor.clone()).collect();
    let base = planned.base.as_ref().map(|based| based.base);
    let mut manifest = Manifest::new(config.clone(), descriptors);
    manifest.annotations = Some(annotations(settings, base)?);
    let plain = layout.put_document(media::MANIFEST, &manifest)?;
    let sbom = match materials {
        Some(crates) => {
            let subject = sbom::Subject {
                settings,
                platform: &platform,
                manifest: &plain,
                binary: &planned.binary.path,
                contents: &contents,
                crates,
                libraries: &planned.libraries,
                sysroot: &Sysroot::new(&planned.binary.sysroot),
                base,
            };
            Some(sbom::attach(&subject, layout)?)
        }
        None => None,
    };
    Ok(BuiltImage {
        manifest: plain.with_platform(platform.clone()),
        platform,
        binary: planned.binary.path.clone(),
        linkage: planned.elf.linkage,
        config,
        layers,
        libraries: planned.libraries,
        sbom,
    })
}

/// The layers of a base, under the names that OCI has for those of Docker: their bytes are the same.
fn layers_of(based: &Based<'_>) -> Vec<BuiltLayer> {
    let layers = based.manifest.layers.iter().zip(&based.image.rootfs.diff_ids);
    layers
        .map(|(descriptor, diff_id)| {
            let mut descriptor = descriptor.clone();
            if descriptor.media_type == media::DOCKER_LAYER {
                descriptor.media_type = media::LAYER_GZIP.to_owned();
            }
            let layer =
                Layer { descriptor, diff_id: *diff_id, origin: Origin::Base, contents: Contents::default() };
            BuiltLayer { concern: None, layer }
        })
        .collect()
}

/// How much there is to read; a file that cannot be asked is found out when it is read.
fn bytes_of(tree: &Tree) -> u64 {
    tree.iter()
        .map(|(_, entry)| match &entry.kind {
            Kind::File(Source::File(path)) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
            _ => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests;
