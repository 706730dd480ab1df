//! `/etc/ld.so.cache` as `ldconfig` writes it, and the folders of `/etc/ld.so.conf` where there is none.

use std::collections::BTreeMap;
use std::io;

use crate::error::{Error, Result};
use crate::sysroot::{Sysroot, split};

const CACHE: &str = "/etc/ld.so.cache";
const CONFIGURATION: &str = "/etc/ld.so.conf";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;
/// Files that include each other deeper than this do so in a circle.
const INCLUDES_MAX: usize = 8;

/// Paths by name of library, in the loader's order; `None` where there is no cache.
pub fn read(sysroot: &Sysroot) -> Result<Option<BTreeMap<String, Vec<String>>>> {
    let malformed =
        |reason: &str| Error::Malformed { path: sysroot.on_machine(CACHE), reason: reason.to_owned() };
    let bytes = match sysroot.read(CACHE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Unreadable { path: sysroot.on_machine(CACHE), source }),
    };
    // Older ones have the same table after one of an earlier format.
    let start = bytes
        .windows(MAGIC.len())
        .position(|window| window == MAGIC)
        .ok_or_else(|| malformed("it is of no format that glibc reads"))?;
    let table = &bytes[start..];
    let number = |offset: usize| {
        table
            .get(offset..offset + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_le_bytes)
            .ok_or_else(|| malformed("it ends too early"))
    };
    let text = |offset: usize| {
        let rest = table.get(offset..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        String::from_utf8_lossy(&rest[..end]).into_owned()
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for index in 0..number(MAGIC.len())? as usize {
        let entry = HEADER_BYTES + index * ENTRY_BYTES;
        // A library for some processors only.
        let capability = u64::from(number(entry + 16)?) | u64::from(number(entry + 20)?) << 32;
        if capability == 0 {
            let (name, path) = (text(number(entry + 4)? as usize), text(number(entry + 8)? as usize));
            found.entry(name).or_default().push(path);
        }
    }
    Ok(Some(found))
}

/// The folders that `ldconfig` would search.
pub fn configured_folders(sysroot: &Sysroot) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    configured(sysroot, CONFIGURATION, INCLUDES_MAX, &mut folders)?;
    Ok(folders)
}

fn configured(sysroot: &Sysroot, path: &str, depth: usize, folders: &mut Vec<String>) -> Result<()> {
    let unreadable = |source| Error::Unreadable { path: sysroot.on_machine(path), source };
    let text = match sysroot.read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(unreadable(source)),
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("include") if depth > 0 => {
                for pattern in words {
                    for included in matching(sysroot, path, pattern).map_err(unreadable)? {
                        configured(sysroot, &included, depth - 1, folders)?;
                    }
                }
            }
            Some("hwcap" | "include") | None => {}
            Some(_) => folders.extend(
                line.split([',', ':', ' ', '\t'])
                    .filter(|folder| folder.starts_with('/'))
                    .map(|folder| folder.trim_end_matches('/').to_owned()),
            ),
        }
    }
    Ok(())
}

/// The files of a pattern with at most one `*`, in its last part, as all systems write it.
fn matching(sysroot: &Sysroot, from: &str, pattern: &str) -> io::Result<Vec<String>> {
    let pattern = match pattern.starts_with('/') {
        true => pattern.to_owned(),
        false => format!("{}/{pattern}", split(from).0),
    };
    let (folder, name) = split(&pattern);
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![pattern.clone()]) };
    let names = match sysroot.names(folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(names
        .into_iter()
        .filter(|name| {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
        .filter(|name| !name.starts_with('.'))
        .map(|name| format!("{folder}/{name}"))
        .collect())
}
