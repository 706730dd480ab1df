//! How long the tool takes before it does anything.

use std::time::Duration;

use tokio::time::Instant;

use crate::processes::{output, rtcctl};

const WITHIN: Duration = Duration::from_millis(20);
const RUNS: usize = 41;

#[test]
fn the_tool_starts_within_twenty_milliseconds() {
    let program = rtcctl().display().to_string();
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let began = Instant::now();
            assert!(output(&program, &["--version"]).starts_with("rtcctl "));
            began.elapsed()
        })
        .collect();
    times.sort();
    let median = times[RUNS / 2];
    println!("rtcctl --version: fastest {:?}, median {median:?}, slowest {:?}", times[0], times[RUNS - 1]);
    assert!(median < WITHIN, "{median:?}");
}
