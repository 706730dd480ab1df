//! Why no image could be built, each reason by itself, so that whoever calls can give it a code and a hint.

use std::io;
use std::path::PathBuf;

use oci::Platform;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is no ELF file", path.display())]
    NotElf { path: PathBuf },
    /// A library, an object file, a core.
    #[error("{} is ELF, but no program", path.display())]
    NotExecutable { path: PathBuf },
    #[error("{} is broken: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// ELF for something that OCI has no name for, or that is not built for here.
    #[error("{} is for the machine {machine}, for which there is no platform", path.display())]
    UnknownMachine { path: PathBuf, machine: u16 },
    #[error("{} is for {found}, and {wanted} was asked for", path.display())]
    WrongMachine { path: PathBuf, wanted: Box<Platform>, found: Box<Platform> },
    #[error("the library {name}, which {needed_by} needs, is nowhere")]
    MissingLibrary { name: String, needed_by: String },
    /// The sysroot has no loader for the machine that the program is for.
    #[error(
        "{} is for {platform}, and its libraries are looked for in {}, which has {has}; it needs a sysroot or a base for \
         {platform}, or to be linked statically",
        path.display(),
        sysroot.display()
    )]
    ForeignSysroot { path: PathBuf, platform: Box<Platform>, sysroot: PathBuf, has: String },
    /// Permissions, a file that is not there, a broken disk.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} changed while it was packed", path.display())]
    ChangedMeanwhile { path: PathBuf },

    #[error("{path} is in the image twice, as {first} and as {second}")]
    Conflict { path: String, first: String, second: String },
    /// The program, or what comes with it, would hide something that the image needs.
    #[error("{path} would lie over what the root has there: {below}")]
    Covers { path: String, below: String },
    #[error("{path} is no path in an image")]
    Path { path: String },
    /// None of the places where systems keep them has certificates.
    #[error("no certificates of authorities in {}", sysroot.display())]
    MissingCertificates { sysroot: PathBuf },
    #[error("no time zones in {}", path.display())]
    MissingZones { path: PathBuf },
    #[error("there is no time zone {name}")]
    UnknownZone { name: String },
    #[error("user {name:?} cannot be in /etc/passwd")]
    Account { name: String },

    #[error("{port} is no port; it is written like 8080/tcp")]
    Port { port: String },
    #[error("{epoch} seconds after 1970 is no time")]
    Time { epoch: u64 },

    #[error("there is nothing to build: no binary was named")]
    NoBinary,
    #[error("two binaries for {platform}: {} and {}", first.display(), second.display())]
    SamePlatform { platform: Box<Platform>, first: PathBuf, second: PathBuf },
    /// The base is for something else than the binary.
    #[error("the base {base} is for {found}, and the binary for {wanted}")]
    WrongPlatform { base: String, wanted: Box<Platform>, found: Box<Platform> },
    /// No base was given for one of the binaries' platforms.
    #[error("there is no base for {platform}")]
    NoBase { platform: Box<Platform> },
    #[error("the base {base} is not valid: {reason}")]
    Base { base: String, reason: String },

    #[error("{} is no lock file: {reason}", path.display())]
    Lock { path: PathBuf, reason: String },
    #[error("there is no package {package} in {}", path.display())]
    UnknownPackage { package: String, path: PathBuf },

    /// An index, where the image of one platform is needed.
    #[error("{digest} is an index; the image of a platform is needed")]
    NoImage { digest: String },
    #[error("layer {layer} is not valid: {reason}")]
    Layer { layer: String, reason: String },
    /// Where the image is written there is no room.
    #[error("no room for the image: {source}")]
    Full { source: io::Error },
    #[error("the image cannot be written: {source}")]
    Write { source: io::Error },
    #[error(transparent)]
    Layout(oci::Error),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What a failed write is: a full disk, or something else.
    pub(crate) fn write(source: io::Error) -> Error {
        match is_full(&source) {
            true => Error::Full { source },
            false => Error::Write { source },
        }
    }
}

impl From<oci::Error> for Error {
    fn from(error: oci::Error) -> Error {
        match error {
            oci::Error::Io { path, source } if is_full(&source) => {
                Error::Full { source: io::Error::new(source.kind(), format!("{}: {source}", path.display())) }
            }
            other => Error::Layout(other),
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_one_error_wherever_it_was_found() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let path = PathBuf::from("/layout/blobs");
        assert!(matches!(Error::write(full()), Error::Full { .. }));
        match Error::from(oci::Error::Io { path: path.clone(), source: full() }) {
            Error::Full { source } => assert!(source.to_string().starts_with("/layout/blobs: ")),
            other => panic!("{other:?}"),
        }
        let other = oci::Error::Io { path, source: io::ErrorKind::PermissionDenied.into() };
        assert!(matches!(Error::from(other), Error::Layout(_)));
    }
}
