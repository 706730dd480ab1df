//! Descriptions, what they become, and how that is compared with what Jenkins has.

use super::compare::{differences, overlay};
use super::described::{Description, Filled, Kind};
use super::write::write;
use super::xml::Element;

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

fn described(text: &str) -> Description {
    Description::parse("x.toml", text, &filled()).unwrap()
}

fn full() -> String {
    format!(
        "{PIPELINE}keep = {{ builds = 5 }}\ntriggers = {{ poll = \"H/5 * * * *\", push = true }}\n\
         [[parameters]]\nname = \"VERSION\"\nkind = \"text\"\nrequired = true\ndescription = \"<which> & why\"\n\
         [[parameters]]\nname = \"ENV\"\nkind = \"choice\"\nchoices = [\"dev\", \"prod\"]\n\
         [[parameters]]\nname = \"DRY\"\nkind = \"flag\"\ndefault = true\n\
         [[parameters]]\nname = \"KEY\"\nkind = \"password\"\n"
    )
}

fn multibranch() -> String {
    PIPELINE.replace("\"pipeline\"", "\"multibranch\"")
        + "exclude = [\"wip/*\"]\nkeep = { days = 7 }\ntriggers = { scan_minutes = 60 }\n"
}

const FOLDER: &str = "kind = \"folder\"\nname = \"rtc\"\ndescription = \"all of it\"\n";

#[test]
fn each_kind_is_written_as_jenkins_reads_it() {
    let written = write(&described(&full()), "rtc").print();
    for piece in [
        "<flow-definition>",
        "[kept by rtcctl pipeline sync for rtc; do not change by hand]",
        "<numToKeep>5</numToKeep>",
        "<description>&lt;which&gt; &amp; why (required)</description>",
        "<a class=\"string-array\">",
        "<string>dev</string>",
        "<com.cloudbees.jenkins.GitHubPushTrigger>",
        "<spec>H/5 * * * *</spec>",
        "<name>*/develop</name>",
        "<credentialsId>git</credentialsId>",
        "<scriptPath>pipelines/jenkins/develop.Jenkinsfile</scriptPath>",
    ] {
        assert!(written.contains(piece), "{piece}: {written}");
    }
    let written = write(&described(&multibranch()), "rtc").print();
    for piece in [
        "<includes>develop</includes>",
        "<excludes>wip/*</excludes>",
        "<interval>3600000</interval>",
        "reference=\"../..\"",
        "<id>rtcctl-rtc-develop</id>",
    ] {
        assert!(written.contains(piece), "{piece}: {written}");
    }
    assert!(
        write(&described(FOLDER), "rtc").print().contains("<com.cloudbees.hudson.plugins.folder.Folder>")
    );
}

/// What a Jenkins could have instead of what is wanted: other texts, strangers, missing parts, other kinds.
fn spoilt(element: &mut Element, random: &mut impl FnMut() -> usize) {
    match random() % 12 {
        0 => element.text = "other".to_owned(),
        1 => element.children.push(Element::leaf("com.example.Stranger", "x")),
        2 if !element.children.is_empty() => drop(element.children.remove(0)),
        3 => element.children.reverse(),
        4 => element.attributes.push(("plugin".to_owned(), "x@1".to_owned())),
        5 => element.attributes.retain(|(name, _)| name != "class"),
        6 => element.children.extend(element.children.first().cloned()),
        _ => {}
    }
    element.children.iter_mut().for_each(|child| spoilt(child, random));
}

#[test]
fn whatever_a_job_was_it_differs_no_more_once_it_was_overlaid() {
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap()
    };
    let kinds = [full(), multibranch(), FOLDER.to_owned(), PIPELINE.to_owned()];
    let mut spoilt_ones = 0;
    for round in 0..2_000 {
        let wanted = write(&described(&kinds[round % kinds.len()]), "rtc");
        let mut actual = Element::parse(&wanted.print()).unwrap();
        assert_eq!(differences(&actual, &wanted), []);
        spoilt(&mut actual, &mut random);
        actual.name.clone_from(&wanted.name);
        spoilt_ones += usize::from(!differences(&actual, &wanted).is_empty());
        overlay(&mut actual, &wanted);
        assert_eq!(differences(&actual, &wanted), [], "{}", actual.print());
        let again = Element::parse(&actual.print()).unwrap();
        assert_eq!(differences(&again, &wanted), [], "{}", actual.print());
    }
    assert!(spoilt_ones > 1_000, "{spoilt_ones}");
}

#[test]
fn what_jenkins_and_its_plug_ins_add_is_no_difference_and_stays() {
    let wanted = write(&described(&full()), "rtc");
    let theirs = wanted
        .print()
        .replace(
            "<flow-definition>",
            "<flow-definition plugin=\"workflow-job@2.42\">\n<actions><a.B plugin=\"x@1\"/></actions>",
        )
        .replace("<properties>", "<properties><com.example.Throttle><max>3</max></com.example.Throttle>")
        .replace("class=\"java.util.Arrays$ArrayList\"", "class=\"java.util.ArrayList\"");
    let mut theirs = Element::parse(&theirs).unwrap();
    assert_eq!(differences(&theirs, &wanted), []);
    let longer = write(&described(&full().replace("builds = 5", "builds = 6")), "rtc");
    let found = differences(&theirs, &longer);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].at.as_str(), found[0].has.as_deref(), found[0].wants.as_deref()),
        ("BuildDiscarderProperty/strategy/numToKeep", Some("5"), Some("6"))
    );
    overlay(&mut theirs, &longer);
    assert!(theirs.print().contains("<max>3</max>") && theirs.print().contains("a.B"));
}

#[test]
fn what_is_said_empty_is_taken_away_and_what_is_not_said_stays() {
    let has = Element::parse(&write(&described(&full()), "rtc").print()).unwrap();
    let silent = write(&described(PIPELINE), "rtc");
    assert_eq!(differences(&has, &silent), []);
    let empty = format!("{PIPELINE}parameters = []\ntriggers = {{}}\nkeep = {{}}\nconcurrent = true\n");
    let empty = write(&described(&empty), "rtc");
    let found = differences(&has, &empty);
    assert_eq!(found.iter().filter(|one| one.wants.is_none()).count(), 4, "{found:?}");
    let stranger = full().replace("[[parameters]]\nname = \"KEY\"\nkind = \"password\"\n", "");
    let found = differences(&has, &write(&described(&stranger), "rtc"));
    assert_eq!(found[0].at, "parameterDefinitions/KEY");
    assert_eq!(found[0].has.as_deref(), Some("PasswordParameterDefinition KEY"));
}

#[test]
fn a_difference_shows_no_secret() {
    let wanted = write(&described(&full()), "rtc");
    let text = wanted
        .print()
        .replace("https://git.example", "https://ann:hunter2@git.example")
        .replace(">git</credentialsId>", ">{AQAAABAAAAAQhunter2}</credentialsId>")
        .replace("hudson.model.StringParameterDefinition>", "hudson.model.PasswordParameterDefinition>")
        .replace("<defaultValue/>", "<defaultValue>hunter2</defaultValue>");
    let found = differences(&Element::parse(&text).unwrap(), &wanted);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    for (has, wants) in [
        ("<a><secretId>hunter2</secretId></a>", "<a><secretId>b</secretId></a>"),
        ("<a><url>https://git.example/?token=hunter2</url></a>", "<a><url>https://git.example/</url></a>"),
    ] {
        let found = differences(&Element::parse(has).unwrap(), &Element::parse(wants).unwrap());
        assert_eq!(found.len(), 1, "{has}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    }
}
