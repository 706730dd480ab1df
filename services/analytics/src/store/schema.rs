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
        Migration {
            version: 3,
            name: "event-time windows",
            // The minutes of version 2 are read by nobody any more; they go with the next version (expand, then contract).
            sql: "CREATE TABLE windows (
                    window_size VARCHAR(2) NOT NULL, starts_at BIGINT NOT NULL, measure VARCHAR(12) NOT NULL,
                    label VARCHAR(128) NOT NULL, counted BIGINT NOT NULL, amount BIGINT NOT NULL,
                    PRIMARY KEY (window_size, starts_at, measure, label)
                  ) WITHOUT ROWID;
                  CREATE TABLE window_late (
                    window_size VARCHAR(2) NOT NULL, measure VARCHAR(12) NOT NULL, label VARCHAR(128) NOT NULL,
                    facts BIGINT NOT NULL, counted BIGINT NOT NULL, amount BIGINT NOT NULL,
                    PRIMARY KEY (window_size, measure, label)
                  ) WITHOUT ROWID;
                  CREATE TABLE window_totals (
                    measure VARCHAR(12) NOT NULL, label VARCHAR(128) NOT NULL, counted BIGINT NOT NULL,
                    amount BIGINT NOT NULL, gross_counted BIGINT NOT NULL, gross_amount BIGINT NOT NULL,
                    PRIMARY KEY (measure, label),
                    CHECK (gross_counted >= 0 AND counted <= gross_counted AND counted >= -gross_counted),
                    CHECK (gross_amount >= 0 AND amount <= gross_amount AND amount >= -gross_amount)
                  ) WITHOUT ROWID;
                  CREATE TABLE stream_marks (
                    topic VARCHAR(64) NOT NULL, part INTEGER NOT NULL, reached_at BIGINT NOT NULL,
                    told_at BIGINT NOT NULL, heard_at BIGINT NOT NULL, PRIMARY KEY (topic, part)
                  ) WITHOUT ROWID;
                  CREATE TABLE shop_products (
                    sku VARCHAR(64) NOT NULL, currency VARCHAR(3) NOT NULL, units BIGINT NOT NULL,
                    amount BIGINT NOT NULL, named_at BIGINT NOT NULL, name VARCHAR(200) NOT NULL,
                    PRIMARY KEY (sku, currency)
                  ) WITHOUT ROWID;
                  CREATE INDEX shop_products_by_amount ON shop_products (currency, amount);
                  CREATE TABLE window_tops (
                    window_size VARCHAR(2) NOT NULL, starts_at BIGINT NOT NULL, currency VARCHAR(3) NOT NULL,
                    counters TEXT NOT NULL, PRIMARY KEY (window_size, starts_at, currency)
                  ) WITHOUT ROWID;
                  CREATE TABLE stock_levels (
                    sku VARCHAR(64) NOT NULL PRIMARY KEY, on_hand BIGINT NOT NULL, reserved BIGINT NOT NULL,
                    available BIGINT NOT NULL, version BIGINT NOT NULL, changed_at BIGINT NOT NULL
                  ) WITHOUT ROWID;
                  CREATE INDEX stock_levels_by_available ON stock_levels (available, sku);
                  CREATE TABLE analytics_state (
                    name VARCHAR(32) NOT NULL PRIMARY KEY, number BIGINT NOT NULL
                  ) WITHOUT ROWID;
                  CREATE TABLE source_windows (
                    source VARCHAR(64) NOT NULL, window_size VARCHAR(2) NOT NULL, starts_at BIGINT NOT NULL,
                    currency VARCHAR(3) NOT NULL, line_count BIGINT NOT NULL, amount BIGINT NOT NULL,
                    PRIMARY KEY (source, window_size, starts_at, currency)
                  ) WITHOUT ROWID;
                  INSERT INTO source_windows (source, window_size, starts_at, currency, line_count, amount)
                    SELECT source, '1h', occurred_at - occurred_at % 3600000, currency, COUNT(*), SUM(amount)
                    FROM transactions GROUP BY source, occurred_at - occurred_at % 3600000, currency;
                  INSERT INTO source_windows (source, window_size, starts_at, currency, line_count, amount)
                    SELECT source, '1d', occurred_at - (occurred_at + 32400000) % 86400000, currency, COUNT(*),
                    SUM(amount) FROM transactions
                    GROUP BY source, occurred_at - (occurred_at + 32400000) % 86400000, currency;",
        },
    ],
};
