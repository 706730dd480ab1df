//! The binary: parses, runs, says what went wrong.

fn main() -> std::process::ExitCode {
    rtcd::cli::run()
}
