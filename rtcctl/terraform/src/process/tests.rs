//! A shell script in Terraform's place: what it gets, what it is told, and what becomes of it.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;

use tempfile::TempDir;

use super::*;

struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn files(&self) -> Files {
        Files { lines: self.folder.path().join("lines"), talk: self.folder.path().join("talk") }
    }

    fn terraform(&self, script: &str, environment: &[(&str, &str)]) -> Terraform {
        let binary = self.folder.path().join("terraform");
        std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = ("PATH", "/usr/bin:/bin");
        let environment =
            environment.iter().chain(std::iter::once(&path)).map(|(name, value)| (name.into(), value.into()));
        Terraform::new(binary, self.folder.path().to_owned(), environment)
    }
}

const NO_ARGUMENTS: [&str; 0] = [];

/// Runs the script; a line `go` of it is answered with a wish to stop, as often as it comes.
async fn run(script: &str) -> (Ended, Vec<String>) {
    let stage = Stage::new();
    let run = stage.terraform(script, &[]).start(&NO_ARGUMENTS, &stage.files()).unwrap();
    let (stop, mut stops) = mpsc::channel(4);
    let mut texts = Vec::new();
    let ended = run
        .follow(&mut stops, |line| {
            let Line::Text(text) = line else { panic!("{line:?}") };
            if text == "go" {
                stop.try_send(Stop).unwrap();
            }
            texts.push(text);
        })
        .await
        .unwrap();
    (ended, texts)
}

#[tokio::test]
async fn lines_and_talk_are_read_to_their_end() {
    let (ended, texts) = run("echo one; echo beside >&2; printf two; exit 3").await;
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(texts, ["one", "two"]);
    assert_eq!(ended.talk, "beside\n");
}

#[tokio::test]
async fn one_wish_to_stop_is_one_interrupt() {
    let script = "count=0; trap 'count=$((count+1))' INT; echo go; \
                  while [ $count -eq 0 ]; do sleep 0.05; done; sleep 0.3; echo got $count";
    let (ended, texts) = run(script).await;
    assert_eq!(texts, ["go", "got 1"]);
    assert_eq!((ended.interrupts, ended.status.code()), (1, Some(0)));
}

#[tokio::test]
async fn a_second_wish_is_a_second_interrupt() {
    let script = "count=0; trap 'count=$((count+1)); [ $count -eq 1 ] && echo go' INT; echo go; \
                  while [ $count -lt 2 ]; do sleep 0.05; done; exit 1";
    let (ended, _) = run(script).await;
    assert_eq!((ended.interrupts, ended.status.code()), (2, Some(1)));
}

#[tokio::test]
async fn a_run_that_is_killed_by_others_is_told_as_such() {
    let (ended, _) = run("kill -9 $$").await;
    assert_eq!(ended.status.signal(), Some(9));
}

#[tokio::test]
async fn it_is_in_a_group_of_its_own_and_reads_nothing() {
    let (_, texts) =
        run("[ \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ ] && echo own; read line || echo no input").await;
    assert_eq!(texts, ["own", "no input"]);
}

#[tokio::test]
async fn what_somebody_left_in_the_environment_is_not_passed_on() {
    let stage = Stage::new();
    let terraform = stage.terraform(
        "env | grep ^TF_ | sort",
        &[
            ("TF_CLI_ARGS", "-lock=false"),
            ("TF_CLI_ARGS_apply", "-auto-approve"),
            ("TF_LOG", "trace"),
            ("TF_LOG_PATH", "/tmp/x"),
            ("TF_WORKSPACE", "other"),
            ("TF_DATA_DIR", "/tmp/y"),
            ("TF_INPUT", "1"),
            ("TF_CLI_CONFIG_FILE", "/etc/terraformrc"),
            ("TF_PLUGIN_CACHE_DIR", "/var/cache/tf"),
            ("TF_VAR_region", "ap-northeast-2"),
        ],
    );
    let output = terraform.output(&NO_ARGUMENTS).await.unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "TF_CLI_CONFIG_FILE=/etc/terraformrc\nTF_INPUT=0\nTF_IN_AUTOMATION=1\n\
         TF_PLUGIN_CACHE_DIR=/var/cache/tf\nTF_VAR_region=ap-northeast-2\n"
    );
}

#[tokio::test]
async fn what_may_be_large_goes_into_a_file_for_its_owner_alone() {
    let stage = Stage::new();
    let file = stage.folder.path().join("shown");
    let output =
        stage.terraform("echo shown; echo said >&2", &[]).output_into(&NO_ARGUMENTS, &file).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (b"" as &[u8], b"said\n" as &[u8]));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "shown\n");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_run_that_was_left_finishes_and_is_found_again() {
    let stage = Stage::new();
    let gate = stage.folder.path().join("gate");
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let terraform = stage.terraform("echo before; read line < gate; echo after; echo said >&2", &[]);
    let run = terraform.start(&NO_ARGUMENTS, &stage.files()).unwrap();
    let identity = run.identity().unwrap();
    assert!(identity.is_alive());
    assert!(!Identity { born: identity.born + 1, ..identity }.is_alive());
    // As if we had been killed: nobody waits for it any more.
    drop(run);
    let mut texts = Vec::new();
    let talk = follow_left(identity, &stage.files(), |line| {
        if let Line::Text(text) = line {
            if text == "before" {
                std::fs::write(&gate, "\n").unwrap();
            }
            texts.push(text);
        }
    })
    .await
    .unwrap();
    assert_eq!(texts, ["before", "after"]);
    assert_eq!(talk, "said\n");
}

#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    let stage = Stage::new();
    let run = stage.terraform("exit 0", &[]).start(&NO_ARGUMENTS, &stage.files()).unwrap();
    let (_, mut stops) = mpsc::channel(1);
    run.follow(&mut stops, |_| {}).await.unwrap();
    for file in [stage.files().lines, stage.files().talk] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_an_error() {
    let terraform = Terraform::new("/nowhere/terraform".into(), std::env::temp_dir(), []);
    let stage = Stage::new();
    assert_eq!(terraform.output(&["version"]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(terraform.start(&["plan"], &stage.files()).is_err());
}
