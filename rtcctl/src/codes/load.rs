//! Codes of the load generator.

use super::codes;

codes! { LOAD; }
