//! The published keys, and their rotation while tokens are in use.

use std::time::Duration;

use db::params;
use serde_json::{Value, json};

use super::{Fixture, another_process, fixture, sections, text};

async fn kids(f: &Fixture) -> Vec<String> {
    let set = f.house.get("/.well-known/jwks.json").send().await.expect(200);
    set["keys"].as_array().unwrap().iter().map(|key| text(&key["kid"]).to_owned()).collect()
}

fn signed_by(pair: &Value) -> String {
    use base64::Engine as _;
    let header = text(&pair["access_token"]).split('.').next().unwrap();
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    text(&header["kid"]).to_owned()
}

async fn rotate(f: &Fixture) -> testkit::Answer {
    f.admin_call("/users/keys/rotate", &json!({})).send().await
}

#[tokio::test]
async fn the_key_set_holds_the_current_and_the_next_key_and_no_private_half() {
    let f = fixture().await;
    let answer = f.house.get("/.well-known/jwks.json").send().await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let set = answer.expect(200);
    assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    for key in set["keys"].as_array().unwrap() {
        let names: Vec<&String> = key.as_object().unwrap().keys().collect();
        assert_eq!(names, ["kty", "crv", "use", "alg", "kid", "x"]);
        assert_eq!((text(&key["kty"]), text(&key["crv"]), text(&key["x"]).len()), ("OKP", "Ed25519", 43));
    }
    f.register("kim@example.kr").await;
    assert_eq!(signed_by(&f.sign_in("kim@example.kr").await), kids(&f).await[0]);
}

#[tokio::test]
async fn keys_rotate_and_every_token_stays_good_until_it_expires() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    rotate(&f).await.expect_problem(409, "next_key_too_new");
    let before = kids(&f).await;
    f.house.advance(Duration::from_secs(300)).await;
    let old = f.sign_in("kim@example.kr").await;
    rotate(&f).await.expect(200);
    let after = kids(&f).await;
    assert_eq!((after.len(), &after[0], &after[2]), (3, &before[1], &before[0]));
    let new = f.sign_in("kim@example.kr").await;
    // The new key was published before it signed.
    assert_eq!((signed_by(&old), signed_by(&new)), (before[0].clone(), before[1].clone()));
    f.me(&old).await.expect(200);
    f.me(&new).await.expect(200);
    rotate(&f).await.expect_problem(409, "next_key_too_new");

    let restarted = another_process(&f, &sections()).await;
    for pair in [&old, &new] {
        restarted.users.verifier.verify(text(&pair["access_token"])).unwrap();
    }
    assert_eq!(signed_by(&restarted.sign_in("kim@example.kr").await), before[1]);

    f.house.advance(Duration::from_secs(12 * 3_600 + 60)).await;
    assert!(kids(&f).await.contains(&before[0]));
    f.house.advance(Duration::from_millis(1)).await;
    assert_eq!(kids(&f).await, after[..2]);
}

#[tokio::test]
async fn private_keys_are_sealed_at_rest() {
    let f = fixture().await;
    let sql = "SELECT private_sealed FROM signing_keys";
    let sealed: Vec<String> = f
        .users
        .db
        .read_now(|tx| -> Result<_, db::Error> { tx.query(sql, params![], |row| row.get(0)) })
        .unwrap();
    assert_eq!(sealed.len(), 2);
    for key in sealed {
        // PKCS #8 of an Ed25519 key has at least 48 bytes.
        assert!(f.users.vault.open(&key).unwrap().len() >= 64);
        // And it begins so, in base64url.
        assert!(!key.contains("MFECAQEwBQYDK2Vw") && !key.contains("MC4CAQAwBQYDK2Vw"));
    }
}
