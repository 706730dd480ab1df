//! Pictures that are nobody's go after a day; those of somebody never do.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::objects::Objects;
use db::{Db, params};
use kernel::{Clock, Timestamp};
use testkit::NOON;

use super::images::{PNG, form, stored_files, upload};
use super::outages::moody_house;
use super::*;
use crate::pictures::PictureName;
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

/// Without those that are gone.
fn strays_in_table(house: &House) -> i64 {
    let count = "SELECT COUNT(*) FROM stray_pictures WHERE since < 9223372036854775807";
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
    // It was begun: whoever puts it again does so under another name, which no removal knows.
    let again = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    assert_ne!(again, name);
    house.advance(Duration::from_secs(61)).await;
    assert_eq!((stored_files(&house), strays_in_table(&house)), (vec![again.clone()], 0));
    house.get(&format!("/api/v1/images/{name}")).send().await.expect_problem(404, "image_not_found");
    house.get(&format!("/api/v1/images/{again}")).send().await.expect(200);
    // Sent once more it is the same as that one.
    let once_more = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    assert_eq!((once_more, stored_files(&house).len()), (again, 1));
}

/// A removal that was decided by a process that then lay still: by the time that it resumes others have removed the picture,
/// and somebody has put it again.
#[tokio::test]
async fn a_removal_that_comes_late_takes_nothing_that_a_product_refers_to() {
    let (house, store) = moody_house().await;
    let product = create(&house, &tea("TEA-1")).await;
    let name = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    take_away(&house, &product, &name, 2).await.expect(200);
    house.advance(GRACE + A_BIT).await;
    assert_eq!(stored_files(&house).len(), 0);
    let again = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    let late = PictureName::parse(&name).unwrap().key().unwrap();
    store.remove(&late).await.unwrap();
    house.get(&format!("/api/v1/images/{again}")).send().await.expect(200);
    house.settle().await;
}

#[tokio::test]
async fn what_was_put_after_it_was_cleared_away_is_found_and_goes_too() {
    let house = house().await;
    let product = create(&house, &tea("TEA-1")).await;
    let name = name_of(&upload(&house, &product, picture(1)).await.expect(201), 0);
    take_away(&house, &product, &name, 2).await.expect(200);
    house.advance(GRACE + A_BIT).await;
    let path = house.directory.path().join("objects").join(&name[..2]).join(&name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::options().append(true).create(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000)).unwrap();
    // The look through the store comes once a day, and what it finds has a day of grace.
    house.advance(GRACE + A_BIT).await;
    house.advance(GRACE + A_BIT).await;
    assert!(!path.exists());
    assert_eq!(strays_in_table(&house), 0);
}

#[test]
fn a_name_has_one_form() {
    let hash = "ab".repeat(32);
    let first = PictureName::parse(&format!("{hash}.png")).unwrap();
    let names: Vec<String> = std::iter::successors(Some(first), |name| Some(name.next()))
        .take(11)
        .map(|name| name.as_str().to_owned())
        .collect();
    assert_eq!(names[1], format!("{hash}-1.png"));
    assert_eq!(names[10], format!("{hash}-10.png"));
    assert!(names.iter().all(|name| PictureName::parse(name).is_some_and(|parsed| parsed.as_str() == name)));
    for number in ["-0", "-01", "-", "--1", "-+1", "-1-1", "1", "-99999999999", "\u{e9}"] {
        assert_eq!(PictureName::parse(&format!("{hash}{number}.png")), None, "{number}");
    }
}

