//! Which programs an image is made of, and where their libraries are: as flags say, else as `rtc.toml` does.

use std::path::{Path, PathBuf};

use codes::{Error, Result};
use image::elf::Elf;
use image::platform::same;
use image::settings::Binary;
use oci::Platform;
use settings::ImageEntry;

use crate::context::Context;

/// The root of another platform's files.
struct Sysroot {
    /// `None` is for every program.
    platform: Option<Platform>,
    folder: PathBuf,
}

/// The programs of an image, in the order of the flags or of the file.
pub fn find(
    entry: &ImageEntry,
    programs: &[String],
    sysroots: &[String],
    context: &Context,
) -> Result<Vec<Binary>> {
    let mut given = Vec::new();
    for text in sysroots {
        given.push(sysroot(text, &context.current_dir)?);
    }
    let described: Vec<Binary> = entry
        .binaries
        .iter()
        .map(|binary| Binary {
            path: entry.folder.join(&binary.path),
            // What is written there was looked at when the file was read.
            platform: settings::platform(&binary.platform).ok(),
            sysroot: match binary.sysroot.as_str() {
                "" => PathBuf::from("/"),
                folder => entry.folder.join(folder),
            },
        })
        .collect();
    let mut binaries = match programs {
        [] => described.clone(),
        programs => programs.iter().map(|text| program(text, &context.current_dir)).collect(),
    };
    for binary in &mut binaries {
        // What is there and no file would be read for ever, or not at all.
        if std::fs::metadata(&binary.path).is_ok_and(|metadata| !metadata.is_file()) {
            let message = format!("{} is no file", binary.path.display());
            return Err(Error::new(&codes::IMG003, message).with_hint(codes::IMG003.action));
        }
        // What it is for is said by itself where nobody else does; that it is no program is told later.
        let platform = binary.platform.clone().or_else(|| Some(Elf::read(&binary.path).ok()?.platform));
        if let Some(folder) = folder_for(platform.as_ref(), &given, &described) {
            binary.sysroot = folder;
        }
        if !binary.sysroot.is_dir() {
            let message = format!("the sysroot {} is no folder", binary.sysroot.display());
            let hint = "a sysroot is the root of another system's files: --sysroot PLATFORM=DIR, or sysroot \
                        in binaries of rtc.toml";
            return Err(Error::new(&codes::IMG006, message).with_hint(hint));
        }
    }
    Ok(binaries)
}

/// The folder that was given for a platform, else the one for all, else what rtc.toml has for the same platform.
fn folder_for(platform: Option<&Platform>, given: &[Sysroot], described: &[Binary]) -> Option<PathBuf> {
    let fits = |wanted: Option<&Platform>| matches!((wanted, platform), (Some(one), Some(other)) if same(one, other));
    let named = given.iter().find(|sysroot| fits(sysroot.platform.as_ref()));
    let for_all = || given.iter().find(|sysroot| sysroot.platform.is_none());
    let of_file =
        || described.iter().find(|binary| fits(binary.platform.as_ref())).map(|binary| &binary.sysroot);
    named.or_else(for_all).map(|sysroot| &sysroot.folder).or_else(of_file).cloned()
}

/// `FILE` or `FILE=PLATFORM`. A file may have an equals sign in its name.
fn program(text: &str, folder: &Path) -> Binary {
    let whole = Binary::new(folder.join(text));
    match text.rsplit_once('=') {
        Some((file, platform)) if !file.is_empty() && !whole.path.exists() => {
            match settings::platform(platform) {
                Ok(platform) => Binary { platform: Some(platform), ..Binary::new(folder.join(file)) },
                Err(_) => whole,
            }
        }
        _ => whole,
    }
}

/// `DIR` or `PLATFORM=DIR`.
fn sysroot(text: &str, folder: &Path) -> Result<Sysroot> {
    let wrong = |problem: &str| Error::new(&codes::USE001, format!("--sysroot {text:?}: {problem}"));
    match text.split_once('=').map(|(platform, path)| (settings::platform(platform), path)) {
        Some((Ok(platform), path)) if !path.is_empty() => {
            Ok(Sysroot { platform: Some(platform), folder: folder.join(path) })
        }
        Some((Err(problem), path)) if !folder.join(text).is_dir() && !path.is_empty() => Err(wrong(&problem)),
        _ if text.is_empty() || text.ends_with('=') => Err(wrong("it names no folder")),
        _ => Ok(Sysroot { platform: None, folder: folder.join(text) }),
    }
}
