//! What an ELF file says about itself: for which platform it is, how it is linked, what it needs.
//!
//! Only the program headers and the dynamic section are read, at their offsets: a file of any size takes the same
//! memory, and one without section headers is read as well.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use elf::abi;
use elf::dynamic::DynamicTable;
use elf::endian::{AnyEndian, EndianParse as _};
use elf::file::{Class, ELF32_EHDR_TAILSIZE, ELF64_EHDR_TAILSIZE, FileHeader, parse_ident};
use elf::parse::ParseError;
use elf::segment::{ProgramHeader, SegmentTable};
use oci::Platform;

use crate::error::Error;
use crate::platform::linux;

/// How a file is bound to its libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linkage {
    /// By a loader, at each start.
    Dynamic,
    /// It has everything in itself, and may be put at any address.
    StaticPie,
    /// It has everything in itself.
    Static,
    /// It is no program: a library, which others load.
    Library,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    pub platform: Platform,
    pub linkage: Linkage,
    /// The loader, `PT_INTERP`: `/lib64/ld-linux-x86-64.so.2`.
    pub interpreter: Option<String>,
    /// `DT_SONAME`
    pub soname: Option<String>,
    /// `DT_NEEDED`, in the order in which the loader takes them.
    pub needed: Vec<String>,
    /// `DT_RPATH`, which counts for what the libraries need too; empty where there is a `DT_RUNPATH`, as the loader
    /// ignores it then.
    pub rpath: Vec<String>,
    /// `DT_RUNPATH`, which counts for this file alone.
    pub runpath: Vec<String>,
    /// `DF_1_NODEFLIB`: neither the cache nor the default directories are searched.
    pub only_own_paths: bool,
}

/// A table larger than this is not one.
const TABLE_BYTES_MAX: u64 = 4 << 20;
/// The longest name or list of folders that is read.
const TEXT_BYTES_MAX: usize = 64 << 10;

impl Elf {
    /// Errors: [`Error::Unreadable`], [`Error::NotElf`], [`Error::Malformed`], [`Error::UnknownMachine`].
    pub fn read(path: &Path) -> Result<Elf, Error> {
        let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(Error::NotElf { path: path.to_owned() });
        }
        Reading { path, file: &file }.elf()
    }
}

struct Reading<'a> {
    path: &'a Path,
    file: &'a File,
}

