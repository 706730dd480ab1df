//! The reader of sales files and the counting, with files that are as bad as files get.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use kernel::{Currency, Money};
use proptest::prelude::*;

use super::*;

const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";
const GOOD: &str = "536365,71053,LANTERN,6,2010-12-01 08:26:00,3.39,17850.0,United Kingdom";

fn options() -> Options {
    Options { currency: Currency::GBP, zone: TimeZone::get("Europe/London").unwrap() }
}

fn read(reader: impl BufRead) -> (Vec<Sale>, Vec<Refused>) {
    let (mut sales, mut refused) = (Vec::new(), Vec::new());
    let summary = parse(reader, &options(), &mut Invoices::default(), |item| {
        match item {
            Item::Sale(sale) => sales.push(sale),
            Item::Refused(line) => refused.push(line),
        }
        ControlFlow::Continue(())
    });
    assert_eq!((summary.sales, summary.refused), (sales.len() as u64, refused.len() as u64));
    (sales, refused)
}

fn read_text(text: &str) -> (Vec<Sale>, Vec<Refused>) {
    read(text.as_bytes())
}

fn faults(refused: &[Refused]) -> Vec<(u64, Fault)> {
    refused.iter().map(|refused| (refused.line, refused.fault)).collect()
}

fn tally(sales: &[Sale]) -> Tally {
    let mut tally = Tally::default();
    sales.iter().for_each(|sale| tally.add(&sale.transaction));
    tally
}

fn retail_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|above| above.join("shared/data/online-retail"))
        .find(|folder| folder.is_dir());
    let Some(folder) = folder else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    files
}

/// The sum by another road: the last five numbers of a line are cut off from the right, prices are taken apart by hand.
fn pence_by_hand(text: &str) -> i128 {
    text.lines()
        .skip(1)
        .map(|line| {
            let mut from_the_right = line.rsplitn(6, ',');
            let (_country, _customer) = (from_the_right.next(), from_the_right.next());
            let price = from_the_right.next().unwrap();
            let _date = from_the_right.next();
            let quantity: i128 = from_the_right.next().unwrap().parse().unwrap();
            let (pounds, pence) = price.split_once('.').unwrap();
            let sign = if pounds.starts_with('-') { -1 } else { 1 };
            let pounds: i128 = pounds.trim_start_matches('-').parse().unwrap();
            let pence: i128 = format!("{pence:0<2}").parse().unwrap();
            quantity * sign * (pounds * 100 + pence)
        })
        .sum()
}

#[test]
fn six_days_of_a_real_shop_add_up_to_the_penny() {
    let files = retail_files();
    if files.is_empty() {
        eprintln!("the data set is not here; the fixture of this crate covers the same paths");
        return;
    }
    let (mut invoices, mut all, mut by_hand) = (Invoices::default(), Vec::new(), 0);
    for file in &files {
        by_hand += pence_by_hand(&std::fs::read_to_string(file).unwrap());
        let reader = BufReader::new(std::fs::File::open(file).unwrap());
        let summary = parse(reader, &options(), &mut invoices, |item| {
            match item {
                Item::Sale(sale) => all.push(sale),
                Item::Refused(refused) => panic!("{}: {refused}", file.display()),
            }
            ControlFlow::Continue(())
        });
        assert_eq!(summary.refused, 0);
    }
    let tally = tally(&all);
    assert_eq!((tally.lines(), tally.invoices(), tally.cancellations()), (16_985, 757, 79));
    assert_eq!(tally.stock_codes(), 2_334);
    assert_eq!(tally.totals(), [Money::new(28_076_648, Currency::GBP)]);
    assert_eq!(by_hand, 28_076_648);
    assert_eq!(tally.totals()[0].to_string(), "280,766.48 GBP");
    let mut ids: Vec<&str> = all.iter().map(|sale| sale.transaction.external_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 16_985, "each line has an id of its own");
}

