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

/// Keys of two columns that are asked for at once.
const PAIRS_MAX: usize = 32;

/// Asks for many keys of two columns with few statements: `each` is given a condition and its parameters, in which the last key
/// may be repeated.
pub fn for_pairs<'p>(
    columns: [&str; 2],
    values: &[Param<'p>],
    mut each: impl FnMut(&str, &[Param<'p>]) -> Result<(), Error>,
) -> Result<(), Error> {
    let [one, other] = columns;
    let pairs: Vec<&[Param<'p>]> = values.chunks_exact(2).collect();
    for portion in pairs.chunks(PAIRS_MAX) {
        let mut filled = portion.to_vec();
        if let Some(last) = portion.last() {
            filled.resize(portion.len().next_power_of_two(), last);
        }
        let condition = vec![format!("({one} = ? AND {other} = ?)"); filled.len()].join(" OR ");
        each(&condition, &filled.concat())?;
    }
    Ok(())
}
