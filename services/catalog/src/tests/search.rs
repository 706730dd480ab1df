//! Search: Korean and English, by parts and beginnings, whatever the user types, and never with an old price.

use serde_json::{Value, json};

use super::*;

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn page(house: &House, question: &str, more: &str) -> Value {
    house.get(&format!("/api/v1/products?q={}{more}", encode(question))).send().await.expect(200)
}

async fn find(house: &House, question: &str) -> Vec<String> {
    let mut found = skus(&page(house, question, "").await);
    found.sort();
    found
}

async fn filled() -> House {
    let house = house().await;
    let products = [
        ("TEA-1", "제주 녹차", "첫물 잎차", "tea", json!({"origin": "Jeju"})),
        ("TEA-2", "보성 홍차", "Black tea from Boseong", "tea", json!({})),
        ("EAR-1", "무선 이어폰", "노이즈 캔슬링", "audio", json!({"색상": "검정", "model": "WX-1000"})),
        ("EAR-2", "Wireless Headphones", "Café edition", "audio", json!({})),
        ("CUP-1", "찻잔", "녹차에 어울리는 잔", "cups", json!({})),
    ];
    for (sku, name, description, category, attributes) in products {
        let fields =
            json!({"name": name, "description": description, "category": category, "attributes": attributes});
        create(&house, &with(tea(sku), &fields)).await;
    }
    house.settle().await;
    house
}

#[tokio::test]
async fn korean_is_found_by_words_and_by_parts_of_words() {
    let house = filled().await;
    for (question, expected) in [
        ("녹차", vec!["CUP-1", "TEA-1"]),
        ("무선 이어폰", vec!["EAR-1"]),
        ("이어", vec!["EAR-1"]),
        ("어폰", vec!["EAR-1"]),
        ("이어폰", vec!["EAR-1"]),
        ("폰", vec!["EAR-1"]),
        ("차", vec!["CUP-1", "TEA-1", "TEA-2"]),
        ("이폰", vec![]),
        ("폰이어", vec![]),
        ("노이즈", vec!["EAR-1"]),
        ("검정", vec!["EAR-1"]),
        ("제주 홍차", vec![]),
        // The syllables in parts, as some systems send them.
        ("\u{1102}\u{1169}\u{11a8}\u{110e}\u{1161}", vec!["CUP-1", "TEA-1"]),
    ] {
        assert_eq!(find(&house, question).await, expected, "{question}");
    }
}

#[tokio::test]
async fn english_is_found_by_words_and_the_beginning_of_the_last() {
    let house = filled().await;
    for (question, expected) in [
        ("wireless", vec!["EAR-2"]),
        ("WIRELESS head", vec!["EAR-2"]),
        ("wire head", vec![]),
        ("cafe", vec!["EAR-2"]),
        ("jej", vec!["TEA-1"]),
        ("wx-1000", vec!["EAR-1"]),
        ("wx 10", vec!["EAR-1"]),
        ("black tea", vec!["TEA-2"]),
        ("nothing", vec![]),
    ] {
        assert_eq!(find(&house, question).await, expected, "{question}");
    }
}

#[tokio::test]
async fn a_name_counts_more_than_a_description() {
    let house = filled().await;
    assert_eq!(skus(&page(&house, "녹차", "").await), ["TEA-1", "CUP-1"]);
    assert_eq!(skus(&page(&house, "녹차", "&category=cups").await), ["CUP-1"]);
}

#[tokio::test]
async fn whatever_is_typed_is_only_words() {
    let house = filled().await;
    for question in [
        "\"",
        "'",
        "*",
        "^",
        "(",
        ")",
        ":",
        "-",
        "--",
        "NEAR(",
        "AND",
        "OR",
        "NOT",
        "name:녹차",
        "a AND",
        "{a b}",
        "녹차\"",
        "'; DROP TABLE products; --",
        "\u{0}",
        "%",
        "_",
        "💥",
        "",
        " ",
        "\\",
        "𝒳",
        "ﷺ",
        "ก็",
        "e\u{301}",
        "\"녹차\" OR \"홍차\"",
    ] {
        let answer = house.get(&format!("/api/v1/products?q={}", encode(question))).send().await;
        assert_eq!(answer.status, 200, "{question:?}: {}", answer.text());
    }
    assert_eq!(find(&house, "녹차* (").await, ["CUP-1", "TEA-1"]);
    let long = encode(&"가".repeat(201));
    house.get(&format!("/api/v1/products?q={long}")).send().await.expect_problem(422, "validation_failed");
    assert!(find(&house, &"가".repeat(200)).await.is_empty());
    assert!(find(&house, &"a ".repeat(100)).await.is_empty());
}

