//! Many rows with few statements.
//!
//! Invariant: the number of different statement texts is bounded, so that the cache of prepared statements holds them.

use db::{Error, Param, Tx};

/// Rows of one statement, the greatest first.
const GROUPS: [usize; 3] = [64, 8, 1];

/// Runs `head VALUES (…), (…) tail` over all `values`, `columns` of them a row; answers how many rows changed.
pub fn insert(
    tx: &mut Tx<'_>,
    head: &str,
    tail: &str,
    columns: usize,
    values: &[Param<'_>],
) -> Result<usize, Error> {
    let mut rest = values;
    let mut changed = 0;
    for group in GROUPS {
        let size = group * columns;
        if rest.len() < size {
            continue;
        }
        let row = format!("({})", vec!["?"; columns].join(", "));
        let sql = format!("{head} VALUES {} {tail}", vec![row; group].join(", "));
        while rest.len() >= size {
            let (now, later) = rest.split_at(size);
            changed += tx.execute(&sql, now)?;
            rest = later;
        }
    }
    Ok(changed)
}
