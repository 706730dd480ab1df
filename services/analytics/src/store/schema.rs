//! The tables.
//!
//! Invariant: `gross_amount` is the sum of absolute amounts; where it fits, every other sum of the same lines fits.

use db::{Migration, Migrations};

pub const MIGRATIONS: Migrations = Migrations {
    component: "analytics",
    steps: &[
        Migration {
            version: 1,
            name: "transactions and their totals",
            sql: "CREATE TABLE transactions (
                    id INTEGER PRIMARY KEY AUTOINCREMENT, source VARCHAR(64) NOT NULL,
                    external_id VARCHAR(128) NOT NULL, occurred_at BIGINT NOT NULL, amount BIGINT NOT NULL,
                    currency VARCHAR(3) NOT NULL, description VARCHAR(500) NOT NULL, category VARCHAR(100) NOT NULL,
                    customer_ref VARCHAR(128), sku VARCHAR(64), quantity BIGINT, invoice VARCHAR(64),
                    received_at BIGINT NOT NULL, UNIQUE (source, external_id)
                  );
                  CREATE INDEX transactions_by_time ON transactions (occurred_at);
                  CREATE INDEX transactions_by_source ON transactions (source, occurred_at);
                  CREATE INDEX transactions_by_category ON transactions (category, occurred_at);
                  CREATE TABLE sources (
                    source VARCHAR(64) NOT NULL PRIMARY KEY, line_count BIGINT NOT NULL,
                    invoices BIGINT NOT NULL, cancellations BIGINT NOT NULL, stock_codes BIGINT NOT NULL,
                    gross_quantity BIGINT NOT NULL,
                    CHECK (cancellations <= invoices AND invoices <= line_count AND stock_codes <= line_count),
                    CHECK (gross_quantity >= 0)
                  ) WITHOUT ROWID;
                  CREATE TABLE source_totals (
                    source VARCHAR(64) NOT NULL, currency VARCHAR(3) NOT NULL, line_count BIGINT NOT NULL,
                    amount BIGINT NOT NULL, gross_amount BIGINT NOT NULL, PRIMARY KEY (source, currency),
                    CHECK (gross_amount >= 0 AND amount <= gross_amount AND amount >= -gross_amount)
                  ) WITHOUT ROWID;
                  CREATE TABLE source_invoices (
                    source VARCHAR(64) NOT NULL, invoice VARCHAR(64) NOT NULL, PRIMARY KEY (source, invoice)
                  ) WITHOUT ROWID;
                  CREATE TABLE source_skus (
                    source VARCHAR(64) NOT NULL, sku VARCHAR(64) NOT NULL, PRIMARY KEY (source, sku)
                  ) WITHOUT ROWID;
                  CREATE TABLE month_totals (
                    source VARCHAR(64) NOT NULL, month INTEGER NOT NULL, currency VARCHAR(3) NOT NULL,
                    line_count BIGINT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (source, month, currency)
                  ) WITHOUT ROWID;
                  CREATE TABLE category_totals (
                    source VARCHAR(64) NOT NULL, category VARCHAR(100) NOT NULL, currency VARCHAR(3) NOT NULL,
                    line_count BIGINT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY (source, category, currency)
                  ) WITHOUT ROWID;
                  CREATE TABLE product_totals (
                    source VARCHAR(64) NOT NULL, currency VARCHAR(3) NOT NULL, sku VARCHAR(64) NOT NULL,
                    line_count BIGINT NOT NULL, quantity BIGINT NOT NULL, amount BIGINT NOT NULL,
                    described_at BIGINT NOT NULL, description VARCHAR(500) NOT NULL,
                    PRIMARY KEY (source, currency, sku)
                  ) WITHOUT ROWID;
                  CREATE INDEX product_totals_by_amount ON product_totals (source, currency, amount);
                  CREATE INDEX product_totals_by_quantity ON product_totals (source, currency, quantity);
                  CREATE TABLE ingest_minutes (
                    minute BIGINT NOT NULL, result VARCHAR(32) NOT NULL, line_count BIGINT NOT NULL,
                    PRIMARY KEY (minute, result)
                  ) WITHOUT ROWID;",
        },
        Migration {
            version: 2,
            name: "minutes of the shop's own orders",
            sql: "CREATE TABLE order_minutes (
                    minute BIGINT NOT NULL, currency VARCHAR(3) NOT NULL, orders BIGINT NOT NULL,
                    revenue BIGINT NOT NULL, last_event_at BIGINT NOT NULL, PRIMARY KEY (minute, currency)
                  ) WITHOUT ROWID;
                  CREATE TABLE order_endings (
                    minute BIGINT NOT NULL, ending VARCHAR(16) NOT NULL, reason VARCHAR(64) NOT NULL,
                    orders BIGINT NOT NULL, last_event_at BIGINT NOT NULL, PRIMARY KEY (minute, ending, reason),
                    CHECK (orders > 0)
                  ) WITHOUT ROWID;",
        },
    ],
};
