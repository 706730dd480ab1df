//! That what pipelines say can be done: every `sh` of the Jenkinsfiles and every command of the build specifications, word by
//! word, through the command line as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use settings::SETTINGS;

use crate::cli::Cli;

/// One command and where it stands.
#[derive(Debug)]
struct Said {
    place: String,
    text: String,
}

/// What the machinery puts into a command, with an example of it.
const VARIABLES: [(&str, &str); 5] = [
    ("GIT_COMMIT", "4f1c168a0d0e4f1c168a0d0e4f1c168a0d0e4f1c"),
    ("CODEBUILD_RESOLVED_SOURCE_VERSION", "4f1c168a0d0e4f1c168a0d0e4f1c168a0d0e4f1c"),
    ("BUILD_URL", "https://ci.example/job/rtc/job/main/7/"),
    ("CODEBUILD_BUILD_URL", "https://ap-northeast-2.console.aws.amazon.com/codesuite/7"),
    ("CODEBUILD_BUILD_SUCCEEDING", "1"),
];

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines")
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(pipelines().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} has nothing that ends with {ending}");
    found
}

/// `sh '…'`, a line each: `cargo xtask test pipelines` sees that Groovy finds no others.
fn of_jenkins() -> Vec<Said> {
    let mut said = Vec::new();
    for path in files("jenkins", ".Jenkinsfile") {
        let text = std::fs::read_to_string(&path).unwrap();
        for (index, line) in text.lines().enumerate() {
            let Some(rest) = line.trim().strip_prefix("sh ") else { continue };
            let place = format!("{}:{}", path.display(), index + 1);
            let inner = rest.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
            let inner =
                inner.unwrap_or_else(|| panic!("{place}: sh takes one text in single quotes: {rest}"));
            assert!(!inner.contains('\\'), "{place}: what Groovy escapes is not read here");
            said.push(Said { place, text: inner.to_owned() });
        }
    }
    said
}

/// The items of `commands` and `finally`: one plain text a line, as this house writes them.
fn of_codebuild() -> Vec<Said> {
    let mut said = Vec::new();
    for path in files("codebuild", ".yml") {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut depth = None;
        for (index, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            match (line.trim(), depth) {
                ("commands:" | "finally:", _) => depth = Some(indent),
                (item, Some(above)) if indent > above && item.starts_with("- ") => {
                    let place = format!("{}:{}", path.display(), index + 1);
                    let text = item[2..].to_owned();
                    assert!(
                        !text.starts_with(['|', '>', '"', '\'']),
                        "{place}: a command is a plain text on one line"
                    );
                    said.push(Said { place, text });
                }
                ("", _) => {}
                (_, Some(above)) if indent <= above => depth = None,
                _ => {}
            }
        }
    }
    said
}

/// The words of a command, as a shell splits them. What a shell would do more is refused.
fn words(said: &Said) -> Vec<String> {
    let variables: BTreeMap<&str, &str> = VARIABLES.into_iter().collect();
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut letters = said.text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (' ', None) => words.extend(word.take()),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('$', None | Some('"')) => {
                let mut name = String::new();
                while let Some(next) = letters.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
                    name.push(next);
                }
                let value = variables.get(name.as_str());
                let value = value.unwrap_or_else(|| panic!("{}: nobody sets ${name}", said.place));
                // Without quotes a shell would split it again.
                assert!(quote.is_some(), "{}: ${name} stands outside of quotes", said.place);
                word.get_or_insert_default().push_str(value);
            }
            ('|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' | '*' | '?' | '~' | '#' | '!' | '\\', None) => {
                panic!("{}: one command and no shell: {letter}", said.place)
            }
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "{}: a quote is not closed", said.place);
    words.extend(word);
    words
}

