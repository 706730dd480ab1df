//! What went wrong between us and Jenkins, under its code.

use codes::Error;
use jenkins::{Change, Planned, Problem, Refusal};
use settings::nearest;

pub fn of(error: jenkins::Error) -> Error {
    use jenkins::Error as E;
    let message = error.to_string();
    match error {
        E::Name { .. } => hinted(&codes::PIP015, message),
        E::Described { .. } => hinted(&codes::PIP018, message),
        E::Unreachable { is_timeout, source, .. } => {
            let error = Error::new(&codes::PIP006, message);
            let error = if is_timeout { error.with_cause("it took too long") } else { error };
            error.with_source(&*source).with_hint(codes::PIP006.action)
        }
        E::Answer { status: 408 | 429 | 500 | 502 | 503 | 504, .. } => hinted(&codes::PIP006, message),
        E::Unauthenticated { .. } => hinted(&codes::PIP003, message),
        E::Denied { reason, .. } => denied(message, &reason),
        E::NotFound { .. } => hinted(&codes::PIP005, message),
        E::NotBuildable { .. } | E::Refused { .. } => hinted(&codes::PIP009, message),
        E::Parameters { job, problems } => parameters(&job, &problems),
        E::NotJenkins { .. } => hinted(&codes::PIP007, message),
        E::Moved { to, .. } => {
            Error::new(&codes::PIP007, message).with_hint(format!("use its own address, as in {to}"))
        }
        E::ChangedMeanwhile { .. } => hinted(&codes::PIP020, message),
        E::NotTaken { .. } => hinted(&codes::PIP021, message),
        E::Answer { .. } | E::Unreadable { .. } => hinted(&codes::PIP023, message),
    }
}

/// Whether a wish that failed so may have been taken all the same: the connection broke off, or a front of Jenkins answered in
/// its place, or its answer does not say where the wish is.
pub fn leaves_open(error: &jenkins::Error) -> bool {
    use jenkins::Error as E;
    match error {
        E::Unreachable { .. } | E::Unreadable { .. } => true,
        E::Answer { status, .. } => *status == 408 || *status >= 500,
        _ => false,
    }
}

fn hinted(code: &'static codes::Code, message: String) -> Error {
    Error::new(code, message).with_hint(code.action)
}

fn denied(message: String, reason: &str) -> Error {
    let error = Error::new(&codes::PIP004, message);
    if reason.contains("crumb") {
        return error.with_hint("set an API token as [jenkins] token: with one no crumb is asked for");
    }
    match reason
        .split_once(" is missing the ")
        .and_then(|(user, rest)| Some((user, rest.split_once(" permission")?.0)))
    {
        Some((user, permission)) => {
            let user = user.rsplit(' ').next().unwrap_or(user);
            error.with_hint(format!(
                "ask for {permission} for {user} in Jenkins, or sign in as somebody who has it"
            ))
        }
        None => error.with_hint(codes::PIP004.action),
    }
}

/// Every wrong parameter is a cause; a mistyped one is helped.
pub fn parameters(job: &str, problems: &[Problem]) -> Error {
    let number = match problems.len() {
        1 => "a parameter is".to_owned(),
        number => format!("{number} parameters are"),
    };
    let mut error = Error::new(&codes::PIP008, format!("{number} wrong for {job}; nothing was started"));
    for problem in problems {
        error = error.with_cause(problem.to_string());
    }
    for problem in problems {
        let near = match problem {
            Problem::Unknown { name, known } => nearest(name, known.iter().map(String::as_str)),
            Problem::NotAChoice { value, choices, .. } => nearest(value, choices.iter().map(String::as_str)),
            _ => None,
        };
        if let Some(near) = near {
            error = error.with_hint(format!("{}: did you mean {near}?", problem.name()));
        }
    }
    error.with_hint(format!("rtcctl pipeline params {job}"))
}

/// Why a job is not touched; `None` where it may be.
pub fn refusal(planned: &Planned) -> Option<String> {
    let Change::Refused(refusal) = &planned.change else { return None };
    Some(match refusal {
        Refusal::NotOurs => format!("{} was made by somebody else: --adopt takes it over", planned.name),
        Refusal::OtherKind { has } => {
            format!("{} is a {has}, and what a job is cannot be changed: delete or rename it", planned.name)
        }
        Refusal::NoFolder { folder } => {
            format!("{}: there is no folder {folder}, and no file describes it", planned.name)
        }
        Refusal::Redacted => {
            format!("{}: Jenkins hides secrets of it from us, which would be lost", planned.name)
        }
        Refusal::Holds { others } => {
            let others: Vec<String> = others.iter().map(ToString::to_string).collect();
            format!("{} holds jobs of others: {}", planned.name, others.join(", "))
        }
    })
}
