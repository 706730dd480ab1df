//! What an image is made of, as an SPDX 2.3 document that refers to it.
//!
//! Invariants: the same image and the same lock file give the same document; every relationship is between things that
//! the document has; what is not known is `NOASSERTION` and never guessed.

pub mod crates;
mod debian;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use oci::{Descriptor, Layout, Manifest, Platform, media};
use serde_json::{Value, json};

use crate::configuration::time;
use crate::contents::Contents;
use crate::error::Result;
use crate::libraries::Libraries;
use crate::root::{Certificates, Zones, certificates_of};
use crate::settings::{Base, Foundation, Settings};
use crate::sysroot::Sysroot;
use crates::Crate;

const UNKNOWN: &str = "NOASSERTION";
const DOCUMENT: &str = "SPDXRef-DOCUMENT";
/// How far the list of crates can be believed.
const COMMENT: &str = "Crates are those that the lock file reaches from the binary's package: for every platform, \
                       build dependencies and optional ones included, development dependencies left out.";

/// An image, and what it was built from.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub settings: &'a Settings,
    pub platform: &'a Platform,
    pub manifest: &'a Descriptor,
    pub binary: &'a Path,
    /// What was packed, of the binary and of what comes with it.
    pub contents: &'a Contents,
    /// The binary's package first.
    pub crates: &'a [Crate],
    pub libraries: &'a Libraries,
    pub sysroot: &'a Sysroot,
    pub base: Option<&'a Base>,
}

/// Puts the document into the layout, with a manifest that refers to the image's. Gives the descriptor of that manifest.
///
/// Errors: [`Error::Unreadable`], [`Error::Time`], [`Error::Full`], [`Error::Layout`].
pub fn attach(subject: &Subject<'_>, layout: &Layout) -> Result<Descriptor> {
    let document = layout.put_document(media::SPDX, &document(subject)?)?;
    let empty = layout.put_blob(b"{}")?.descriptor(media::EMPTY);
    let mut manifest = Manifest::new(empty, vec![document]);
    manifest.artifact_type = Some(media::SPDX.to_owned());
    manifest.subject = Some(subject.manifest.clone());
    let created = time(subject.settings.epoch)?;
    manifest.annotations = Some([("org.opencontainers.image.created".to_owned(), created)].into());
    let mut descriptor = layout.put_document(media::MANIFEST, &manifest)?;
    descriptor.artifact_type = Some(media::SPDX.to_owned());
    Ok(descriptor)
}

/// Things and how they belong together, while the document is written.
#[derive(Default)]
struct Bill {
    packages: Vec<Value>,
    relationships: Vec<Value>,
    identifiers: BTreeSet<String>,
}

/// A package as SPDX wants to know it.
struct Package {
    name: String,
    version: Option<String>,
    location: String,
    licence: String,
    purpose: &'static str,
    sha256: Option<String>,
    file: Option<String>,
    purl: String,
    info: Option<String>,
}

impl Bill {
    /// The identifier that was given.
    fn add(&mut self, package: Package) -> String {
        let plain: String = format!("{}-{}", package.name, package.version.as_deref().unwrap_or("file"))
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
            .collect();
        let mut identifier = format!("SPDXRef-{}-{plain}", package.purpose.to_lowercase());
        let mut count = 1;
        while !self.identifiers.insert(identifier.clone()) {
            count += 1;
            identifier = format!("SPDXRef-{}-{plain}-{count}", package.purpose.to_lowercase());
        }
        let mut value = json!({ "SPDXID": identifier, "name": package.name });
        let mut say = |key: &str, said: Option<Value>| {
            if let Some(said) = said {
                value[key] = said;
            }
        };
        say("versionInfo", package.version.map(Value::from));
        say("packageFileName", package.file.map(Value::from));
        say("downloadLocation", Some(package.location.into()));
        say("filesAnalyzed", Some(false.into()));
        let checksum = |hex: String| json!([{ "algorithm": "SHA256", "checksumValue": hex }]);
        say("checksums", package.sha256.map(checksum));
        say("sourceInfo", package.info.map(Value::from));
        say("licenseConcluded", Some(UNKNOWN.into()));
        say("licenseDeclared", Some(package.licence.into()));
        say("copyrightText", Some(UNKNOWN.into()));
        let reference = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": package.purl,
        }]);
        say("externalRefs", Some(reference));
        say("primaryPackagePurpose", Some(package.purpose.into()));
        self.packages.push(value);
        identifier
    }

    fn relate(&mut self, one: &str, how: &str, other: &str) {
        self.relationships.push(json!({
            "spdxElementId": one,
            "relationshipType": how,
            "relatedSpdxElement": other,
        }));
    }
}

/// The document itself.
///
/// Errors: [`Error::Unreadable`], [`Error::Time`].
pub fn document(subject: &Subject<'_>) -> Result<Value> {
    let settings = subject.settings;
    let mut bill = Bill::default();
    let image = bill.add(image(subject));
    bill.relate(DOCUMENT, "DESCRIBES", &image);
    let application = add_crates(&mut bill, subject)?;
    bill.relate(&image, "CONTAINS", &application);
    for package in packages(subject)? {
        let identifier = bill.add(package);
        bill.relate(&image, "CONTAINS", &identifier);
    }
    if let Some(base) = subject.base {
        let identifier = bill.add(of_base(base));
        bill.relate(&image, "DESCENDANT_OF", &identifier);
    }
    let digest = subject.manifest.digest.hex();
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": format!("{}-{}", settings.name, subject.platform),
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{digest}", percent(&settings.name)),
        "creationInfo": {
            "created": time(settings.epoch)?,
            "creators": [concat!("Tool: rtcctl-", env!("CARGO_PKG_VERSION"))],
            "comment": COMMENT,
        },
        "packages": bill.packages,
        "relationships": bill.relationships,
    }))
}