impl Reading<'_> {
    fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::Malformed { path: self.path.to_owned(), reason: reason.into() }
    }

    fn wrong(&self) -> impl Fn(ParseError) -> Error {
        |error| self.malformed(error.to_string())
    }

    fn bytes(&self, what: &str, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        if length > TABLE_BYTES_MAX {
            return Err(self.malformed(format!("{what} of {length} bytes")));
        }
        let mut bytes = vec![0; length as usize];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.malformed(format!("{what} lies beyond the end of the file")))
            }
            Err(source) => Err(Error::Unreadable { path: self.path.to_owned(), source }),
        }
    }

    fn elf(&self) -> Result<Elf, Error> {
        let header = self.header()?;
        let platform = self.platform(&header)?;
        let segments = self.segments(&header)?;
        let interpreter = match segments.iter().find(|segment| segment.p_type == abi::PT_INTERP) {
            Some(segment) => {
                let bytes = self.bytes("the name of the loader", segment.p_offset, segment.p_filesz)?;
                Some(self.text(bytes.split(|byte| *byte == 0).next().unwrap_or_default())?)
            }
            None => None,
        };
        let dynamic = self.dynamic(&header, &segments)?;
        let linkage = match (header.e_type, &interpreter, &dynamic) {
            (abi::ET_EXEC | abi::ET_DYN, Some(_), Some(_)) => Linkage::Dynamic,
            (abi::ET_EXEC, _, None) => Linkage::Static,
            (abi::ET_DYN, None, Some(dynamic)) if dynamic.pie => Linkage::StaticPie,
            (abi::ET_EXEC, None, Some(dynamic)) if dynamic.needed.is_empty() => Linkage::Static,
            (abi::ET_DYN, ..) => Linkage::Library,
            _ => return Err(Error::NotExecutable { path: self.path.to_owned() }),
        };
        let dynamic = dynamic.unwrap_or_default();
        Ok(Elf {
            platform,
            linkage,
            interpreter,
            soname: dynamic.soname,
            needed: dynamic.needed,
            rpath: if dynamic.runpath.is_empty() { dynamic.rpath } else { Vec::new() },
            runpath: dynamic.runpath,
            only_own_paths: dynamic.only_own_paths,
        })
    }

    fn header(&self) -> Result<FileHeader<AnyEndian>, Error> {
        let mut start = [0; abi::EI_NIDENT];
        match self.file.read_exact_at(&mut start, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Error::NotElf { path: self.path.to_owned() });
            }
            Err(source) => return Err(Error::Unreadable { path: self.path.to_owned(), source }),
        }
        let ident = match parse_ident::<AnyEndian>(&start) {
            Err(ParseError::BadMagic(_)) => return Err(Error::NotElf { path: self.path.to_owned() }),
            other => other.map_err(self.wrong())?,
        };
        let tail = match ident.1 {
            Class::ELF32 => ELF32_EHDR_TAILSIZE,
            Class::ELF64 => ELF64_EHDR_TAILSIZE,
        };
        let tail = self.bytes("the header", abi::EI_NIDENT as u64, tail as u64)?;
        FileHeader::parse_tail(ident, &tail).map_err(self.wrong())
    }

    fn platform(&self, header: &FileHeader<AnyEndian>) -> Result<Platform, Error> {
        let (architecture, variant) = match (header.e_machine, header.class, header.endianness.is_little()) {
            (abi::EM_X86_64, Class::ELF64, true) => ("amd64", None),
            (abi::EM_AARCH64, Class::ELF64, true) => ("arm64", None),
            (abi::EM_386, Class::ELF32, true) => ("386", None),
            (abi::EM_ARM, Class::ELF32, true) => ("arm", Some("v7")),
            (abi::EM_RISCV, Class::ELF64, true) => ("riscv64", None),
            (abi::EM_PPC64, Class::ELF64, true) => ("ppc64le", None),
            (abi::EM_S390, Class::ELF64, false) => ("s390x", None),
            (abi::EM_LOONGARCH, Class::ELF64, true) => ("loong64", None),
            (machine, ..) => return Err(Error::UnknownMachine { path: self.path.to_owned(), machine }),
        };
        Ok(linux(architecture, variant))
    }

    fn segments(&self, header: &FileHeader<AnyEndian>) -> Result<Vec<ProgramHeader>, Error> {
        if header.e_phoff == 0 || header.e_phnum == 0 {
            return Ok(Vec::new());
        }
        let entry = match header.class {
            Class::ELF32 => 32,
            Class::ELF64 => 56,
        };
        if header.e_phentsize != entry {
            return Err(self.malformed(format!("program headers of {} bytes each", header.e_phentsize)));
        }
        let length = u64::from(entry) * u64::from(header.e_phnum);
        let bytes = self.bytes("the table of program headers", header.e_phoff, length)?;
        Ok(SegmentTable::new(header.endianness, header.class, &bytes).iter().collect())
    }

    fn dynamic(
        &self,
        header: &FileHeader<AnyEndian>,
        segments: &[ProgramHeader],
    ) -> Result<Option<Dynamic>, Error> {
        let Some(segment) = segments.iter().find(|segment| segment.p_type == abi::PT_DYNAMIC) else {
            return Ok(None);
        };
        let bytes = self.bytes("the dynamic section", segment.p_offset, segment.p_filesz)?;
        let entries: Vec<(i64, u64)> = DynamicTable::new(header.endianness, header.class, &bytes)
            .iter()
            .take_while(|entry| entry.d_tag != abi::DT_NULL)
            .map(|entry| (entry.d_tag, entry.d_val()))
            .collect();
        let value = |tag| entries.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value);
        let strings = match (value(abi::DT_STRTAB), value(abi::DT_STRSZ)) {
            (Some(address), Some(length)) => {
                Some((self.offset(segments, address).ok_or_else(|| self.malformed("no strings"))?, length))
            }
            _ => None,
        };
        let text = |index: u64| match strings {
            Some((offset, length)) if index < length => self.string(offset + index, length - index),
            _ => Err(self.malformed("a name lies outside of the strings")),
        };
        let mut dynamic = Dynamic::default();
        for (tag, value) in &entries {
            match *tag {
                abi::DT_NEEDED => dynamic.needed.push(text(*value)?),
                abi::DT_SONAME => dynamic.soname = Some(text(*value)?),
                abi::DT_RPATH => dynamic.rpath = folders(&text(*value)?),
                abi::DT_RUNPATH => dynamic.runpath = folders(&text(*value)?),
                abi::DT_FLAGS_1 => {
                    dynamic.pie = value & DF_1_PIE != 0;
                    dynamic.only_own_paths = value & DF_1_NODEFLIB != 0;
                }
                _ => {}
            }
        }
        Ok(Some(dynamic))
    }

    /// Where in the file lies what is loaded at an address.
    fn offset(&self, segments: &[ProgramHeader], address: u64) -> Option<u64> {
        segments
            .iter()
            .filter(|segment| segment.p_type == abi::PT_LOAD)
            .find(|segment| {
                address.checked_sub(segment.p_vaddr).is_some_and(|inside| inside < segment.p_filesz)
            })
            .and_then(|segment| segment.p_offset.checked_add(address - segment.p_vaddr))
    }

    fn string(&self, offset: u64, rest: u64) -> Result<String, Error> {
        let mut bytes = vec![0; rest.min(256) as usize];
        loop {
            let read = self
                .file
                .read_at(&mut bytes, offset)
                .map_err(|source| Error::Unreadable { path: self.path.to_owned(), source })?;
            if let Some(end) = bytes[..read].iter().position(|byte| *byte == 0) {
                return self.text(&bytes[..end]);
            }
            if read < bytes.len() || bytes.len() as u64 >= rest || bytes.len() >= TEXT_BYTES_MAX {
                return Err(self.malformed("a name without an end"));
            }
            bytes = vec![0; (bytes.len() * 4).min(rest as usize)];
        }
    }

    fn text(&self, bytes: &[u8]) -> Result<String, Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.malformed("a name that is no text")),
        }
    }
}

const DF_1_NODEFLIB: u64 = 0x0000_0800;
const DF_1_PIE: u64 = 0x0800_0000;

#[derive(Default)]
struct Dynamic {
    soname: Option<String>,
    needed: Vec<String>,
    rpath: Vec<String>,
    runpath: Vec<String>,
    pie: bool,
    only_own_paths: bool,
}

fn folders(list: &str) -> Vec<String> {
    list.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
