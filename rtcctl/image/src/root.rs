//! The least that a program needs around it: its loader and libraries, users, names, certificates, time zones.
//!
//! Invariant: what is in the root depends on the files taken and on the settings, on nothing else of the machine.

use std::io;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::libraries::Libraries;
use crate::sysroot::{Sysroot, normal, split};
use crate::tree::{Owner, READ, ROOT, SEARCHED, Source, Tree};

/// Who the program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

impl Default for Account {
    fn default() -> Account {
        Account { name: "nonroot".to_owned(), uid: 65532, gid: 65532, home: "/home/nonroot".to_owned() }
    }
}

impl Account {
    /// Whether a user may be called so in `/etc/passwd`.
    pub fn may_be_called(name: &str) -> bool {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        (1..=32).contains(&name.len())
            && name.bytes().all(plain)
            && !name.starts_with(|first: char| first.is_ascii_digit() || first == '-')
    }

    pub fn owner(&self) -> Owner {
        Owner { uid: self.uid.into(), gid: self.gid.into() }
    }
}

/// Whose signatures the program believes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Certificates {
    /// Those of the system that the image is built from.
    #[default]
    OfSystem,
    /// A file of certificates in PEM.
    File(PathBuf),
    None,
}

/// Which time zones are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Zones {
    #[default]
    All,
    /// For example `Asia/Seoul`.
    Named(Vec<String>),
    None,
}

