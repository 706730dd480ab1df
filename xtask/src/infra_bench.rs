//! `cargo xtask bench infra`: what `rtcctl infra apply` costs over the bare commands that it runs, one after the other.
//!
//! Both plan into a file and apply that file, in a folder of their own that is initialised and has an empty state. The
//! configuration has many resources and a slow one, so that there are many lines to read and time to wait. Of a round two
//! ratios are taken: of the whole commands, and of the apply of the plan alone, which rtcctl keeps in its journal.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::platform::Profile;
use crate::run::{Outcome, check, root, watched};

const RESOURCES: usize = 300;
const SLOW_S: usize = 30;
const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum How {
    Bare,
    Rtcctl,
}

/// What one run took.
struct Took {
    whole: Duration,
    apply: Duration,
    peak_kib: u64,
}

pub fn run(words: &[&str]) -> Outcome {
    let rounds = match words {
        [] => ROUNDS,
        [rounds] => rounds.parse().map_err(|_| format!("{rounds:?} is no number of rounds"))?,
        _ => return Err("cargo xtask bench infra [ROUNDS]".to_owned()),
    };
    Profile::Release.build()?;
    let work = root().join("target/infra-bench");
    let _ = std::fs::remove_dir_all(&work);
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes: the second one finds files in the page cache.
        let order = if round % 2 == 0 { [How::Bare, How::Rtcctl] } else { [How::Rtcctl, How::Bare] };
        for how in order {
            let name = if how == How::Bare { "bare" } else { "rtcctl" };
            let folder = work.join(format!("{round}-{name}"));
            prepare(&folder)?;
            let took = measure(how, &folder)?;
            eprintln!(
                "{name:<6} {:>7.2} s, the apply alone {:>7.2} s",
                took.whole.as_secs_f64(),
                took.apply.as_secs_f64()
            );
            match how {
                How::Bare => bare.push(took),
                How::Rtcctl => ours.push(took),
            }
        }
    }
    println!("{RESOURCES} resources and one of {SLOW_S} s, medians of {rounds} rounds, alternating\n");
    let line = |what: &str, of: fn(&Took) -> Duration| {
        let (theirs, we) = (median(bare.iter().map(of)), median(ours.iter().map(of)));
        let ratios =
            bare.iter().zip(&ours).map(|(bare, ours)| of(ours).as_secs_f64() / of(bare).as_secs_f64());
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let ratio = (ratios[rounds / 2] - 1.0) * 100.0;
        println!(
            "{what:<16} terraform {:>6.2} s, rtcctl {:>6.2} s, {ratio:+.2} %",
            theirs.as_secs_f64(),
            we.as_secs_f64()
        );
    };
    line("plan and apply", |took| took.whole);
    line("the apply alone", |took| took.apply);
    let peak_kib = median(ours.iter().map(|took| took.peak_kib));
    println!("memory of rtcctl {:.1} MiB", peak_kib as f64 / 1024.0);
    std::fs::remove_dir_all(&work).map_err(|error| error.to_string())
}

/// The upper one of the two in the middle, where there are two.
fn median<T: Ord>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    let middle = values.len() / 2;
    values.swap_remove(middle)
}

fn prepare(folder: &Path) -> Outcome {
    let configuration = format!(
        "resource \"terraform_data\" \"many\" {{\n  count = {RESOURCES}\n  input = \"value ${{count.index}}\"\n}}\n\
         resource \"terraform_data\" \"slow\" {{\n  provisioner \"local-exec\" {{\n    command = \"sleep {SLOW_S}\"\n  }}\n}}\n"
    );
    let settings =
        "[environments.dev]\nkind = \"remote\"\nterraform = \"dev\"\n[defaults]\njournal = \"runs\"\n";
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text);
    std::fs::create_dir_all(folder.join("dev"))
        .and_then(|()| write("dev/main.tf", &configuration))
        .and_then(|()| write("rtc.toml", settings))
        .map_err(|error| error.to_string())?;
    check(quiet(terraform(folder, &["init"])))?;
    // An environment has it after its init; this one, which has neither a provider nor a backend, would be prepared each time.
    std::fs::create_dir_all(folder.join("dev/.terraform")).map_err(|error| error.to_string())
}

fn terraform(folder: &Path, arguments: &[&str]) -> Command {
    let mut terraform = Command::new("terraform");
    terraform.args(arguments).current_dir(folder.join("dev"));
    terraform
}

fn quiet(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn measure(how: How, folder: &Path) -> Result<Took, String> {
    let started = std::time::Instant::now();
    match how {
        How::Bare => {
            check(quiet(terraform(folder, &["plan", "-input=false", "-out=plan"])))?;
            let planned = std::time::Instant::now();
            check(quiet(terraform(folder, &["apply", "-input=false", "plan"])))?;
            Ok(Took { whole: started.elapsed(), apply: planned.elapsed(), peak_kib: 0 })
        }
        How::Rtcctl => {
            let said = folder.join("said");
            let mut rtcctl = quiet(Command::new(Profile::Release.binary("rtcctl")));
            rtcctl.args(["--env", "dev", "-o", "json", "infra", "apply", "--yes"]).current_dir(folder);
            rtcctl.stdout(std::fs::File::create(&said).map_err(|error| error.to_string())?);
            let peak_kib = watched(rtcctl)?;
            let whole = started.elapsed();
            let said = std::fs::read(&said).map_err(|error| error.to_string())?;
            let said: serde_json::Value = serde_json::from_slice(&said).map_err(|error| error.to_string())?;
            let apply =
                said["data"]["took_ms"].as_u64().ok_or("rtcctl does not say how long its apply took")?;
            Ok(Took { whole, apply: Duration::from_millis(apply), peak_kib })
        }
    }
}
