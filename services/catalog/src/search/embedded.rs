//! The embedded index: SQLite FTS5 in a file of its own (ADR 0003).

use async_trait::async_trait;
use db::{Db, Migration, Migrations, params};
use host::{Context, Databases, StartError};
use kernel::{Error, Result};

use super::tokens;
use super::{Audience, Batch, HITS_MAX, Question, Search};

const NAME: &str = "catalog_search";

/// The tokens are made by us; FTS5 only splits at the blanks and drops accents.
static MIGRATIONS: &[Migrations] = &[Migrations {
    component: "catalog_search",
    steps: &[Migration {
        version: 1,
        name: "documents",
        sql: "CREATE VIRTUAL TABLE documents USING fts5(
                name, attributes, description, category UNINDEXED, is_active UNINDEXED,
                tokenize = 'unicode61 remove_diacritics 2', prefix = '1 2 3'
              );
              CREATE TABLE progress (
                id INTEGER PRIMARY KEY, position BIGINT NOT NULL, tokens_version BIGINT NOT NULL
              );
              INSERT INTO progress (id, position, tokens_version) VALUES (1, 0, 0);",
    }],
}];

pub struct Fts5 {
    db: Db,
}

impl Fts5 {
    /// Opens the index. A damaged one is deleted: it is filled again from the catalogue.
    pub async fn open(context: &Context) -> std::result::Result<Self, StartError> {
        match Self::open_once(&context.databases).await {
            Err(StartError::Database { source: db::Error::Corrupt(reason), .. }) => {
                tracing::warn!(%reason, "the search index is damaged and is built anew");
                context.databases.remove_local(NAME);
                Self::open_once(&context.databases).await
            }
            opened => opened,
        }
    }

    async fn open_once(databases: &Databases) -> std::result::Result<Self, StartError> {
        let index = Self { db: databases.open_local(NAME)? };
        let failed = |source| StartError::Database { name: NAME.to_owned(), source };
        index.db.migrate(MIGRATIONS).await.map_err(failed)?;
        index
            .db
            .write(|tx| -> std::result::Result<(), db::Error> {
                let sql = "UPDATE progress SET position = 0, tokens_version = ? WHERE tokens_version <> ?";
                if tx.execute(sql, params![tokens::VERSION, tokens::VERSION])? == 1 {
                    tx.execute("DELETE FROM documents", params![])?;
                }
                Ok(())
            })
            .await
            .map_err(failed)?;
        Ok(index)
    }
}

const POSITION: &str = "SELECT position FROM progress WHERE id = 1";

fn failed(error: db::Error) -> Error {
    Error::unavailable("search_unavailable", "the search does not answer").with_source(error)
}

#[async_trait]
impl Search for Fts5 {
    async fn position(&self) -> Result<i64> {
        self.db.read(|tx| tx.query_one(POSITION, params![], |row| row.get(0))).await.map_err(failed)
    }

    async fn apply(&self, batch: Batch) -> Result<()> {
        self.db
            .write(move |tx| -> std::result::Result<(), db::Error> {
                let position: i64 = tx.query_one(POSITION, params![], |row| row.get(0))?;
                if position != batch.from {
                    return Ok(());
                }
                for document in &batch.documents {
                    tx.execute("DELETE FROM documents WHERE rowid = ?", params![document.number])?;
                    tx.execute(
                        "INSERT INTO documents (rowid, name, attributes, description, category, is_active) \
                         VALUES (?, ?, ?, ?, ?, ?)",
                        params![
                            document.number,
                            tokens::indexed(&document.name),
                            tokens::indexed(&document.attributes),
                            tokens::indexed(&document.description),
                            document.category,
                            document.is_active
                        ],
                    )?;
                }
                tx.execute("UPDATE progress SET position = ? WHERE id = 1", params![batch.to]).map(drop)
            })
            .await
            .map_err(failed)
    }

    async fn clear(&self) -> Result<()> {
        self.db
            .write(|tx| -> std::result::Result<(), db::Error> {
                tx.execute("DELETE FROM documents", params![])?;
                tx.execute("UPDATE progress SET position = 0 WHERE id = 1", params![]).map(drop)
            })
            .await
            .map_err(failed)
    }

    async fn find(&self, question: Question) -> Result<Vec<i64>> {
        let Some(expression) = tokens::expression(&question.text) else { return Ok(Vec::new()) };
        self.db
            .read(move |tx| {
                let category = question.category.as_deref();
                tx.query(
                    "SELECT rowid FROM documents WHERE documents MATCH ? AND (? IS NULL OR category = ?) \
                     AND (? OR is_active = 1) ORDER BY bm25(documents, 8.0, 3.0, 1.0), rowid DESC LIMIT ?",
                    params![expression, category, category, question.audience == Audience::Staff, HITS_MAX],
                    |row| row.get(0),
                )
            })
            .await
            .map_err(failed)
    }
}
