//! The bank's own tables.
//!
//! Invariants kept by the tables themselves: no customer's account below zero, no more captured than held, no more
//! refunded than captured, one row of the log a key.

use db::{Migration, Migrations};

/// The most that one amount or one balance may be: exact in JSON readers that know only doubles, far from overflow.
pub(crate) const AMOUNT_MAX: i64 = 9_007_199_254_740_991;

pub(crate) const MIGRATIONS: Migrations = Migrations {
    component: "bank",
    steps: &[Migration {
        version: 1,
        name: "accounts, holds, operations, postings",
        sql: "CREATE TABLE bank_counters (name VARCHAR(32) NOT NULL PRIMARY KEY, next_value BIGINT NOT NULL);
              INSERT INTO bank_counters (name, next_value) VALUES ('account', 1);
              CREATE TABLE bank_accounts (
                id INTEGER PRIMARY KEY AUTOINCREMENT, number VARCHAR(16) NOT NULL UNIQUE,
                owner_id VARCHAR(64) NOT NULL, currency VARCHAR(3) NOT NULL,
                available BIGINT NOT NULL CHECK (available BETWEEN 0 AND 9007199254740991),
                held BIGINT NOT NULL CHECK (held BETWEEN 0 AND 9007199254740991),
                pin_hash VARCHAR(255), pin_failures INTEGER NOT NULL, pin_locked_until BIGINT,
                opened_at BIGINT NOT NULL
              );
              CREATE INDEX bank_accounts_by_owner ON bank_accounts (owner_id, currency);
              CREATE TABLE bank_holds (
                hold_key VARCHAR(255) NOT NULL PRIMARY KEY, id VARCHAR(64) NOT NULL UNIQUE, account VARCHAR(16),
                currency VARCHAR(3) NOT NULL, amount BIGINT NOT NULL CHECK (amount >= 0),
                captured BIGINT NOT NULL, refunded BIGINT NOT NULL, state VARCHAR(16) NOT NULL,
                expires_at BIGINT NOT NULL, created_at BIGINT NOT NULL,
                CHECK (captured BETWEEN 0 AND amount), CHECK (refunded BETWEEN 0 AND captured)
              ) WITHOUT ROWID;
              CREATE INDEX bank_holds_by_expiry ON bank_holds (expires_at) WHERE state = 'pending';
              CREATE TABLE bank_operations (
                id INTEGER PRIMARY KEY AUTOINCREMENT, op_key VARCHAR(255) NOT NULL UNIQUE,
                action VARCHAR(16) NOT NULL, hold_key VARCHAR(255) NOT NULL, asked BIGINT,
                outcome VARCHAR(32) NOT NULL, amount BIGINT NOT NULL, hold_id VARCHAR(64), at BIGINT NOT NULL
              );
              CREATE TABLE bank_postings (
                id INTEGER PRIMARY KEY AUTOINCREMENT, op_key VARCHAR(255) NOT NULL, account VARCHAR(16) NOT NULL,
                currency VARCHAR(3) NOT NULL, amount BIGINT NOT NULL CHECK (amount <> 0),
                action VARCHAR(16) NOT NULL, hold_key VARCHAR(255) NOT NULL, at BIGINT NOT NULL
              );
              CREATE INDEX bank_postings_by_account ON bank_postings (account);",
    }],
};
