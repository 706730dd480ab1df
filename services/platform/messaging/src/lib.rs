//! Delivery: what is committed is published at least once, and what is published takes effect exactly once.
//!
//! Invariants:
//! - a message is a row of the outbox in the transaction of the change that it tells of;
//! - the relay publishes rows in order and deletes them only after the bus has them;
//! - a consumer's effect and its inbox row are one transaction, so a second delivery changes nothing;
//! - a message that cannot be handled is parked with its reason, later messages of its key wait behind it, the others
//!   go on;
//! - a read model can be filled anew from the log while its service goes on, and ends as the fold of the log.

mod consumer;
mod dead_letters;
mod inbox;
mod lease;
mod outbox;
mod pump;
mod rebuild;
mod relay;
pub mod saga;
#[cfg(test)]
mod tests;

use db::{Migration, Migrations};

pub use consumer::{Consumer, ConsumerPump};
pub use dead_letters::{
    DeadLetter, DeadLetterState, count as count_dead_letters, discard as discard_dead_letters,
    find as find_dead_letter, list as list_dead_letters, replay,
};
pub use inbox::sweep_inbox;
pub use lease::Leases;
pub use outbox::{Outbox, depth as outbox_depth, sequences};
pub use pump::{Every, Job, Progress, Pump};
pub use rebuild::{
    Cleared, Extent, PORTION_MAX, ProjectionView, Stage, Swapped, abandon_rebuild, clear_portion,
    projections, rebuild,
};
pub use relay::{Relay, RelayLag};

/// The tables that every service's database has for delivery.
pub const MIGRATIONS: Migrations = Migrations {
    component: "messaging",
    steps: &[Migration {
        version: 1,
        name: "outbox, inbox, dead letters, sagas",
        sql: "CREATE TABLE outbox (
                id INTEGER PRIMARY KEY AUTOINCREMENT, topic VARCHAR(64) NOT NULL, subject VARCHAR(128) NOT NULL,
                created_at BIGINT NOT NULL, payload TEXT NOT NULL
              );
              CREATE TABLE outbox_sequences (
                subject VARCHAR(128) NOT NULL PRIMARY KEY, last_sequence BIGINT NOT NULL
              ) WITHOUT ROWID;
              CREATE TABLE inbox (
                consumer VARCHAR(64) NOT NULL, event_id VARCHAR(64) NOT NULL, handled_at BIGINT NOT NULL,
                PRIMARY KEY (consumer, event_id)
              ) WITHOUT ROWID;
              CREATE TABLE dead_letters (
                id INTEGER PRIMARY KEY AUTOINCREMENT, consumer VARCHAR(64) NOT NULL, topic VARCHAR(64) NOT NULL,
                part INTEGER NOT NULL, pos BIGINT NOT NULL, subject VARCHAR(128) NOT NULL,
                event_id VARCHAR(64) NOT NULL, event_type VARCHAR(128) NOT NULL, payload TEXT NOT NULL,
                error TEXT NOT NULL, attempts INTEGER NOT NULL, parked_at BIGINT NOT NULL,
                state VARCHAR(16) NOT NULL, UNIQUE (consumer, topic, part, pos)
              );
              CREATE TABLE sagas (
                kind VARCHAR(32) NOT NULL, id VARCHAR(64) NOT NULL, state TEXT NOT NULL, version BIGINT NOT NULL,
                deadline_at BIGINT, PRIMARY KEY (kind, id)
              ) WITHOUT ROWID;
              CREATE INDEX sagas_by_deadline ON sagas (deadline_at) WHERE deadline_at IS NOT NULL;",
    }, Migration {
        version: 2,
        name: "leases",
        sql: "CREATE TABLE leases (
                name VARCHAR(96) NOT NULL PRIMARY KEY, owner VARCHAR(64) NOT NULL, token BIGINT NOT NULL,
                expires_at BIGINT NOT NULL
              ) WITHOUT ROWID;",
    }, Migration {
        version: 3,
        name: "rebuilds of read models",
        sql: "CREATE TABLE projections (
                consumer VARCHAR(64) NOT NULL PRIMARY KEY, topics VARCHAR(255) NOT NULL, way VARCHAR(16) NOT NULL,
                stage VARCHAR(16) NOT NULL, requested_at BIGINT
              ) WITHOUT ROWID;
              CREATE TABLE projection_positions (
                consumer VARCHAR(64) NOT NULL, topic VARCHAR(64) NOT NULL, part INTEGER NOT NULL,
                began BIGINT NOT NULL, pos BIGINT NOT NULL, upto BIGINT NOT NULL,
                PRIMARY KEY (consumer, topic, part)
              ) WITHOUT ROWID;",
    }, Migration {
        version: 4,
        name: "rebuilds in portions",
        // `reached`: how far the new is in the place of the old; `trouble`: why the last one came to nothing.
        sql: "ALTER TABLE projections ADD COLUMN reached VARCHAR(255);
              ALTER TABLE projections ADD COLUMN trouble VARCHAR(255);",
    }, Migration {
        version: 5,
        name: "messages by partition, dead letters by subject",
        // `part`: unknown of messages that were sent before.
        sql: "ALTER TABLE outbox ADD COLUMN part INTEGER;
              CREATE INDEX outbox_by_lane ON outbox (topic, part, id);
              CREATE INDEX dead_letters_by_subject ON dead_letters (consumer, subject);",
    }],
};
