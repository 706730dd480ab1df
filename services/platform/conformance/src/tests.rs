//! The suites on the adapters that need no server.

use std::sync::Arc;

use ::bus::{Bus, EmbeddedLog};
use ::db::Db;
use kernel::SystemClock;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_log_does_all_that_a_bus_does() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || {
        let db = Db::open_sqlite(&dir.path().join("log.db")).unwrap();
        let log: Arc<dyn Bus> = Arc::new(EmbeddedLog::open(db, Arc::new(SystemClock)).await.unwrap());
        log
    };
    crate::bus::all(open, "suite").await;
}
