//! Descriptions, what they become, and how that is compared with what Jenkins has.

use super::described::{Description, Filled, Kind};

fn filled() -> Filled {
    Filled { repository: Some("https://git.example/rtc.git".to_owned()), credentials: Some("git".to_owned()) }
}

const PIPELINE: &str = r#"
kind = "pipeline"
name = "rtc/develop"
description = "builds develop"
script = "pipelines/jenkins/develop.Jenkinsfile"
branches = ["develop"]
"#;

fn refused(text: &str) -> String {
    Description::parse("x.toml", text, &filled()).unwrap_err().to_string()
}

#[test]
fn what_a_description_leaves_out_is_filled_in_and_a_folder_has_none_of_it() {
    let described = Description::parse("x.toml", PIPELINE, &filled()).unwrap();
    assert_eq!(described.repository.as_deref(), Some("https://git.example/rtc.git"));
    assert_eq!(described.credentials.as_deref(), Some("git"));
    let open = format!("{PIPELINE}credentials = \"\"\n");
    assert_eq!(Description::parse("x.toml", &open, &filled()).unwrap().credentials, None);
    let folder = "kind = \"folder\"\nname = \"rtc\"\ndescription = \"all of it\"\n";
    let folder = Description::parse("x.toml", folder, &filled()).unwrap();
    assert_eq!((folder.kind, folder.repository, folder.credentials), (Kind::Folder, None, None));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let multibranch = PIPELINE.replace("\"pipeline\"", "\"multibranch\"");
    for (text, word) in [
        (PIPELINE.replace("script =", "scirpt ="), "line 5: unknown field `scirpt`"),
        (PIPELINE.replace("\"pipeline\"", "\"freestyle\""), "line 2: unknown variant"),
        (PIPELINE.replace("builds develop", " "), "description is empty"),
        (PIPELINE.replace("rtc/develop", "rtc//develop"), "a part of it is empty"),
        (PIPELINE.replace("\"develop\"]", "\"develop\", \"main\"]"), "exactly one"),
        (PIPELINE.replace("\"develop\"]", "\"feature/*\"]"), "without *"),
        (PIPELINE.replace("pipelines/jenkins/", "../"), "within the repository"),
        (format!("{PIPELINE}exclude = [\"x\"]\n"), "it builds one branch"),
        (format!("{PIPELINE}[triggers]\nschedule = \"daily\"\n"), "five fields"),
        (format!("{PIPELINE}[keep]\nbuilds = 0\n"), "at least one"),
        (format!("{multibranch}[triggers]\npoll = \"H * * * *\"\n"), "scan_minutes"),
        (format!("{multibranch}[[parameters]]\nname = \"A\"\nkind = \"text\"\n"), "Jenkinsfiles say them"),
        (format!("{PIPELINE}[[parameters]]\nname = \"1A\"\nkind = \"text\"\n"), "no digit first"),
        (format!("{PIPELINE}[[parameters]]\nname = \"A\"\nkind = \"choice\"\n"), "choices are missing"),
        (
            "kind = \"folder\"\nname = \"a\"\ndescription = \"b\"\nscript = \"c\"\n".to_owned(),
            "a folder has no script",
        ),
    ] {
        let reason = refused(&text);
        assert!(reason.contains(word), "{word}: {reason}");
    }
    let bare = Description::parse("x.toml", PIPELINE, &Filled::default()).unwrap_err().to_string();
    assert!(bare.contains("repository is missing"), "{bare}");
}

#[test]
fn a_secret_has_no_place_and_is_not_repeated() {
    for text in [
        format!("{PIPELINE}repository = \"https://ann:hunter2@git.example/rtc.git\"\n"),
        format!("{PIPELINE}[[parameters]]\nname = \"KEY\"\nkind = \"password\"\ndefault = \"hunter2\"\n"),
        format!("{PIPELINE}credentials = \"hunter2 is my word\"\n"),
    ] {
        let reason = refused(&text);
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}
