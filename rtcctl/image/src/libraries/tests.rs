//! Libraries found as the loader finds them, in sysroots made by hand.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::fixture::{AARCH64, LOADER, Made, X86_64, debian, put};

const TARGET: &str = "/usr/local/bin/rtcd";

fn sysroot() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    debian(&root);
    (folder, root)
}

fn resolved(folder: &TempDir, made: &Made) -> Result<Libraries> {
    let binary = made.write(folder.path().join("build/rtcd"));
    let elf = Elf::read(&binary).unwrap();
    resolve(&binary, &elf, TARGET, &Sysroot::new(folder.path().join("root")))
}

fn paths(libraries: &Libraries) -> Vec<&str> {
    libraries.libraries.iter().map(|library| library.path.as_str()).collect()
}

fn program() -> Made {
    Made::program(X86_64, LOADER)
}

const FOLDER: &str = "/usr/lib/x86_64-linux-gnu";

#[test]
fn what_is_needed_by_what_is_needed_comes_too() {
    let (folder, root) = sysroot();
    let found = resolved(&folder, &program().needs("libm.so.6")).unwrap();
    assert_eq!(paths(&found), [format!("{FOLDER}/libc.so.6"), format!("{FOLDER}/libm.so.6")]);
    assert_eq!(
        found.links,
        BTreeMap::from([
            ("/lib".to_owned(), "usr/lib".to_owned()),
            ("/lib64".to_owned(), "usr/lib64".to_owned())
        ])
    );
    let loader = found.loader.unwrap();
    assert_eq!(loader.path, "/usr/lib64/ld-linux-x86-64.so.2");
    assert_eq!(loader.source, root.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
}

#[test]
fn a_library_lies_under_its_soname_whatever_its_file_is_called() {
    let (folder, root) = sysroot();
    let found = resolved(&folder, &program().needs("libz.so.1").needs("libc.so.6")).unwrap();
    let library = found.libraries.iter().find(|library| library.name == "libz.so.1").unwrap();
    assert_eq!(library.path, format!("{FOLDER}/libz.so.1"));
    assert_eq!(library.source, root.join("usr/lib/x86_64-linux-gnu/libz.so.1.3.1"));
}

#[test]
fn a_static_program_needs_nothing() {
    let (folder, _) = sysroot();
    assert_eq!(resolved(&folder, &Made::static_program(X86_64)).unwrap(), Libraries::default());
}

#[test]
fn a_missing_library_is_named_with_who_needs_it() {
    let (folder, root) = sysroot();
    let library = Made::library(X86_64, "libp.so").needs("libq.so.3");
    let library = library.write(root.join("usr/lib/x86_64-linux-gnu/libp.so"));
    match resolved(&folder, &program().needs("libp.so")) {
        Err(Error::MissingLibrary { name, needed_by }) => {
            assert_eq!((name.as_str(), needed_by), ("libq.so.3", library.display().to_string()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_loader_is_a_missing_library() {
    let (folder, _) = sysroot();
    let made = Made::program(X86_64, "/lib/ld-musl-x86_64.so.1");
    let found = resolved(&folder, &made);
    assert!(matches!(found, Err(Error::MissingLibrary { name, .. }) if name == "/lib/ld-musl-x86_64.so.1"));
}

#[test]
fn a_sysroot_for_another_machine_is_told_as_such() {
    let (folder, root) = sysroot();
    let path = "/lib/ld-linux-aarch64.so.1";
    let told = |has: &str| match resolved(&folder, &Made::program(AARCH64, path).needs("libc.so.6")) {
        Err(error @ Error::ForeignSysroot { .. }) => {
            let text = error.to_string();
            let place =
                format!("is for linux/arm64, and its libraries are looked for in {}, ", root.display());
            assert!(text.contains(&format!("{place}which has {has}; it needs a sysroot")), "{text}");
        }
        other => panic!("{other:?}"),
    };
    told("those for linux/amd64 only");
    Made::library(X86_64, "ld-linux-aarch64.so.1").write(root.join("usr/lib/ld-linux-aarch64.so.1"));
    told("those for linux/amd64 only");
    std::fs::remove_file(root.join("usr/lib/ld-linux-aarch64.so.1")).unwrap();
    std::fs::remove_file(root.join("usr/lib64/ld-linux-x86-64.so.2")).unwrap();
    told("none");
    Made::library(AARCH64, "ld-musl-aarch64.so.1").write(root.join("usr/lib/ld-musl-aarch64.so.1"));
    let found = resolved(&folder, &Made::program(AARCH64, path));
    assert!(matches!(found, Err(Error::MissingLibrary { name, .. }) if name == path));
}

#[test]
fn a_library_for_another_machine_is_passed_over() {
    let (folder, root) = sysroot();
    Made::library(AARCH64, "libq.so").write(root.join("usr/lib/x86_64-linux-gnu/libq.so"));
    Made::library(X86_64, "libq.so").write(root.join("usr/lib64/libq.so"));
    let found = resolved(&folder, &program().needs("libq.so").needs("libc.so.6")).unwrap();
    assert!(paths(&found).contains(&"/usr/lib64/libq.so"), "{found:?}");
}

#[test]
fn beside_the_program_stays_beside_the_program() {
    let (folder, _) = sysroot();
    let beside = folder.path().join("build/lib/libown.so");
    Made::library(X86_64, "libown.so").needs("libdeep.so").rpath("${ORIGIN}/deep").write(&beside);
    Made::library(X86_64, "libdeep.so").write(folder.path().join("build/lib/deep/libdeep.so"));
    let found = resolved(&folder, &program().needs("libown.so").runpath("$ORIGIN/lib")).unwrap();
    assert_eq!(paths(&found), ["/usr/local/bin/lib/deep/libdeep.so", "/usr/local/bin/lib/libown.so"]);
    assert!(found.links.keys().all(|path| !path.contains("libown")), "{:?}", found.links);
}

#[test]
fn an_rpath_counts_for_what_libraries_need_and_a_runpath_does_not() {
    let (folder, root) = sysroot();
    Made::library(X86_64, "libone.so").needs("libtwo.so").write(root.join("opt/x/libone.so"));
    Made::library(X86_64, "libtwo.so").write(root.join("opt/x/libtwo.so"));
    let found = resolved(&folder, &program().needs("libone.so").rpath("/opt/x")).unwrap();
    assert_eq!(paths(&found), ["/opt/x/libone.so", "/opt/x/libtwo.so"]);
    let found = resolved(&folder, &program().needs("libone.so").runpath("/opt/x"));
    assert!(matches!(found, Err(Error::MissingLibrary { name, .. }) if name == "libtwo.so"));
}

#[test]
fn what_only_the_configuration_knows_gets_a_link_where_the_loader_looks() {
    let (folder, root) = sysroot();
    put(root.join("etc/ld.so.conf"), b"include ld.so.conf.d/*.conf # all of them\n");
    put(root.join("etc/ld.so.conf.d/opt.conf"), b"/opt/far/lib/\n");
    put(root.join("etc/ld.so.conf.d/ignored"), b"/opt/other\n");
    Made::library(X86_64, "libfar.so.2").write(root.join("opt/far/lib/libfar.so.2"));
    let found = resolved(&folder, &program().needs("libfar.so.2").needs("libc.so.6")).unwrap();
    assert!(paths(&found).contains(&"/opt/far/lib/libfar.so.2"));
    let link = found.links.get(&format!("{FOLDER}/libfar.so.2")).map(String::as_str);
    assert_eq!(link, Some("/opt/far/lib/libfar.so.2"));
}

/// A cache of glibc with entries of name, path and what the processor must be able to.
fn cache(entries: &[(&str, &str, u64)]) -> Vec<u8> {
    let mut strings = Vec::new();
    let mut table = Vec::new();
    let start = 48 + 24 * entries.len();
    for (name, path, capability) in entries {
        let mut offset = |text: &str| {
            let at = (start + strings.len()) as u32;
            strings.extend(text.bytes().chain(std::iter::once(0)));
            at.to_le_bytes()
        };
        let (name, path) = (offset(name), offset(path));
        table.extend([0x0303_u32.to_le_bytes(), name, path, [0; 4]].concat());
        table.extend(capability.to_le_bytes());
    }
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend((entries.len() as u32).to_le_bytes());
    bytes.extend((strings.len() as u32).to_le_bytes());
    bytes.resize(48, 0);
    [bytes, table, strings].concat()
}

#[test]
fn the_cache_is_believed_before_the_default_folders_and_variants_are_passed_over() {
    let (folder, root) = sysroot();
    let entries = [
        ("libm.so.6", "/usr/lib/glibc-hwcaps/x86-64-v3/libm.so.6", 1 << 62),
        ("libm.so.6", "/opt/m/libm.so.6", 0),
        ("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", 0),
    ];
    put(root.join("etc/ld.so.cache"), &cache(&entries));
    Made::library(X86_64, "libm.so.6").write(root.join("opt/m/libm.so.6"));
    Made::library(X86_64, "libm.so.6").write(root.join("usr/lib/glibc-hwcaps/x86-64-v3/libm.so.6"));
    let found = resolved(&folder, &program().needs("libm.so.6").needs("libc.so.6")).unwrap();
    assert_eq!(paths(&found), ["/opt/m/libm.so.6".to_owned(), format!("{FOLDER}/libc.so.6")]);
    assert_eq!(found.links.get(&format!("{FOLDER}/libm.so.6")).unwrap(), "/opt/m/libm.so.6");
}

#[test]
fn a_broken_cache_is_an_error() {
    let (folder, root) = sysroot();
    let mut bytes = cache(&[("libc.so.6", "/lib/x86_64-linux-gnu/libc.so.6", 0)]);
    bytes[20] = 200;
    put(root.join("etc/ld.so.cache"), &bytes);
    assert!(matches!(resolved(&folder, &program().needs("libc.so.6")), Err(Error::Malformed { .. })));
}

#[test]
fn what_glibc_opens_by_itself_comes_if_it_exists() {
    let (folder, root) = sysroot();
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    Made::library(X86_64, "libnss_dns.so.2").needs("libresolv.so.2").write(libraries.join("libnss_dns.so.2"));
    Made::library(X86_64, "libresolv.so.2").write(libraries.join("libresolv.so.2"));
    let found = resolved(&folder, &program().needs("libc.so.6")).unwrap();
    let names: Vec<&str> = found.libraries.iter().map(|library| library.name.as_str()).collect();
    assert_eq!(names, ["libc.so.6", "libnss_dns.so.2", "libresolv.so.2"]);
}

#[test]
fn musl_is_its_own_libc() {
    let (folder, root) = sysroot();
    Made::library(X86_64, "ld-musl-x86_64.so.1").write(root.join("usr/lib/ld-musl-x86_64.so.1"));
    let made = Made::program(X86_64, "/lib/ld-musl-x86_64.so.1").needs("libc.musl-x86_64.so.1");
    let found = resolved(&folder, &made).unwrap();
    assert_eq!(paths(&found), Vec::<&str>::new());
    assert_eq!(found.loader.unwrap().path, "/usr/lib/ld-musl-x86_64.so.1");
}

#[test]
fn a_circle_of_libraries_ends() {
    let (folder, root) = sysroot();
    let libraries = root.join("usr/lib");
    Made::library(X86_64, "liba.so").needs("libb.so").write(libraries.join("liba.so"));
    Made::library(X86_64, "libb.so").needs("liba.so").write(libraries.join("libb.so"));
    symlink("libc.so", libraries.join("libc.so")).unwrap();
    let found = resolved(&folder, &program().needs("liba.so")).unwrap();
    assert_eq!(found.libraries.len(), 2);
}

#[test]
fn what_this_program_is_loaded_with_is_what_the_kernel_has_mapped() {
    let binary = std::env::current_exe().unwrap();
    let elf = Elf::read(&binary).unwrap();
    let found = resolve(&binary, &elf, TARGET, &Sysroot::default()).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let sources: Vec<PathBuf> = found
        .libraries
        .iter()
        .chain(&found.loader)
        .map(|library| library.source.canonicalize().unwrap())
        .collect();
    for line in maps.lines().filter(|line| line.contains(".so")) {
        let mapped = PathBuf::from(&line[line.find('/').unwrap()..]);
        assert!(sources.contains(&mapped), "{} is loaded and was not found: {sources:?}", mapped.display());
    }
}