/// Every step of the sweep between any two steps of an upload: what a product refers to is there.
#[tokio::test]
async fn no_interleaving_of_upload_and_sweeps_loses_a_picture() {
    // The upload announces, puts and claims; a sweep reads, looks at the products, dooms, removes and buries. Another one sees
    // what that one has begun, and removes it late.
    for schedule in interleavings(&[3, 5, 2]) {
        let db = Db::in_memory().unwrap();
        db.migrate(TABLES).await.unwrap();
        let mut now = NOON;
        let base = PictureName::parse(&format!("{}.png", "ab".repeat(32))).unwrap();
        let first = base.as_str().to_owned();
        let mut stored = HashSet::from([first.clone()]);
        db.write(move |tx| strays::suspect(tx, &first, now)).await.unwrap();
        now = now.plus(GRACE * 2);
        let mut referred_to = None;
        let mut upload = Upload::Begins;
        let mut sweeps = [Sweep::Begins, Sweep::BeginsAgain];
        for actor in &schedule {
            if let Some(sweep) = actor.checked_sub(1) {
                let step = std::mem::replace(&mut sweeps[sweep], Sweep::Over);
                sweeps[sweep] = step.step(&db, now, referred_to.as_ref(), &mut stored).await;
                continue;
            }
            upload = match upload {
                Upload::Begins => {
                    let base = base.clone();
                    Upload::Announced(db.write(move |tx| strays::announce(tx, &base, now)).await.unwrap())
                }
                Upload::Announced(name) => {
                    stored.insert(name.as_str().to_owned());
                    Upload::Put(name)
                }
                Upload::Put(name) => {
                    let claimed = name.as_str().to_owned();
                    if db.write(move |tx| strays::claim(tx, &claimed)).await.is_ok() {
                        referred_to = Some(name.as_str().to_owned());
                    }
                    Upload::Over
                }
                Upload::Over => Upload::Over,
            };
        }
        assert!(referred_to.is_some(), "the upload came to nothing by {schedule:?}");
        assert!(referred_to.is_some_and(|name| stored.contains(&name)), "a picture is lost by {schedule:?}");
    }
}

#[tokio::test]
async fn what_was_doomed_before_it_was_claimed_is_nobodys() {
    let db = Db::in_memory().unwrap();
    db.migrate(TABLES).await.unwrap();
    let name = PictureName::parse(&format!("{}.png", "ab".repeat(32))).unwrap();
    let announced = name.clone();
    db.write(move |tx| strays::announce(tx, &announced, NOON)).await.unwrap();
    let late = NOON.plus(GRACE * 2);
    let mut stored = HashSet::from([name.as_str().to_owned()]);
    let mut sweep = Sweep::Begins;
    for _ in 0..5 {
        sweep = sweep.step(&db, late, None, &mut stored).await;
    }
    assert!(stored.is_empty());
    let claimed = db.write(move |tx| strays::claim(tx, name.as_str())).await;
    assert_eq!(claimed.unwrap_err().code(), "picture_gone");
}

enum Upload {
    Begins,
    Announced(PictureName),
    Put(PictureName),
    Over,
}

enum Sweep {
    Begins,
    BeginsAgain,
    Read(Vec<Stray>),
    Looked(Vec<Stray>, HashSet<String>),
    Doomed(Vec<String>),
    Removed(Vec<String>),
    Over,
}

impl Sweep {
    async fn step(
        self,
        db: &Db,
        now: Timestamp,
        referred_to: Option<&String>,
        stored: &mut HashSet<String>,
    ) -> Self {
        match self {
            Sweep::Begins => {
                let read = db.read(move |tx| strays::strays_before(tx, now.minus(GRACE))).await;
                Sweep::Read(read.unwrap())
            }
            Sweep::Read(strays) => {
                let names = strays.iter().map(|stray| stray.name.clone());
                let unreferenced = names.filter(|name| referred_to != Some(name)).collect();
                Sweep::Looked(strays, unreferenced)
            }
            Sweep::BeginsAgain => {
                let read = db.read(move |tx| strays::strays_before(tx, now.minus(GRACE))).await.unwrap();
                Sweep::Doomed(read.into_iter().filter(Stray::is_begun).map(|stray| stray.name).collect())
            }
            Sweep::Looked(strays, unreferenced) => {
                let doomed = db.write(move |tx| strays::doom(tx, &strays, &unreferenced, now)).await;
                Sweep::Doomed(doomed.unwrap())
            }
            Sweep::Doomed(names) => {
                stored.retain(|name| !names.contains(name));
                Sweep::Removed(names)
            }
            Sweep::Removed(names) => {
                db.write(move |tx| strays::bury(tx, &names)).await.unwrap();
                Sweep::Over
            }
            Sweep::Over => Sweep::Over,
        }
    }
}

static TABLES: &[db::Migrations] = &[strays::MIGRATIONS];

/// Every order in which actors can take so many steps each.
fn interleavings(steps: &[usize]) -> Vec<Vec<usize>> {
    if steps.iter().all(|left| *left == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for actor in 0..steps.len() {
        let mut left = steps.to_vec();
        let Some(fewer) = left[actor].checked_sub(1) else { continue };
        left[actor] = fewer;
        all.extend(interleavings(&left).into_iter().map(|rest| [vec![actor], rest].concat()));
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
