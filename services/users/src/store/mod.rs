//! All SQL of the service.
//!
//! Invariants: personal data is sealed before it comes here; tokens, codes and passwords come here as hashes; codes
//! and refresh tokens have a table each, so neither can be taken for the other.

pub(crate) mod codes;
pub(crate) mod keys;
pub(crate) mod sessions;
pub(crate) mod users;

use db::{Migration, Migrations};

pub(crate) static MIGRATIONS: &[Migrations] = &[
    messaging::MIGRATIONS,
    web::IDEMPOTENCY_MIGRATIONS,
    Migrations {
        component: "users",
        steps: &[
            Migration {
            version: 1,
            name: "users, sessions, codes, keys",
            sql: "CREATE TABLE users (
                    id VARCHAR(40) NOT NULL PRIMARY KEY, email_index VARCHAR(64) NOT NULL UNIQUE,
                    email TEXT NOT NULL, name TEXT NOT NULL, phone TEXT, address TEXT,
                    locale VARCHAR(2) NOT NULL CHECK (locale IN ('ko', 'en')), password_hash VARCHAR(255),
                    role VARCHAR(16) NOT NULL
                      CHECK (role IN ('customer', 'seller', 'marketer', 'driver', 'analyst', 'admin')),
                    verified_at BIGINT, tokens_valid_from BIGINT NOT NULL, created_at BIGINT NOT NULL,
                    version BIGINT NOT NULL CHECK (version > 0)
                  ) WITHOUT ROWID;
                  CREATE INDEX users_by_age ON users (created_at, id);
                  CREATE INDEX users_by_role ON users (role);
                  CREATE INDEX users_by_change_of_rights ON users (tokens_valid_from);
                  CREATE TABLE sessions (
                    id VARCHAR(40) NOT NULL PRIMARY KEY, user_id VARCHAR(40) NOT NULL, created_at BIGINT NOT NULL,
                    issued_at BIGINT NOT NULL, tokens_until BIGINT NOT NULL, refresh_until BIGINT NOT NULL,
                    valid_from BIGINT NOT NULL, ended_at BIGINT, end_reason VARCHAR(24),
                    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
                  ) WITHOUT ROWID;
                  CREATE INDEX sessions_by_user ON sessions (user_id);
                  CREATE INDEX sessions_by_expiry ON sessions (refresh_until);
                  CREATE INDEX sessions_by_last_token ON sessions (tokens_until);
                  CREATE TABLE refresh_tokens (
                    token_hash VARCHAR(64) NOT NULL PRIMARY KEY, session_id VARCHAR(40) NOT NULL,
                    generation BIGINT NOT NULL, parent BIGINT NOT NULL, expires_at BIGINT NOT NULL,
                    used_at BIGINT, revoked_at BIGINT, UNIQUE (session_id, generation),
                    CHECK (used_at IS NULL OR revoked_at IS NULL)
                  ) WITHOUT ROWID;
                  CREATE TABLE verification_codes (
                    user_id VARCHAR(40) NOT NULL PRIMARY KEY, code_hash VARCHAR(64) NOT NULL,
                    expires_at BIGINT NOT NULL, tries_left INTEGER NOT NULL CHECK (tries_left >= 0)
                  ) WITHOUT ROWID;
                  CREATE TABLE verification_requests (
                    id INTEGER PRIMARY KEY AUTOINCREMENT, email_index VARCHAR(64) NOT NULL,
                    requested_at BIGINT NOT NULL
                  );
                  CREATE INDEX verification_requests_by_address
                    ON verification_requests (email_index, requested_at);
                  CREATE TABLE lockouts (
                    pair VARCHAR(64) NOT NULL PRIMARY KEY, attempts_at TEXT NOT NULL, locked_until BIGINT,
                    touched_at BIGINT NOT NULL
                  ) WITHOUT ROWID;
                  CREATE TABLE signing_keys (
                    kid VARCHAR(40) NOT NULL PRIMARY KEY, public_x VARCHAR(64) NOT NULL,
                    private_sealed TEXT NOT NULL, state VARCHAR(8) NOT NULL
                      CHECK (state IN ('current', 'next', 'old')),
                    created_at BIGINT NOT NULL, good_until BIGINT, CHECK ((state = 'old') = (good_until IS NOT NULL))
                  ) WITHOUT ROWID;",
            },
            Migration {
                version: 2,
                name: "what ended lately",
                sql: "CREATE INDEX sessions_by_end ON sessions (ended_at);
                      CREATE INDEX sessions_by_first_good_token ON sessions (valid_from);",
            },
        ],
    },
];

/// What is sealed for as long as it is there.
pub(crate) static SEALED: &[host::SealedRows] = &[
    host::SealedRows { table: "users", key: "id", columns: &["email", "name", "phone", "address"] },
    host::SealedRows { table: "signing_keys", key: "kid", columns: &["private_sealed"] },
];

/// How many rows a sweep deletes at most in one transaction.
pub(crate) const SWEEP_BATCH: u32 = 128;
