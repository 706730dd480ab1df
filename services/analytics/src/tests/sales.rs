//! Sales to replay: six days of a British gift shop where the data is there, and a page of invented ones everywhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use kernel::{Currency, Money};
use serde_json::{Value, json};

/// Lines as they are sent, and what they must add up to.
pub struct Sales {
    pub items: Vec<Value>,
    pub lines: i64,
    pub invoices: i64,
    pub cancellations: i64,
    pub stock_codes: i64,
    pub amount: i64,
    pub by_country: BTreeMap<String, i64>,
    pub by_sku: BTreeMap<String, (i64, i64)>,
}

/// Looks for `shared/data/online-retail` from this crate's folder upwards.
pub fn data_set() -> Option<PathBuf> {
    let mut folder = Some(Path::new(env!("CARGO_MANIFEST_DIR")));
    while let Some(here) = folder {
        let data = here.join("shared/data/online-retail");
        if data.is_dir() {
            return Some(data);
        }
        folder = here.parent();
    }
    None
}

pub fn of_data_set(folder: &Path) -> Sales {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    let text: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    read(&text.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn of_fixture() -> Sales {
    read(&[include_str!("fixture.csv")])
}

/// Whichever there is.
pub fn any() -> Sales {
    data_set().map_or_else(of_fixture, |folder| of_data_set(&folder))
}

fn read(files: &[&str]) -> Sales {
    let mut sales = Sales {
        items: Vec::new(),
        lines: 0,
        invoices: 0,
        cancellations: 0,
        stock_codes: 0,
        amount: 0,
        by_country: BTreeMap::new(),
        by_sku: BTreeMap::new(),
    };
    let (mut invoices, mut positions) = (HashSet::new(), HashMap::<String, u32>::new());
    for file in files {
        for record in csv::Reader::from_reader(file.as_bytes()).records() {
            let record = record.unwrap();
            let [invoice, sku, description, quantity, date, price, customer, country] =
                std::array::from_fn(|column| record.get(column).unwrap().trim());
            let quantity: i64 = quantity.parse().unwrap();
            let amount = Money::parse_decimal(price, Currency::GBP).unwrap().minor * quantity;
            let position = positions.entry(invoice.to_owned()).or_default();
            *position += 1;
            let mut item = json!({
                "external_id": format!("{invoice}#{position}"),
                "occurred_at": format!("{}Z", date.replace(' ', "T")),
                "amount": amount, "currency": "GBP", "description": description, "category": country,
                "sku": sku, "quantity": quantity, "invoice": invoice,
            });
            if !customer.is_empty() {
                item["customer_ref"] = json!(customer);
            }
            sales.items.push(item);
            sales.lines += 1;
            sales.amount += amount;
            if invoices.insert(invoice.to_owned()) {
                sales.invoices += 1;
                sales.cancellations += i64::from(invoice.starts_with('C'));
            }
            *sales.by_country.entry(country.to_owned()).or_default() += amount;
            let (pieces, revenue) = sales.by_sku.entry(sku.to_owned()).or_default();
            *pieces += quantity;
            *revenue += amount;
        }
    }
    sales.stock_codes = i64::try_from(sales.by_sku.len()).unwrap();
    sales
}
