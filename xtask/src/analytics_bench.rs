//! `cargo xtask bench analytics`: events a second into windows on one core, memory with a million products, and what
//! thousands of listeners to the live numbers cost.
//!
//! Each figure is of a process of its own, bound to one core; the log is written by another before.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bench::spread;
use crate::run::{Outcome, command, output, root};

/// A log, and what is asked of whoever reads it.
struct Case {
    name: &'static str,
    shape: &'static str,
    messages: &'static str,
    /// What is kept of products: all of them exactly, or the greatest in counters.
    totals: &'static str,
    wanted: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        name: "what a shop says: orders of two lines with stock, payments and visits",
        shape: "mix",
        messages: "300000",
        totals: "exact",
        wanted: "50,000 a second",
    },
    Case {
        name: "confirmed orders alone, one line each, 2,000 products",
        shape: "orders",
        messages: "300000",
        totals: "exact",
        wanted: "50,000 a second",
    },
    Case {
        name: "confirmed orders of a million products, each once; greatest in counters",
        shape: "keys",
        messages: "1000000",
        totals: "bounded",
        wanted: "50,000 a second, under 150 MB",
    },
    Case {
        name: "the same; every product exactly, on disk",
        shape: "keys",
        messages: "1000000",
        totals: "exact",
        wanted: "under 150 MB",
    },
];

/// `rounds` repetitions of each case (default 3).
pub fn run(arguments: &[&str]) -> Outcome {
    let rounds: u64 = arguments.first().and_then(|text| text.parse().ok()).unwrap_or(3);
    let program = program()?;
    let scratch = root().join("target/tmp/bench-analytics");
    println!("{rounds} rounds, one core; median (lowest to highest)\n");
    println!("| events | wanted | events /s | processor µs an event | peak MB | database MB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in &CASES {
        let mut measured = Vec::new();
        let mut messages = 0.0;
        for _ in 0..rounds {
            let _ = std::fs::remove_dir_all(&scratch);
            std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
            let folder = scratch.to_string_lossy().into_owned();
            let filled = ask(&program, Cores::All, &["fill", &folder, case.shape, case.messages])?;
            messages = filled["messages"].as_f64().unwrap_or(0.0);
            let taken = ask(&program, Cores::One, &["take", &folder, case.totals])?;
            if taken["dead_letters"] != 0 || taken["counted"] == 0 {
                return Err(format!("{}: not all was counted: {taken}", case.name));
            }
            measured.push(taken);
        }
        let column = |value: &dyn Fn(&Value) -> f64| spread(measured.iter().map(value).collect());
        let of = |name: &'static str| move |one: &Value| one[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            case.name,
            case.wanted,
            column(&|one| messages / of("seconds")(one)),
            column(&|one| of("cpu_s")(one) * 1e6 / messages),
            column(&of("peak_mb")),
            column(&of("database_mb")),
        );
    }
    let _ = std::fs::remove_dir_all(&scratch);
    println!(
        "\n| listeners | changes | computations | ms a change | ms to hand it to all | kB an event | kB a listener |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for listeners in ["1", "5000"] {
        let found = ask(&program, Cores::One, &["listen", listeners, "20"])?;
        let number = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "| {listeners} | {} | {} | {:.2} | {:.2} | {:.1} | {:.1} |",
            found["changes"],
            found["computations"],
            number("computation_ms"),
            number("fan_out_ms"),
            number("event_bytes") / 1e3,
            number("kb_a_listener"),
        );
    }
    Ok(())
}

/// The release build of the measuring program.
fn program() -> Result<PathBuf, String> {
    let arguments = [
        "bench",
        "--no-run",
        "--locked",
        "-p",
        "rtc-analytics",
        "--bench",
        "throughput",
        "--message-format=json",
    ];
    let built = output(command("cargo", &arguments))?;
    let of = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "throughput";
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    };
    built.lines().find_map(of).ok_or_else(|| "cargo does not say what it built".to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cores {
    All,
    One,
}

fn ask(program: &Path, cores: Cores, arguments: &[&str]) -> Result<Value, String> {
    let program = program.to_string_lossy();
    let bound = ["-c", "0", &program];
    let command = match cores {
        Cores::All => command(&program, arguments),
        Cores::One => command("taskset", &[&bound, arguments].concat()),
    };
    let text = output(command)?;
    serde_json::from_str(text.trim()).map_err(|error| format!("{error}: {text}"))
}
