//! A file of sales: read whole and read byte by byte, it is the same, and the summary counts what was handed on.

#![no_main]

use std::io::{BufReader, Read};
use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use kernel::Currency;
use libfuzzer_sys::fuzz_target;
use sales::{Invoices, Item, Options, Summary, parse};

fn read(reader: impl Read, buffer: usize) -> (Vec<Item>, Summary) {
    let options = Options { currency: Currency::GBP, zone: TimeZone::UTC };
    let mut items = Vec::new();
    let reader = BufReader::with_capacity(buffer, reader);
    let summary = parse(reader, &options, &mut Invoices::default(), |item| {
        items.push(item);
        ControlFlow::Continue(())
    });
    (items, summary)
}

fuzz_target!(|bytes: &[u8]| {
    let (items, summary) = read(bytes, 64 * 1024);
    assert_eq!(summary.sales + summary.refused, items.len() as u64);
    // Four bytes hold a byte order mark.
    assert_eq!((items, summary), read(bytes, 4), "how the bytes arrive must not matter");
});
