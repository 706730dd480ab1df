//! What the values of `[images.NAME]` may be: what is wrong is told of the file, and not of the build.

use oci::{Platform, Reference};

use super::ImageEntry;
use crate::nearest;

/// A value that cannot be meant.
pub(super) struct Wrong {
    /// As it is written below `[images.NAME]`; the first part is a key of that table.
    pub key: String,
    pub problem: String,
    pub hint: String,
}

impl Wrong {
    fn new(key: impl Into<String>, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), hint: hint.into() }
    }
}

/// What every root of ours has, and what the kernel puts there.
const TAKEN: [&str; 5] =
    ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt"];
const KERNEL: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Those of Linux, without the real-time ones.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The first value that is wrong.
pub(super) fn check(entry: &ImageEntry) -> Result<(), Wrong> {
    if entry.user == 0 {
        let problem = "user = 0 is root, which no image of ours runs as";
        return Err(Wrong::new("user", problem, "give it another number, or none: 65532 is the default"));
    }
    for (index, binary) in entry.binaries.iter().enumerate() {
        let key = format!("binaries[{index}]");
        if binary.path.is_empty() {
            return Err(Wrong::new(key, "it names no file", "name the program: binaries = [\"target/…\"]"));
        }
        if !binary.platform.is_empty() {
            platform(&binary.platform).map_err(|problem| {
                Wrong::new(format!("{key}.platform"), problem, "write it as linux/arm64")
            })?;
        }
    }
    variables("environment", "a variable", &entry.environment)?;
    variables("labels", "a label", &entry.labels)?;
    paths(entry)?;
    words("entrypoint", &entry.entrypoint)?;
    words("command", &entry.command)?;
    if entry.ports.contains(&0) {
        return Err(Wrong::new("ports", "0 is no port to listen on", "ports are numbers from 1 to 65535"));
    }
    if !entry.stop_signal.is_empty() {
        signal(&entry.stop_signal)?;
    }
    repository(entry)
}

/// A platform that there can be a program for.
pub fn platform(text: &str) -> Result<Platform, String> {
    match Platform::parse(text) {
        Ok(platform) if platform.os == "linux" => Ok(platform),
        Ok(platform) => Err(format!("{text:?}: programs are for linux, not for {}", platform.os)),
        Err(error) => Err(error.to_string()),
    }
}

fn variables<'a>(
    key: &str,
    what: &str,
    pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Result<(), Wrong> {
    for (name, value) in pairs {
        let at = format!("{key}.{name:?}");
        let hint = format!("mend the name in {key}: letters, digits, and _ . - / between them");
        let problem = match name.chars().find(|letter| *letter == '=' || letter.is_control()) {
            _ if name.is_empty() => format!("{what} has no name"),
            Some(letter) => format!("the name of {what} has {letter:?} in it"),
            None if value.contains('\0') => {
                let hint = format!("take it out of the value of {name} in {key}");
                return Err(Wrong::new(at, format!("the value of {what} has a NUL in it"), hint));
            }
            None => continue,
        };
        return Err(Wrong::new(at, problem, hint));
    }
    Ok(())
}

fn paths(entry: &ImageEntry) -> Result<(), Wrong> {
    let hint = |key: &str| format!("mend {key}: a path in an image is absolute, as /srv/data");
    let places = std::iter::once(("path", &entry.path))
        .chain(std::iter::once(("workdir", &entry.workdir)))
        .filter(|(_, path)| !path.is_empty())
        .chain(entry.folders.iter().map(|path| ("folders", path)));
    for (key, path) in places {
        let inside = path.strip_prefix('/');
        let is_plain = inside.is_some_and(|inside| {
            (inside.is_empty() && key != "path")
                || inside.split('/').all(|part| {
                    !part.is_empty() && !matches!(part, "." | "..") && !part.contains(char::is_control)
                })
        });
        if !is_plain {
            return Err(Wrong::new(key, format!("{path:?} is no path in an image"), hint(key)));
        }
    }
    let path = entry.path.as_str();
    let is_kernels = |folder: &&str| {
        path.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if TAKEN.contains(&path) || KERNEL.iter().any(is_kernels) {
        let problem = format!("{path} is needed for something else than the program");
        return Err(Wrong::new("path", problem, "choose another path; /usr/local/bin/NAME is the default"));
    }
    Ok(())
}

fn words(key: &str, words: &[String]) -> Result<(), Wrong> {
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Wrong::new(key, "a word has a NUL in it", format!("mend {key}")));
    }
    match words.first() {
        Some(first) if first.is_empty() && key == "entrypoint" => {
            Err(Wrong::new(key, "its first word is empty, and nothing can be started", format!("mend {key}")))
        }
        _ => Ok(()),
    }
}

fn signal(text: &str) -> Result<(), Wrong> {
    let after = |start: &str, most: u8| {
        text.strip_prefix(start).is_some_and(|rest| {
            let number = rest.get(1..).and_then(|number| number.parse::<u8>().ok());
            rest.is_empty()
                || (rest.starts_with(['+', '-']) && number.is_some_and(|number| (1..=most).contains(&number)))
        })
    };
    let is_real_time =
        (after("SIGRTMIN", 15) && !text.contains("N-")) || (after("SIGRTMAX", 14) && !text.contains("X+"));
    let is_number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if SIGNALS.contains(&text) || is_number || is_real_time {
        return Ok(());
    }
    let full = format!("SIG{}", text.to_uppercase().trim_start_matches("SIG"));
    let hint = match nearest(&full, SIGNALS) {
        Some(near) => format!("stop_signal: did you mean {near}?"),
        None => "stop_signal is the name of a signal of Linux, as SIGTERM, SIGINT or SIGRTMIN+3".to_owned(),
    };
    Err(Wrong::new("stop_signal", format!("there is no signal {text:?}"), hint))
}

fn repository(entry: &ImageEntry) -> Result<(), Wrong> {
    let repository = &entry.repository;
    if repository.kept_releases < 5 {
        let problem = "kept_releases: at least five images stay, for a rollback needs them";
        return Err(Wrong::new("repository.kept_releases", problem, "raise kept_releases to 5 at least"));
    }
    if repository.untagged_days == 0 {
        let problem = "untagged_days: at least one day, which a push may take";
        return Err(Wrong::new("repository.untagged_days", problem, "raise untagged_days to 1 at least"));
    }
    if !repository.name.is_empty()
        && let Err(error) = Reference::new("registry.invalid", &repository.name)
    {
        let hint = "repository.name: lower case letters, digits, - _ . and slashes between them";
        return Err(Wrong::new("repository.name", error.to_string(), hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_those_of_linux() {
        for good in ["SIGTERM", "SIGINT", "15", "64", "SIGRTMIN", "SIGRTMIN+3", "SIGRTMAX-14"] {
            assert!(signal(good).is_ok(), "{good}");
        }
        for (bad, near) in [
            ("SIGTREM", "SIGTERM"),
            ("TERM", "SIGTERM"),
            ("sigterm", "SIGTERM"),
            ("SIGRTMIN-1", ""),
            ("SIGRTMIN+16", ""),
            ("SIGRTMINé", ""),
            ("0", ""),
            ("65", ""),
            ("quickly", ""),
        ] {
            let wrong = signal(bad).unwrap_err();
            assert!(wrong.hint.contains("stop_signal") && wrong.hint.contains(near), "{bad}: {}", wrong.hint);
        }
    }
}
