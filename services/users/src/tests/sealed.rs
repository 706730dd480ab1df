//! The key of the vault is rotated: everything is sealed with the new one, and opens without the former.

use serde_json::json;

use super::{another_process, fixture, sections};

const NEW: &str = "new-new-new-new-new-new-new-new-";

#[tokio::test]
async fn accounts_and_signing_keys_open_once_the_former_key_is_gone() {
    let f = fixture().await;
    f.register("kim@example.kr").await;
    let pair = f.sign_in("kim@example.kr").await;
    let context = &f.house.context;
    let secrets = f.house.directory.path().join("secrets");
    let old = context.secrets.get("vault_key").unwrap();
    std::fs::write(secrets.join("vault_index_key"), &old).unwrap();
    std::fs::write(secrets.join("vault_key"), format!("{NEW}\n{old}\n")).unwrap();
    assert_eq!(context.secrets.refresh(), ["vault_key"]);
    f.house.settle().await;
    std::fs::write(secrets.join("vault_key"), NEW).unwrap();
    assert_eq!(context.secrets.refresh(), ["vault_key"]);
    let me = f.me(&pair).await.expect(200);
    assert_eq!((&me["email"], &me["name"]), (&json!("kim@example.kr"), &json!("Kim Minji")));
    // One that has never known the former key: it opens the signing keys to start, and finds people by their addresses.
    let next = another_process(&f, &sections()).await;
    let pair = next.sign_in("kim@example.kr").await;
    assert_eq!(f.me(&pair).await.status, 200);
}

#[tokio::test]
async fn a_database_that_was_sealed_with_another_key_is_told_as_such() {
    let f = fixture().await;
    let foreign = host::Vault::new("somebody else's").unwrap().seal("a private half").unwrap();
    let put = move |tx: &mut db::Tx<'_>| -> Result<(), db::Error> {
        tx.execute("UPDATE signing_keys SET private_sealed = ?", db::params![foreign]).map(drop)
    };
    f.users.db.write(put).await.unwrap();
    let error = crate::keys::load(&f.users).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("RTD011", 3));
    assert!(error.to_string().contains("vault_key"), "{error}");
}