#[test]
fn a_small_file_has_the_sums_that_a_pencil_gives() {
    let (sales, refused) = read_text(include_str!("fixtures/two-days.csv"));
    // 0.001 of a pound once is no whole penny; the line with a thousand half pennies is.
    assert_eq!(faults(&refused), [(7, Fault::BadAmount)]);
    let tally = tally(&sales);
    assert_eq!((tally.lines(), tally.invoices(), tally.cancellations(), tally.stock_codes()), (6, 4, 1, 5));
    assert_eq!(tally.totals(), [Money::new(1_530 + 2_034 + 255 - 500 + 500, Currency::GBP)]);
    let ids: Vec<&str> = sales.iter().map(|sale| sale.transaction.external_id.as_str()).collect();
    assert_eq!(ids, ["900001#1", "900001#2", "900001#3", "900002#1", "C900003#1", "900004#2"]);
    assert_eq!(sales[1].transaction.description, "LANTERN, METAL");
    assert_eq!(
        sales[3].transaction.description, "22139",
        "a line without a description is named by its code"
    );
    assert_eq!(sales[3].transaction.customer_ref, None);
    assert_eq!(sales[4].transaction.description, "THE \"OLD\" LANTERN");
    assert_eq!((sales[5].line, sales[5].transaction.description.as_str()), (8, "CARRIAGE\nAND PACKING"));
    let json = serde_json::to_string(&sales[0].transaction).unwrap();
    assert_eq!(
        json,
        "{\"external_id\":\"900001#1\",\"occurred_at\":\"2010-12-01T08:26:00.000Z\",\"amount\":1530,\
         \"currency\":\"GBP\",\"description\":\"WHITE LANTERN\",\"category\":\"United Kingdom\",\
         \"customer_ref\":\"17850\",\"sku\":\"85123A\",\"quantity\":6,\"invoice\":\"900001\"}"
    );
}

#[test]
fn columns_are_known_by_name_in_any_order_and_case() {
    let text = "COUNTRY,unitprice,Extra,invoicedate,quantity,\"stockcode\",InvoiceNo\r\nEIRE,2.00,x,2010-12-01 08:26,3,A1,7\r\n";
    let (sales, refused) = read_text(text);
    assert!(refused.is_empty(), "{refused:?}");
    let sale = &sales[0].transaction;
    assert_eq!((sale.external_id.as_str(), sale.amount.minor, sale.category.as_str()), ("7#1", 600, "EIRE"));
    let second_edition = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n";
    assert_eq!(read_text(&format!("{second_edition}{GOOD}\n")).0.len(), 1);
}

#[test]
fn a_byte_order_mark_and_a_last_line_without_an_end_are_nothing_special() {
    let (sales, refused) = read_text(&format!("\u{feff}{HEADER}\r\n{GOOD}\r\n\r\n{GOOD}"));
    assert_eq!((sales.len(), refused.len()), (2, 0));
    assert_eq!(sales[1].line, 4);
}

#[test]
fn semicolons_and_tabs_are_read_where_the_header_has_them() {
    let semicolons = HEADER.replace(',', ";") + "\n" + &GOOD.replace(',', ";").replace("3.39", "3,39") + "\n";
    assert_eq!(read_text(&semicolons).0[0].transaction.amount.minor, 2_034);
    let tabs = format!("{HEADER}\n{GOOD}\n").replace(',', "\t");
    assert_eq!(read_text(&tabs).0[0].transaction.amount.minor, 2_034);
    let mixed = format!("{HEADER}\n{}\n{GOOD}\n", GOOD.replace(',', ";"));
    let (sales, refused) = read_text(&mixed);
    assert_eq!((sales.len(), faults(&refused)), (1, vec![(2, Fault::WrongColumns)]));
}

