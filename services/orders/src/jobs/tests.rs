//! What counts as under way, and from when to when.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::time::Duration;

use db::{Tx, params};
use messaging::{Every, Pump};
use testkit::House;

use super::*;

fn in_flight(max: u32) -> Arc<InFlight> {
    InFlight::new(Live::fixed(OrdersConfig { in_flight_max: max, ..OrdersConfig::default() }))
}

async fn house() -> House {
    House::build(&[], async |context| Ok::<_, host::StartError>(vec![crate::service(context).await?])).await
}

fn count(house: &House, in_flight: &Arc<InFlight>) -> CountInFlight {
    CountInFlight { db: house.service("orders").db.clone(), in_flight: in_flight.clone() }
}

#[tokio::test]
async fn a_placement_that_is_open_across_a_look_counts_before_it_and_after_it() {
    let house = house().await;
    let in_flight = in_flight(2);
    let look = count(&house, &in_flight);
    let open = in_flight.place().expect("room");
    in_flight.place().expect("room").placed();
    assert_eq!(in_flight.pressure(), 1.0);
    assert!(in_flight.place().is_none());
    // The look finds neither: the one is counted now, and the other is still to come.
    look.run().await.unwrap();
    assert_eq!(in_flight.pressure(), 0.5);
    open.placed();
    drop(open);
    assert_eq!(in_flight.pressure(), 0.5, "it has left an order that nobody has counted");
    look.run().await.unwrap();
    assert_eq!(in_flight.pressure(), 0.0);
}

#[test]
fn a_placement_that_leaves_nothing_behind_counts_no_longer_and_no_less_than_nothing() {
    let in_flight = in_flight(4);
    let known = in_flight.place().expect("room");
    known.ended();
    drop(known);
    drop(in_flight.place().expect("room"));
    assert_eq!(in_flight.pressure(), 0.0);
    let placing = in_flight.place().expect("room");
    placing.placed();
    placing.placed();
    placing.ended();
    drop(placing);
    assert_eq!(in_flight.pressure(), 0.25, "it ends once");
}

#[test]
fn of_any_number_that_come_at_once_as_many_find_room_as_there_is() {
    let in_flight = in_flight(7);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (in_flight, tell) = (&in_flight, tell.clone());
            scope.spawn(move || (0..100).for_each(|_| tell.send(in_flight.place()).expect("a listener")));
        }
    });
    drop(tell);
    let open: Vec<Placing> = told.into_iter().flatten().collect();
    assert_eq!((open.len(), in_flight.pressure()), (7, 1.0));
    drop(open);
    assert_eq!(in_flight.pressure(), 0.0);
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_under_way_until_it_has_ended() {
    let directory = tempfile::tempdir().unwrap();
    let db = Db::open_sqlite(&directory.path().join("orders.db")).unwrap();
    let in_flight = in_flight(2);
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let (ended, ends) = tokio::sync::oneshot::channel::<()>();
    // What the command has is dropped in this order.
    let (its, mut begun) = ((in_flight.place().expect("room"), ended), Some(begun));
    let asked = db.clone();
    let request = tokio::spawn(async move {
        asked
            .write(move |tx: &mut Tx<'_>| -> Result<i64, db::Error> {
                let _its = &its;
                let _ = begun.take().map(|begun| begun.send(()));
                let _ = may_end.recv();
                tx.query_one("SELECT 1", params![], |row| row.get(0))
            })
            .await
    });
    begins.await.unwrap();
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert_eq!(in_flight.pressure(), 0.5, "the request has gone, its command has not");
    end.send(()).unwrap();
    assert!(ends.await.is_err());
    assert_eq!(in_flight.pressure(), 0.0);
}

/// Finds a database that is away for a while.
#[derive(Clone, Default)]
struct Looking {
    is_there: Arc<AtomicBool>,
    found: Arc<AtomicU32>,
}

#[async_trait]
impl Job for Looking {
    async fn run(&self) -> kernel::Result<Progress> {
        if !self.is_there.load(Ordering::SeqCst) {
            return Err(Error::unavailable("away", "away"));
        }
        self.found.fetch_add(1, Ordering::SeqCst);
        Ok(Progress::Idle)
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_that_others_rely_on_is_there_as_soon_as_the_database_is_back() {
    let looking = Looking::default();
    let interval = Duration::from_millis(100);
    let pump = Every::new("looking", interval, Steady::new("looking", looking.clone()));
    let pumps = host::Pumps::start([Arc::new(pump) as Arc<dyn Pump>]);
    // Whoever is put off twice as long each time comes again only half a minute from now.
    tokio::time::sleep(Duration::from_secs(26)).await;
    looking.is_there.store(true, Ordering::SeqCst);
    tokio::time::sleep(3 * interval).await;
    assert!((2..=3).contains(&looking.found.load(Ordering::SeqCst)), "{:?}", looking.found);
    pumps.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn the_count_of_what_is_under_way_never_fails_for_its_pump() {
    let house = house().await;
    let service = house.service("orders");
    let pump = service.pumps.iter().find(|pump| pump.name() == "orders.in_flight").expect("it is counted");
    let rename = async |sql: &'static str| {
        let rename = move |tx: &mut Tx<'_>| -> Result<usize, db::Error> { tx.execute(sql, params![]) };
        service.db.write(rename).await.expect("another name");
    };
    rename("ALTER TABLE sagas RENAME TO away").await;
    assert!(count(&house, &in_flight(1)).run().await.is_err(), "it cannot be looked");
    assert_eq!(pump.step().await.unwrap(), Progress::Idle);
    rename("ALTER TABLE away RENAME TO sagas").await;
    assert_eq!(pump.step().await.unwrap(), Progress::Idle);
}