#[tokio::test]
async fn results_show_the_row_and_not_the_index() {
    let house = filled().await;
    let found = page(&house, "무선", "").await;
    let id = found["data"][0]["id"].as_str().unwrap().to_owned();
    // The index is not turned in between.
    patch(&house, &id, 1, &json!({"price": {"amount": 1, "currency": "KRW"}})).await.expect(200);
    assert_eq!(page(&house, "무선", "").await["data"][0]["price"]["amount"], 1);
    archive(&house, &id, 2).await.expect(204);
    assert!(find(&house, "무선").await.is_empty());
    house.settle().await;
}

#[tokio::test]
async fn a_changed_product_is_found_by_its_new_words_only() {
    let house = filled().await;
    let id = page(&house, "보성", "").await["data"][0]["id"].as_str().unwrap().to_owned();
    patch(&house, &id, 1, &json!({"name": "하동 홍차"})).await.expect(200);
    house.settle().await;
    assert!(find(&house, "보성").await.is_empty());
    assert_eq!(find(&house, "하동").await, ["TEA-2"]);
}

#[tokio::test]
async fn pages_of_a_search_show_each_product_once_while_ranks_move() {
    let house = house().await;
    for n in 0..23 {
        create(&house, &tea(&format!("OLD-{n}"))).await;
    }
    house.settle().await;
    let (mut seen, mut more, mut new) = (Vec::new(), String::new(), 0);
    loop {
        let page = page(&house, "녹차", &format!("&limit=5{more}")).await;
        seen.extend(skus(&page));
        create(&house, &with(tea(&format!("NEW-{new}")), &json!({"name": "녹차 녹차"}))).await;
        house.settle().await;
        new += 1;
        match page["next_cursor"].as_str() {
            Some(cursor) => more = format!("&cursor={cursor}"),
            None => break,
        }
    }
    seen.sort();
    let mut expected: Vec<_> = (0..23).map(|n| format!("OLD-{n}")).collect();
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_index_that_was_emptied_fills_itself_again() {
    let house = filled().await;
    let admin = testkit::Call::new(
        house.service("catalog").admin.clone(),
        "POST".parse().unwrap(),
        "/admin/catalog/search/rebuild",
    );
    admin.send().await.expect(202);
    assert!(find(&house, "녹차").await.is_empty());
    house.settle().await;
    assert_eq!(find(&house, "녹차").await, ["CUP-1", "TEA-1"]);
}

#[tokio::test]
async fn an_index_ahead_of_the_catalogue_is_built_anew() {
    let house = filled().await;
    let emptied = "DELETE FROM product_changes WHERE number > 3";
    house.service("catalog").db.write(move |tx| tx.execute(emptied, db::params![])).await.unwrap();
    house.settle().await;
    assert_eq!(find(&house, "홍차").await, ["TEA-2"]);
    assert!(find(&house, "headphones").await.is_empty());
}

#[tokio::test]
async fn an_index_that_was_deleted_or_damaged_comes_back_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("catalog_search.db");
    {
        let house = house_in(directory.path()).await;
        create(&house, &tea("TEA-1")).await;
        settle_files(&house).await;
        assert_eq!(find(&house, "녹차").await, ["TEA-1"]);
        // Not only once it is closed: the file in use may go, too.
        std::fs::remove_file(&file).unwrap();
    }
    {
        let house = house_in(directory.path()).await;
        settle_files(&house).await;
        assert_eq!(find(&house, "녹차").await, ["TEA-1"]);
    }
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(directory.path().join(format!("catalog_search.db{suffix}")));
    }
    std::fs::write(&file, "this is no database, and long enough to be looked at".repeat(100)).unwrap();
    let house = house_in(directory.path()).await;
    settle_files(&house).await;
    assert_eq!(find(&house, "녹차").await, ["TEA-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn products_made_at_once_in_files_are_all_found() {
    let directory = tempfile::tempdir().unwrap();
    let house = std::sync::Arc::new(house_in(directory.path()).await);
    let makers: Vec<_> = (0..40)
        .map(|n| {
            let house = house.clone();
            tokio::spawn(async move { create(&house, &tea(&format!("TEA-{n:02}"))).await })
        })
        .collect();
    for maker in makers {
        let id = maker.await.unwrap();
        assert_eq!(show(&house, &id).await.status, 200);
    }
    settle_files(&house).await;
    let expected: Vec<_> = (0..40).map(|n| format!("TEA-{n:02}")).collect();
    assert_eq!(find(&house, "녹차").await, expected);
}
