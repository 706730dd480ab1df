//! The workspace's own tasks: `cargo xtask ci | test | tidy | codegen | bench`.
//!
//! Written without a command-line library, so that it compiles in a second before anything else does.

mod bench;
mod ci;
mod codegen;
mod run;
mod suites;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
Tasks of the RTC workspace

  cargo xtask test [--all]       every test; --all runs the long suites whole (docs/TESTING.md)
  cargo xtask ci                 what CI runs: tidy, format, lint while compiling, test, codegen --check
  cargo xtask tidy               rules of the house that no lint knows
  cargo xtask codegen [--check]  writes docs/reference; --check only compares
  cargo xtask bench orders       the checkout under load, release build, ratios and medians
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["ci"] => ci::run(),
        ["test"] => suites::run(suites::Extent::Bounded),
        ["test", "--all"] => suites::run(suites::Extent::Whole),
        ["tidy"] => tidy::run(),
        ["codegen"] => codegen::run(codegen::Mode::Write),
        ["codegen", "--check"] => codegen::run(codegen::Mode::Check),
        ["bench", "orders", rest @ ..] => bench::orders(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => Err(format!("no such task: {}\n\n{HELP}", other.join(" "))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}
