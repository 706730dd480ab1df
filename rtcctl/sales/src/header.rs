//! Which column is which, by the names in the first line, in any order and any case.
//!
//! The names are those of the UCI "Online Retail" sets (both spellings of them: `InvoiceNo` and `Invoice`,
//! `UnitPrice` and `Price`, `CustomerID` and `Customer ID`). Columns of other names are passed over.

use super::records::Record;
use super::{Fault, Refused, shown};

/// The places of the columns that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    pub invoice: usize,
    pub stock_code: usize,
    pub quantity: usize,
    pub date: usize,
    pub price: usize,
    pub description: Option<usize>,
    pub customer: Option<usize>,
    pub country: Option<usize>,
    pub count: usize,
}

const NAMES: [(&str, &[&str]); 8] = [
    ("InvoiceNo", &["invoiceno", "invoice"]),
    ("StockCode", &["stockcode"]),
    ("Quantity", &["quantity"]),
    ("InvoiceDate", &["invoicedate"]),
    ("UnitPrice", &["unitprice", "price"]),
    ("Description", &["description"]),
    ("CustomerID", &["customerid"]),
    ("Country", &["country"]),
];
const REQUIRED: usize = 5;

impl Columns {
    /// Reads the names. The error says which are missing or named twice.
    pub fn find(header: &Record) -> Result<Columns, Refused> {
        let refused = |detail: String| Refused::new(header.line, Fault::HeaderUnknown, detail);
        let mut places = [None; NAMES.len()];
        for (index, name) in header.fields().enumerate() {
            let name = plain(name);
            let Some(known) = NAMES.iter().position(|(_, spellings)| spellings.contains(&name.as_str()))
            else {
                continue;
            };
            if places[known].replace(index).is_some() {
                return Err(refused(format!("the column {} is there twice", NAMES[known].0)));
            }
        }
        let missing: Vec<&str> = NAMES[..REQUIRED]
            .iter()
            .zip(places)
            .filter(|(_, place)| place.is_none())
            .map(|((name, _), _)| *name)
            .collect();
        match places {
            [
                Some(invoice),
                Some(stock_code),
                Some(quantity),
                Some(date),
                Some(price),
                description,
                customer,
                country,
            ] => Ok(Columns {
                invoice,
                stock_code,
                quantity,
                date,
                price,
                description,
                customer,
                country,
                count: header.len(),
            }),
            _ => Err(refused(format!(
                "no column {} in the header {}",
                missing.join(", "),
                shown(&header.fields().collect::<Vec<_>>().join(&b','))
            ))),
        }
    }
}

fn plain(name: &[u8]) -> String {
    name.iter()
        .filter(|byte| !matches!(byte, b' ' | b'_' | b'\t' | b'\r'))
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

/// What the marks at the start of a file say about its encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    None,
    Utf8,
    Utf16,
}

pub fn mark(start: &[u8]) -> Mark {
    match start {
        [0xef, 0xbb, 0xbf, ..] => Mark::Utf8,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Mark::Utf16,
        _ => Mark::None,
    }
}
