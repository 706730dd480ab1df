//! Codes of replaying real sales.

use super::codes;

codes! { REPLAY; }
