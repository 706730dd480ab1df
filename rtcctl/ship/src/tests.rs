//! The table, the way of a release through it, and worlds in which processes die.

mod kills;
mod standing;
mod table;
mod world;

use std::collections::BTreeSet;

use crate::{Digest, Pinned, Request, Step};

fn digest(letter: char) -> Digest {
    format!("sha256:{}", letter.to_string().repeat(64)).parse().unwrap()
}

fn asked() -> Request {
    Request::new("dev", "rtcd", None, &BTreeSet::new()).unwrap()
}

fn without(steps: &[Step]) -> Result<Request, crate::Refusal> {
    Request::new("dev", "rtcd", None, &steps.iter().copied().collect())
}

fn pinned() -> Pinned {
    Pinned { reference: format!("registry/rtcd@{}", digest('a')), digest: digest('a') }
}