/// What cargo is asked for; the tasks are those that xtask knows.
fn cargo(said: &Said, words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["xtask", task @ ..] => {
            let main = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/src/main.rs");
            let quoted: Vec<String> = task.iter().map(|word| format!("{word:?}")).collect();
            let arm = format!("        [{}] =>", quoted.join(", "));
            assert!(
                std::fs::read_to_string(main).unwrap().contains(&arm),
                "{}: xtask has no {task:?}",
                said.place
            );
        }
        // What goes into an image speaks TLS to Kafka; nothing else is built with it.
        ["build", "--release", "--locked", "-p", package @ "rtcd", "--features", feature @ "kafka-tls"] => {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let manifest =
                std::fs::read_to_string(here.join(format!("../services/{package}/Cargo.toml"))).unwrap();
            let is_there = manifest.lines().any(|line| line.starts_with(&format!("{feature} = [")));
            assert!(is_there, "{}: {package} has no {feature}", said.place);
        }
        ["--version"] => {}
        other => panic!("{}: cargo {other:?} is not what pipelines do", said.place),
    }
}

/// The fault of a command, if it has one.
fn fault(said: &Said) -> Option<String> {
    let words = words(said);
    match words.split_first().map(|(program, rest)| (program.as_str(), rest)) {
        Some(("rtcctl", _)) => Cli::command()
            .try_get_matches_from(&words)
            .err()
            .map(|error| format!("{}: {}\n{error}", said.place, said.text)),
        Some(("cargo", rest)) => {
            cargo(said, rest);
            None
        }
        _ => Some(format!("{}: {}: only rtcctl and cargo are run", said.place, said.text)),
    }
}

#[test]
fn every_command_of_the_pipelines_exists_with_its_flags() {
    let (jenkins, codebuild) = (of_jenkins(), of_codebuild());
    assert!(jenkins.len() > 20 && codebuild.len() > 10, "{} and {}", jenkins.len(), codebuild.len());
    let faults: Vec<String> = jenkins.iter().chain(&codebuild).filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_command_that_does_not_exist_is_found() {
    let found = |text: &str| fault(&Said { place: "x:1".to_owned(), text: text.to_owned() });
    for text in [
        "rtcctl deploi",
        "rtcctl image build --pusch",
        "rtcctl runs notify --outcome well",
        "rtcctl runs notify --link \"build=$CODEBUILD_BUILD_SUCCEEDING\"",
        "rtcctl",
        "kubectl apply -f x",
    ] {
        assert!(found(text).is_some(), "{text}");
    }
    assert_eq!(found("rtcctl runs notify --link \"build=$BUILD_URL\" --why 'a b'"), None);
}

/// Every name that looks like one of rtcctl's variables.
fn variables_in(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("RTCCTL_"))
        .collect()
}

#[test]
fn every_variable_that_pipelines_set_for_rtcctl_is_one_of_its_settings() {
    let mut seen = 0;
    for path in files("jenkins", ".Jenkinsfile").into_iter().chain(files("codebuild", ".yml")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in variables_in(&text) {
            let is_known = SETTINGS.iter().any(|setting| setting.variable == Some(name));
            assert!(is_known, "{}: {name}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10);
}

#[test]
fn pipelines_tell_by_the_references_that_rtc_toml_has() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rtc.toml");
    let file = settings::File::read(&project).unwrap();
    let references: Vec<&str> =
        file.notices.iter().filter_map(|(_, entry)| entry.url.strip_prefix("env:")).collect();
    assert!(!references.is_empty());
    for path in files("jenkins", ".Jenkinsfile").into_iter().chain(files("codebuild", ".yml")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in &references {
            assert!(text.contains(name), "{}: nobody sets {name}", path.display());
        }
    }
}

#[test]
fn every_job_is_described_and_what_its_jenkinsfile_asks_for_is_among_its_parameters() {
    let filled = jenkins::Filled {
        repository: Some("https://git.example/rtc.git".to_owned()),
        credentials: Some("github".to_owned()),
    };
    for path in files("jenkins/jobs", ".toml") {
        let name = path.display().to_string();
        let job =
            jenkins::Description::parse(&name, &std::fs::read_to_string(&path).unwrap(), &filled).unwrap();
        let Some(script) = &job.script else { continue };
        let text = std::fs::read_to_string(pipelines().join("..").join(script)).unwrap();
        let asked: BTreeSet<&str> = text
            .match_indices("params.")
            .map(|(at, found)| {
                let rest = &text[at + found.len()..];
                &rest[..rest
                    .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                    .unwrap_or(rest.len())]
            })
            .collect();
        let has: BTreeSet<&str> =
            job.parameters.iter().flatten().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(asked, has, "{name}");
    }
}

#[test]
fn pipelines_by_short_name_are_jobs_that_are_described() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rtc.toml");
    let file = settings::File::read(&project).unwrap();
    let described: Vec<String> = files("jenkins/jobs", ".toml")
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .map(|text| toml::from_str::<toml::Table>(&text).unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(file.pipelines.keys().collect::<Vec<_>>(), ["develop", "main"]);
    for (name, entry) in &file.pipelines {
        assert!(described.contains(&entry.job), "{name}: {}", entry.job);
    }
}

/// The value of a flag in a command.
fn flag<'w>(words: &'w [String], flag: &str) -> Option<&'w str> {
    let at = words.iter().position(|word| word == flag)?;
    words.get(at + 1).map(String::as_str)
}

