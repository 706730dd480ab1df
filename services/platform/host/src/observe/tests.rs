//! Looks that fail, and what the runtimes tell.

use std::sync::atomic::{AtomicBool, Ordering};

use kernel::Error;
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
