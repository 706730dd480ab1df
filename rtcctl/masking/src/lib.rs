//! What must not be shown: values of names that are those of secrets, what signs in within an address, and what looks like a
//! token or a key wherever it stands.
//!
//! Invariants: the name of a secret stays, its value goes; a text that was masked is the same when it is masked again;
//! digests, revisions and run ids stay; the work grows with the text's length and no faster; there is one list of what secrets
//! are called and look like, and this is it.

mod address;
mod encoded;
mod header;
mod keys;
mod known;
mod text;
mod value;

pub use address::masked_address;
pub use known::is_secret_name;
pub use text::masked;

/// What stands in place of a secret.
pub const MASK: &str = "***";

#[cfg(test)]
mod tests;
