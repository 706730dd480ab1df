//! The configuration changes while a process runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use kernel::{IdSource, ManualClock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::source::Origin;
use crate::{
    Attention, Config, Context, Databases, EmbeddedOnly, Engines, Live, Look, Secrets, Section, Takes,
    telemetry,
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Shelf {
    batch: u32,
    name: String,
    retry: Retry,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    first_ms: u64,
    max_ms: u64,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { batch: 10, name: "shelf".to_owned(), retry: Retry::default() }
    }
}

impl Section for Shelf {
    const LIVE: &'static [&'static str] = &["batch", "retry.first_ms"];

    fn check(&self) -> Result<(), String> {
        if self.batch == 0 { Err("batch is at least 1".to_owned()) } else { Ok(()) }
    }
}

struct Process {
    folder: tempfile::TempDir,
    file: PathBuf,
    context: Context,
    shelf: Live<Shelf>,
}

impl Process {
    async fn start(text: &str, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rtcd.toml");
        std::fs::write(&file, text).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let config = Config::of(Origin {
            file: Some(file.clone()),
            environment: environment.iter().map(owned).collect(),
            overrides: vec![("data".to_owned(), json!(folder.path()))],
        })
        .unwrap();
        let shelf = config.live::<Shelf>("shelf").unwrap();
        config.section::<Shelf>("other").unwrap();
        Self { context: context(config, folder.path()).await, folder, file, shelf }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    fn change(&self, text: &str) -> Look {
        self.write(text);
        self.context.reload.look(Attention::Asked)
    }
}

async fn context(config: Config, folder: &Path) -> Context {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_772_366_400_000)));
    let ids = IdSource::new(clock.clone(), 3);
    let log = bus::EmbeddedLog::open(db::Db::in_memory().unwrap(), clock.clone()).await.unwrap();
    let engines =
        Engines::embedded(&config, &ids, Arc::new(log), Databases::of(&config, Arc::new(EmbeddedOnly)));
    let secrets = Secrets::of(&config);
    assert!(folder.is_dir());
    Context::new(config, clock, ids, engines, secrets).unwrap()
}

fn applied(live: &[&str], waiting: &[&str]) -> Look {
    let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    Look::Applied { live: owned(live), waiting: owned(waiting) }
}