fn image(subject: &Subject<'_>) -> Package {
    let name = &subject.settings.name;
    let query = format!("?arch={}", subject.platform.architecture);
    container(name, name, subject.manifest, &query)
}

fn of_base(base: &Base) -> Package {
    let path = base.name.split(['@', ':']).next().unwrap_or_default();
    container(&base.name, path.rsplit('/').next().unwrap_or_default(), &base.manifest, "")
}

/// `called` is its name as purl wants it, without a registry.
fn container(name: &str, called: &str, manifest: &Descriptor, query: &str) -> Package {
    let digest = manifest.digest;
    Package {
        name: name.to_owned(),
        version: Some(digest.to_string()),
        location: UNKNOWN.to_owned(),
        licence: UNKNOWN.to_owned(),
        purpose: "CONTAINER",
        sha256: Some(digest.hex()),
        file: None,
        purl: format!("pkg:oci/{}@sha256%3A{}{query}", percent(called), digest.hex()),
        info: None,
    }
}

/// The identifier of the binary's own package.
fn add_crates(bill: &mut Bill, subject: &Subject<'_>) -> Result<String> {
    let mut identifiers = Vec::new();
    for (index, krate) in subject.crates.iter().enumerate() {
        let is_program = index == 0;
        let sha256 = match is_program {
            true => Some(subject.contents.sha256(subject.binary)?),
            false => krate.checksum.clone(),
        };
        let (purl, location) = krate.origin();
        identifiers.push(bill.add(Package {
            name: krate.name.clone(),
            version: Some(krate.version.clone()),
            location: location.unwrap_or_else(|| UNKNOWN.to_owned()),
            licence: krate.licence.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            purpose: if is_program { "APPLICATION" } else { "LIBRARY" },
            sha256,
            file: is_program.then(|| format!(".{}", subject.settings.target())),
            purl,
            info: None,
        }));
    }
    for (krate, identifier) in subject.crates.iter().zip(&identifiers) {
        for dependency in &krate.dependencies {
            bill.relate(identifier, "DEPENDS_ON", &identifiers[*dependency]);
        }
    }
    Ok(identifiers[0].clone())
}

/// What was taken from a system: packages of Debian where they are known, files where they are not.
fn packages(subject: &Subject<'_>) -> Result<Vec<Package>> {
    let mut found = BTreeMap::new();
    if matches!(subject.settings.foundation, Foundation::Bases(_)) {
        return Ok(Vec::new());
    }
    let libraries = subject.libraries.libraries.iter().chain(&subject.libraries.loader);
    let libraries: Vec<(String, String)> =
        libraries.map(|library| (library.source.display().to_string(), library.path.clone())).collect();
    let system = Sysroot::new(&subject.settings.system);
    let mut world = Vec::new();
    if subject.settings.certificates == Certificates::OfSystem
        && let Some(path) = certificates_of(&system)
    {
        world.push((system.on_machine(&path).display().to_string(), path));
    }
    if subject.settings.zones != Zones::None
        && let Ok(located) = system.locate("/usr/share/zoneinfo/tzdata.zi")
    {
        world.push((located.source.display().to_string(), located.path));
    }
    for (sysroot, files) in [(subject.sysroot, libraries), (&system, world)] {
        let owners = debian::owners(sysroot, &files)?;
        for ((source, path), owner) in files.iter().zip(owners) {
            let package = match owner {
                Some(owner) => owner.package(),
                None => of_file(Path::new(source), path, subject.contents)?,
            };
            found.insert(package.purl.clone(), package);
        }
    }
    Ok(found.into_values().collect())
}

impl debian::Owner {
    fn package(self) -> Package {
        Package {
            location: UNKNOWN.to_owned(),
            licence: self.licence.unwrap_or_else(|| UNKNOWN.to_owned()),
            purpose: "LIBRARY",
            sha256: None,
            file: None,
            purl: format!(
                "pkg:deb/{}/{}@{}?arch={}{}",
                percent(&self.distribution),
                percent(&self.name),
                percent(&self.version),
                percent(&self.architecture),
                self.release.map(|release| format!("&distro={}", percent(&release))).unwrap_or_default(),
            ),
            info: self.source.map(|source| format!("built from the source package {source}")),
            name: self.name,
            version: Some(self.version),
        }
    }
}

fn of_file(source: &Path, path: &str, contents: &Contents) -> Result<Package> {
    let sha256 = contents.sha256(source)?;
    let name = path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(Package {
        version: None,
        location: UNKNOWN.to_owned(),
        licence: UNKNOWN.to_owned(),
        purpose: "FILE",
        file: Some(format!(".{path}")),
        purl: format!("pkg:generic/{}?checksum=sha256:{sha256}", percent(&name)),
        sha256: Some(sha256),
        info: None,
        name,
    })
}

/// As package URLs want it: everything but letters, digits and `.-_~` by its number.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}

#[cfg(test)]
mod tests;
