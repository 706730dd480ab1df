//! The document against the rules of SPDX 2.3.

use std::collections::HashSet;

use tempfile::TempDir;

use super::*;
use crate::build::build;
use crate::error::Error;
use crate::fixture::{project, put, workspace};
use crate::settings::Materials;

fn layout(folder: &TempDir) -> Layout {
    Layout::create(folder.path().join("layout")).unwrap()
}

/// The bill of materials of an image built in a folder, as it lies in the layout.
fn bill(folder: &TempDir, settings: &Settings) -> Value {
    let layout = layout(folder);
    let built = build(settings, &layout, &|_| {}).unwrap();
    let referrer = layout.document(built.images[0].sbom.as_ref().unwrap()).unwrap();
    let oci::Document::Manifest(referrer) = referrer else { panic!("no manifest") };
    assert_eq!(referrer.layers[0].media_type, "application/spdx+json");
    serde_json::from_slice(&layout.read_blob(&referrer.layers[0]).unwrap()).unwrap()
}

fn prepared() -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = project(folder.path());
    let lock = workspace(&folder.path().join("source"));
    settings.materials = Some(Materials { lock, package: "rtcd".to_owned() });
    settings.epoch = 1_700_000_000;
    (folder, settings)
}

fn texts<'a>(document: &'a Value, list: &str, key: &str) -> Vec<&'a str> {
    document[list].as_array().unwrap().iter().map(|value| value[key].as_str().unwrap()).collect()
}

/// What the specification demands of a document, its packages and its relationships.
fn check(document: &Value) {
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["dataLicense"], "CC0-1.0");
    assert_eq!(document["SPDXID"], "SPDXRef-DOCUMENT");
    assert!(!document["name"].as_str().unwrap().is_empty());
    let namespace = document["documentNamespace"].as_str().unwrap();
    assert!(namespace.starts_with("https://") && !namespace.contains(['#', ' ']), "{namespace}");
    let created = document["creationInfo"]["created"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z') && created.as_bytes()[10] == b'T', "{created}");
    let creators = document["creationInfo"]["creators"].as_array().unwrap();
    assert!(creators.iter().all(|creator| {
        let creator = creator.as_str().unwrap();
        ["Tool: ", "Person: ", "Organization: "].iter().any(|kind| creator.starts_with(kind))
    }));
    assert!(!creators.is_empty());

    let mut identifiers = HashSet::from(["SPDXRef-DOCUMENT"]);
    for package in document["packages"].as_array().unwrap() {
        let identifier = package["SPDXID"].as_str().unwrap();
        let rest = identifier.strip_prefix("SPDXRef-").unwrap();
        assert!(rest.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-".contains(letter)), "{rest}");
        assert!(identifiers.insert(identifier), "{identifier} is there twice");
        for required in ["name", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"] {
            assert!(!package[required].as_str().unwrap().is_empty(), "{identifier}: {required}");
        }
        assert_eq!(package["filesAnalyzed"], false, "there is no verification code");
        let purposes = ["APPLICATION", "CONTAINER", "LIBRARY", "FILE"];
        assert!(purposes.contains(&package["primaryPackagePurpose"].as_str().unwrap()));
        for checksum in package["checksums"].as_array().into_iter().flatten() {
            assert_eq!(checksum["algorithm"], "SHA256");
            let value = checksum["checksumValue"].as_str().unwrap();
            assert!(value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
        }
        let reference = &package["externalRefs"][0];
        assert_eq!(reference["referenceCategory"], "PACKAGE-MANAGER");
        assert_eq!(reference["referenceType"], "purl");
        let purl = reference["referenceLocator"].as_str().unwrap();
        assert!(purl.starts_with("pkg:") && !purl.contains([' ', '+']), "{purl}");
    }
    let kinds = ["DESCRIBES", "CONTAINS", "DEPENDS_ON", "DESCENDANT_OF"];
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            let identifier = relationship[end].as_str().unwrap();
            assert!(identifiers.contains(identifier), "{identifier} is not in the document");
        }
        assert!(kinds.contains(&relationship["relationshipType"].as_str().unwrap()));
    }
    assert!(texts(document, "relationships", "relationshipType").contains(&"DESCRIBES"));
}

#[test]
fn the_document_keeps_the_rules_of_spdx() {
    let (folder, settings) = prepared();
    let document = bill(&folder, &settings);
    check(&document);
    assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
    // How far it can be believed is in it.
    let comment = document["creationInfo"]["comment"].as_str().unwrap();
    assert!(comment.contains("for every platform") && comment.contains("development dependencies left out"));
}

