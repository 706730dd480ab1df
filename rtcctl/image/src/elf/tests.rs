//! ELF files of every kind, and what only looks like one.

use super::*;
use crate::fixture::{AARCH64, LOADER, Made, X86_64, put};

fn read(bytes: &[u8]) -> Result<Elf, Error> {
    let folder = tempfile::tempdir().unwrap();
    Elf::read(&put(folder.path().join("file"), bytes))
}

#[test]
fn a_program_says_its_platform_loader_and_libraries() {
    let made = Made::program(X86_64, LOADER).needs("libm.so.6").needs("libc.so.6").rpath("/a:$ORIGIN/b");
    let elf = read(&made.bytes()).unwrap();
    assert_eq!(elf.platform.to_string(), "linux/amd64");
    assert_eq!(elf.linkage, Linkage::Dynamic);
    assert_eq!(elf.interpreter.as_deref(), Some(LOADER));
    assert_eq!(elf.needed, ["libm.so.6", "libc.so.6"]);
    assert_eq!(elf.rpath, ["/a", "$ORIGIN/b"]);
}

#[test]
fn a_header_of_aarch64_is_linux_arm64() {
    let elf = read(&Made::program(AARCH64, "/lib/ld-linux-aarch64.so.1").bytes()).unwrap();
    assert_eq!(elf.platform.to_string(), "linux/arm64");
}

#[test]
fn a_runpath_silences_the_rpath() {
    let elf = read(&Made::program(X86_64, LOADER).rpath("/a").runpath("/b").bytes()).unwrap();
    assert_eq!((elf.rpath, elf.runpath), (Vec::new(), vec!["/b".to_owned()]));
}

#[test]
fn static_programs_have_no_loader() {
    let plain = read(&Made::static_program(X86_64).bytes()).unwrap();
    assert_eq!((plain.linkage, plain.interpreter), (Linkage::Static, None));
    let pie = read(&Made::static_pie(AARCH64).bytes()).unwrap();
    assert_eq!((pie.linkage, pie.interpreter), (Linkage::StaticPie, None));
}

#[test]
fn a_library_is_no_program() {
    let elf = read(&Made::library(X86_64, "libz.so.1").needs("libc.so.6").bytes()).unwrap();
    assert_eq!((elf.linkage, elf.soname.as_deref()), (Linkage::Library, Some("libz.so.1")));
}

#[test]
fn what_is_no_elf_is_told_as_such() {
    for bytes in [b"#!/bin/sh\necho a program that is a script\n".as_slice(), b"", b"\x7fEL", b"MZ\x90\0"] {
        assert!(matches!(read(bytes), Err(Error::NotElf { .. })), "{bytes:?}");
    }
    assert!(matches!(Elf::read(Path::new("/")), Err(Error::NotElf { .. })));
}

#[test]
fn a_file_that_is_not_there_is_unreadable() {
    let read = Elf::read(Path::new("/nowhere/rtcd"));
    assert!(matches!(read, Err(Error::Unreadable { path, .. }) if path == Path::new("/nowhere/rtcd")));
}

#[test]
fn a_machine_without_a_platform_is_named() {
    let read = read(&Made::program(8, LOADER).bytes());
    assert!(matches!(read, Err(Error::UnknownMachine { machine: 8, .. })), "{read:?}");
}

#[test]
fn a_file_cut_off_anywhere_is_an_error_and_no_panic() {
    let whole = Made::program(X86_64, LOADER).needs("libc.so.6").bytes();
    for length in 0..whole.len() {
        let read = read(&whole[..length]);
        assert!(matches!(read, Err(Error::NotElf { .. } | Error::Malformed { .. })), "{length}: {read:?}");
    }
}

#[test]
fn no_byte_of_the_headers_makes_it_panic() {
    let whole = Made::program(X86_64, LOADER).needs("libc.so.6").bytes();
    let mut refused = 0;
    for index in 0..whole.len() {
        for value in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[index] = value;
            refused += usize::from(read(&bytes).is_err());
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn this_very_program_is_read() {
    let elf = Elf::read(&std::env::current_exe().unwrap()).unwrap();
    assert_ne!(elf.linkage, Linkage::Library);
    assert_eq!(elf.interpreter.is_some(), elf.linkage == Linkage::Dynamic);
}
