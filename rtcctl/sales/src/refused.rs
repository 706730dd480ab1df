//! Why a line, or a whole file, is not used, and how what stood there is shown.

use std::fmt;

use codes::Code;

/// Why a line, or a whole file, was not used. The name is stable and is what scripts compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    FileUnreadable,
    FileRepeated,
    FileEmpty,
    HeaderUnknown,
    LineTooLong,
    BadEncoding,
    NulByte,
    BadQuoting,
    WrongColumns,
    NoInvoice,
    NoStockCode,
    BadQuantity,
    BadPrice,
    BadAmount,
    BadDate,
}

impl Fault {
    /// Every fault, those of whole files first.
    pub const ALL: [Fault; 15] = [
        Fault::FileUnreadable,
        Fault::FileRepeated,
        Fault::FileEmpty,
        Fault::HeaderUnknown,
        Fault::LineTooLong,
        Fault::BadEncoding,
        Fault::NulByte,
        Fault::BadQuoting,
        Fault::WrongColumns,
        Fault::NoInvoice,
        Fault::NoStockCode,
        Fault::BadQuantity,
        Fault::BadPrice,
        Fault::BadAmount,
        Fault::BadDate,
    ];

    /// Its documentation.
    pub fn code(self) -> &'static Code {
        match self {
            Fault::FileUnreadable => &codes::RPL001,
            Fault::FileRepeated => &codes::RPL002,
            Fault::FileEmpty => &codes::RPL003,
            Fault::HeaderUnknown => &codes::RPL004,
            Fault::LineTooLong => &codes::RPL010,
            Fault::BadEncoding => &codes::RPL011,
            Fault::NulByte => &codes::RPL012,
            Fault::BadQuoting => &codes::RPL013,
            Fault::WrongColumns => &codes::RPL014,
            Fault::NoInvoice => &codes::RPL020,
            Fault::NoStockCode => &codes::RPL021,
            Fault::BadQuantity => &codes::RPL022,
            Fault::BadPrice => &codes::RPL023,
            Fault::BadAmount => &codes::RPL024,
            Fault::BadDate => &codes::RPL025,
        }
    }

    /// Whether it takes a whole file out and not one line of it.
    pub const fn is_of_the_file(self) -> bool {
        matches!(self, Fault::FileUnreadable | Fault::FileRepeated | Fault::FileEmpty | Fault::HeaderUnknown)
    }
}

/// A line that is not used: where it begins (1 is the first of the file, 0 the file itself), why, and what stood there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub line: u64,
    pub fault: Fault,
    pub detail: String,
}

impl Refused {
    pub fn new(line: u64, fault: Fault, detail: impl Into<String>) -> Self {
        Self { line, fault, detail: detail.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {} {}", self.line, self.fault.code().id, self.detail)
    }
}

/// The start of `bytes` as it may stand in a message: short, on one line, control characters escaped.
pub(super) fn shown(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST * 4)]);
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(LONGEST).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{start:?}{more}")
}