/// The commands of main, each with its words.
fn of_main() -> Vec<Vec<String>> {
    let said = of_jenkins();
    said.iter().filter(|said| said.place.contains("/main.Jenkinsfile:")).map(words).collect()
}

#[test]
fn what_is_applied_to_prod_is_the_plan_that_was_shown_before_somebody_approved() {
    let commands = of_main();
    let at = |verb: &str| {
        commands.iter().position(|words| words[1..].starts_with(&["infra".to_owned(), verb.to_owned()]))
    };
    let (planned, applied) = (at("plan").unwrap(), at("apply").unwrap());
    let kept = flag(&commands[planned], "--digest-to").unwrap();
    assert_eq!(flag(&commands[applied], "--expect").unwrap(), format!("@{kept}"));
    let text = std::fs::read_to_string(pipelines().join("jenkins/main.Jenkinsfile")).unwrap();
    let (plan, input, apply) = (text.find("infra plan"), text.find("input {"), text.find("infra apply"));
    assert!(plan < input && input < apply, "nobody is asked between the two");
}

#[test]
fn whatever_changes_prod_names_it() {
    let mut seen = 0;
    for words in of_main() {
        let changes = words.iter().any(|word| word == "--yes");
        assert!(!changes || flag(&words, "--confirm") == Some("prod"), "{words:?}");
        seen += usize::from(changes);
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_pod_of_a_build_lives_for_an_hour_longer_than_the_build_may_take() {
    let hours = |line: &str| {
        let number = line.trim().strip_prefix("timeout(time: ")?.strip_suffix(", unit: 'HOURS')")?;
        number.parse::<u64>().ok()
    };
    let pod = std::fs::read_to_string(pipelines().join("jenkins/agents/deploy.yaml")).unwrap();
    let lives: u64 = pod
        .lines()
        .find_map(|line| line.trim().strip_prefix("activeDeadlineSeconds: ")?.parse().ok())
        .unwrap();
    for path in files("jenkins", ".Jenkinsfile") {
        let text = std::fs::read_to_string(&path).unwrap();
        let limits: Vec<u64> = text.lines().filter_map(hours).collect();
        assert!(limits.iter().all(|limit| limit * 3_600 + 3_600 <= lives), "{}: {limits:?}", path.display());
        // Who waits for an answer leaves time for what follows it.
        let (build, stages) = limits.split_first().unwrap();
        assert_eq!(stages.len(), text.matches("input {").count(), "{}", path.display());
        assert!(stages.iter().all(|stage| stage < build), "{}: {limits:?}", path.display());
    }
}

#[test]
fn main_tells_of_its_release_and_of_no_part_of_it() {
    let notices: Vec<Vec<String>> =
        of_main().into_iter().filter(|words| words.iter().any(|word| word == "notify")).collect();
    assert_eq!(notices.len(), 3);
    for words in notices {
        assert_eq!((words[3].as_str(), flag(&words, "--of")), ("last", Some("ship")), "{words:?}");
    }
}
