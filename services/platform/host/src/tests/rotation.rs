//! Secrets by reference, and what happens while they are rotated.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::{Config, Engine, Profile, SecretRef, Secrets, StartError, Vault};

const OLD: &str = "old-old-old-old-old-old-old-old-";
const NEW: &str = "new-new-new-new-new-new-new-new-";

/// A secret as its owner alone can read it.
fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    (folder, path)
}

#[test]
fn what_is_no_reference_is_refused_and_not_shown() {
    for good in ["file:/run/secrets/a", "env:DATABASE_PASSWORD", "file:/run/{service}", "env:DB_{service}"] {
        assert_eq!(SecretRef::parse("secrets.a", good).unwrap().to_string(), good);
    }
    for bad in
        ["hunter2", "", "file:", "file:hunter2", "env:", "env:hunter-2", "env:2hunter", "FILE:/hunter2"]
    {
        let error = SecretRef::parse("secrets.a", bad).unwrap_err();
        assert_eq!(error.code(), "RTD001");
        let text = error.to_string();
        assert!(text.contains("secrets.a: ") && !text.contains("hunter"), "{bad}: {text}");
    }
    let data = Path::new("/nowhere");
    for (section, value) in [
        ("secrets", json!("hunter2")),
        ("secrets", json!({ "admin_token": "hunter2" })),
        ("secrets", json!({ "admin_token": ["hunter2"] })),
        ("credentials", json!({ "database": "hunter2" })),
    ] {
        let error = Config::for_tests(data, &[(section, value)]).unwrap_err().to_string();
        assert!(error.contains(section) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_password_of_an_address_is_not_shown() {
    let shown = |url: &str| {
        let config = Config::for_tests(Path::new("/nowhere"), &[("database", json!(url))]).unwrap();
        let setting = config.settings().into_iter().find(|setting| setting.key == "database").unwrap();
        setting.value.as_str().unwrap().to_owned()
    };
    assert_eq!(shown("mysql://rtc:hunter2@db:3306/rtc"), "mysql://rtc:…@db:3306/rtc");
    assert_eq!(shown("mysql://rtc:hunter/2@db:3306/rtc"), "mysql://rtc:…@db:3306/rtc");
    assert_eq!(shown("https://scraper:hunter2@otlp:4318/x"), "https://…@otlp:4318/x");
    assert_eq!(shown("http://hunter2@otlp:4318"), "http://…@otlp:4318");
    for plain in ["mysql://rtc@db:3306/rtc", "embedded", "mysql://db/rtc?ca=/a:b"] {
        assert_eq!(shown(plain), plain);
    }
}

#[test]
fn an_engine_is_given_the_password_of_the_moment() {
    let (_folder, secrets) = folder();
    let file = secrets.join("database-orders");
    put(&file, "first\n");
    let reference = format!("file:{}", secrets.join("database-{service}").display());
    let config = Config::for_tests(
        Path::new("/nowhere"),
        &[("credentials", json!({ "database": reference, "cache": "env:RTC_THERE_IS_NO_SUCH_VARIABLE" }))],
    )
    .unwrap();
    let password = config.credential(Engine::Database, "orders").unwrap().unwrap();
    assert_eq!(password().unwrap(), "first");
    put(&file, "second\nfirst\n");
    assert_eq!(password().unwrap(), "second");
    std::fs::remove_file(&file).unwrap();
    assert!(password().unwrap_err().contains("database-orders"));
    assert!(config.credential(Engine::Bus, "orders").unwrap().is_none());
    let told = |error: StartError| (error.code().to_owned(), error.to_string());
    let (code, text) = told(config.credential(Engine::Database, "users").err().unwrap());
    assert!(
        code == "RTD011" && text.contains("credentials.database") && text.contains("database-users"),
        "{text}"
    );
    let (code, text) = told(config.credential(Engine::Cache, "users").err().unwrap());
    assert!(code == "RTD011" && text.contains("RTC_THERE_IS_NO_SUCH_VARIABLE"), "{text}");
}

#[test]
fn production_takes_no_secret_that_is_missing_open_or_short() {
    let (_folder, directory) = folder();
    let production = Secrets::new(Some(directory.clone()), Profile::Production);
    let refusal = |name: &str| production.get(name).unwrap_err().to_string();
    assert!(refusal("admin_token").contains("No such file"), "{}", refusal("admin_token"));
    assert!(!directory.exists(), "production makes none");
    let file = directory.join("admin_token");
    put(&file, NEW);
    assert_eq!(production.get("admin_token").unwrap(), NEW);
    for mode in [0o644, 0o604, 0o620, 0o666] {
        std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        assert!(refusal("admin_token").contains("others may read"), "{mode:o}");
        let embedded = Secrets::new(Some(directory.clone()), Profile::Embedded);
        assert_eq!(embedded.get("admin_token").unwrap(), NEW, "on one's own machine it is a warning");
    }
    std::fs::set_permissions(&file, Permissions::from_mode(0o440)).unwrap();
    assert_eq!(production.get("admin_token").unwrap(), NEW, "a group may read");
    put(&file, &format!("{NEW}\nshort\n"));
    let text = refusal("admin_token");
    assert!(text.contains("5 characters are too short, 32") && !text.contains("short\n"), "{text}");
    put(&directory.join("smtp"), "short");
    assert_eq!(production.get("smtp").unwrap(), "short", "others decide how long their passwords are");
    put(&file, "\n \n");
    assert!(refusal("admin_token").contains("empty"));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(refusal("admin_token").contains("no file"));
}

#[test]
fn a_reference_wins_over_the_data_directory_and_is_never_made() {
    let (folder, directory) = folder();
    put(&directory.join("admin_token"), OLD);
    let elsewhere = folder.path().join("elsewhere");
    put(&elsewhere, NEW);
    let config = |path: &Path| {
        let reference = format!("file:{}", path.display());
        Config::for_tests(folder.path(), &[("secrets", json!({ "admin_token": reference }))]).unwrap()
    };
    assert_eq!(Secrets::of(&config(&elsewhere)).get("admin_token").unwrap(), NEW);
    let missing = folder.path().join("missing");
    assert!(Secrets::of(&config(&missing)).get("admin_token").is_err());
    assert!(!missing.exists());
}

#[test]
fn old_and_new_tokens_are_good_while_they_are_rotated() {
    let (folder, directory) = folder();
    // As a secret is mounted: the file is a link into a folder that is swapped as a whole.
    for (version, text) in [("1", OLD.to_owned()), ("2", format!("{NEW}\n{OLD}\n")), ("3", NEW.to_owned())] {
        put(&folder.path().join(version).join("admin_token"), &text);
    }
    let show = |version: &str| {
        let aside = folder.path().join("aside");
        symlink(folder.path().join(version), &aside).unwrap();
        std::fs::rename(aside, folder.path().join("now")).unwrap();
    };
    show("1");
    std::fs::create_dir(&directory).unwrap();
    symlink(folder.path().join("now/admin_token"), directory.join("admin_token")).unwrap();
    let secrets = Secrets::new(Some(directory), Profile::Production);
    let tokens = secrets.tokens("admin_token").unwrap();
    let accepted = || [OLD, NEW, "", "old"].map(|token| tokens.accept(token.as_bytes()));
    assert_eq!(accepted(), [true, false, false, false]);
    assert!(secrets.refresh().is_empty());
    show("2");
    assert_eq!(secrets.refresh(), ["admin_token"]);
    assert_eq!(accepted(), [true, true, false, false]);
    show("3");
    assert_eq!(secrets.refresh(), ["admin_token"]);
    assert_eq!(accepted(), [false, true, false, false]);
    std::fs::remove_file(folder.path().join("now")).unwrap();
    assert!(secrets.refresh().is_empty());
    assert_eq!(accepted(), [false, true, false, false], "what cannot be read again stays as it was");
}

#[test]
fn who_refuses_a_new_value_keeps_the_old_one_and_is_asked_again() {
    let (_folder, directory) = folder();
    put(&directory.join("a"), "1");
    let secrets = Secrets::new(Some(directory.clone()), Profile::Embedded);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let apply = move |values: &[String]| {
        counter.fetch_add(1, Ordering::SeqCst);
        if values[0] == "bad" { Err("not this one".to_owned()) } else { Ok(()) }
    };
    secrets.watch("a", apply.clone()).unwrap();
    put(&directory.join("a"), "bad");
    assert!(secrets.refresh().is_empty() && secrets.refresh().is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    put(&directory.join("a"), "2");
    assert_eq!(secrets.refresh(), ["a"]);
    put(&directory.join("a"), "bad");
    assert!(secrets.watch("a", apply).unwrap_err().to_string().contains("not this one"));
}

#[test]
fn what_was_sealed_opens_over_a_rotation_and_is_found_by_the_same_index() {
    let vault = Vault::with_keys(&[OLD], "index").unwrap();
    let (of_old, index) = (vault.seal("kim@example.kr").unwrap(), vault.index("email", "kim@example.kr"));
    let clone = vault.clone();
    vault.rotate(&[NEW, OLD]).unwrap();
    let of_new = clone.seal("kim@example.kr").unwrap();
    assert_eq!(clone.open(&of_old).unwrap(), "kim@example.kr");
    assert_eq!(clone.index("email", "kim@example.kr"), index);
    assert_eq!(clone.reseal(&of_new).unwrap(), None);
    let again = clone.reseal(&of_old).unwrap().unwrap();
    assert!(vault.rotate(&["others"]).is_err(), "nothing could be opened any more");
    vault.rotate(&[NEW]).unwrap();
    for sealed in [&of_new, &again] {
        assert_eq!(clone.open(sealed).unwrap(), "kim@example.kr");
    }
    assert!(clone.open(&of_old).is_err(), "its key has come to its end");
    // Before keys had names a value said no more than how it was sealed.
    let (scheme, rest) = of_new.split_once('.').unwrap();
    let unnamed = format!("{scheme}.{}", rest.split_once('.').unwrap().1);
    assert_eq!(Vault::with_keys(&[OLD, NEW], "index").unwrap().open(&unnamed).unwrap(), "kim@example.kr");
    assert!(clone.reseal(&unnamed).unwrap().is_some());
}
