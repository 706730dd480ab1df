//! What an order costs: by the catalogue's prices, never the client's (R5).

use contracts::ProductId;
use contracts::orders::OrderedLine;
use kernel::{Error, FieldError, Money};

/// Lines of one order at most.
pub const LINES_MAX: usize = 100;
/// Pieces of one product in one order at most.
pub const QUANTITY_MAX: i64 = 50;

/// A line as it was asked for. `seen_price` is what the shopper saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedLine {
    pub product_id: ProductId,
    pub quantity: i64,
    pub seen_price: Option<Money>,
}

/// A product as this service knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProduct {
    pub product_id: ProductId,
    pub sku: String,
    pub name: String,
    pub category: String,
    pub price: Money,
    pub is_active: bool,
}

fn fault(index: usize, field: &str, code: &str, detail: impl Into<String>) -> FieldError {
    FieldError { pointer: format!("/lines/{index}/{field}"), code: code.to_owned(), detail: detail.into() }
}

pub fn check_line_count(lines: usize) -> Result<(), Error> {
    if (1..=LINES_MAX).contains(&lines) {
        return Ok(());
    }
    Err(Error::field("/lines", "out_of_range", format!("an order has 1 to {LINES_MAX} lines")))
}

/// Prices the lines. `products` holds one entry a line, in their order; lines of one product are put together.
pub fn price(
    lines: &[RequestedLine],
    products: &[Option<KnownProduct>],
) -> Result<(Vec<OrderedLine>, Money), Error> {
    check_line_count(lines.len())?;
    let mut faults = Vec::new();
    let mut changed = Vec::new();
    let mut priced: Vec<OrderedLine> = Vec::with_capacity(lines.len());
    for (index, line) in lines.iter().enumerate() {
        let Some(product) = products.get(index).and_then(Option::as_ref).filter(|product| product.is_active)
        else {
            faults.push(fault(index, "product_id", "product_unavailable", "this product is not for sale"));
            continue;
        };
        if !(1..=QUANTITY_MAX).contains(&line.quantity) {
            faults.push(fault(
                index,
                "quantity",
                "out_of_range",
                format!("a quantity is 1 to {QUANTITY_MAX}"),
            ));
            continue;
        }
        if line.seen_price.is_some_and(|seen| seen != product.price) {
            changed.push(fault(
                index,
                "unit_price",
                "price_changed",
                format!("the price is {} now", product.price),
            ));
        }
        match priced.iter_mut().find(|one| one.product_id == line.product_id) {
            Some(one) if one.quantity + line.quantity > QUANTITY_MAX => {
                faults.push(fault(
                    index,
                    "quantity",
                    "out_of_range",
                    format!("at most {QUANTITY_MAX} of a product"),
                ));
            }
            Some(one) => one.quantity += line.quantity,
            None => priced.push(OrderedLine {
                product_id: product.product_id,
                sku: product.sku.clone(),
                name: product.name.clone(),
                category: product.category.clone(),
                quantity: line.quantity,
                unit_price: product.price,
            }),
        }
    }
    Error::check_fields(faults)?;
    if !changed.is_empty() {
        let error = Error::conflict("price_changed", "a price has changed since you saw it: look again");
        return Err(changed
            .into_iter()
            .fold(error, |error, field| error.with_field(field.pointer, field.code, field.detail)));
    }
    let Some(currency) = priced.first().map(|line| line.unit_price.currency) else {
        return Err(Error::field("/lines", "out_of_range", "an order has at least one line"));
    };
    if priced.iter().any(|line| line.unit_price.currency != currency) {
        return Err(Error::field("/lines", "mixed_currencies", "all products of an order have one currency"));
    }
    let mut total = Money::zero(currency);
    for line in &priced {
        total = total.plus(line.unit_price.times(line.quantity)?)?;
    }
    Ok((priced, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Currency;
    use testkit::House;

    fn product(n: u128, won: i64) -> KnownProduct {
        KnownProduct {
            product_id: ProductId::from(House::user(n).uuid()),
            sku: format!("SKU-{n}"),
            name: "녹차".to_owned(),
            category: "tea".to_owned(),
            price: Money::new(won, Currency::KRW),
            is_active: true,
        }
    }

    fn line(n: u128, quantity: i64) -> RequestedLine {
        RequestedLine { product_id: product(n, 0).product_id, quantity, seen_price: None }
    }

    #[test]
    fn a_total_is_the_sum_of_its_lines_and_lines_of_one_product_are_one() {
        let products = [Some(product(1, 9_000)), Some(product(2, 500)), Some(product(1, 9_000))];
        let (lines, total) = price(&[line(1, 2), line(2, 3), line(1, 1)], &products).unwrap();
        assert_eq!(lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [3, 3]);
        assert_eq!(total, Money::new(28_500, Currency::KRW));
    }

    #[test]
    fn what_cannot_be_sold_is_refused_with_its_place() {
        let archived = KnownProduct { is_active: false, ..product(2, 1) };
        for (lines, products, code) in [
            (vec![line(1, 1)], vec![None], "product_unavailable"),
            (vec![line(2, 1)], vec![Some(archived)], "product_unavailable"),
            (vec![line(1, 0)], vec![Some(product(1, 1))], "out_of_range"),
            (vec![line(1, -1)], vec![Some(product(1, 1))], "out_of_range"),
            (vec![line(1, 51)], vec![Some(product(1, 1))], "out_of_range"),
            (vec![line(1, 30), line(1, 30)], vec![Some(product(1, 1)), Some(product(1, 1))], "out_of_range"),
            (vec![], vec![], "out_of_range"),
        ] {
            let error = price(&lines, &products).unwrap_err();
            assert_eq!(error.fields()[0].code, code);
        }
    }

    #[test]
    fn a_price_that_moved_is_a_conflict_and_the_client_never_decides_it() {
        let seen = RequestedLine { seen_price: Some(Money::new(1, Currency::KRW)), ..line(1, 1) };
        let error = price(&[seen], &[Some(product(1, 9_000))]).unwrap_err();
        assert_eq!((error.code(), error.http_status()), ("price_changed", 409));
    }

    #[test]
    fn an_overflow_is_refused() {
        let error = price(&[line(1, 50)], &[Some(product(1, i64::MAX / 2))]).unwrap_err();
        assert_eq!(error.code(), "money_invalid");
    }
}
