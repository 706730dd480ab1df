//! The rules of accounts and sessions: pure, without a database, a clock or a network.

pub(crate) mod email;
pub(crate) mod lockout;
pub(crate) mod password;
pub(crate) mod refresh;
pub(crate) mod secret;
pub(crate) mod verification;
