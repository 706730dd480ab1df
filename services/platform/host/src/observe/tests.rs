//! Looks that fail, and what the runtimes tell.

use std::sync::atomic::{AtomicBool, Ordering};

use db::{Asker, Connection, Engine, Job, Stats, Turn, Waiting};
use kernel::Error;
use tokio::sync::Semaphore;
use web::Gate;

use super::*;

struct Shelf {
    measures: Measures,
    broken: AtomicBool,
}

const LABEL: ServiceLabel = ServiceLabel { service: "orders" };

#[async_trait]
impl Observer for Shelf {
    fn name(&self) -> &str {
        "orders.shelf"
    }

    async fn observe(&self) -> kernel::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::unavailable("db_away", "the database does not answer"));
        }
        self.measures.outbox_depth.get_or_create(&LABEL).set(7);
        Ok(())
    }

    fn forget(&self) {
        self.measures.outbox_depth.remove(&LABEL);
    }
}

#[tokio::test]
async fn what_cannot_be_looked_up_any_more_is_absent_and_counted() {
    let mut registry = Registry::default();
    let measures = Measures::register(&mut registry);
    let observers = Observers::new(&measures);
    let shelf = Arc::new(Shelf { measures, broken: AtomicBool::new(false) });
    observers.add(shelf.clone());
    let page = || web::encode(&registry);
    let (told, failed) =
        ("rtc_outbox_depth{service=\"orders\"} 7\n", "rtc_looks_failed_total{look=\"orders.shelf\"}");
    observers.look().await;
    assert!(page().contains(told) && page().contains(&format!("{failed} 0\n")), "{}", page());
    shelf.broken.store(true, Ordering::Relaxed);
    observers.look().await;
    observers.look().await;
    assert!(!page().contains("rtc_outbox_depth{"), "an old figure is told: {}", page());
    assert!(page().contains(&format!("{failed} 2\n")), "{}", page());
    shelf.broken.store(false, Ordering::Relaxed);
    observers.look().await;
    assert!(page().contains(told) && page().contains(&format!("{failed} 2\n")), "{}", page());
}

#[tokio::test]
async fn threads_that_were_hired_are_told_beside_those_that_drive_everything() {
    let gate = Gate::new(web::AdmissionConfig::default());
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process::new(gate.clone())));
    let workers =
        |runtime: &str, count: usize| format!("rtc_runtime_workers{{runtime=\"{runtime}\"}} {count}.0\n");
    let page = web::encode(&registry);
    assert!(page.contains(&workers("main", 1)) && !page.contains("runtime=\"work\""), "{page}");
    gate.hire(Some(3)).unwrap();
    let page = web::encode(&registry);
    assert!(page.contains(&workers("main", 1)) && page.contains(&workers("work", 3)), "{page}");
    for name in ["rtc_runtime_busy_seconds_total", "rtc_runtime_queue_depth", "rtc_runtime_tasks"] {
        assert!(page.contains(&format!("{name}{{runtime=\"work\"}}")), "{name}: {page}");
    }
    assert_eq!(page.matches("# TYPE rtc_runtime_tasks ").count(), 1);
}

/// A server with so many connections as there are permits.
struct Server(Arc<Semaphore>);

impl Engine for Server {
    fn write(&self, job: Box<dyn Job>) {
        job.finish(Err(db::Error::Closed));
    }

    fn write_lazily(&self, job: Box<dyn Job>) {
        job.finish(Err(db::Error::Closed));
    }

    fn turn(&self, asker: Asker) -> Waiting<'_> {
        Box::pin(async move {
            match (asker, self.0.clone().try_acquire_owned()) {
                (_, Ok(permit)) => Ok(Turn::of(permit)),
                (Asker::Guest, Err(_)) => Err(db::Error::Busy),
                (Asker::House, Err(_)) => {
                    Ok(Turn::of(self.0.clone().acquire_owned().await.map_err(|_| db::Error::Closed)?))
                }
            }
        })
    }

    fn read(&self, _: &mut dyn FnMut(&mut dyn Connection)) -> Result<(), db::Error> {
        Err(db::Error::Closed)
    }

    fn reads_inline(&self) -> bool {
        false
    }

    fn is_commit_ordered(&self) -> bool {
        false
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_is_measured_also_where_he_is_refused_or_goes() {
    let mut registry = Registry::default();
    let measures = Measures::register(&mut registry);
    let engine = measured(&measures, "orders", Arc::new(Server(Arc::new(Semaphore::new(1)))));
    let of = |asker: &str, what: &str| {
        let name = format!("rtc_db_wait_duration_seconds_{what}{{service=\"orders\",asker=\"{asker}\"}} ");
        let page = web::encode(&registry);
        let line = page.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{name}: {page}")).parse::<f64>().unwrap()
    };
    assert_eq!((of("guest", "count"), of("house", "count")), (0.0, 0.0));
    let turn = engine.turn(Asker::Guest).await.unwrap();
    assert!(matches!(engine.turn(Asker::Guest).await, Err(db::Error::Busy)));
    assert_eq!((of("guest", "count"), of("guest", "sum")), (2.0, 0.0));
    let gone = tokio::time::timeout(Duration::from_secs(2), engine.turn(Asker::House)).await;
    assert!(gone.is_err());
    assert_eq!((of("house", "count"), of("house", "sum")), (1.0, 2.0));
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(turn);
    };
    let (had, ()) = tokio::join!(engine.turn(Asker::House), later);
    drop(had.unwrap());
    assert_eq!((of("house", "count"), of("house", "sum")), (2.0, 5.0));
}
