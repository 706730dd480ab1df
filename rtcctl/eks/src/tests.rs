//! What a cluster makes of a token, and what is made of AWS's answers.

mod entries;
mod failures;
mod fits;
mod images;
mod looks;
mod merged;
mod tokens;
mod verifier;
