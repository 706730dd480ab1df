//! Starting on a large store.

use std::time::Duration;

use db::{Db, params};

use crate::platform::{Platform, program, rtcctl, run, seeded};

const ORDERS: u32 = 100_000;

/// What is measured here is unoptimised; it is still a small part of the bound.
const READY_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_orders_do_not_keep_it_from_being_ready() {
    let directory = seeded().await;
    let data = directory.path().join("data");
    {
        let db = Db::open_sqlite(&data.join("orders.db")).unwrap();
        db.write(|tx| -> Result<(), db::Error> {
            for n in 0..ORDERS {
                let id = format!("ord_0199b4a00000700080000000{n:08x}");
                tx.execute(
                    "INSERT INTO orders (id, user_id, state, items, total, currency, version, placed_at, updated_at) \
                     VALUES (?, 'usr_0199b4a0000070008000000000000001', 'confirmed', '[]', 0, 'KRW', 1, 1, 1)",
                    params![id],
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    }
    let started = tokio::time::Instant::now();
    let platform = Platform::start(&data).await;
    let took = started.elapsed();
    assert!(took < READY_WITHIN, "ready after {took:?}");
    let (_, status) = platform.get("admin_url", "/admin/status", &platform.operator_token()).await;
    assert_eq!(status["orders"]["by_state"]["confirmed"], ORDERS);
    println!("ready after {took:?} with {ORDERS} orders");
    rtcctl(&data, &["down"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_says_what_it_did_and_then_that_there_is_nothing_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let migrate = async || {
        let mut command = program("rtcd");
        command.arg("migrate").arg("--data").arg(directory.path().join("data"));
        run(command).await.expect(0).stdout
    };
    assert!(migrate().await.contains("orders\tapplied orders/001"));
    let again = migrate().await;
    assert!(again.contains("orders\tup to date") && !again.contains("applied"), "{again}");
}
