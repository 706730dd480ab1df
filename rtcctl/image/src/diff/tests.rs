//! Two builds of a program, compared.

use tempfile::TempDir;

use super::*;
use crate::build::build;
use crate::files::What;
use crate::fixture::{project, put, recompile};
use crate::settings::{Extra, Settings};

fn prepared() -> (TempDir, Settings, Layout) {
    let folder = tempfile::tempdir().unwrap();
    let settings = project(folder.path());
    let layout = Layout::create(folder.path().join("layout")).unwrap();
    (folder, settings, layout)
}

fn built(settings: &Settings, layout: &Layout) -> Descriptor {
    build(settings, layout, &|_| {}).unwrap().descriptor
}

#[test]
fn an_image_does_not_differ_from_itself() {
    let (_folder, settings, layout) = prepared();
    let manifest = built(&settings, &layout);
    let side = Side { layout: &layout, manifest: &manifest };
    let found = diff(side, side).unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(found.layers.len(), 3);
    assert_eq!(found.added_bytes(), 0);
}

#[test]
fn what_changed_is_told_and_nothing_else() {
    let (folder, mut settings, layout) = prepared();
    let gone = put(folder.path().join("gone"), b"gone");
    settings.extras = vec![Extra { source: gone, target: "/etc/rtc/gone".to_owned(), mode: 0o644 }];
    settings.environment =
        [("KEPT".to_owned(), "1".to_owned()), ("LOG".to_owned(), "info".to_owned())].into();
    settings.ports = vec!["8080".to_owned()];
    let before = built(&settings, &layout);

    recompile(&settings, b"another");
    let new = put(folder.path().join("new"), b"new");
    settings.extras = vec![Extra { source: new, target: "/etc/rtc/new".to_owned(), mode: 0o600 }];
    settings.environment.insert("LOG".to_owned(), "debug".to_owned());
    settings.ports = vec!["8443".to_owned()];
    settings.labels = [("team".to_owned(), "rtc".to_owned())].into();
    settings.entrypoint = Some(vec!["/usr/local/bin/rtcd".to_owned(), "serve".to_owned()]);
    let after = built(&settings, &layout);

    let found = diff(Side { layout: &layout, manifest: &before }, Side { layout: &layout, manifest: &after })
        .unwrap();
    let fates: Vec<Fate> = found.layers.iter().map(|(fate, _)| *fate).collect();
    assert_eq!(fates, [Fate::Removed, Fate::Kept, Fate::Kept, Fate::Added]);
    assert_eq!(found.added_bytes(), found.layers[3].1.size);

    let files: Vec<(&str, bool, bool)> = found
        .files
        .iter()
        .map(|change| (change.path.as_str(), change.before.is_some(), change.after.is_some()))
        .collect();
    let expected =
        [("etc/rtc/gone", true, false), ("etc/rtc/new", false, true), ("usr/local/bin/rtcd", true, true)];
    assert_eq!(files, expected);
    let program = &found.files[2];
    assert!(matches!(program.before.as_ref().unwrap().what, What::File { .. }));
    assert_eq!(program.after.as_ref().unwrap().size(), program.before.as_ref().unwrap().size() + 4);

    let facts: Vec<(&str, Option<&str>, Option<&str>)> = found
        .configuration
        .iter()
        .map(|fact| (fact.name.as_str(), fact.before.as_deref(), fact.after.as_deref()))
        .collect();
    assert_eq!(
        facts,
        [
            ("entrypoint", Some("/usr/local/bin/rtcd"), Some("/usr/local/bin/rtcd serve")),
            ("env LOG", Some("info"), Some("debug")),
            ("label team", None, Some("rtc")),
            ("port 8080/tcp", Some("exposed"), None),
            ("port 8443/tcp", None, Some("exposed")),
        ]
    );
}

#[test]
fn images_of_two_layouts_are_compared() {
    let (_folder, settings, layout) = prepared();
    let (_other_folder, other_settings, other_layout) = prepared();
    let (one, other) = (built(&settings, &layout), built(&other_settings, &other_layout));
    let found =
        diff(Side { layout: &layout, manifest: &one }, Side { layout: &other_layout, manifest: &other });
    assert!(found.unwrap().is_empty());
}

#[test]
fn an_index_is_no_image() {
    let (_folder, settings, layout) = prepared();
    let manifest = built(&settings, &layout);
    let index = oci::Index::new(vec![manifest.clone()]);
    let index = layout.put_document(oci::media::INDEX, &index).unwrap();
    let found =
        diff(Side { layout: &layout, manifest: &index }, Side { layout: &layout, manifest: &manifest });
    assert!(matches!(found, Err(Error::NoImage { .. })));
}
