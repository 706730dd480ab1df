//! Pictures that are nobody's go after a day; those of somebody never do.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use db::{Db, params};
use kernel::{Clock, Timestamp};
use testkit::NOON;

use super::images::{PNG, form, stored_files, upload};
use super::outages::moody_house;
use super::*;
use crate::strays::{self, GRACE, Stray};

const A_BIT: Duration = Duration::from_millis(1);

fn picture(n: u8) -> Vec<u8> {
    form("image/png", &[PNG, &[n]].concat())
}

fn name_of(view: &Value, n: usize) -> String {
    view["images"][n].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

async fn take_away(house: &House, product: &str, name: &str, version: i64) -> Answer {
    let path = format!("/api/v1/products/{product}/images/{name}");
    house.call("DELETE", &path).token(&seller(house)).if_match(version).send().await
}

fn strays_in_table(house: &House) -> i64 {
    let count = "SELECT COUNT(*) FROM stray_pictures";
    let db = &house.service("catalog").db;
    db.read_now(|tx| tx.query_one(count, params![], |row| row.get(0))).map_err(|e: db::Error| e).unwrap()
}

async fn sweep(house: &House) -> kernel::Result<messaging::Progress> {
    let catalog = house.service("catalog");
    catalog.pumps.iter().find(|pump| pump.name() == "catalog.pictures").expect("the sweep").step().await
}

#[tokio::test]
async fn a_picture_goes_a_day_after_its_last_product_let_it_go() {
    let house = house().await;
    let (one, other) = (create(&house, &tea("TEA-1")).await, create(&house, &tea("TEA-2")).await);
    let name = name_of(&upload(&house, &one, picture(1)).await.expect(201), 0);
    upload(&house, &other, picture(1)).await.expect(201);
    let kept = name_of(&upload(&house, &one, picture(2)).await.expect(201), 1);
    assert_eq!(strays_in_table(&house), 0, "what was uploaded well is no stray");

    take_away(&house, &one, &name, 3).await.expect(200);
    house.advance(GRACE + A_BIT).await;
    house.get(&format!("/api/v1/images/{name}")).send().await.expect(200);
    assert_eq!(strays_in_table(&house), 0);

    take_away(&house, &other, &name, 2).await.expect(200);
    house.advance(GRACE).await;
    assert_eq!(stored_files(&house).len(), 2, "not before its time");
    house.advance(A_BIT).await;
    assert_eq!(stored_files(&house), [kept.as_str()]);
    house.get(&format!("/api/v1/images/{name}")).send().await.expect_problem(404, "image_not_found");
    assert_eq!(strays_in_table(&house), 0);
}

#[tokio::test]
async fn what_was_put_and_then_refused_goes() {
    let house = house().await;
    let product = create(&house, &tea("TEA-1")).await;
    for n in 0..10 {
        upload(&house, &product, picture(n)).await.expect(201);
    }
    upload(&house, &product, picture(10)).await.expect_problem(409, "images_full");
    assert_eq!((stored_files(&house).len(), strays_in_table(&house)), (11, 1));
    house.advance(GRACE + A_BIT).await;
    assert_eq!((stored_files(&house).len(), strays_in_table(&house)), (10, 0));
}

#[tokio::test]
async fn a_picture_that_is_uploaded_again_stays() {
    let house = house().await;
    let (one, other) = (create(&house, &tea("TEA-1")).await, create(&house, &tea("TEA-2")).await);
    let name = name_of(&upload(&house, &one, picture(1)).await.expect(201), 0);
    take_away(&house, &one, &name, 2).await.expect(200);
    house.advance(GRACE - A_BIT).await;
    upload(&house, &other, picture(1)).await.expect(201);
    house.advance(GRACE * 2).await;
    house.get(&format!("/api/v1/images/{name}")).send().await.expect(200);
}

#[tokio::test]
async fn what_no_table_knows_of_is_found_in_the_store() {
    let house = house().await;
    let product = create(&house, &tea("TEA-1")).await;
    let kept = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    let root = house.directory.path().join("objects");
    let unknown = format!("{}.png", "ab".repeat(32));
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for path in [
        format!("ab/{unknown}"),
        format!("cd/{unknown}"),
        "ab/notes.txt".to_owned(),
        format!("{}/{kept}", &kept[..2]),
    ] {
        std::fs::create_dir_all(root.join(&path).parent().unwrap()).unwrap();
        let file = std::fs::File::options().append(true).create(true).open(root.join(&path)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    house.settle().await;
    assert_eq!(strays_in_table(&house), 1);
    house.advance(GRACE + A_BIT).await;
    assert!(!root.join(format!("ab/{unknown}")).exists());
    // What lies elsewhere is not ours to remove.
    assert!(root.join(format!("cd/{unknown}")).exists() && root.join("ab/notes.txt").exists());
    house.get(&format!("/api/v1/images/{kept}")).send().await.expect(200);
}

#[tokio::test]
async fn a_store_that_is_away_costs_a_later_try() {
    let (house, store) = moody_house().await;
    let product = create(&house, &tea("TEA-1")).await;
    let name = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    take_away(&house, &product, &name, 2).await.expect(200);
    house.settle().await;
    store.is_away.store(true, Ordering::SeqCst);
    house.clock.advance(GRACE + A_BIT);
    assert!(sweep(&house).await.unwrap_err().kind().is_transient());
    assert_eq!(stored_files(&house).len(), 1);
    store.is_away.store(false, Ordering::SeqCst);
    // It was begun, and nobody may put it again before it is done.
    let busy = upload(&house, &product, picture(1)).await;
    assert_eq!(busy.header("retry-after"), Some("1"));
    busy.expect_problem(503, "picture_busy");
    house.advance(Duration::from_secs(61)).await;
    assert_eq!((stored_files(&house).len(), strays_in_table(&house)), (0, 0));
    upload(&house, &product, picture(1)).await.expect(201);
    house.settle().await;
    assert_eq!(house.get(&format!("/api/v1/images/{name}")).send().await.status, 200);
}

/// Every step of the sweep between any two steps of an upload: what a product refers to is there.
#[tokio::test]
async fn no_interleaving_of_upload_and_sweep_loses_a_picture() {
    // The upload announces, puts and claims; the sweep reads, looks at the products, dooms, removes and forgets.
    for schedule in interleavings(3, 5) {
        let db = Db::in_memory().unwrap();
        db.migrate(TABLES).await.unwrap();
        let mut now = NOON;
        db.write(move |tx| strays::suspect(tx, "p", now)).await.unwrap();
        now = now.plus(GRACE * 2);
        let (mut is_stored, mut is_referred_to) = (true, false);
        let (mut upload, mut sweep) = (Upload::Begins, Sweep::Begins);
        for is_upload in &schedule {
            if !is_upload {
                sweep = sweep.step(&db, now, is_referred_to, &mut is_stored).await;
                continue;
            }
            upload = match upload {
                Upload::Begins => match db.write(move |tx| strays::announce(tx, "p", now)).await {
                    Ok(()) => Upload::Announced,
                    Err(_) => Upload::Over,
                },
                Upload::Announced => {
                    is_stored = true;
                    Upload::Put
                }
                Upload::Put => {
                    db.write(|tx| strays::claim(tx, "p")).await.unwrap();
                    is_referred_to = true;
                    Upload::Over
                }
                Upload::Over => Upload::Over,
            };
        }
        assert!(is_stored || !is_referred_to, "a picture is lost by {schedule:?}");
    }
}

#[derive(Clone, Copy)]
enum Upload {
    Begins,
    Announced,
    Put,
    Over,
}

enum Sweep {
    Begins,
    Read(Vec<Stray>),
    Looked(Vec<Stray>, HashSet<String>),
    Doomed(Vec<String>),
    Removed(Vec<String>),
    Over,
}

impl Sweep {
    async fn step(self, db: &Db, now: Timestamp, is_referred_to: bool, is_stored: &mut bool) -> Self {
        match self {
            Sweep::Begins => {
                let read = db.read(move |tx| strays::strays_before(tx, now.minus(GRACE))).await;
                Sweep::Read(read.unwrap())
            }
            Sweep::Read(strays) => {
                let names = strays.iter().filter(|_| !is_referred_to).map(|stray| stray.name.clone());
                let unreferenced = names.collect();
                Sweep::Looked(strays, unreferenced)
            }
            Sweep::Looked(strays, unreferenced) => {
                let doomed = db.write(move |tx| strays::doom(tx, &strays, &unreferenced, now)).await;
                Sweep::Doomed(doomed.unwrap())
            }
            Sweep::Doomed(names) => {
                *is_stored &= names.is_empty();
                Sweep::Removed(names)
            }
            Sweep::Removed(names) => {
                db.write(move |tx| strays::forget(tx, &names)).await.unwrap();
                Sweep::Over
            }
            Sweep::Over => Sweep::Over,
        }
    }
}

static TABLES: &[db::Migrations] = &[strays::MIGRATIONS];

fn interleavings(uploads: usize, sweeps: usize) -> Vec<Vec<bool>> {
    if uploads + sweeps == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    let mut begin = |is_upload: bool, rest: Vec<Vec<bool>>| {
        all.extend(rest.into_iter().map(|rest| [vec![is_upload], rest].concat()));
    };
    if uploads > 0 {
        begin(true, interleavings(uploads - 1, sweeps));
    }
    if sweeps > 0 {
        begin(false, interleavings(uploads, sweeps - 1));
    }
    all
}

#[tokio::test]
async fn the_clock_decides_and_not_the_store() {
    let house = house().await;
    let product = create(&house, &tea("TEA-1")).await;
    upload(&house, &product, picture(1)).await.expect(201);
    let before = house.clock.now();
    // A clock that is set back makes nothing old.
    house.clock.set(Timestamp::EPOCH);
    house.settle().await;
    house.clock.set(before);
    house.settle().await;
    assert_eq!(stored_files(&house).len(), 1);
}
