//! A file of sales, read from any reader with flat memory.
//!
//! Invariant: every line that is not blank and not the header is handed on exactly once, as a sale or as a refusal; only
//! a file without a usable header, or one that cannot be read further, is left, and that is said too.

use std::collections::HashMap;
use std::io::BufRead;
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use kernel::Currency;

use super::header::{Columns, Mark, mark};
use super::records::{Record, Records};
use super::sale::{Reading, Sale};
use super::{Fault, Refused, shown};

/// How many lines of each invoice were seen. One of these serves all files of a run, so that an invoice which goes on in
/// the next file goes on counting.
#[derive(Debug, Default)]
pub struct Invoices(HashMap<Box<str>, u32>);

impl Invoices {
    /// The position of the next line of `invoice`, from 1. A line that is refused for its content takes its position too:
    /// once it is repaired, the ids of the others are what they were.
    fn next(&mut self, invoice: &str) -> u32 {
        if let Some(count) = self.0.get_mut(invoice) {
            *count += 1;
            return *count;
        }
        self.0.insert(invoice.into(), 1);
        1
    }
}

/// How a file is to be understood.
#[derive(Debug, Clone)]
pub struct Options {
    pub currency: Currency,
    /// The zone of times that name none.
    pub zone: TimeZone,
}

/// What one line came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Sale(Sale),
    Refused(Refused),
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    pub sales: u64,
    pub refused: u64,
}

/// Reads `reader` to its end and gives each line to `sink`, which may ask to stop.
pub fn parse<R: BufRead>(
    reader: R,
    options: &Options,
    invoices: &mut Invoices,
    mut sink: impl FnMut(Item) -> ControlFlow<()>,
) -> Summary {
    let mut summary = Summary::default();
    let mut pass = |item: Item| {
        match item {
            Item::Sale(_) => summary.sales += 1,
            Item::Refused(_) => summary.refused += 1,
        }
        sink(item)
    };
    // The break of the sink needs no answer of its own: whoever asked to stop knows.
    let _ = read_all(reader, options, invoices, &mut pass);
    summary
}

fn read_all<R: BufRead>(
    mut reader: R,
    options: &Options,
    invoices: &mut Invoices,
    sink: &mut impl FnMut(Item) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut refuse = |refused: Refused| sink(Item::Refused(refused));
    match reader.fill_buf().map(mark) {
        Ok(Mark::None) => {}
        Ok(Mark::Utf8) => reader.consume(3),
        Ok(Mark::Utf16) => {
            let detail = "the file is UTF-16; it is wanted as UTF-8";
            return refuse(Refused::new(1, Fault::HeaderUnknown, detail));
        }
        Err(error) => return refuse(Refused::new(0, Fault::FileUnreadable, error.to_string())),
    }
    let mut records = Records::new(reader);
    let mut record = Record::default();
    match records.next(&mut record) {
        Err(error) => return refuse(Refused::new(0, Fault::FileUnreadable, error.to_string())),
        Ok(None) => return refuse(Refused::new(0, Fault::FileEmpty, "the file has no line")),
        Ok(Some(Err(refused))) => {
            let detail = format!("the header cannot be read: {}", refused.detail);
            return refuse(Refused::new(refused.line, Fault::HeaderUnknown, detail));
        }
        Ok(Some(Ok(()))) => {}
    }
    let (columns, delimiter) = match find_columns(&record) {
        Ok(found) => found,
        Err(refused) => return refuse(refused),
    };
    records.split_by(delimiter);
    let reading = Reading {
        columns,
        currency: options.currency,
        zone: options.zone.clone(),
        decimal_comma: delimiter == b';',
    };
    loop {
        let item = match records.next(&mut record) {
            Ok(None) => return ControlFlow::Continue(()),
            Ok(Some(Ok(()))) if record.len() != columns.count => {
                let fields: Vec<&[u8]> = record.fields().take(8).collect();
                let detail = format!(
                    "{} columns where the header has {}: {}",
                    record.len(),
                    columns.count,
                    shown(&fields.join(&delimiter))
                );
                records.reject();
                Item::Refused(Refused::new(record.line, Fault::WrongColumns, detail))
            }
            Ok(Some(Ok(()))) => {
                let position = reading.invoice(&record).map_or(0, |invoice| invoices.next(invoice));
                match reading.sale(&record, position) {
                    Ok(sale) => Item::Sale(sale),
                    Err(refused) => Item::Refused(refused),
                }
            }
            Ok(Some(Err(refused))) => Item::Refused(refused),
            Err(error) => {
                let detail = format!("the rest of the file cannot be read: {error}");
                sink(Item::Refused(Refused::new(records.position(), Fault::FileUnreadable, detail)))?;
                return ControlFlow::Continue(());
            }
        };
        sink(item)?;
    }
}

/// The columns, and which of `,` `;` and tab separates them.
fn find_columns(header: &Record) -> Result<(Columns, u8), Refused> {
    let by_comma = match Columns::find(header) {
        Ok(columns) => return Ok((columns, b',')),
        Err(refused) => refused,
    };
    let line = header.fields().collect::<Vec<_>>().join(&b',');
    for delimiter in [b';', b'\t'] {
        let mut records = Records::new(line.as_slice());
        records.split_by(delimiter);
        let mut record = Record::default();
        if let Ok(Some(Ok(()))) = records.next(&mut record)
            && let Ok(columns) = Columns::find(&record)
        {
            return Ok((columns, delimiter));
        }
    }
    Err(by_comma)
}
