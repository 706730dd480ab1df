//! The shim around [`rtcctl::main`]: everything else is a library, so that tests call it in-process.

use std::process::ExitCode;

fn main() -> ExitCode {
    rtcctl::main()
}
