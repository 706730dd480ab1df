//! What processes have to share before they can be one platform, and the configuration that they are given.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use host::{Config, StartError, Takes};
use toml::{Table, Value};

use crate::all;

/// Where the operator says nothing: long enough for the others to hear of it and turn to another replica.
pub const DRAIN_NOTICE_MS: u64 = 500;
/// The same at the entrance, whose callers are not ours: long enough for a connection that is kept open between two
/// requests to carry one more, whose answer asks for its end.
pub const ENTRANCE_NOTICE_MS: u64 = 3_000;

/// Refuses what each process would have for itself alone.
pub fn check(config: &Config, replicas: u32) -> Result<(), StartError> {
    let engines = &config.engines;
    let mut own = Vec::new();
    if engines.has_embedded_bus() {
        own.push("bus = \"embedded\" is a log inside one process".to_owned());
    }
    let embedded: Vec<&str> =
        all().iter().map(|target| target.name).filter(|name| engines.database_url(name).is_none()).collect();
    if !embedded.is_empty() {
        let of = if embedded.len() == all().len() { "every service".to_owned() } else { embedded.join(", ") };
        own.push(format!("database = \"embedded\" is a file that one process has for itself ({of})"));
    }
    if engines.cache == "embedded" && replicas > 1 {
        own.push("cache = \"embedded\" is the memory of one process".to_owned());
    }
    if replicas == 0 {
        own.push("0 replicas are no platform".to_owned());
    }
    if own.is_empty() { Ok(()) } else { Err(StartError::Unshared(own.join("; "))) }
}

/// How many threads of a process drive its requests: the machine is there for all of them.
fn worker_threads(processes: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // Not all of them are busy at once.
    (2 * cores / processes.max(1)).max(1)
}

/// The settings in the text of the operator's file.
pub fn settings(text: &str) -> Result<Table, StartError> {
    text.parse::<Table>().map_err(|error| StartError::Config(format!("the configuration file: {error}")))
}

/// What the processes began with, and of `next` only what takes effect while they run: one that is started again alone is like
/// the others.
pub fn followed(started: &Table, next: &Table, config: &Config) -> Table {
    let mut table = started.clone();
    overlay("", &mut table, next, &|key| config.takes(key) == Takes::AtOnce);
    table
}

fn overlay(prefix: &str, table: &mut Table, next: &Table, is_live: &dyn Fn(&str) -> bool) {
    let path = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    table.retain(|key, value| value.is_table() || next.contains_key(key) || !is_live(&path(key)));
    let none = Table::new();
    for (key, value) in table.iter_mut() {
        if let (Value::Table(inner), None) = (value, next.get(key)) {
            overlay(&path(key), inner, &none, is_live);
        }
    }
    for (key, value) in next {
        match (value, table.get_mut(key)) {
            (Value::Table(next), Some(Value::Table(inner))) => overlay(&path(key), inner, next, is_live),
            (Value::Table(next), None) => {
                let mut inner = Table::new();
                overlay(&path(key), &mut inner, next, is_live);
                if !inner.is_empty() {
                    table.insert(key.clone(), Value::Table(inner));
                }
            }
            (value, _) if is_live(&path(key)) => drop(table.insert(key.clone(), value.clone())),
            _ => {}
        }
    }
}

/// `settings` with what processes of this platform need to know besides.
pub fn configuration(
    config: &Config,
    settings: Table,
    upstreams: &[(String, Vec<String>)],
    processes: usize,
    notice_ms: u64,
) -> Result<String, StartError> {
    let mut table = settings;
    let urls = |urls: &[String]| Value::Array(urls.iter().cloned().map(Value::String).collect());
    let upstreams = upstreams.iter().map(|(name, replicas)| (name.clone(), urls(replicas))).collect();
    table.insert("upstreams".to_owned(), Value::Table(upstreams));
    let server = table.entry("server").or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(server) = server else {
        return Err(StartError::Config("server: this is no section".to_owned()));
    };
    let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    if config.server.worker_threads == 0 {
        server.insert("worker_threads".to_owned(), number(worker_threads(processes) as u64));
    }
    if config.server.drain_notice_ms == 0 {
        server.insert("drain_notice_ms".to_owned(), number(notice_ms));
    }
    let text = toml::to_string(&table).map_err(|error| StartError::Config(error.to_string()))?;
    Ok(format!(
        "# Written by rtcd split: change the file that it was started with. What takes effect at the next start is taken from \
         there when rtcd split itself is started.\n{text}"
    ))
}