#[tokio::test]
async fn safe_settings_take_effect_at_once_and_others_are_told() {
    let process = Process::start("[server]\nworker_threads = 2\n", &[]).await;
    let reload = &process.context.reload;
    assert_eq!(reload.look(Attention::Asked), Look::Same);
    let text = "[server]\nworker_threads = 3\nrequest_timeout_ms = 700\n[limits]\nlogin = 4\n\
                [services.shelf]\nbatch = 7\nname = \"new\"\nretry = { first_ms = 5, max_ms = 6 }\n";
    let live = [
        "limits.login",
        "server.request_timeout_ms",
        "services.shelf.batch",
        "services.shelf.retry.first_ms",
    ];
    let waiting = ["server.worker_threads", "services.shelf.name", "services.shelf.retry.max_ms"];
    assert_eq!(process.change(text), applied(&live, &waiting));
    let now = process.shelf.get();
    assert_eq!((now.batch, now.name.as_str(), now.retry.first_ms, now.retry.max_ms), (7, "shelf", 5, 0));
    let status = reload.status();
    assert_eq!((status.applied, status.fault), (1, None));
    assert_eq!(status.applied_at, Some(process.context.clock.now()));
    assert_eq!(status.waiting, waiting);
    assert_eq!(reload.look(Attention::Asked), Look::Same, "it was judged already");

    assert_eq!(
        process.change("[server]\nworker_threads = 2\n"),
        applied(&live, &[]),
        "as at the start again"
    );
    assert_eq!(*process.shelf.get(), Shelf::default());
    assert_eq!(reload.status().waiting, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_with_a_fault_changes_nothing_and_is_told_once() {
    let process = Process::start("[services.shelf]\nbatch = 3\n", &[]).await;
    let reload = &process.context.reload;
    let start = "[limits]\nlogin = 1\n[services.shelf]\nbatch = 4\n";
    for (fault, told) in [
        ("[services.other]\nbatches = 1\n", "batches"),
        ("[services.shelf.retry]\nfirst_ms = \"soon\"\n", "first_ms"),
        ("[log]\nlevel = \"loud=loud=loud\"\n", "log.level"),
        ("[secrets]\nadmin_token = \"hunter2\"\n", "secrets.admin_token"),
        ("[server\n", "line 5"),
    ] {
        let Look::Refused(fault) = process.change(&format!("{start}{fault}")) else { panic!("{told}") };
        assert!(fault.contains(told) && !fault.contains("hunter2"), "{fault}");
        assert_eq!(reload.look(Attention::Asked), Look::Same, "it is not told twice");
        assert_eq!(reload.status().fault, Some(fault));
        assert_eq!(process.shelf.get().batch, 3);
    }
    let Look::Refused(fault) = process.change("[services.shelf]\nbatch = 0\n") else { panic!("0 is none") };
    assert!(fault.contains("services.shelf.batch is at least 1"), "{fault}");
    std::fs::remove_file(&process.file).unwrap();
    assert!(matches!(reload.look(Attention::Asked), Look::Refused(fault) if fault.contains("no file")));
    assert_eq!(reload.look(Attention::Asked), Look::Same);
    assert_eq!(process.change(start), applied(&["limits.login", "services.shelf.batch"], &[]));
    assert_eq!((process.shelf.get().batch, reload.status().fault), (4, None));
}

#[tokio::test]
async fn what_the_environment_says_goes_on_winning() {
    let process = Process::start("", &[("SERVICES__SHELF__BATCH", "6"), ("limits__login", "9")]).await;
    assert_eq!(process.shelf.get().batch, 6);
    assert_eq!(process.context.config.limits["login"], 9);
    let text = "[limits]\nlogin = 1\n[services.shelf]\nbatch = 2\n[services.shelf.retry]\nfirst_ms = 4\n";
    assert_eq!(process.change(text), applied(&["services.shelf.retry.first_ms"], &[]));
    assert_eq!((process.shelf.get().batch, process.shelf.get().retry.first_ms), (6, 4));
    let from = |key: &str| {
        process.context.config.settings().into_iter().find(|setting| setting.key == key).unwrap().from
    };
    assert_eq!(from("limits.login"), "environment RTC_LIMITS__LOGIN");
}

#[tokio::test]
async fn a_file_that_is_being_written_is_left_alone_until_it_rests() {
    let process = Process::start("", &[]).await;
    let reload = &process.context.reload;
    let look = || reload.look(Attention::Routine);
    assert_eq!((look(), look(), look()), (Look::Same, Look::Same, Look::Same));
    process.write("[services.shelf]\nbatch = 1");
    assert_eq!(look(), Look::Same);
    process.write("[services.shelf]\nbatch = 15\n");
    assert_eq!((look(), process.shelf.get().batch), (Look::Same, 10));
    assert_eq!((look(), process.shelf.get().batch), (applied(&["services.shelf.batch"], &[]), 15));
    assert_eq!(look(), Look::Same);
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_sees_a_change_within_two_looks_and_ends_with_the_process() {
    let process = Process::start("", &[]).await;
    let watching = tokio::spawn(process.context.reload.clone().watch(process.context.stopping.clone()));
    process.write("[services.shelf]\nbatch = 15\n");
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(process.shelf.get().batch, 15);
    process.context.stopping.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_mounted_folder_that_is_swapped_by_its_link_is_seen() {
    let process = Process::start("", &[]).await;
    for (version, batch) in [("..1", 20), ("..2", 30)] {
        let folder = process.folder.path().join(version);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("rtcd.toml"), format!("[services.shelf]\nbatch = {batch}\n")).unwrap();
        let aside = process.folder.path().join("..aside");
        std::os::unix::fs::symlink(&folder, &aside).unwrap();
        std::fs::rename(&aside, process.folder.path().join("..data")).unwrap();
        if batch == 20 {
            std::fs::remove_file(&process.file).unwrap();
            std::os::unix::fs::symlink(process.folder.path().join("..data/rtcd.toml"), &process.file)
                .unwrap();
        }
        assert_eq!(process.context.reload.look(Attention::Asked), applied(&["services.shelf.batch"], &[]));
        assert_eq!(process.shelf.get().batch, batch);
    }
}

#[tokio::test]
async fn cursors_and_sealed_values_outlive_the_rotation_of_their_keys() {
    let process = Process::start("", &[]).await;
    let (context, secrets) = (&process.context, process.folder.path().join("secrets"));
    let rotate = |name: &str| {
        let old = std::fs::read_to_string(secrets.join(name)).unwrap();
        std::fs::write(secrets.join(name), format!("a new one, long enough for everybody\n{old}\n")).unwrap();
        context.reload.look(Attention::Routine);
        old
    };
    let cursor = context.edge.pages.encode("notes", &7).unwrap();
    rotate("cursor_key");
    assert_eq!(context.edge.pages.decode::<i32>("notes", Some(&cursor)).unwrap(), Some(7));
    assert_ne!(context.edge.pages.encode("notes", &7).unwrap(), cursor);

    let (sealed, index) = (context.vault.seal("kim").unwrap(), context.vault.index("name", "kim"));
    let first = std::fs::read_to_string(secrets.join("vault_key")).unwrap();
    rotate("vault_key");
    assert_eq!(
        context.vault.reseal(&sealed).unwrap(),
        None,
        "indexes would be lost: the old key stays in use"
    );
    std::fs::write(secrets.join("vault_index_key"), &first).unwrap();
    context.reload.look(Attention::Routine);
    assert!(context.vault.reseal(&sealed).unwrap().is_some());
    assert_eq!(
        (context.vault.open(&sealed).unwrap(), context.vault.index("name", "kim")),
        ("kim".to_owned(), index.clone())
    );

    let again = self::context(context.config.clone(), process.folder.path()).await;
    assert_eq!(
        (again.vault.open(&sealed).unwrap(), again.vault.index("name", "kim")),
        ("kim".to_owned(), index)
    );
    std::fs::remove_file(secrets.join("vault_index_key")).unwrap();
    let clock = context.clock.clone();
    let engines = Engines {
        bus: context.bus.clone(),
        databases: context.databases.clone(),
        cache: context.cache.clone(),
        objects: context.objects.clone(),
    };
    let refused = Context::new(
        context.config.clone(),
        clock,
        context.ids.clone(),
        engines,
        Secrets::of(&context.config),
    );
    let error = refused.err().unwrap();
    assert!(error.code() == "RTD011" && error.to_string().contains("vault_index_key"), "{error}");
}

/// What was logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_level_of_the_log_can_change() {
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = |level: &str| telemetry::filter(level).unwrap();
    let (subscriber, handle) = telemetry::subscriber(filter("warn"), "json", move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let say = |n: u32| tracing::info!(target: "orders", n, "said");
        say(1);
        handle.reload(filter("warn,orders=info")).unwrap();
        say(2);
        handle.reload(filter("error")).unwrap();
        say(3);
    });
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let said: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), 1, "{text}");
    assert_eq!((&said[0]["n"], &said[0]["level"]), (&json!(2), &json!("INFO")));
    assert!(telemetry::subscriber(filter("warn"), "xml", std::io::sink).is_err());
}

