//! What a cluster makes of a token, and what is made of AWS's answers.

mod tokens;
mod verifier;
