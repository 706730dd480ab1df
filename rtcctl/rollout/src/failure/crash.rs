//! Containers that end, cannot be started, are killed by their probes, or run without becoming ready.

use masking::masked;

use super::{Case, Cause, told, told_container};
use crate::code::Code;
use crate::objects::{ContainerStatus, Event, Terminated};

/// What a container is for, and so which of its ends are failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Every end is one.
    Lasting,
    /// Before the others; exit code 0 is success.
    Beforehand,
    /// Of a job, which counts attempts itself.
    Once,
}

const WRONG_FORMAT: &str = "exec format error";

/// What a runtime says when it tries again by itself.
const PASSING: [&str; 4] =
    ["context deadline exceeded", "is reserved for", "deadline exceeded", "failed to sync"];

/// It was made and could not be started.
pub fn not_started(case: &Case<'_>, status: &ContainerStatus, message: &str) -> Cause {
    let text = match (message, status.ended()) {
        ("", Some(end)) => end.message.as_str(),
        (message, _) => message,
    };
    let why = format!("{} cannot be started: {}", told_container(case.pod, &status.name), told(text));
    if text.contains(WRONG_FORMAT) {
        return case.cause(Code::WrongFormat, why, Some(&status.name));
    }
    let cause = case.cause(Code::StartRefused, why, Some(&status.name));
    if PASSING.iter().any(|words| text.contains(words)) { cause.retryable() } else { cause }
}

/// It ended, now or before it was started again, and is not well yet.
pub fn ended(case: &Case<'_>, status: &ContainerStatus, role: Role) -> Option<Cause> {
    if status.ready && status.state.running.is_some() {
        return None;
    }
    let end = status.ended()?;
    if end.exit_code == 0 && role != Role::Lasting {
        return None;
    }
    if role == Role::Beforehand && status.state.terminated.as_ref().is_some_and(|now| now.exit_code == 0) {
        return None;
    }
    let failures = status.restarts + u32::from(status.state.running.is_none());
    let (code, how) = name(case, status, end, role);
    let times = if failures > 1 { format!(", {failures} times") } else { String::new() };
    let said = said(case, status, end);
    let why = format!("{} {how}{times}{said}", told_container(case.pod, &status.name));
    let cause = case.cause(code, why, Some(&status.name));
    if role == Role::Once {
        // The job's own limit decides, except over what will be the same every time.
        return Some(if matches!(code, Code::WrongFormat | Code::StartRefused) {
            cause
        } else {
            cause.retryable()
        });
    }
    Some(cause.counted(failures, case.allowance))
}

fn name(case: &Case<'_>, status: &ContainerStatus, end: &Terminated, role: Role) -> (Code, String) {
    let log = case.world.log(&case.pod.metadata.uid, &status.name).unwrap_or_default();
    if end.message.contains(WRONG_FORMAT) || log.lines().rev().take(3).any(|line| line.contains(WRONG_FORMAT))
    {
        return (
            Code::WrongFormat,
            format!("cannot be executed on this machine (exit code {})", end.exit_code),
        );
    }
    if matches!(end.reason.as_str(), "StartError" | "ContainerCannotRun") {
        return (Code::StartRefused, format!("cannot be started (exit code {})", end.exit_code));
    }
    if end.reason == "OOMKilled" {
        return (
            Code::OutOfMemory,
            format!("was killed for using more memory than its limit (exit code {})", end.exit_code),
        );
    }
    // Killed from outside: by whom, the events say.
    let is_of_this_life = |event: &&Event| event.last_at().is_none_or(|at| Some(at) >= end.started_at);
    let killing = case
        .event(&["Killing"], Some(&status.name))
        .filter(|_| matches!(end.exit_code, 137 | 143 | 2 | 0 | 1))
        .filter(is_of_this_life);
    if let Some(killing) = killing {
        if killing.message.contains("startup probe") {
            return (
                Code::StartupProbe,
                format!("was killed by its start-up probe{}", answer(case, status, "Startup")),
            );
        }
        if killing.message.contains("liveness probe") {
            return (
                Code::LivenessProbe,
                format!("was killed by its liveness probe{}", answer(case, status, "Liveness")),
            );
        }
    }
    let how = match end.exit_code {
        0 => "ended by itself (exit code 0)".to_owned(),
        137 => "was killed (exit code 137: SIGKILL, perhaps for memory)".to_owned(),
        code if code > 128 && code < 160 => format!("ended by signal {} (exit code {code})", code - 128),
        code => format!("ended with exit code {code}"),
    };
    (if role == Role::Beforehand { Code::InitFailed } else { Code::Crashed }, how)
}

/// The last that was heard of it: what it left as its message, or the end of its log.
fn said(case: &Case<'_>, status: &ContainerStatus, end: &Terminated) -> String {
    let log = case.world.log(&case.pod.metadata.uid, &status.name).unwrap_or_default();
    // As a whole: what a line is of is said by those before it.
    let text = masked(if end.message.trim().is_empty() { log } else { &end.message });
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => String::new(),
        count => format!(": {}", told(&lines[count.saturating_sub(3)..].join(" | "))),
    }
}

fn answer(case: &Case<'_>, status: &ContainerStatus, probe: &str) -> String {
    let unhealthy = case.events.iter().find(|event| {
        event.reason == "Unhealthy"
            && event.message.starts_with(probe)
            && event.container().is_none_or(|container| container == status.name)
    });
    unhealthy.map_or_else(String::new, |event| format!(" ({})", told(&event.message)))
}

/// It runs, and a probe says that it is not well.
pub fn probed(case: &Case<'_>, status: &ContainerStatus) -> Option<Cause> {
    let running = status.state.running.as_ref()?;
    if status.ready {
        return None;
    }
    // What a probe said before it was started again is about the life before.
    let unhealthy = case
        .event(&["Unhealthy", "ProbeError"], Some(&status.name))
        .filter(|event| event.last_at().is_none_or(|at| Some(at) >= running.started_at))?;
    let code = if unhealthy.message.starts_with("Startup") {
        Code::StartupProbe
    } else if unhealthy.message.starts_with("Liveness") {
        Code::LivenessProbe
    } else {
        Code::NeverReady
    };
    let why = format!(
        "{} is not well: {} (seen {} times)",
        told_container(case.pod, &status.name),
        told(&unhealthy.message),
        unhealthy.count(),
    );
    Some(case.cause(code, why, Some(&status.name)))
}
