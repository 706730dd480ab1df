//! What goes in and what comes out.

use super::{Count, statements, translate};

fn sql(text: &str) -> String {
    translate(text, "utf8mb4_bin").unwrap().sql
}

fn count(text: &str) -> Count {
    translate(text, "utf8mb4_bin").unwrap().count
}

#[test]
fn what_is_shared_is_left_as_it_is() {
    for text in [
        "SELECT COUNT(*), a||'x; -- ''?' FROM t WHERE b >= ? AND c <> 'INSERT OR IGNORE' LIMIT ?",
        "DELETE FROM t WHERE id IN (SELECT id FROM (SELECT id FROM t WHERE a < ? LIMIT ?) old)",
        "UPDATE t SET a = a + ?, b = CASE WHEN c > ? THEN 1 ELSE b END WHERE id = ?",
        "INSERT INTO t (a, b) SELECT a, ? FROM u WHERE c = ?",
    ] {
        assert_eq!(sql(text), text);
    }
}

#[test]
fn only_reads_of_tables_can_lock() {
    assert!(translate("SELECT 1 FROM t", "x").unwrap().is_read);
    assert!(!translate("SELECT 1", "x").unwrap().is_read);
    assert!(!translate("DELETE FROM t", "x").unwrap().is_read);
}

#[test]
fn one_row_if_absent_is_an_insert_whose_duplicate_counts_nothing() {
    let text = "INSERT OR IGNORE INTO t (a, b) VALUES (?, COALESCE(?, 1))";
    assert_eq!(sql(text), "INSERT INTO t (a, b) VALUES (?, COALESCE(?, 1))");
    assert_eq!(count(text), Count::IfAbsent);
    assert_eq!(count("INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO NOTHING"), Count::IfAbsent);
}

#[test]
fn many_rows_if_absent_touch_nothing_that_is_there() {
    let text = "INSERT OR IGNORE INTO t (a, b) VALUES (?, ?), (?, ?)";
    assert_eq!(sql(text), "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE a = a");
    assert_eq!(count(text), Count::New);
    assert!(translate("INSERT OR IGNORE INTO t VALUES (?), (?)", "x").is_err());
}

#[test]
fn an_upsert_takes_the_new_values() {
    assert_eq!(
        sql("INSERT INTO t (a, n) VALUES (?, ?) ON CONFLICT (a) DO UPDATE SET n = n + excluded.n, \
             at = CASE WHEN excluded.at > at THEN excluded.at ELSE at END"),
        "INSERT INTO t (a, n) VALUES (?, ?) ON DUPLICATE KEY UPDATE n = n + VALUES(n), \
         at = CASE WHEN VALUES(at) > at THEN VALUES(at) ELSE at END"
    );
}

#[test]
fn the_condition_of_an_upsert_reads_what_was_there() {
    assert_eq!(
        sql(
            "INSERT INTO t (a, v, x) VALUES (?, ?, ?) ON CONFLICT (a) DO UPDATE SET v = excluded.v, x = excluded.x \
             WHERE excluded.v > t.v"
        ),
        "INSERT INTO t (a, v, x) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE x = IF(VALUES(v) > t.v, VALUES(x), x), \
         v = IF(VALUES(v) > t.v, VALUES(v), v)"
    );
}

#[test]
fn what_would_mean_something_else_is_refused() {
    for text in [
        "UPDATE t SET a = b, b = a",
        "INSERT INTO t (a, b) VALUES (1, 2) ON CONFLICT (a) DO UPDATE SET b = 1, c = b",
        "INSERT OR REPLACE INTO t (a) VALUES (?)",
        "INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET b = ? WHERE b < ?",
        "CREATE UNIQUE INDEX i ON t (a) WHERE b = 1",
        "CREATE VIRTUAL TABLE t USING fts5(a)",
        "PRAGMA foreign_keys = ON",
    ] {
        assert!(translate(text, "x").is_err(), "{text}");
    }
}

#[test]
fn tables_get_types_that_hold_as_much() {
    assert_eq!(
        sql("CREATE TABLE t (\n id INTEGER PRIMARY KEY AUTOINCREMENT, text VARCHAR(8), n INTEGER NOT NULL, \
             body TEXT NOT NULL DEFAULT '', CHECK (n >= 0)) WITHOUT ROWID"),
        "CREATE TABLE t ( id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, text VARCHAR(8), n BIGINT NOT NULL, \
         body LONGTEXT NOT NULL DEFAULT ( '' ), CHECK (n >= 0)) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 \
         COLLATE = utf8mb4_bin"
    );
    assert_eq!(sql("CREATE INDEX i ON t (a, b) WHERE a IS NOT NULL"), "CREATE INDEX i ON t (a, b)");
    assert_eq!(sql("ALTER TABLE t ADD COLUMN x TEXT"), "ALTER TABLE t ADD COLUMN x LONGTEXT");
}

#[test]
fn casts_name_the_servers_types() {
    assert_eq!(
        sql("SELECT CAST(a AS TEXT), CAST(b AS INTEGER)"),
        "SELECT CAST(a AS CHAR), CAST(b AS SIGNED)"
    );
}

#[test]
fn a_text_is_split_where_statements_end_and_nowhere_else() {
    assert_eq!(
        statements("-- first; not yet\nINSERT INTO t VALUES (';'); /* ; */ ;\nSELECT 1;"),
        ["INSERT INTO t VALUES (';')", "SELECT 1"]
    );
}
