//! What a process that does not start says of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::{Adapters, Config, Databases, EmbeddedOnly, Engine, Problem, StartError, masked_text};

fn engine(which: Engine, problem: Problem) -> StartError {
    StartError::Engine { which, name: "here".to_owned(), problem, detail: "said so".to_owned() }
}

fn database(source: db::Error) -> StartError {
    StartError::Database { name: "orders".to_owned(), source }
}

#[test]
fn every_fault_of_an_engine_has_its_code_and_exit_code() {
    use Problem::*;
    for (which, problem, code, exit) in [
        (Engine::Database, Unreachable, "RTD013", 9),
        (Engine::Database, AccessDenied, "RTD014", 3),
        (Engine::Database, TooOld, "RTD015", 3),
        (Engine::Database, ReadOnly, "RTD016", 8),
        (Engine::Database, Foreign, "RTD017", 8),
        (Engine::Database, Missing, "RTD018", 3),
        (Engine::Database, Other, "RTD019", 1),
        (Engine::Bus, Unreachable, "RTD020", 9),
        (Engine::Bus, AccessDenied, "RTD021", 3),
        (Engine::Bus, TooOld, "RTD022", 3),
        (Engine::Bus, Mismatch, "RTD023", 8),
        (Engine::Bus, Missing, "RTD024", 3),
        (Engine::Bus, ReadOnly, "RTD025", 1),
        (Engine::Bus, Untrusted, "RTD036", 3),
        (Engine::Cache, Unreachable, "RTD026", 9),
        (Engine::Cache, AccessDenied, "RTD027", 3),
        (Engine::Cache, TooOld, "RTD028", 3),
        (Engine::Cache, ReadOnly, "RTD029", 1),
        (Engine::Cache, Untrusted, "RTD037", 3),
        (Engine::Cache, Mismatch, "RTD038", 3),
        (Engine::Objects, Unreachable, "RTD030", 9),
        (Engine::Objects, AccessDenied, "RTD031", 3),
        (Engine::Objects, Missing, "RTD032", 3),
        (Engine::Objects, Other, "RTD033", 1),
    ] {
        let error = engine(which, problem);
        assert_eq!((error.code(), error.exit_code()), (code, exit), "{which} {problem}");
    }
    assert_eq!(engine(Engine::Bus, Unreachable).to_string(), "the event bus here does not answer: said so");
}

#[test]
fn a_database_says_the_same_by_itself_as_by_its_adapter() {
    let text = || "here".to_owned();
    for (source, code, exit) in [
        (db::Error::Unreachable(text()), "RTD013", 9),
        (db::Error::WrongPassword { user: text() }, "RTD014", 3),
        (db::Error::NoRight(text()), "RTD014", 3),
        (db::Error::TooOld { found: text(), needed: text() }, "RTD015", 3),
        (db::Error::ReadOnly, "RTD016", 8),
        (db::Error::Foreign(text()), "RTD017", 8),
        (db::Error::UnknownSchema(text()), "RTD018", 3),
        (db::Error::Newer { component: text(), found: 2, known: 1 }, "RTD006", 8),
        (db::Error::Busy, "RTD007", 8),
        (db::Error::Full, "RTD008", 1),
        (db::Error::Corrupt(text()), "RTD009", 1),
        (db::Error::Address(text()), "RTD001", 3),
    ] {
        let error = database(source);
        assert_eq!((error.code(), error.exit_code()), (code, exit), "{error}");
        assert!(error.to_string().contains("orders"), "{error}");
    }
}

#[test]
fn no_pair_of_engine_and_fault_is_without_a_hint() {
    let mut hints = BTreeMap::new();
    for which in Engine::ALL {
        for problem in Problem::ALL {
            let error = engine(which, problem);
            assert!(error.hint().len() > 10 && !error.hint().ends_with('.'), "{error}");
            let told = (error.hint().to_owned(), error.exit_code());
            let known = hints.entry(error.code().to_owned()).or_insert_with(|| told.clone());
            assert_eq!(*known, told, "{}", error.code());
        }
    }
}

/// The exit codes by name, as `rtcctl explain` knows them.
fn exit(name: &str) -> Option<u8> {
    Some(match name {
        "INTERNAL" => 1,
        "CONFIGURATION" => 3,
        "CONFLICT" => 8,
        "UNAVAILABLE" => 9,
        _ => return None,
    })
}

#[test]
fn what_is_explained_of_a_code_is_what_the_process_ends_with() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../rtcctl/codes/src/areas/rtcd.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let explained: BTreeMap<&str, u8> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("RTD"))
        .filter_map(|line| {
            let (number, rest) = line.split_once(" (")?;
            let (name, _) = rest.split_once(')')?;
            Some((number, exit(name)?))
        })
        .collect();
    let mut seen = BTreeSet::new();
    for which in Engine::ALL {
        for problem in Problem::ALL {
            let error = engine(which, problem);
            seen.insert(error.code().to_owned());
            assert_eq!(explained.get(&error.code()[3..]), Some(&error.exit_code()), "{}", error.code());
        }
    }
    assert_eq!(seen.len(), 25);
}

#[tokio::test]
async fn an_address_that_is_none_is_told_as_such_and_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    for (address, told) in [
        ("root:hunter2@db/rtc", "it has no scheme"),
        ("root:hunter2@db://rtc", "it has no scheme"),
        ("oracle://root:hunter2@db/rtc", "no engine for oracle:// is part of this program"),
    ] {
        let config = Config::for_tests(folder.path(), &[("database", json!(address))]).unwrap();
        let opened = Databases::of(&config, std::sync::Arc::new(EmbeddedOnly)).open("orders").await;
        let refused = [
            opened.err().unwrap(),
            EmbeddedOnly.bus(address).await.err().unwrap(),
            EmbeddedOnly.cache(address).await.err().unwrap(),
            EmbeddedOnly.objects(address).await.err().unwrap(),
        ];
        for error in refused {
            assert_eq!((error.code(), error.exit_code()), ("RTD001", 3), "{error}");
            assert!(error.to_string().contains(told) && !error.to_string().contains("hunter2"), "{error}");
        }
        let shown = format!("{:?}", config.settings().into_iter().find(|one| one.key == "database").unwrap());
        assert!(shown.contains("…@db") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_value_that_is_refused_is_shown_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    for (key, value) in [
        ("upstreams.users", "http://name:hunter2@users:8080"),
        ("upstreams.users", "name:hunter2@users:8080"),
        ("databases", "root:hunter2@db/rtc"),
        ("limits.login", "root:hunter2@db/rtc"),
        ("profile", "root:hunter2@db/rtc"),
    ] {
        let error = Config::for_tests(folder.path(), &[(key, json!(value))]).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains('…') && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn what_is_no_address_with_a_password_is_shown_as_it_is() {
    for text in ["", "info,orders=debug", "shop@example.kr", "127.0.0.1:8080", "mysql://m:1/rtc", "12:30"] {
        assert_eq!(masked_text(text), text);
    }
    for (text, shown) in [
        ("root:hunter2@db/rtc", "root:…@db/rtc"),
        ("root:hunter@2@db/rtc", "root:…@db/rtc"),
        ("mysql://root:hunter2@db/rtc", "mysql://root:…@db/rtc"),
    ] {
        assert_eq!((masked_text(text).as_str(), masked_text(shown).as_str()), (shown, shown));
    }
}
