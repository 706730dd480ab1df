//! That the list of codes is complete, well formed and free of dead entries.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

#[test]
fn every_code_is_well_formed_unique_and_documented() {
    let mut seen = BTreeSet::new();
    for code in all() {
        let (area, number) = code.id.split_at(3);
        assert!(area.bytes().all(|byte| byte.is_ascii_uppercase()), "{}", code.id);
        assert!(number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()), "{}", code.id);
        assert!(seen.insert(code.id), "{} is declared twice", code.id);
        for text in [code.summary, code.cause, code.action] {
            assert!(text.len() > 10 && !text.ends_with('.'), "{}: {text:?}", code.id);
        }
        assert!(crate::exit::ALL.iter().any(|(exit, _)| *exit == code.exit), "{}", code.id);
    }
}

#[test]
fn a_code_is_found_in_any_case_and_an_unknown_one_is_not() {
    assert_eq!(find("cfg001").unwrap().id, "CFG001");
    assert!(find("CFG999").is_none());
}

/// The ids that look like a code in the sources outside this folder.
fn ids_in_sources(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("areas") {
                ids_in_sources(&path, found);
            }
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect::<Vec<_>>();
        words.retain(|word| {
            word.len() == 6
                && word.as_bytes()[..3].iter().all(u8::is_ascii_uppercase)
                && word.as_bytes()[3..].iter().all(u8::is_ascii_digit)
        });
        found.extend(words.into_iter().map(str::to_owned));
    }
}

#[test]
fn every_code_is_used_and_every_used_code_is_documented() {
    let mut used = BTreeSet::new();
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for part in ["src", "codes/src", "sales/src", "settings/src"] {
        ids_in_sources(&tool.join(part), &mut used);
    }
    // rtcd speaks in codes of its own, which are explained here.
    let said = std::fs::read_to_string(tool.join("../services/platform/host/src/error.rs")).unwrap();
    used.extend(said.split('"').filter(|word| word.len() == 6 && word.starts_with("RTD")).map(str::to_owned));
    // Those of a rollout are used where it is judged, and none of them is missing here.
    used.extend(::rollout::code::Code::ALL.iter().map(|code| code.id().to_owned()));
    // Those of manifests likewise.
    used.extend(manifests::lint::MEANINGS.iter().map(|meaning| meaning.id.to_owned()));
    let unused: Vec<_> = all().map(|code| code.id).filter(|id| !used.contains(*id)).collect();
    assert!(unused.is_empty(), "documented and never used: {unused:?}");
    let areas: BTreeSet<&str> = all().map(|code| &code.id[..3]).collect();
    let unknown: Vec<_> = used
        .iter()
        .filter(|id| areas.contains(&id[..3]) && find(id).is_none() && !id.ends_with("999"))
        .collect();
    assert!(unknown.is_empty(), "used and not documented: {unknown:?}");
}

#[test]
fn every_code_of_a_rollout_is_explained_in_its_own_words() {
    for code in ::rollout::code::Code::ALL {
        let documented = find(code.id()).unwrap_or_else(|| panic!("{code} is not explained"));
        assert_eq!((documented.summary, documented.action), (code.summary(), code.action()));
        assert_eq!(of_rollout(*code), documented);
    }
}
