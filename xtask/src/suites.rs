//! All tests: `cargo test`, with the long suites bounded or whole (docs/TESTING.md).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::codegen::binaries;
use crate::platform::Profile;
use crate::prometheus::live;
use crate::run::{Outcome, Parts, check, command, output};
use crate::{cluster, engines, image, infra, manifests, pipelines, ship};

/// How much of the long suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Bounded,
    Whole,
}

/// What the tests of processes start; they would build it themselves where nobody says so.
const BINARIES: &str = "RTC_TEST_BINARIES";

/// What needs cargo and a C compiler, nothing else.
pub fn embedded(extent: Extent) -> Outcome {
    Profile::Dev.build()?;
    let mut test = command("cargo", &["test", "--workspace", "--locked", "--no-fail-fast"]);
    test.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver").env(BINARIES, binaries());
    if extent == Extent::Whole {
        test.env("SIM_SEEDS", "2000").env("KILL_ROUNDS", "100").env("DEATHS_EVERY", "1");
    }
    check(test)
}

/// The tests beside the usual ones, each of which needs something that is started for it.
const BESIDE: [&str; 6] = ["cluster", "engines", "image", "infra", "metrics", "ship"];

/// How they are compiled: always all of them. What one of them needs of other crates is less than what the workspace needs, so that a
/// name alone compiles most of the house and what it stands on once more.
pub fn compiling() -> Vec<&'static str> {
    let names = BESIDE.iter().flat_map(|name| ["--test", name]);
    ["test", "--workspace", "--locked", "--no-run"].into_iter().chain(names).collect()
}

/// The program of one of them, compiled, as cargo would run it, beside the binaries that users have.
pub fn named(test: &str) -> Result<Command, String> {
    built(test, None)
}

/// The same with a feature that rtcd and the suites have, and that most builds do without.
pub fn with_feature(test: &str, feature: &str) -> Result<Command, String> {
    built(test, Some(feature))
}

fn built(test: &str, feature: Option<&str>) -> Result<Command, String> {
    let mut compile = command("cargo", &compiling());
    if let Some(feature) = feature {
        compile.args(["--features", &format!("rtcd/{feature},rtc-suites/{feature}")]);
    }
    compile.arg("--message-format=json-render-diagnostics").env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    let said = output(compile)?;
    let found = said.lines().find_map(|line| program_of(test, line));
    let (program, folder) = found.ok_or_else(|| format!("cargo does not say where the tests {test} are"))?;
    // Tests have an rtcctl of their own, which plays clusters; it lies where that of users does, until that is asked for.
    match feature {
        Some(feature) => Profile::Dev.build_with(feature)?,
        None => Profile::Dev.build()?,
    }
    let mut test = command(&program.display().to_string(), &[]);
    test.current_dir(folder).env(BINARIES, binaries());
    Ok(test)
}

/// A message of cargo about that test: its program, and the folder of its package.
fn program_of(test: &str, message: &str) -> Option<(PathBuf, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    if target["name"] != test || target["kind"][0] != "test" {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    Some((message["executable"].as_str()?.into(), manifest.parent()?.to_owned()))
}

/// Every test there is, whole.
pub fn all() -> Outcome {
    Parts::told(|parts| {
        parts.part("embedded", || embedded(Extent::Whole))?;
        manifests::all(parts)?;
        pipelines::all(parts)?;
        live::all(parts)?;
        engines::all(parts, Extent::Whole)?;
        cluster::all(parts)?;
        cluster::all_real(parts)?;
        image::all(parts)?;
        ship::all(parts)?;
        infra::all(parts, Extent::Whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_test_is_the_one_that_cargo_compiled_for_it() {
        let message = |kind: &str, name: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/rtc/services/suites/Cargo.toml","target":{{"kind":["{kind}"],"name":"{name}"}},"executable":"/rtc/target/debug/deps/{name}-1"}}"#
            )
        };
        let found = program_of("engines", &message("test", "engines"));
        assert_eq!(found, Some(("/rtc/target/debug/deps/engines-1".into(), "/rtc/services/suites".into())));
        assert_eq!(program_of("engines", &message("lib", "engines")), None);
        assert_eq!(program_of("engines", &message("test", "ship")), None);
        assert_eq!(program_of("engines", "    Finished"), None);
        let unlinked = message("test", "engines").replace(r#""/rtc/target/debug/deps/engines-1""#, "null");
        assert_eq!(program_of("engines", &unlinked), None);
    }

    #[test]
    fn every_test_that_is_left_out_of_the_usual_run_is_compiled_with_the_others() {
        let manifests =
            [include_str!("../../rtcctl/Cargo.toml"), include_str!("../../services/suites/Cargo.toml")];
        let mut left_out: Vec<&str> = manifests
            .iter()
            .flat_map(|manifest| manifest.split("[[test]]").skip(1))
            .filter(|test| test.split("\n[").next().is_some_and(|test| test.contains("test = false")))
            .filter_map(|test| test.split('"').nth(1))
            .collect();
        left_out.sort_unstable();
        assert_eq!(left_out, BESIDE);
    }
}
