//! What each request is: whose order of what, or a look at which product.
//!
//! Invariant: request *i* under a seed is the same in every run and whatever happened to the others. A few products are
//! hot: the one at rank *r* is drawn in proportion to 1 / (r + 1), which is what makes stock rows contended.

use kernel::id::SplitMix;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `lines` are distinct products with quantities.
    Order {
        shopper: usize,
        lines: Vec<(usize, u32)>,
    },
    Browse {
        product: usize,
    },
    /// A batch of sales of `first` to `first + count`.
    Ingest {
        first: u64,
        count: u64,
    },
}

/// What there is to choose from and in which proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proportions {
    /// So many orders in a hundred requests, the others look at a product.
    Shop { orders_in_100: u64 },
    /// Batches of so many sales.
    Ingest { batch: u64 },
}

#[derive(Debug, Clone)]
pub struct Mix {
    seed: u64,
    proportions: Proportions,
    shoppers: u64,
    /// Running sums of the weights of the products.
    weights: Vec<u64>,
}

impl Mix {
    pub fn new(seed: u64, proportions: Proportions, shoppers: usize, products: usize) -> Self {
        let weights = (1..=products as u64)
            .scan(0_u64, |sum, rank| {
                *sum += 1_000_000_000 / rank;
                Some(*sum)
            })
            .collect();
        Self { seed, proportions, shoppers: shoppers as u64, weights }
    }

    /// Request `index`.
    pub fn action(&self, index: u64) -> Action {
        let mut random = SplitMix(self.seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        match self.proportions {
            Proportions::Ingest { batch } => Action::Ingest { first: index * batch, count: batch },
            Proportions::Shop { orders_in_100 } if random.chance(orders_in_100) => self.order(&mut random),
            Proportions::Shop { .. } => Action::Browse { product: self.product(&mut random) },
        }
    }

    fn order(&self, random: &mut SplitMix) -> Action {
        let shopper = random.below(self.shoppers) as usize;
        // 60 % have one line, 30 % two, 10 % three.
        let wanted = match random.below(10) {
            0..=5 => 1,
            6..=8 => 2,
            _ => 3,
        };
        let mut lines: Vec<(usize, u32)> = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let product = self.product(random);
            if lines.iter().all(|(chosen, _)| *chosen != product) {
                lines.push((product, 1 + u32::from(random.chance(20))));
            }
        }
        Action::Order { shopper, lines }
    }

    fn product(&self, random: &mut SplitMix) -> usize {
        let point = random.below(self.weights.last().copied().unwrap_or(0));
        self.weights.partition_point(|&sum| sum <= point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_number_give_the_same_request() {
        let mix = |seed| Mix::new(seed, Proportions::Shop { orders_in_100: 70 }, 10, 50);
        let first: Vec<Action> = (0..100).map(|index| mix(1).action(index)).collect();
        let again: Vec<Action> = (0..100).rev().map(|index| mix(1).action(index)).rev().collect();
        assert_eq!(first, again);
        assert_ne!(first, (0..100).map(|index| mix(2).action(index)).collect::<Vec<_>>());
    }

    #[test]
    fn proportions_and_hot_products_come_out_as_asked() {
        let mix = Mix::new(7, Proportions::Shop { orders_in_100: 70 }, 10, 100);
        let (mut orders, mut hottest, mut looks) = (0, 0, 0);
        for index in 0..20_000 {
            match mix.action(index) {
                Action::Order { shopper, lines } => {
                    orders += 1;
                    assert!(shopper < 10 && (1..=3).contains(&lines.len()));
                    let mut products: Vec<usize> = lines.iter().map(|line| line.0).collect();
                    products.sort_unstable();
                    products.dedup();
                    assert_eq!(products.len(), lines.len(), "a product is in an order once");
                    assert!(
                        lines.iter().all(|&(product, quantity)| product < 100 && (1..=2).contains(&quantity))
                    );
                }
                Action::Browse { product } => {
                    looks += 1;
                    hottest += u32::from(product == 0);
                }
                Action::Ingest { .. } => unreachable!("a shop does not ingest"),
            }
        }
        assert!((13_700..14_300).contains(&orders), "{orders}");
        // The share of the first of a hundred is 1 / H(100) = 19.3 %.
        let share = f64::from(hottest) / f64::from(looks);
        assert!((0.17..0.22).contains(&share), "{share}");
    }

    #[test]
    fn batches_of_sales_follow_each_other_without_a_gap() {
        let mix = Mix::new(7, Proportions::Ingest { batch: 100 }, 0, 0);
        assert_eq!(mix.action(0), Action::Ingest { first: 0, count: 100 });
        assert_eq!(mix.action(3), Action::Ingest { first: 300, count: 100 });
    }
}