/// Whole or not at all, for the owner alone: an address may hold a password.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let aside = path.with_extension("new");
    let _ = std::fs::remove_file(&aside);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(sections: &[(&str, serde_json::Value)]) -> Config {
        Config::for_tests(Path::new("data"), sections).unwrap()
    }

    #[test]
    fn what_one_process_would_have_for_itself_is_refused_by_name() {
        let bus = ("bus", json!("kafka://127.0.0.1:1"));
        let database = ("database", json!("mysql://root@127.0.0.1:1/rtc_{service}"));
        let cache = ("cache", json!("redis://127.0.0.1:1"));
        let refused = |sections: &[(&str, serde_json::Value)], replicas| {
            let error = check(&config(sections), replicas).expect_err("refused");
            assert_eq!((error.code(), error.exit_code()), ("RTD034", 3));
            assert!(error.hint().contains("scripts/engines start"), "{}", error.hint());
            error.to_string()
        };
        let all = refused(&[], 2);
        assert!(all.contains("bus =") && all.contains("every service") && all.contains("cache ="), "{all}");
        assert!(refused(&[database.clone(), cache.clone()], 1).contains("bus ="));
        assert!(refused(&[bus.clone(), database.clone()], 2).contains("cache ="));
        let own = ("databases.orders", json!("embedded"));
        assert!(refused(&[bus.clone(), database.clone(), cache.clone(), own], 1).contains("(orders)"));
        check(&config(&[bus.clone(), database.clone()]), 1).unwrap();
        check(&config(&[bus, database, cache]), 2).unwrap();
    }

    fn settings_of(file: &Path) -> Table {
        settings(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn of_a_changed_file_processes_are_given_what_takes_effect_at_once_and_nothing_else() {
        let started = "bus = \"kafka://b:1\"\n[server]\nworker_threads = 3\nrequest_timeout_ms = 7000\n\
                       [limits]\nregister = 1\nsign_in = 2\n[services.orders]\n";
        let next = "bus = \"kafka://b:2\"\ncache = \"redis://r:1\"\n[server]\nworker_threads = 5\n\
                    [limits]\nregister = 9\n[log]\nlevel = \"debug\"\nformat = \"json\"\n";
        let wanted = "bus = \"kafka://b:1\"\n[server]\nworker_threads = 3\n[limits]\nregister = 9\n\
                      [services.orders]\n[log]\nlevel = \"debug\"\n";
        let (started, next, wanted) =
            (settings(started).unwrap(), settings(next).unwrap(), settings(wanted).unwrap());
        assert_eq!(followed(&started, &next, &config(&[])), wanted);
        // A whole section that is live is gone with the file.
        let without = followed(&wanted, &settings("").unwrap(), &config(&[]));
        assert_eq!(without.get("limits"), Some(&Value::Table(Table::new())));
        assert_eq!(without["bus"].as_str(), Some("kafka://b:1"));
    }

    #[test]
    fn processes_get_the_operators_file_and_where_the_others_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rtcd.toml");
        std::fs::write(
            &file,
            "bus = \"kafka://b:1\"\n[server]\nrequest_timeout_ms = 7000\n[services.orders]\n",
        )
        .unwrap();
        let given = Config::load(Some(&file), &[]).unwrap();
        let upstreams =
            [("orders".to_owned(), vec!["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()])];
        let generated = folder.path().join("generated.toml");
        write_private(
            &generated,
            &configuration(&given, settings_of(&file), &upstreams, 16, DRAIN_NOTICE_MS).unwrap(),
        )
        .unwrap();
        let read = Config::load(Some(&generated), &[]).unwrap();
        assert_eq!(read.engines.bus, "kafka://b:1");
        assert_eq!(read.server.request_timeout_ms, 7_000);
        assert_eq!(read.server.drain_notice_ms, DRAIN_NOTICE_MS);
        assert!(read.server.worker_threads >= 1);
        assert_eq!(read.upstreams["orders"].len(), 2);
        assert_eq!(read.configured_services(), ["orders"]);

        std::fs::write(&file, "[server]\nworker_threads = 3\ndrain_notice_ms = 9\n").unwrap();
        let given = Config::load(Some(&file), &[]).unwrap();
        write_private(
            &generated,
            &configuration(&given, settings_of(&file), &upstreams, 16, DRAIN_NOTICE_MS).unwrap(),
        )
        .unwrap();
        let read = Config::load(Some(&generated), &[]).unwrap();
        assert_eq!((read.server.worker_threads, read.server.drain_notice_ms), (3, 9));
    }
}
