//! Everything that a database holds, as text: for tests that look for what must not be there.

use db::{Db, Dialect, Error, Tx, params};

fn tables(tx: &mut Tx<'_>, dialect: Dialect) -> Result<Vec<String>, Error> {
    let sql = match dialect {
        Dialect::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Dialect::MySql => "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
    };
    tx.query(sql, params![], |row| row.get(0))
}

fn columns(tx: &mut Tx<'_>, dialect: Dialect, table: &str) -> Result<Vec<String>, Error> {
    let sql = match dialect {
        Dialect::Sqlite => "SELECT name FROM pragma_table_info(?)",
        Dialect::MySql => {
            "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    tx.query(sql, params![table], |row| row.get(0))
}

/// Every value of every table, one a line.
pub async fn dump(db: &Db) -> String {
    let dialect = db.dialect();
    let dumped: Result<String, Error> = db
        .read(move |tx| {
            let mut text = String::new();
            for table in tables(tx, dialect)? {
                for column in columns(tx, dialect, &table)? {
                    let sql = format!(
                        "SELECT CAST(\"{column}\" AS TEXT) FROM {table} WHERE \"{column}\" IS NOT NULL"
                    );
                    for value in tx.query(&sql, params![], |row| row.get::<String>(0))? {
                        text.push_str(&value);
                        text.push('\n');
                    }
                }
            }
            Ok(text)
        })
        .await;
    dumped.expect("a database that can be read")
}