/// Where it is read by OpenSSL, Go, and rustls with the certificates of the platform.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Debian and Alpine, Fedora, SUSE.
const CERTIFICATES_OF_SYSTEMS: [&str; 4] = [
    CERTIFICATES,
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const ZONES: &str = "/usr/share/zoneinfo";
/// The same zones again, with other ways to count seconds.
const ZONES_AGAIN: [&str; 2] = ["posix", "right"];
const NAMES: &str = "passwd:\tfiles\ngroup:\tfiles\nshadow:\tfiles\nhosts:\tfiles dns\nnetworks:\tfiles\nprotocols:\tfiles\nservices:\tfiles\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
const NOBODY: (&str, u32) = ("nobody", 65534);

/// Libraries, users and folders. `owned` are those that the account may write beside its home.
///
/// Errors: [`Error::Account`], [`Error::Conflict`], [`Error::Path`].
pub fn minimal(libraries: &Libraries, account: &Account, owned: &[String]) -> Result<Tree> {
    let mut tree = Tree::default();
    for (path, target) in &libraries.links {
        tree.link(path, target)?;
    }
    for library in &libraries.libraries {
        // Beside the program may be within a folder that is a link here.
        let path = tree.real(&library.path)?;
        tree.file(&path, READ, ROOT, Source::File(library.source.clone()))?;
    }
    if let Some(loader) = &libraries.loader {
        tree.file(&loader.path, SEARCHED, ROOT, Source::File(loader.source.clone()))?;
    }
    for folder in ["/dev", "/proc", "/run", "/sys"] {
        tree.directory(folder, SEARCHED, ROOT)?;
    }
    tree.directory("/tmp", 0o1777, ROOT)?;
    let (users, groups) = users(account)?;
    for (path, text) in [
        ("/etc/passwd", users.as_str()),
        ("/etc/group", groups.as_str()),
        ("/etc/nsswitch.conf", NAMES),
        ("/etc/hosts", HOSTS),
    ] {
        tree.file(path, READ, ROOT, Source::Bytes(text.as_bytes().to_vec()))?;
    }
    own(&mut tree, account, owned)?;
    tree.complete(&[])?;
    Ok(tree)
}

/// The folders that the account may write.
///
/// Errors: [`Error::Conflict`], [`Error::Path`].
pub fn own(tree: &mut Tree, account: &Account, owned: &[String]) -> Result<()> {
    for folder in std::iter::once(&account.home).chain(owned) {
        if *folder != "/" {
            let folder = tree.real(folder)?;
            tree.directory(&folder, SEARCHED, account.owner())?;
        }
    }
    Ok(())
}

/// The lines of `/etc/passwd` and of `/etc/group`.
fn users(account: &Account) -> Result<(String, String)> {
    let name = &account.name;
    if !Account::may_be_called(name) {
        return Err(Error::Account { name: name.clone() });
    }
    if account.home.contains([':', '\n']) {
        return Err(Error::Path { path: account.home.clone() });
    }
    let mut users = "root:x:0:0:root:/root:/sbin/nologin\n".to_owned();
    let mut groups = "root:x:0:\n".to_owned();
    if account.uid != 0 && name != "root" {
        users += &format!("{name}:x:{}:{}:{name}:{}:/sbin/nologin\n", account.uid, account.gid, account.home);
        if account.gid != 0 {
            groups += &format!("{name}:x:{}:\n", account.gid);
        }
    }
    if account.uid != NOBODY.1 && name != NOBODY.0 {
        users += &format!("{0}:x:{1}:{1}:{0}:/nonexistent:/sbin/nologin\n", NOBODY.0, NOBODY.1);
        groups += &format!("nogroup:x:{}:\n", NOBODY.1);
    }
    Ok((users, groups))
}

/// The file of certificates that a system has, by its path there.
pub(crate) fn certificates_of(system: &Sysroot) -> Option<String> {
    CERTIFICATES_OF_SYSTEMS.iter().find_map(|path| system.real(path).ok())
}

/// What goes out of date by itself: certificates and time zones.
///
/// Errors: [`Error::MissingCertificates`], [`Error::MissingZones`], [`Error::UnknownZone`], [`Error::Unreadable`].
pub fn world(system: &Sysroot, certificates: &Certificates, zones: &Zones) -> Result<Tree> {
    let mut tree = Tree::default();
    let file = match certificates {
        Certificates::OfSystem => {
            let missing = || Error::MissingCertificates { sysroot: system.on_machine("/") };
            Some(system.on_machine(&certificates_of(system).ok_or_else(missing)?))
        }
        Certificates::File(path) => Some(path.clone()),
        Certificates::None => None,
    };
    if let Some(file) = file {
        tree.file(CERTIFICATES, READ, ROOT, Source::File(file))?;
    }
    match zones {
        Zones::All => {
            let missing = || Error::MissingZones { path: system.on_machine(ZONES) };
            let names = system.names(ZONES).map_err(|_| missing())?;
            if names.is_empty() {
                return Err(missing());
            }
            for name in names.iter().filter(|name| !ZONES_AGAIN.contains(&name.as_str())) {
                zone(system, &format!("{ZONES}/{name}"), &mut tree)?;
            }
        }
        Zones::Named(names) => {
            for name in names {
                let path = format!("{ZONES}/{name}");
                let unknown = || Error::UnknownZone { name: name.clone() };
                let found = system.real(&path).map_err(|_| unknown())?;
                let source = system.on_machine(&found);
                if normal(&path) != path || !source.is_file() {
                    return Err(unknown());
                }
                tree.file(&path, READ, ROOT, Source::File(source))?;
            }
        }
        Zones::None => {}
    }
    tree.complete(&[])?;
    Ok(tree)
}

/// A file, link or folder of zones, with what is in it.
fn zone(system: &Sysroot, path: &str, tree: &mut Tree) -> Result<()> {
    let unreadable = |source: io::Error| Error::Unreadable { path: system.on_machine(path), source };
    // The parents are real, since they were reached by names; only the last part may be a link.
    let parent = system.real(split(path).0).map_err(unreadable)?;
    let on_machine = system.on_machine(&format!("{parent}/{}", split(path).1));
    let kind = std::fs::symlink_metadata(&on_machine).map_err(unreadable)?.file_type();
    if kind.is_dir() {
        for name in system.names(path).map_err(unreadable)? {
            zone(system, &format!("{path}/{name}"), tree)?;
        }
        return Ok(());
    }
    if kind.is_file() {
        return tree.file(path, READ, ROOT, Source::File(on_machine));
    }
    let target = std::fs::read_link(&on_machine).map_err(unreadable)?;
    // `localtime` leads to the zone of this machine, which is none of the image's business.
    let inside = target
        .to_str()
        .filter(|target| !target.starts_with('/'))
        .filter(|target| normal(&format!("{}/{target}", split(path).0)).starts_with(&format!("{ZONES}/")));
    match inside {
        Some(target) => tree.link(path, target),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
