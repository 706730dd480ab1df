//! The database port on a MySQL server: the suite of the port, faults on the way to it, and addresses that are wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use db::{Db, Error, Migration, Migrations, params};
use db_mysql::{Options, drop_schema, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use conformance::db::TABLES;

use crate::support::{Engine, Engines};

fn server() -> String {
    Engines::shared().mysql().to_owned()
}

/// Schemas of one test, gone when it ends.
struct Schemas {
    server: String,
    name: String,
    made: AtomicU32,
}

impl Schemas {
    fn new(test: &str) -> Self {
        Self {
            server: server(),
            name: format!("rtc_t{}_{test}", std::process::id()),
            made: AtomicU32::new(0),
        }
    }

    fn url(&self) -> String {
        let n = self.made.fetch_add(1, Ordering::SeqCst);
        format!("{}/{}_{n}", self.server, self.name)
    }

    /// The schema that was named last.
    fn last(&self) -> String {
        format!("{}_{}", self.name, self.made.load(Ordering::SeqCst) - 1)
    }

    async fn open(&self) -> Db {
        let url = self.url();
        tokio::task::spawn_blocking(move || open(&url, Options::default())).await.unwrap().unwrap()
    }
}

impl Drop for Schemas {
    fn drop(&mut self) {
        for n in 0..self.made.load(Ordering::SeqCst) {
            let _ = drop_schema(&format!("{}/{}_{n}", self.server, self.name), Options::default());
        }
    }
}

async fn open_at(url: String) -> Result<Db, Error> {
    tokio::task::spawn_blocking(move || open(&url, Options::default())).await.unwrap()
}

/// Runs statements as the server's administrator.
async fn administer(sql: &[String]) {
    administer_at(server(), sql).await;
}

async fn administer_at(server: String, sql: &[String]) {
    let sql = sql.to_vec();
    let administered = tokio::task::spawn_blocking(move || {
        let mut conn = mysql::Conn::new(server.as_str()).unwrap();
        for one in &sql {
            mysql::prelude::Queryable::query_drop(&mut conn, one).unwrap();
        }
    });
    administered.await.unwrap();
}

/// The statements that make a user, wherever it comes from, or drop it.
fn for_user(user: &str, statement: &str) -> Vec<String> {
    let hosts = ["%", "localhost", "127.0.0.1"];
    hosts.map(|host| statement.replace("ACCOUNT", &format!("'{user}'@'{host}'"))).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_keeps_its_promises() {
    let schemas = Schemas::new("port");
    let make = async || schemas.open().await;
    conformance::db::all(make).await;
    conformance::db::beside_a_command(make).await;
    conformance::db::beside_each_other(make).await;
}

// ---- addresses ------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_is_told_why() {
    let user = format!("t{}", std::process::id());
    administer(&for_user(&user, "CREATE USER IF NOT EXISTS ACCOUNT IDENTIFIED BY 'right'")).await;
    administer(&for_user(&user, &format!("GRANT SELECT ON `{user}_theirs`.* TO ACCOUNT"))).await;
    let place = server().split_once('@').unwrap().1.to_owned();
    let wrong = open_at(format!("mysql://{user}:wrong@{place}/rtc")).await.err();
    assert!(matches!(&wrong, Some(Error::WrongPassword { user: named }) if *named == user), "{wrong:?}");
    let denied = open_at(format!("mysql://{user}:right@{place}/rtc_none")).await.err();
    assert!(matches!(denied, Some(Error::NoRight(_) | Error::UnknownSchema(_))), "{denied:?}");
    let unknown = open_at(format!("mysql://{user}:right@{place}/{user}_theirs")).await.err();
    assert!(matches!(unknown, Some(Error::UnknownSchema(_))), "{unknown:?}");
    administer(&for_user(&user, "DROP USER ACCOUNT")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_asked_for_at_every_connection() {
    let user = format!("r{}", std::process::id());
    let schemas = Schemas::new("rotate");
    let schema = schemas.url();
    let name = schema.rsplit_once('/').unwrap().1.to_owned();
    administer(&for_user(&user, "CREATE USER IF NOT EXISTS ACCOUNT IDENTIFIED BY 'first'")).await;
    administer(&for_user(&user, &format!("GRANT ALL ON `{name}`.* TO ACCOUNT"))).await;
    let is_rotated = Arc::new(AtomicBool::new(false));
    let asked = is_rotated.clone();
    let password: db_mysql::Password =
        Arc::new(move || Ok(if asked.load(Ordering::SeqCst) { "second" } else { "first" }.to_owned()));
    let proxy = Proxy::start().await;
    let url = format!("mysql://{user}@{}/{name}", proxy.address);
    let options = Options { password: Some(password) };
    let db = tokio::task::spawn_blocking(move || open(&url, options)).await.unwrap().unwrap();
    db.migrate(TABLES).await.unwrap();
    put(&db, "before").await.unwrap();
    administer(&for_user(&user, "ALTER USER ACCOUNT IDENTIFIED BY 'second'")).await;
    is_rotated.store(true, Ordering::SeqCst);
    proxy.cut();
    put(&db, "after").await.unwrap();
    administer(&for_user(&user, "DROP USER ACCOUNT")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_somebody_else_is_left_alone() {
    let schemas = Schemas::new("foreign");
    let url = schemas.url();
    let name = url.rsplit_once('/').unwrap().1.to_owned();
    drop(open_at(url.clone()).await.unwrap());
    administer(&[format!("CREATE TABLE `{name}`.theirs (id INT)")]).await;
    let refused = open_at(url).await.err();
    assert!(matches!(&refused, Some(Error::Foreign(schema)) if *schema == name), "{refused:?}");
}

// ---- migrations -----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_replicas_that_migrate_at_once_one_takes_each_step() {
    let schemas = Schemas::new("replicas");
    let url = schemas.url();
    drop(open_at(url.clone()).await.unwrap());
    let mut replicas = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        replicas.spawn(async move { open_at(url).await.unwrap().migrate(TABLES).await.unwrap() });
    }
    let steps: Vec<String> = replicas.join_all().await.into_iter().flatten().collect();
    assert_eq!(steps, ["conformance/001 things", "conformance/002 entries"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_was_cut_goes_on_where_it_was() {
    const WHOLE: &str = "CREATE TABLE a (id BIGINT PRIMARY KEY); INSERT INTO a (id) VALUES (1); \
                         CREATE TABLE b (id BIGINT PRIMARY KEY); INSERT INTO b (id) SELECT id FROM a;";
    static STEPS: &[Migrations] =
        &[Migrations { component: "cut", steps: &[Migration { version: 1, name: "both", sql: WHOLE }] }];
    static OTHERS: &[Migrations] = &[Migrations {
        component: "cut",
        steps: &[Migration { version: 1, name: "both", sql: "CREATE TABLE c (id BIGINT)" }],
    }];
    let schemas = Schemas::new("cut");
    // What can be behind a crash: so many statements done, the last of them written down or not. Rows and their note
    // are one transaction, a table and its note are not.
    for (done, noted) in [(0, 0), (1, 0), (1, 1), (2, 2), (3, 2), (3, 3), (4, 4)] {
        let db = schemas.open().await;
        db.migrate(&[]).await.unwrap();
        let note = format!(
            "INSERT INTO schema_progress (component, version, done, fingerprint) VALUES ('cut', 1, {noted}, {})",
            fingerprint(WHOLE)
        );
        let name = schemas.last();
        let before: Vec<String> = WHOLE.split(';').take(done).map(|sql| sql.trim().to_owned()).collect();
        let mut statements = vec![format!("USE `{name}`")];
        statements.extend(before);
        statements.push(note);
        administer(&statements).await;
        assert!(matches!(db.migrate(OTHERS).await, Err(Error::Other(why)) if why.contains("half done")));
        assert_eq!(db.migrate(STEPS).await.unwrap(), ["cut/001 both"], "{done} {noted}");
        assert!(db.migrate(STEPS).await.unwrap().is_empty());
        let found: Result<i64, Error> =
            db.read(|tx| tx.query_one("SELECT COUNT(*) FROM b", params![], |row| row.get(0))).await;
        assert_eq!(found.unwrap(), 1, "{done} {noted}");
    }
}

/// As the migrations write it down.
fn fingerprint(text: &str) -> i64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

// ---- faults on the way ----------------------------------------------------------------------------------------

/// What a proxy does with a COMMIT that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnCommit {
    Pass,
    /// The server never sees it.
    CutBefore,
    /// The server sees it, its answer is lost.
    CutAfter,
}

/// Stands between the adapter and the server.
struct Proxy {
    address: String,
    /// Counts the cuts: a connection that sees another number than at its start ends.
    cuts: watch::Sender<u32>,
    is_open: watch::Sender<bool>,
    on_commit: watch::Sender<OnCommit>,
}

impl Proxy {
    async fn start() -> Self {
        let to = server().split_once('@').unwrap().1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (cuts, is_open, on_commit) =
            (watch::Sender::new(0), watch::Sender::new(true), watch::Sender::new(OnCommit::Pass));
        let (cuts_seen, open_seen, commit_seen) =
            (cuts.subscribe(), is_open.subscribe(), on_commit.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !*open_seen.borrow() {
                    continue;
                }
                let server = TcpStream::connect(&to).await.unwrap();
                tokio::spawn(carry(client, server, cuts_seen.clone(), commit_seen.clone()));
            }
        });
        Self { address, cuts, is_open, on_commit }
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    mut cuts: watch::Receiver<u32>,
    on_commit: watch::Receiver<OnCommit>,
) {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let _ = cuts.borrow_and_update();
    let mut lose_answer = false;
    loop {
        tokio::select! {
            _ = cuts.changed() => return,
            read = client.read(&mut up) => {
                let Ok(n @ 1..) = read else { return };
                if up[..n].windows(7).any(|window| window == b"\x03COMMIT") {
                    match *on_commit.borrow() {
                        OnCommit::Pass => {}
                        OnCommit::CutBefore => return,
                        OnCommit::CutAfter => lose_answer = true,
                    }
                }
                if server.write_all(&up[..n]).await.is_err() { return }
            }
            read = server.read(&mut down) => {
                let Ok(n @ 1..) = read else { return };
                if lose_answer || client.write_all(&down[..n]).await.is_err() { return }
            }
        }
    }
}

async fn put(db: &Db, id: &'static str) -> Result<usize, Error> {
    db.write(move |tx| tx.execute("INSERT INTO things (id, n) VALUES (?, 1)", params![id])).await
}

async fn things(db: &Db) -> Result<i64, Error> {
    db.read(|tx| tx.query_one("SELECT COUNT(*) FROM things", params![], |row| row.get(0))).await
}

async fn through(proxy: &Proxy, schemas: &Schemas) -> Db {
    let url = schemas.url();
    let (user, schema) = (url.split_once('@').unwrap().0, url.rsplit_once('/').unwrap().1);
    let db = open_at(format!("{user}@{}/{schema}", proxy.address)).await.unwrap();
    db.migrate(TABLES).await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_while_idle_are_replaced_unseen() {
    let (proxy, schemas) = (Proxy::start().await, Schemas::new("idle"));
    let db = through(&proxy, &schemas).await;
    put(&db, "first").await.unwrap();
    assert_eq!(things(&db).await.unwrap(), 1);
    proxy.cut();
    put(&db, "second").await.unwrap();
    proxy.cut();
    assert_eq!(things(&db).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_before_the_commit_costs_a_second_run() {
    let (proxy, schemas) = (Proxy::start().await, Schemas::new("lost"));
    let db = through(&proxy, &schemas).await;
    let (cuts, runs) = (proxy.cuts.clone(), Arc::new(AtomicU32::new(0)));
    let counted = runs.clone();
    db.write(move |tx| -> Result<(), Error> {
        tx.execute("INSERT INTO things (id, n) VALUES ('x', 1)", params![])?;
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            cuts.send_modify(|cuts| *cuts += 1);
        }
        // Whoever hides the failure of a statement is not believed.
        while tx.execute("UPDATE things SET n = n + 1 WHERE id = 'x'", params![]).is_ok() {
            if counted.load(Ordering::SeqCst) > 1 {
                break;
            }
        }
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    let n: Result<i64, Error> =
        db.read(|tx| tx.query_one("SELECT n FROM things WHERE id = 'x'", params![], |row| row.get(0))).await;
    assert_eq!(n.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_in_the_commit_is_an_unknown_outcome() {
    for (fault, stored) in [(OnCommit::CutBefore, 0), (OnCommit::CutAfter, 1)] {
        let (proxy, schemas) = (Proxy::start().await, Schemas::new("commit"));
        let db = through(&proxy, &schemas).await;
        proxy.on_commit.send_replace(fault);
        let unknown = put(&db, "x").await;
        assert!(matches!(unknown, Err(Error::OutcomeUnknown)), "{fault:?}: {unknown:?}");
        proxy.on_commit.send_replace(OnCommit::Pass);
        // A server that was left alone undoes what was not committed; the same key then tells.
        let again = put(&db, "x").await;
        assert_eq!(again.is_ok(), stored == 0, "{fault:?}: {again:?}");
        assert_eq!(things(&db).await.unwrap(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_transient_and_found_again() {
    let (proxy, schemas) = (Proxy::start().await, Schemas::new("away"));
    let db = through(&proxy, &schemas).await;
    proxy.is_open.send_replace(false);
    proxy.cut();
    for _ in 0..3 {
        let (write, read) = (put(&db, "x").await, things(&db).await);
        assert!(write.is_err_and(|error| error.is_transient()));
        assert!(read.is_err_and(|error| error.is_transient()));
    }
    proxy.is_open.send_replace(true);
    put_at_last(&db, "x").await;
    assert_eq!(things(&db).await.unwrap(), 1);
}

/// Nobody knocks for a moment after a failure; then the first who comes gets in.
async fn put_at_last(db: &Db, id: &'static str) {
    let recovered = tokio::time::timeout(Duration::from_secs(10), async {
        while let Err(error) = put(db, id).await {
            assert!(error.is_transient(), "{error:?}");
            tokio::task::yield_now().await;
        }
    });
    recovered.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_killed_or_restarted_is_waited_for() {
    let engines = Engines::start(&[Engine::MariaDb]).await;
    let server = engines.mysql().to_owned();
    let administer = async |sql: Vec<String>| administer_at(server.clone(), &sql).await;
    administer(for_user("shop", "CREATE USER ACCOUNT IDENTIFIED BY 'right'")).await;
    administer(for_user("shop", "GRANT ALL ON rtc_shop.* TO ACCOUNT")).await;
    let url = format!("mysql://shop:right@{}/rtc_shop", server.split_once('@').unwrap().1);
    let db = open_at(url.clone()).await.unwrap();
    db.migrate(TABLES).await.unwrap();
    put(&db, "first").await.unwrap();

    administer(vec!["SET GLOBAL read_only = 1".to_owned()]).await;
    let refused = put(&db, "second").await;
    assert!(matches!(&refused, Err(error @ Error::ReadOnly) if error.is_transient()), "{refused:?}");
    assert_eq!(things(&db).await.unwrap(), 1);
    assert!(matches!(open_at(url.clone()).await.err(), Some(Error::ReadOnly)));
    administer(vec!["SET GLOBAL read_only = 0".to_owned()]).await;
    put(&db, "second").await.unwrap();

    engines.kill(Engine::MariaDb).await;
    assert!(put(&db, "third").await.is_err_and(|error| error.is_transient()));
    assert!(matches!(open_at(url.clone()).await.err(), Some(Error::Unreachable(_))));
    engines.revive(Engine::MariaDb).await;
    put_at_last(&db, "third").await;
    engines.restart(Engine::MariaDb).await;
    put_at_last(&db, "fourth").await;
    assert_eq!(things(&db).await.unwrap(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_is_not_answered_is_asked_once_and_ended_by_the_server() {
    let schemas = Schemas::new("overdue");
    let db = schemas.open().await;
    let bound = "SELECT CAST(@@SESSION.max_statement_time AS INTEGER)";
    let asked = db.read(move |tx| tx.query_one(bound, params![], |row| row.get::<i64>(0))).await;
    assert_eq!(asked.unwrap(), 120);

    // It waits for 30 s, and asks nobody else then.
    let began = tokio::time::Instant::now();
    let asked = db.look_up(|tx| tx.query_one("SELECT SLEEP(300)", params![], |row| row.get::<i64>(0))).await;
    assert!(asked.as_ref().is_err_and(Error::is_transient), "{asked:?}");
    assert!((25..50).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let one = db.look_up(|tx| tx.query_one("SELECT 1", params![], |row| row.get::<i64>(0))).await;
    assert_eq!(one.unwrap(), 1);
}

// ---- locks ----------------------------------------------------------------------------------------------------

/// Holds a row in a transaction of its own until it is let go of.
struct Holder {
    let_go: std::sync::mpsc::Sender<()>,
    gone: tokio::task::JoinHandle<()>,
}

impl Holder {
    async fn of(schema: &str, id: &str) -> Self {
        use mysql::prelude::Queryable;
        let (let_go, may_end) = std::sync::mpsc::channel();
        let (held, is_held) = tokio::sync::oneshot::channel();
        let (url, sql) =
            (format!("{}/{schema}", server()), format!("SELECT n FROM things WHERE id = '{id}' FOR UPDATE"));
        let gone = tokio::task::spawn_blocking(move || {
            let mut conn = mysql::Conn::new(url.as_str()).unwrap();
            conn.query_drop("BEGIN").unwrap();
            let _: Option<i64> = conn.query_first(sql).unwrap();
            held.send(()).unwrap();
            let _ = may_end.recv();
            conn.query_drop("ROLLBACK").unwrap();
        });
        is_held.await.unwrap();
        Self { let_go, gone }
    }

    async fn let_go(self) {
        self.let_go.send(()).unwrap();
        self.gone.await.unwrap();
    }
}

async fn raise(db: &Db, id: String) -> Result<(), Error> {
    let raise = move |tx: &mut db::Tx<'_>| {
        let n: i64 = tx.query_one("SELECT n FROM things WHERE id = ?", params![id], |row| row.get(0))?;
        tx.execute("UPDATE things SET n = ? WHERE id = ?", params![n + 1, id]).map(drop)
    };
    db.write(raise).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_holds_stops_those_who_need_it_and_nobody_who_came_with_them() {
    const SOON: Duration = Duration::from_secs(8);
    let schemas = Schemas::new("held");
    let db = open_at(format!("{}?pool=2", schemas.url())).await.unwrap();
    db.migrate(TABLES).await.unwrap();
    db.write(|tx| -> Result<(), Error> {
        for n in 0..24 {
            tx.execute("INSERT INTO things (id, n) VALUES (?, 0)", params![format!("t{n}")])?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let holder = Holder::of(&schemas.last(), "t10").await;
    // Both workers are busy, until all the others wait together.
    let mut gates = Vec::new();
    for _ in 0..2 {
        let (begun, begins) = std::sync::mpsc::channel();
        let (open, opened) = std::sync::mpsc::channel::<()>();
        let (opened, gated) = (std::sync::Mutex::new(opened), db.clone());
        let gate = tokio::spawn(async move {
            let wait = move |_: &mut db::Tx<'_>| -> Result<(), Error> {
                let _ = begun.send(());
                let _ = opened.lock().unwrap().recv();
                Ok(())
            };
            gated.write(wait).await
        });
        tokio::task::spawn_blocking(move || begins.recv()).await.unwrap().unwrap();
        gates.push((gate, open));
    }
    let (mut free, mut held) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    for n in 0..24 {
        let (raised, id) = (db.clone(), format!("t{n}"));
        let of = if n == 10 { &mut held } else { &mut free };
        of.spawn(async move { raise(&raised, id).await });
        while db.stats().queued <= n {
            tokio::task::yield_now().await;
        }
    }
    for (gate, open) in gates {
        open.send(()).unwrap();
        gate.await.unwrap().unwrap();
    }
    let done = tokio::time::timeout(SOON, free.join_all()).await.expect("nobody waits for the row");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    let beside = tokio::time::timeout(SOON, raise(&db, "t0".to_owned())).await;
    beside.expect("a worker is left for it").unwrap();
    assert!(held.try_join_next().is_none(), "whoever needs the row waits for it");
    holder.let_go().await;
    assert!(held.join_all().await.iter().all(Result::is_ok));
    let n: Result<i64, Error> =
        db.read(|tx| tx.query_one("SELECT SUM(n) FROM things", params![], |row| row.get(0))).await;
    assert_eq!(n.unwrap(), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_what_was_taken() {
    let schemas = Schemas::new("close");
    let url = schemas.url();
    let db = open_at(url.clone()).await.unwrap();
    db.migrate(TABLES).await.unwrap();
    for n in 0..200_i64 {
        db.write_lazily(move |tx| {
            tx.execute("INSERT INTO things (id, n) VALUES (?, 0)", params![n.to_string()]).map(drop)
        });
    }
    tokio::task::spawn_blocking(move || drop(db)).await.unwrap();
    assert_eq!(things(&open_at(url).await.unwrap()).await.unwrap(), 200);
}