#[test]
fn crates_are_those_that_the_package_reaches_without_what_only_tests_need() {
    let (folder, settings) = prepared();
    let document = bill(&folder, &settings);
    let references: Vec<&str> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| package["externalRefs"][0]["referenceLocator"].as_str().unwrap())
        .filter(|purl| purl.starts_with("pkg:cargo/"))
        .collect();
    assert_eq!(
        references,
        [
            "pkg:cargo/rtcd@0.1.0",
            "pkg:cargo/app-words@0.1.0",
            "pkg:cargo/cc@1.2.0",
            "pkg:cargo/forked@0.3.1?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Fforked%400123abc",
            "pkg:cargo/libc@0.2.1",
            "pkg:cargo/serde@1.0.2%2Bb",
        ]
    );
    let package = |name: &str| {
        document["packages"]
            .as_array()
            .unwrap()
            .iter()
            .find(|package| package["name"] == name && package["primaryPackagePurpose"] != "CONTAINER")
            .unwrap()
    };
    assert_eq!(package("rtcd")["licenseDeclared"], "Apache-2.0", "inherited from the workspace");
    assert_eq!(
        package("rtcd")["checksums"][0]["checksumValue"],
        Contents::default().sha256(&settings.binaries[0].path).unwrap()
    );
    assert_eq!(package("libc")["downloadLocation"], "https://static.crates.io/crates/libc/libc-0.2.1.crate");
    let depends: Vec<(&str, &str)> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|relationship| relationship["relationshipType"] == "DEPENDS_ON")
        .map(|relationship| {
            (
                relationship["spdxElementId"].as_str().unwrap(),
                relationship["relatedSpdxElement"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(
        depends.contains(&("SPDXRef-library-app-words-0.1.0", "SPDXRef-library-cc-1.2.0")),
        "{depends:?}"
    );
    assert_eq!(depends.len(), 6);
}

#[test]
fn packages_of_debian_are_named_and_other_files_have_their_digest() {
    let (folder, settings) = prepared();
    let root = folder.path().join("root");
    // As dpkg notes it in a system whose /usr was merged later.
    put(
        root.join("var/lib/dpkg/info/libc6:amd64.list"),
        b"/.\n/lib/x86_64-linux-gnu/libc.so.6\n/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n",
    );
    put(root.join("var/lib/dpkg/info/tzdata.list"), b"/usr/share/zoneinfo/tzdata.zi\n");
    put(root.join("usr/share/zoneinfo/tzdata.zi"), b"# version 2026a\n");
    put(
        root.join("var/lib/dpkg/status"),
        b"Package: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 1\n\n\
          Package: libc6\nArchitecture: amd64\nSource: glibc\nVersion: 2.36-9+deb12u14\nDescription: C\n more\n\n\
          Package: tzdata\nArchitecture: all\nVersion: 2026a-0\n",
    );
    put(root.join("etc/os-release"), b"NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n");
    put(
        root.join("usr/share/doc/tzdata/copyright"),
        b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: x\nLicense: Expat\n",
    );
    let document = bill(&folder, &settings);
    check(&document);
    let references = |start: &str| -> Vec<(String, String)> {
        let packages = document["packages"].as_array().unwrap().iter();
        let with = packages.map(|package| {
            let purl = package["externalRefs"][0]["referenceLocator"].as_str().unwrap();
            (purl.to_owned(), package["licenseDeclared"].as_str().unwrap().to_owned())
        });
        with.filter(|(purl, _)| purl.starts_with(start)).collect()
    };
    assert_eq!(
        references("pkg:deb/"),
        [
            (
                "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=debian-12".to_owned(),
                UNKNOWN.to_owned()
            ),
            ("pkg:deb/debian/tzdata@2026a-0?arch=all&distro=debian-12".to_owned(), "MIT".to_owned()),
        ]
    );
    let library = root.join("usr/lib/x86_64-linux-gnu/libm.so.6");
    let expected =
        format!("pkg:generic/libm.so.6?checksum=sha256:{}", Contents::default().sha256(&library).unwrap());
    assert!(references("pkg:generic/").iter().any(|(purl, _)| *purl == expected), "{document:#}");
}

#[test]
fn the_same_image_has_the_same_document() {
    let (folder, settings) = prepared();
    let first = bill(&folder, &settings);
    let (folder, settings) = prepared();
    let second = bill(&folder, &settings);
    assert_eq!(first, second);
}

#[test]
fn lock_files_that_are_none_are_refused() {
    let (folder, settings) = prepared();
    let mut materials = settings.materials.unwrap();
    let read = |materials: &Materials| crates::read(materials).unwrap_err();
    materials.package = "absent".to_owned();
    assert!(matches!(read(&materials), Error::UnknownPackage { package, .. } if package == "absent"));
    materials.package = "serde".to_owned();
    assert!(matches!(read(&materials), Error::UnknownPackage { .. }), "no package of the workspace");
    materials.lock = put(folder.path().join("broken"), b"[[package]\n");
    assert!(matches!(read(&materials), Error::Lock { .. }));
    materials.lock = put(
        folder.path().join("holes"),
        b"[[package]]\nname = \"rtcd\"\nversion = \"1.0.0\"\ndependencies = [\"gone\"]\n",
    );
    materials.package = "rtcd".to_owned();
    assert!(matches!(read(&materials), Error::Lock { reason, .. } if reason.contains("gone")));
}

#[test]
fn this_workspaces_own_lock_file_is_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let materials = Materials { lock: root.join("Cargo.lock"), package: "rtcd".to_owned() };
    let crates = crates::read(&materials).unwrap();
    let names: Vec<&str> = crates.iter().map(|krate| krate.name.as_str()).collect();
    assert_eq!(names[0], "rtcd");
    assert!(names.contains(&"rtc-orders") && names.contains(&"tokio"));
    assert!(!names.contains(&"rtc-testkit") && !names.contains(&"rtcctl"), "{names:?}");
}