#[test]
fn a_file_without_a_usable_header_is_refused_once_and_says_what_is_missing() {
    let (sales, refused) = read_text(&format!("InvoiceNo,Quantity,Country\n{GOOD}\n{GOOD}\n"));
    assert!(sales.is_empty());
    assert_eq!(faults(&refused), [(1, Fault::HeaderUnknown)]);
    assert!(refused[0].detail.contains("StockCode, InvoiceDate, UnitPrice"), "{}", refused[0].detail);
    assert_eq!(faults(&read_text(&format!("{HEADER},Quantity\n")).1), [(1, Fault::HeaderUnknown)]);
    assert_eq!(faults(&read(&b"\xff\xfeI\0n\0v\0"[..]).1), [(1, Fault::HeaderUnknown)]);
    assert_eq!(faults(&read_text("").1), [(0, Fault::FileEmpty)]);
    assert_eq!(faults(&read_text("\n \r\n").1), [(0, Fault::FileEmpty)]);
    assert_eq!(faults(&read_text(HEADER).1), []);
}

#[test]
fn a_bad_line_is_named_and_its_neighbours_are_used() {
    let mut file = Vec::new();
    for line in [
        HEADER.as_bytes(),
        GOOD.as_bytes(),
        b"536365,71053,CAF\xc9,6,2010-12-01 08:26:00,3.39,17850.0,France",
        b"536365,71053,NUL\0,6,2010-12-01 08:26:00,3.39,17850.0,France",
        b"536365,71053,SHORT,6",
        b",71053,X,6,2010-12-01 08:26:00,3.39,17850.0,France",
        b"536365,,X,6,2010-12-01 08:26:00,3.39,17850.0,France",
        b"536365,71053,X,six,2010-12-01 08:26:00,3.39,17850.0,France",
        b"536365,71053,X,6,2010-12-01 08:26:00,cheap,17850.0,France",
        b"536365,71053,X,6,2010-02-30 08:26:00,3.39,17850.0,France",
        b"536365,71053,\"X\"Y,6,2010-12-01 08:26:00,3.39,17850.0,France",
        GOOD.as_bytes(),
    ] {
        file.extend_from_slice(line);
        file.push(b'\n');
    }
    let (sales, refused) = read(file.as_slice());
    assert_eq!(sales.iter().map(|sale| sale.line).collect::<Vec<_>>(), [2, 12]);
    assert_eq!(
        faults(&refused),
        [
            (3, Fault::BadEncoding),
            (4, Fault::NulByte),
            (5, Fault::WrongColumns),
            (6, Fault::NoInvoice),
            (7, Fault::NoStockCode),
            (8, Fault::BadQuantity),
            (9, Fault::BadPrice),
            (10, Fault::BadDate),
            (11, Fault::BadQuoting),
        ]
    );
    // The lines that were read as lines of this invoice kept their places.
    assert_eq!(sales[1].transaction.external_id, "536365#8");
}

