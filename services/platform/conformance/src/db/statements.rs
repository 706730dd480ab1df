//! What a statement does, and what comes out of a column as it went in.

use db::{Db, Error, Param, ToParam, params};

use super::*;

pub async fn counts_say_how_many_rows_were_found(db: &Db) {
    for n in 0..3 {
        put(db, &format!("t{n}"), n).await.unwrap();
    }
    db.write(|tx| -> Outcome {
        // Also where a row is as it should be already.
        assert_eq!(tx.execute("UPDATE things SET n = 1", params![])?, 3);
        assert_eq!(tx.execute("UPDATE things SET n = 1", params![])?, 3);
        assert_eq!(tx.execute("UPDATE things SET n = 2 WHERE id = ? AND n = ?", params!["t0", 1_i64])?, 1);
        assert_eq!(tx.execute("UPDATE things SET n = 2 WHERE id = ? AND n = ?", params!["t0", 1_i64])?, 0);
        assert_eq!(tx.execute("DELETE FROM things WHERE id <> 't1'", params![])?, 2);
        assert_eq!(tx.execute("DELETE FROM things WHERE id <> 't1'", params![])?, 0);
        let copy = "INSERT INTO things (id, n) SELECT ?, n FROM things WHERE id = ?";
        assert_eq!(tx.execute(copy, params!["copy", "t1"])?, 1);
        assert_eq!(tx.execute(copy, params!["copy of nothing", "nothing"])?, 0);
        let own =
            "DELETE FROM things WHERE id IN (SELECT id FROM (SELECT id FROM things ORDER BY id LIMIT ?) few)";
        assert_eq!(tx.execute(own, params![1_i64])?, 1);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(get(db, "t1").await, Some(1));
}

pub async fn rows_go_by_their_keys(db: &Db) {
    for n in 0..200 {
        put(db, &format!("t{n}"), n % 2).await.unwrap();
    }
    let gone: Outcome<[usize; 2]> = db
        .write(|tx| {
            let ids: Vec<String> = (0..150).map(|n| format!("t{n}")).collect();
            let keys: Vec<Param<'_>> = ids.iter().map(ToParam::to_param).collect();
            let by_one = tx.delete_rows("things", &["id"], &keys)?;
            let ids: Vec<String> = (140..190).map(|n| format!("t{n}")).collect();
            let keys: Vec<Param<'_>> = ids.iter().flat_map(|id| [id.to_param(), Param::Int(0)]).collect();
            Ok([by_one, tx.delete_rows("things", &["id", "n"], &keys)?])
        })
        .await;
    // Ten of them are gone already, and every other has another number.
    assert_eq!((gone.unwrap(), count(db, "things").await), ([150, 20], 30));
}

pub async fn an_insert_if_absent_says_whether_it_inserted(db: &Db) {
    db.write(|tx| -> Outcome {
        let one = "INSERT OR IGNORE INTO things (id, n) VALUES (?, ?)";
        assert_eq!(tx.execute(one, params!["a", 1_i64])?, 1);
        assert_eq!(tx.execute(one, params!["a", 2_i64])?, 0);
        let few = "INSERT OR IGNORE INTO things (id, n) VALUES (?, 5), (?, 5), (?, 5)";
        assert_eq!(tx.execute(few, params!["a", "b", "c"])?, 2);
        assert_eq!(tx.execute(few, params!["a", "b", "c"])?, 0);
        assert_eq!(tx.execute(few, params!["d", "d", "c"])?, 1);
        let twice = "INSERT INTO things (id, n) VALUES (?, ?) ON CONFLICT (id) DO NOTHING";
        assert_eq!(tx.execute(twice, params!["d", 9_i64])?, 0);
        assert_eq!(tx.execute(twice, params!["e", 9_i64])?, 1);
        Ok(())
    })
    .await
    .unwrap();
    let found = [get(db, "a").await, get(db, "b").await, get(db, "d").await, get(db, "e").await];
    assert_eq!(found, [Some(1), Some(5), Some(5), Some(9)]);
}

pub async fn an_upsert_takes_the_new_values_where_its_condition_holds(db: &Db) {
    db.write(|tx| -> Outcome {
        let add = "INSERT INTO things (id, n) VALUES (?, ?), (?, ?) \
                   ON CONFLICT (id) DO UPDATE SET n = n + excluded.n";
        for _ in 0..2 {
            assert_eq!(tx.execute(add, params!["a", 1_i64, "b", 10_i64])?, 2);
        }
        let newest = "INSERT INTO things (id, n, note) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET \
                      n = excluded.n, note = excluded.note WHERE excluded.n > things.n";
        tx.execute(newest, params!["c", 5_i64, "five"])?;
        tx.execute(newest, params!["c", 4_i64, "four"])?;
        tx.execute(newest, params!["c", 6_i64, "six"])?;
        tx.execute(newest, params!["c", 6_i64, "again six"])?;
        let note: String =
            tx.query_one("SELECT note FROM things WHERE id = 'c'", params![], |row| row.get(0))?;
        assert_eq!(note, "six");
        Ok(())
    })
    .await
    .unwrap();
    let found = [get(db, "a").await, get(db, "b").await, get(db, "c").await];
    assert_eq!(found, [Some(2), Some(20), Some(6)]);
}

pub async fn a_taken_key_is_told_by_its_name(db: &Db) {
    put(db, "x", 1).await.unwrap();
    assert!(matches!(put(db, "x", 2).await, Err(Error::Unique(_))));
    let line = |part: i64| {
        db.write(move |tx| {
            tx.execute("INSERT INTO entries (thing, part) VALUES ('secret-7', ?)", params![part])
        })
    };
    line(1).await.unwrap();
    line(2).await.unwrap();
    let Err(Error::Unique(key)) = line(1).await else { panic!("the key is taken") };
    assert!(key.contains("thing") && !key.contains("secret-7"), "{key}");
    let renamed = db.write(|tx| tx.execute("UPDATE entries SET part = 1 WHERE part = 2", params![])).await;
    assert!(matches!(renamed, Err(Error::Unique(_))), "{renamed:?}");
}

pub async fn a_broken_rule_is_told_and_changes_nothing(db: &Db) {
    for sql in [
        "UPDATE limits SET used = 11 WHERE name = 'a'",
        "UPDATE limits SET used = used - 1",
        "INSERT INTO limits (name, used) VALUES ('c', NULL)",
    ] {
        let broken: Outcome = db
            .write(move |tx| {
                tx.execute("INSERT INTO things (id, n) VALUES ('x', 1)", params![])?;
                tx.execute(sql, params![]).map(drop)
            })
            .await;
        assert!(matches!(broken, Err(Error::Constraint(_))), "{sql}: {broken:?}");
    }
    assert_eq!(count(db, "things").await, 0);
    assert_eq!(count(db, "limits").await, 2);
}

pub async fn values_come_back_as_they_went_in(db: &Db) {
    let notes = [
        "",
        "O'Brien \\ \"quoted\" `back` %_ -- /* ; ? :name",
        "이어폰 녹차",
        "\u{1f375}👩🏽‍🌾 e\u{301}",
        "line\nbreak\r\n\ttab \u{0} nul",
        " blanks around ",
    ];
    let numbers = [i64::MIN, -1, 0, 1, i64::MAX, 9_007_199_254_740_993];
    let bytes: Vec<u8> = (0..=255).collect();
    for (at, (note, n)) in notes.into_iter().zip(numbers).enumerate() {
        let (id, data) = (format!("v{at}"), bytes.clone());
        db.write(move |tx| {
            let sql = "INSERT INTO things (id, n, note, data) VALUES (?, ?, ?, ?)";
            tx.execute(sql, params![id, n, note, data])
        })
        .await
        .unwrap();
        let id = format!("v{at}");
        let found: Outcome<(i64, Option<String>, Option<Vec<u8>>)> = db
            .read(move |tx| {
                tx.query_one("SELECT n, note, data FROM things WHERE id = ?", params![id], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
            })
            .await;
        assert_eq!(found.unwrap(), (n, Some(note.to_owned()), Some(bytes.clone())));
    }
    put(db, "nothing", 0).await.unwrap();
    let sql =
        "SELECT note, data, ? IS NULL, 1 = 1 FROM things WHERE id = 'nothing' AND (? IS NULL OR note = ?)";
    let found: Outcome<(Option<String>, Option<Vec<u8>>, bool, bool)> = db
        .read(move |tx| {
            tx.query_one(sql, params![None::<String>, None::<String>, None::<String>], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
        })
        .await;
    assert_eq!(found.unwrap(), (None, None, true, true));
}

pub async fn keys_differ_by_case_and_by_blanks_at_the_end(db: &Db) {
    let keys = ["a", "A", "a ", "ä", "Ä", "á", "ß", "ss", ""];
    for (n, key) in keys.into_iter().enumerate() {
        put(db, key, i64::try_from(n).unwrap()).await.unwrap();
    }
    for (n, key) in keys.into_iter().enumerate() {
        assert_eq!(get(db, key).await, i64::try_from(n).ok(), "{key:?}");
    }
}

pub async fn texts_are_ordered_by_their_bytes(db: &Db) {
    let mut keys = ["b", "B", "a", "a b", "a-b", "a_b", "ab", "0", "~", "é", "가", "\u{ff5e}", "\u{1f375}"];
    for key in keys {
        put(db, key, 1).await.unwrap();
    }
    let found: Outcome<Vec<String>> = db
        .read(|tx| {
            let sql = "SELECT id FROM things WHERE id > ? ORDER BY id LIMIT ?";
            tx.query(sql, params!["", 100_i64], |row| row.get(0))
        })
        .await;
    keys.sort_unstable();
    assert_eq!(found.unwrap(), keys);
}

pub async fn a_megabyte_comes_back_whole(db: &Db) {
    let text = "차와 tea 🍵 ".repeat(1_048_576 / 17 + 1);
    let bytes = text.clone().into_bytes();
    let (note, data) = (text.clone(), bytes.clone());
    db.write(move |tx| {
        let sql = "INSERT INTO things (id, n, note, data) VALUES ('large', 0, ?, ?)";
        tx.execute(sql, params![note, data])
    })
    .await
    .unwrap();
    let found: Outcome<(String, Vec<u8>)> = db
        .read(|tx| {
            let sql = "SELECT note, data FROM things WHERE id = 'large'";
            tx.query_one(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await;
    let (note, data) = found.unwrap();
    assert!(note == text && data == bytes, "{} and {} bytes of {}", note.len(), data.len(), text.len());
}

pub async fn sums_and_counts_are_integers(db: &Db) {
    put(db, "a", i64::MAX - 1).await.unwrap();
    put(db, "b", 1).await.unwrap();
    let sql = "SELECT SUM(n), COUNT(*), MAX(n), MIN(id), COALESCE(SUM(n), 0), MAX(note), \
               SUM(CASE WHEN n > 1 THEN 1 ELSE 0 END), n > 0 FROM things GROUP BY 8";
    let found: Outcome<(i64, i64, i64, String, i64, Option<String>, i64)> = db
        .read(move |tx| {
            tx.query_one(sql, params![], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                    row.get(6)?,
                ))
            })
        })
        .await;
    assert_eq!(found.unwrap(), (i64::MAX, 2, i64::MAX - 1, "a".to_owned(), i64::MAX, None, 1));
    let nothing: Outcome<(Option<i64>, i64)> = db
        .read(|tx| {
            let sql = "SELECT MAX(n), COALESCE(SUM(n), 0) FROM things WHERE id = 'nobody'";
            tx.query_one(sql, params![], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .await;
    assert_eq!(nothing.unwrap(), (None, 0));
}

pub async fn rows_are_numbered_as_they_come(db: &Db) {
    let mut numbers: Vec<i64> = Vec::new();
    for part in 0..5_i64 {
        let id: Outcome<i64> = db
            .write(move |tx| {
                tx.execute("INSERT INTO entries (thing, part) VALUES ('x', ?)", params![part])?;
                let sql = "SELECT id FROM entries WHERE thing = 'x' AND part = ?";
                tx.query_one(sql, params![part], |row| row.get(0))
            })
            .await;
        numbers.push(id.unwrap());
        db.write(|tx| tx.execute("DELETE FROM entries WHERE part = 4", params![])).await.unwrap();
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}
