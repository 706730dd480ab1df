//! The greatest of many with few counters, against all of them counted.

use std::collections::HashMap;

use kernel::id::SplitMix;

use crate::domain::top::{Stored, Top};

fn number(random: &mut SplitMix, below: u64) -> i64 {
    i64::try_from(random.below(below)).unwrap()
}

/// A product, the lesser numbers more often than the greater.
fn sku(random: &mut SplitMix, products: u64) -> String {
    let bound = random.below(products) + 1;
    format!("SKU-{:05}", random.below(bound))
}

#[test]
fn with_a_counter_for_each_product_every_count_is_exact_in_whatever_order_they_come() {
    let mut random = SplitMix(3);
    let sales: Vec<(String, i64)> =
        (0..5_000).map(|_| (sku(&mut random, 300), number(&mut random, 900) + 1)).collect();
    let mut exact: HashMap<&str, i64> = HashMap::new();
    let (mut forwards, mut backwards) = (Top::new(300), Top::new(300));
    for (sku, amount) in &sales {
        *exact.entry(sku).or_default() += amount;
        forwards.add(sku, "", *amount, 1);
    }
    sales.iter().rev().for_each(|(sku, amount)| backwards.add(sku, "", *amount, 1));
    let mut ranking: Vec<(i64, &str)> = exact.into_iter().map(|(sku, amount)| (amount, sku)).collect();
    ranking.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(other.1)));
    let found = forwards.greatest(20);
    let pairs: Vec<(i64, &str)> = found.iter().map(|one| (one.count, one.sku.as_str())).collect();
    assert_eq!(pairs, ranking[..20]);
    assert_eq!(found, backwards.greatest(20));
    assert_eq!(forwards.floor(), 0);
}

#[test]
fn bounds_hold_for_every_product_although_sales_are_taken_back() {
    for seed in 0..40 {
        let mut random = SplitMix(seed);
        let mut top = Top::new(20);
        let mut net: HashMap<String, i64> = HashMap::new();
        let mut sold: Vec<(String, i64)> = Vec::new();
        for _ in 0..4_000 {
            if random.chance(25) && !sold.is_empty() {
                let index = usize::try_from(random.below(sold.len() as u64)).unwrap();
                let (sku, amount) = sold.swap_remove(index);
                *net.get_mut(&sku).unwrap() -= amount;
                top.add(&sku, "", -amount, -1);
            } else {
                let (sku, amount) = (sku(&mut random, 400), number(&mut random, 1_000) + 1);
                *net.entry(sku.clone()).or_default() += amount;
                top.add(&sku, "", amount, 1);
                sold.push((sku, amount));
            }
        }
        let counters: HashMap<String, (i64, i64)> =
            top.greatest(usize::MAX).into_iter().map(|one| (one.sku, (one.count, one.error))).collect();
        assert_eq!(counters.len(), 20);
        for (sku, net) in &net {
            match counters.get(sku) {
                Some((count, error)) => {
                    assert!(
                        count - error <= *net && net <= count,
                        "seed {seed}: {sku} {net} {count} {error}"
                    );
                }
                None => assert!(*net <= top.floor(), "seed {seed}: {sku} {net}, floor {}", top.floor()),
            }
        }
    }
}

#[test]
fn counters_that_are_stored_and_restored_go_on_as_if_nothing_had_been() {
    let mut random = SplitMix(9);
    let (mut whole, mut parts) = (Top::new(10), Top::new(10));
    for _ in 0..50 {
        for _ in 0..20 {
            let (sku, amount) = (sku(&mut random, 60), number(&mut random, 50) + 1);
            whole.add(&sku, "", amount, 1);
            parts.add(&sku, "", amount, 1);
        }
        let json = serde_json::to_string(&parts.store()).unwrap();
        parts = Top::restore(10, serde_json::from_str::<Stored>(&json).unwrap());
        assert_eq!(parts.store(), whole.store());
    }
    let fewer = Top::restore(4, whole.store());
    assert_eq!(fewer.greatest(4), whole.greatest(4));
    assert!(fewer.floor() >= whole.greatest(5)[4].count);
}

#[test]
fn of_two_with_the_same_count_the_lesser_sku_is_first() {
    let mut top = Top::new(3);
    for sku in ["C", "A", "B"] {
        top.add(sku, "", 5, 1);
    }
    let skus = |top: &Top| top.greatest(3).into_iter().map(|one| one.sku).collect::<Vec<_>>();
    assert_eq!(skus(&top), ["A", "B", "C"]);
    top.add("D", "", 1, 1);
    assert_eq!(skus(&top), ["D", "A", "B"], "the counter of the last was given away");
}
