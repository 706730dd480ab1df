//! Rebuilds that are called back, whose log gives nothing or is cut, and what they leave of what was parked.

use super::*;

fn places(letters: &[crate::DeadLetter]) -> Vec<(u32, i64, crate::DeadLetterState)> {
    letters.iter().map(|letter| (letter.partition, letter.offset, letter.state)).collect()
}

async fn letters(shop: &Shop) -> Vec<crate::DeadLetter> {
    crate::list_dead_letters(&shop.db, 100).await.unwrap()
}

async fn view(shop: &Shop) -> crate::ProjectionView {
    crate::projections(&shop.db).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_log_that_gives_nothing_for_a_while_is_not_taken_for_read() {
    for way in [Way::InPlace, Way::Aside] {
        let mut shop = Shop::open(way, 0).await;
        let pump = shop.pump();
        for n in 0..30 {
            shop.send(n % KEYS.len()).await;
        }
        settle(&pump).await;
        shop.rebuild().await.unwrap();
        shop.bus.mute.store(3, Ordering::SeqCst);
        let mut refused = 0;
        while shop.stage().await != Stage::Live {
            if let Err(error) = pump.step().await {
                assert_eq!((error.code(), error.kind().is_transient()), ("log_gives_nothing", true));
                refused += 1;
            }
        }
        assert_eq!(refused, 3);
        shop.assert_folded("after silence").await;
    }
}

#[tokio::test]
async fn a_parked_message_that_the_log_has_let_go_of_stays_parked_and_its_key_waits() {
    let mut shop = Shop::open(Way::Aside, 0).await;
    let pump = shop.pump();
    shop.send(0).await;
    shop.say(KEYS[0], -1).await;
    shop.send(1).await;
    settle(&pump).await;
    shop.clock.advance(Duration::from_secs(8 * 86_400));
    shop.bus.sweep(shop.clock.now()).await.unwrap();
    for key in [0, 1] {
        shop.send(key).await;
    }
    settle(&pump).await;
    let before = letters(&shop).await;
    assert_eq!(before.len(), 2, "the dead one, and the one behind it");
    shop.rebuild().await.unwrap();
    settle(&pump).await;
    assert_eq!(shop.stage().await, Stage::Live);
    assert_eq!(places(&letters(&shop).await), places(&before));
    assert_eq!(letters(&shop).await[0].id, before[0].id, "it was not read again");
    assert_eq!((shop.seen(KEYS[0]).await, shop.seen(KEYS[1]).await), (vec![1], vec![1, 2][1..].to_vec()));
}

#[tokio::test]
async fn a_rebuild_that_is_abandoned_leaves_everything_as_it_was() {
    for way in [Way::InPlace, Way::Aside] {
        for steps in 0..12 {
            let mut shop = Shop::open(way, 0).await;
            let (pump, other) = (shop.pump(), shop.pump());
            for n in 0..900 {
                shop.send(n % KEYS.len()).await;
            }
            shop.say("BAD", -1).await;
            shop.send(0).await;
            shop.repeat_all().await;
            settle(&pump).await;
            let parked = letters(&shop).await;
            assert_eq!(parked.len(), 2, "the message, and the same again");
            shop.rebuild().await.unwrap();
            for _ in 0..steps {
                pump.step().await.unwrap();
            }
            let at = view(&shop).await;
            let abandoned = crate::abandon_rebuild(&shop.db, GROUP).await;
            assert_eq!(abandoned.is_ok(), at.can_be_abandoned, "{at:?}");
            match abandoned {
                Ok(()) => assert_eq!(letters(&shop).await, parked, "{at:?}"),
                Err(error) if at.stage == Stage::Live => assert_eq!(error.code(), "no_rebuild_under_way"),
                Err(error) => assert_eq!(error.code(), "rebuild_too_far"),
            }
            if at.can_be_abandoned {
                assert_eq!(shop.stage().await, Stage::Live);
                assert_eq!(view(&shop).await.trouble.as_deref(), Some("abandoned"));
                shop.assert_folded("abandoned").await;
            }
            // What was handled before is known, also where it comes again; another replica goes on, or begins anew.
            shop.repeat_all().await;
            shop.send(0).await;
            settle(&other).await;
            shop.assert_folded("gone on").await;
            let parked = letters(&shop).await;
            shop.damage().await;
            shop.rebuild().await.unwrap();
            settle(&other).await;
            settle(&pump).await;
            assert_eq!(view(&shop).await.trouble, None);
            shop.assert_folded("once more").await;
            assert_eq!(places(&letters(&shop).await), places(&parked));
        }
    }
}

#[tokio::test]
async fn a_model_is_abandoned_only_while_it_is_there() {
    for (way, wanted) in [
        (Way::InPlace, [true, true, false, false, false].as_slice()),
        (Way::Aside, [true, true, true, false, false].as_slice()),
    ] {
        let mut shop = Shop::open(way, 0).await;
        let pump = shop.pump();
        for n in 0..30 {
            shop.send(n % KEYS.len()).await;
        }
        settle(&pump).await;
        shop.rebuild().await.unwrap();
        let (mut seen, mut stages) = (Vec::new(), Vec::new());
        while shop.stage().await != Stage::Live {
            let view = view(&shop).await;
            if stages.last() != Some(&view.stage) {
                stages.push(view.stage);
                seen.push(view.can_be_abandoned);
            }
            pump.step().await.unwrap();
        }
        assert_eq!(seen, wanted, "{stages:?}");
    }
}

#[tokio::test]
async fn what_the_retention_takes_from_under_a_rebuild_is_said_and_holds_up_nothing() {
    let mut shop = Shop::open(Way::InPlace, 0).await;
    let pump = shop.pump();
    shop.send(0).await;
    settle(&pump).await;
    shop.rebuild().await.unwrap();
    while shop.stage().await != Stage::Reading {
        pump.step().await.unwrap();
    }
    shop.clock.advance(Duration::from_secs(8 * 86_400));
    shop.bus.sweep(shop.clock.now()).await.unwrap();
    settle(&pump).await;
    assert_eq!(shop.stage().await, Stage::Live);
    let trouble = view(&shop).await.trouble.unwrap();
    assert!(trouble.contains("has lost 0 to 1"), "{trouble}");
    shop.send(1).await;
    settle(&pump).await;
    assert_eq!(shop.seen(KEYS[1]).await, [1]);
}

#[tokio::test]
async fn a_portion_is_bounded_and_the_last_one_says_so() {
    let shop = Shop::open(Way::InPlace, 0).await;
    let count = crate::PORTION_MAX + 1;
    let cleared = shop.db.write(move |tx| -> Result<_, db::Error> {
        for n in 0..count {
            tx.execute("INSERT INTO seen (sku, available) VALUES (?, 0)", params![format!("{n:06}")])?;
        }
        let first = crate::clear_portion(tx, "seen", "sku")?;
        let left: i64 = tx.query_one("SELECT COUNT(*) FROM seen", params![], |row| row.get(0))?;
        Ok((first, left, crate::clear_portion(tx, "seen", "sku")?))
    });
    assert_eq!(cleared.await.unwrap(), (Cleared::Partly, 1, Cleared::Wholly));
}

#[tokio::test]
async fn a_dead_letter_that_is_given_up_frees_its_key_and_does_not_come_back() {
    let mut shop = Shop::open(Way::InPlace, 0).await;
    let pump = shop.pump();
    shop.send(0).await;
    shop.say(KEYS[0], -1).await;
    shop.send(0).await;
    settle(&pump).await;
    let parked = letters(&shop).await;
    assert_eq!(parked.len(), 2);
    let (id, now) = (parked[0].id, shop.clock.now());
    let found = crate::find_dead_letter(&shop.db, id).await.unwrap().unwrap();
    assert!(found.payload.contains("\"available\":-1"), "{found:?}");
    assert_eq!(crate::discard_dead_letters(&shop.db, vec![id, 4_711], now).await.unwrap(), 1);
    settle(&pump).await;
    shop.assert_folded("the one behind it was handled").await;
    shop.repeat_all().await;
    settle(&pump).await;
    assert_eq!(letters(&shop).await, []);
    shop.assert_folded("delivered again").await;
}