#[test]
fn an_open_quotation_mark_costs_one_line_and_not_the_rest_of_the_file() {
    let opened = "536365,1,\"OPEN,6,2010-12-01 08:26:00,3.39,1,France";
    let body = format!("{HEADER}\n{opened}\n{}", format!("{GOOD}\n").repeat(1_000));
    let (sales, refused) = read_text(&body);
    assert_eq!((sales.len(), faults(&refused)), (1_000, vec![(2, Fault::BadQuoting)]));
    assert_eq!((sales[0].line, sales[999].line), (3, 1_002));
    let swallowed = format!("{HEADER}\n{opened}\n{GOOD}\n{opened}\n{GOOD}\n");
    let (sales, refused) = read_text(&swallowed);
    assert_eq!(sales.iter().map(|sale| sale.line).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(faults(&refused), [(2, Fault::BadQuoting), (4, Fault::BadQuoting)]);
    // A closed quotation that swallowed a line and so has too few columns: the swallowed line is read on its own.
    let closed = format!("{HEADER}\n536365,\"1\n{GOOD}\n2\",X\n{GOOD}\n");
    let (sales, refused) = read_text(&closed);
    assert_eq!(sales.iter().map(|sale| sale.line).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(faults(&refused), [(2, Fault::WrongColumns), (4, Fault::WrongColumns)]);
}

/// A header, a line of `length` bytes that is never held anywhere, and a good line. It records the largest read.
struct Endless {
    head: io::Cursor<String>,
    left: u64,
    tail: io::Cursor<String>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.head.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        if self.left > 0 {
            let piece = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            buffer[..piece].fill(b'x');
            self.left -= piece as u64;
            return Ok(piece);
        }
        self.tail.read(buffer)
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_is_one_finding_and_is_not_kept() {
    for opening in ["", "536365,71053,\"OPEN\n"] {
        let endless = Endless {
            head: io::Cursor::new(format!("{HEADER}\n{opening}")),
            left: 100 << 20,
            tail: io::Cursor::new(format!("\n{GOOD}\n")),
        };
        let (sales, refused) = read(BufReader::new(endless));
        let line = 2 + opening.lines().count() as u64;
        assert_eq!(sales.iter().map(|sale| sale.line).collect::<Vec<_>>(), [line + 1]);
        let last = refused.last().unwrap();
        assert_eq!((last.line, last.fault), (line, Fault::LineTooLong));
        assert!(last.detail.len() < 200, "{}", last.detail.len());
    }
}

struct Broken(Vec<u8>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::other("the disk is gone"));
        }
        let piece = self.0.len().min(buffer.len());
        buffer[..piece].copy_from_slice(&self.0[..piece]);
        self.0.drain(..piece);
        Ok(piece)
    }
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_says_from_which_line() {
    let (sales, refused) = read(BufReader::new(Broken(format!("{HEADER}\n{GOOD}\n{GOOD}\n").into_bytes())));
    assert_eq!((sales.len(), faults(&refused)), (2, vec![(4, Fault::FileUnreadable)]));
}

#[test]
fn an_invoice_that_goes_on_in_the_next_file_goes_on_counting() {
    let mut invoices = Invoices::default();
    let mut ids = Vec::new();
    for _ in 0..2 {
        parse(format!("{HEADER}\n{GOOD}\n").as_bytes(), &options(), &mut invoices, |item| {
            if let Item::Sale(sale) = item {
                ids.push(sale.transaction.external_id);
            }
            ControlFlow::Continue(())
        });
    }
    assert_eq!(ids, ["536365#1", "536365#2"]);
}

#[test]
fn a_sink_that_has_enough_ends_the_reading() {
    let mut seen = 0;
    parse(format!("{HEADER}\n{GOOD}\n{GOOD}\n").as_bytes(), &options(), &mut Invoices::default(), |_| {
        seen += 1;
        ControlFlow::Break(())
    });
    assert_eq!(seen, 1);
}

#[test]
fn what_is_shown_of_a_line_cannot_steer_a_terminal() {
    let text = shown(b"\x1b[2Jboo\r\n");
    assert!(!text.contains('\x1b') && !text.contains('\n'), "{text}");
    assert!(shown(&[b'x'; 100_000]).len() < 80);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_to_the_end_and_no_line_counts_twice(
        pieces in prop::collection::vec(
            prop_oneof![
                Just(b"\n".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"\"".to_vec()),
                Just(b",".to_vec()),
                Just(GOOD.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..8),
            ],
            0..60,
        ),
        window in 1..64_usize,
    ) {
        let mut bytes = format!("{HEADER}\n").into_bytes();
        pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        let (sales, refused) = read(BufReader::with_capacity(window, bytes.as_slice()));
        let mut lines: Vec<u64> = sales.iter().map(|sale| sale.line).chain(refused.iter().map(|r| r.line)).collect();
        let found = lines.len();
        lines.sort_unstable();
        lines.dedup();
        prop_assert_eq!(found, lines.len(), "a line was handed on twice");
        let physical = bytes.split(|&byte| byte == b'\n').count() as u64;
        prop_assert!(lines.last().is_none_or(|&last| last <= physical));
    }

    #[test]
    fn bytes_that_are_no_file_of_sales_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (sales, refused) = read(bytes.as_slice());
        prop_assert!(sales.is_empty() && refused.len() == 1);
    }
}

#[test]
fn every_fault_has_a_code_of_its_own() {
    let mut codes: Vec<&str> = Fault::ALL.iter().map(|fault| fault.code().id).collect();
    codes.dedup();
    assert_eq!(codes.len(), Fault::ALL.len());
}
