//! `cargo xtask test pipelines`: Jenkinsfiles by the Groovy of Jenkins, agents, Jenkins as code and build specifications by
//! schemas. That each of their commands is one that exists is a test of rtcctl (`pipelines_tests.rs`).

use crate::engines::script;
use crate::run::{Outcome, Parts, check, command, root};

pub fn run() -> Outcome {
    Parts::told(all)
}

pub fn all(parts: &mut Parts) -> Outcome {
    parts.part("pipelines: install", || check(script(&["install", "pipelines"])))?;
    parts.part("pipelines: Jenkinsfiles, agents, Jenkins as code, CodeBuild", || {
        let engines = root().join("target/engines");
        let python = engines.join("manifests/bin/python").display().to_string();
        let mut judge = command(&python, &["scripts/pipelines"]);
        judge.arg(engines.join("groovy/usr/share/java"));
        check(judge)
    })
}
