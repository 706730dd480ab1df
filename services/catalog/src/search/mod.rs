//! Full-text search over products: the port.
//!
//! Invariants: an index holds nothing that the catalogue's database does not, so it may be thrown away at any time; it
//! gives numbers of products in the order of their rank, never prices.

mod embedded;
mod pump;
mod tokens;

use async_trait::async_trait;
use kernel::Result;

pub use embedded::Fts5;
pub use pump::Indexer;

/// How many products one search gives at most. Who wants more has to ask more precisely.
pub const HITS_MAX: u32 = 500;
/// How long a question may be, in characters.
pub const QUESTION_MAX: usize = 200;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Sees what can be bought.
    Shoppers,
    /// Sees drafts and archived products too.
    Staff,
}

/// A product as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub number: i64,
    pub is_active: bool,
    pub category: String,
    pub name: String,
    pub attributes: String,
    pub description: String,
}

/// The changes of the catalogue after `from` and up to `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub from: i64,
    pub to: i64,
    pub documents: Vec<Document>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub text: String,
    pub category: Option<String>,
    pub audience: Audience,
}

#[async_trait]
pub trait Search: Send + Sync {
    /// Up to which change of the catalogue the index has seen everything; 0 where it is empty.
    async fn position(&self) -> Result<i64>;

    /// Takes a batch in, whole or not at all; does nothing where the index is not at `batch.from`.
    async fn apply(&self, batch: Batch) -> Result<()>;

    /// Empties the index; it is filled again from the start.
    async fn clear(&self) -> Result<()>;

    /// Numbers of products, the best first, at most [`HITS_MAX`].
    async fn find(&self, question: Question) -> Result<Vec<i64>>;
}