#[tokio::test]
async fn the_reference_lists_every_setting_with_those_of_the_sections() {
    let process = Process::start("", &[]).await;
    let keys = process.context.config.reference();
    let takes = |key: &str| keys.iter().find(|one| one.key == key).map(|one| one.takes);
    assert_eq!(takes("services.shelf.batch"), Some(Takes::AtOnce));
    assert_eq!(takes("services.shelf.retry.max_ms"), Some(Takes::AtTheNextStart));
    assert_eq!(takes("services.other.batch"), Some(Takes::AtTheNextStart), "it is read once");
    assert_eq!((takes("limits.*"), takes("bus")), (Some(Takes::AtOnce), Some(Takes::AtTheNextStart)));
    let default = |key: &str| keys.iter().find(|one| one.key == key).unwrap().default.clone();
    assert_eq!(default("services.shelf.batch"), json!(10));
    assert_eq!(default("server.api_bind"), json!("127.0.0.1:8080"));
}

#[tokio::test]
async fn what_the_process_cannot_do_with_is_refused_as_a_whole() {
    let process = Process::start("", &[]).await;
    process.context.reload.require(|next| match next.engines.has_embedded_bus() {
        true => Ok(()),
        false => Err(crate::StartError::Unshared("another bus".to_owned())),
    });
    let look = process.change("bus = \"kafka://b:1\"\n[services.shelf]\nbatch = 3\n");
    assert_eq!(look, Look::Refused("processes cannot share what is configured: another bus".to_owned()));
    assert_eq!(process.shelf.get().batch, 10);
    assert!(process.context.reload.status().fault.is_some());
    let look = process.change("[services.shelf]\nbatch = 3\n");
    assert_eq!(look, Look::Applied { live: vec!["services.shelf.batch".to_owned()], waiting: Vec::new() });
    assert_eq!((process.shelf.get().batch, process.context.reload.status().fault), (3, None));
}

#[tokio::test]
async fn whoever_asks_how_it_stands_does_not_wait_for_a_look_that_hangs() {
    let process = Process::start("", &[]).await;
    let reload = process.context.reload.clone();
    let ((begin, begun), (end, may_end)) = (mpsc::channel(), mpsc::channel::<()>());
    let may_end = Mutex::new(may_end);
    reload.require(move |_| {
        // As where the file is on a mount that answers no more.
        begin.send(()).unwrap();
        let _ = may_end.lock().unwrap().recv();
        Ok(())
    });
    process.write("[services.shelf]\nbatch = 15\n");
    let looked = reload.clone();
    let looking = tokio::task::spawn_blocking(move || looked.look(Attention::Asked));
    begun.recv().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || tell.send(reload.status().applied));
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(0));
    end.send(()).unwrap();
    assert_eq!(looking.await.unwrap(), applied(&["services.shelf.batch"], &[]));
    assert_eq!(process.context.reload.status().applied, 1);
}
