//! The root made of a small system.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::fixture::debian;
use crate::libraries::Library;
use crate::tree::{Entry, Kind};

fn system() -> (TempDir, Sysroot) {
    let folder = tempfile::tempdir().unwrap();
    debian(folder.path());
    let sysroot = Sysroot::new(folder.path());
    (folder, sysroot)
}

fn text(entry: Option<&Entry>) -> String {
    match entry.map(|entry| &entry.kind) {
        Some(Kind::File(Source::Bytes(bytes))) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn library(path: &str) -> Library {
    Library { name: String::new(), path: path.to_owned(), source: path.into(), needed_by: String::new() }
}

#[test]
fn the_account_owns_its_home_and_data_and_nothing_else() {
    let data = ["/var/lib/rtc".to_owned()];
    let tree = minimal(&Libraries::default(), &Account::default(), &data).unwrap();
    let owned: Vec<&str> =
        tree.iter().filter(|(_, entry)| entry.owner != ROOT).map(|(path, _)| path).collect();
    assert_eq!(owned, ["home/nonroot", "var/lib/rtc"]);
    assert_eq!(tree.get("/tmp").unwrap().mode, 0o1777);
    assert!(text(tree.get("/etc/passwd")).contains("\nnonroot:x:65532:65532:nonroot:/home/nonroot:"));
    assert!(text(tree.get("/etc/group")).contains("\nnonroot:x:65532:\n"));
    assert!(text(tree.get("/etc/nsswitch.conf")).contains("hosts:\tfiles dns\n"));
}

#[test]
fn libraries_lie_where_they_are_looked_for() {
    let libraries = Libraries {
        loader: Some(library("/usr/lib64/ld.so")),
        libraries: vec![library("/usr/lib/libc.so.6")],
        links: [("/lib64".to_owned(), "usr/lib64".to_owned())].into(),
    };
    let tree = minimal(&libraries, &Account::default(), &[]).unwrap();
    assert_eq!(tree.get("/lib64").unwrap().kind, Kind::Link("usr/lib64".to_owned()));
    assert_eq!(tree.get("/usr/lib64/ld.so").unwrap().mode, 0o755);
    assert_eq!(tree.get("/usr/lib/libc.so.6").unwrap().mode, 0o644);
    assert_eq!(tree.get("/usr/lib64").unwrap().kind, Kind::Directory);
}

#[test]
fn what_lies_within_a_link_lies_where_the_link_leads() {
    let libraries = Libraries {
        loader: None,
        libraries: vec![library("/lib/own/libown.so")],
        links: [("/lib".to_owned(), "usr/lib".to_owned())].into(),
    };
    let tree = minimal(&libraries, &Account::default(), &["/lib/state".to_owned()]).unwrap();
    assert!(tree.get("/usr/lib/own/libown.so").is_some());
    assert_eq!(tree.get("/usr/lib/state").unwrap().owner, Account::default().owner());
}

#[test]
fn root_and_nobody_are_there_once() {
    for (name, uid, count) in [("root", 0, 2), ("nobody", 65534, 2), ("rtc", 1000, 3), ("other", 0, 2)] {
        let account = Account { name: name.to_owned(), uid, gid: uid, home: "/".to_owned() };
        let tree = minimal(&Libraries::default(), &account, &[]).unwrap();
        assert_eq!(text(tree.get("/etc/passwd")).lines().count(), count, "{name}");
    }
}

#[test]
fn a_name_that_would_break_the_file_is_refused() {
    for name in ["", "a:b", "a\nb", "Root", "1a", "-a", &"a".repeat(33)] {
        let account = Account { name: name.to_owned(), ..Account::default() };
        let made = minimal(&Libraries::default(), &account, &[]);
        assert!(matches!(made, Err(Error::Account { .. })), "{name:?}");
    }
}

#[test]
fn all_zones_are_those_that_are_no_machines_own_and_no_repetition() {
    let (_folder, system) = system();
    let tree = world(&system, &Certificates::OfSystem, &Zones::All).unwrap();
    let files: Vec<&str> =
        tree.iter().filter(|(_, entry)| entry.kind != Kind::Directory).map(|(path, _)| path).collect();
    let zones = ["Asia/Seoul", "Etc/UTC", "ROK"].map(|zone| format!("usr/share/zoneinfo/{zone}"));
    let expected: Vec<&str> = std::iter::once("etc/ssl/certs/ca-certificates.crt")
        .chain(zones.iter().map(String::as_str))
        .collect();
    assert_eq!(files, expected);
    assert_eq!(tree.get("/usr/share/zoneinfo/ROK").unwrap().kind, Kind::Link("Asia/Seoul".to_owned()));
}

#[test]
fn a_named_zone_comes_alone_and_an_alias_with_its_content() {
    let (folder, system) = system();
    let tree = world(&system, &Certificates::None, &Zones::Named(vec!["ROK".to_owned()])).unwrap();
    let source = folder.path().join("usr/share/zoneinfo/Asia/Seoul");
    assert_eq!(tree.get("/usr/share/zoneinfo/ROK").unwrap().kind, Kind::File(Source::File(source)));
    for name in ["Asia/Nowhere", "Asia", "../zoneinfo/ROK", ""] {
        let named = world(&system, &Certificates::None, &Zones::Named(vec![name.to_owned()]));
        assert!(matches!(named, Err(Error::UnknownZone { .. })), "{name:?}: {named:?}");
    }
}

#[test]
fn a_system_without_certificates_or_zones_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let system = Sysroot::new(folder.path());
    let made = world(&system, &Certificates::OfSystem, &Zones::None);
    assert!(matches!(made, Err(Error::MissingCertificates { .. })));
    let made = world(&system, &Certificates::None, &Zones::All);
    assert!(matches!(made, Err(Error::MissingZones { .. })));
    let own = Certificates::File(Path::new("/own.pem").to_owned());
    assert!(world(&system, &own, &Zones::None).unwrap().get("/etc/ssl/certs/ca-certificates.crt").is_some());
}
