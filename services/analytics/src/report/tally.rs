//! Rows of windows, added up by what they measure.

use std::collections::BTreeMap;

use kernel::{Currency, Money, Timestamp};
use serde::Serialize;

use super::PeriodView;
use crate::domain::average;
use crate::domain::durations::quantile;
use crate::domain::tumble::{Measure, Sum};
use crate::store::windows::Kept;

/// How many, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ReasonView {
    pub reason: String,
    pub count: i64,
}

/// How long orders took from being placed to being confirmed: no more than so many milliseconds, known to within an
/// eighth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct DurationView {
    pub orders: i64,
    pub mean_ms: i64,
    pub p50_ms: i64,
    pub p95_ms: i64,
    pub p99_ms: i64,
}

/// Sums by measure and label.
#[derive(Debug, Default)]
pub struct Tally {
    sums: BTreeMap<(Measure, String), Sum>,
}

impl Tally {
    pub fn of(rows: &[Kept]) -> Self {
        let mut tally = Self::default();
        for Kept { measure, label, sum, .. } in rows {
            tally.sums.entry((*measure, label.clone())).or_default().add(*sum);
        }
        tally
    }

    fn rows(&self, measure: Measure) -> impl Iterator<Item = (&str, Sum)> {
        let of = self.sums.iter().filter(move |((of, _), _)| *of == measure);
        of.map(|((_, label), sum)| (label.as_str(), *sum))
    }

    fn count(&self, measure: Measure) -> i64 {
        self.rows(measure).map(|(_, sum)| sum.count).sum()
    }

    fn money(&self, measure: Measure) -> Vec<Money> {
        let money = |(label, sum): (&str, Sum)| Some(Money::new(sum.amount, label.parse::<Currency>().ok()?));
        self.rows(measure).filter_map(money).collect()
    }

    fn reasons(&self, measure: Measure) -> Vec<ReasonView> {
        let view = |(reason, sum): (&str, Sum)| ReasonView { reason: reason.to_owned(), count: sum.count };
        self.rows(measure).map(view).collect()
    }

    fn duration(&self) -> Option<DurationView> {
        let mut buckets: Vec<(i64, i64)> = Vec::new();
        let mut all = Sum::default();
        for (label, sum) in self.rows(Measure::Duration) {
            if let Some(bucket) = label.strip_prefix("confirmed|").and_then(|bucket| bucket.parse().ok()) {
                buckets.push((bucket, sum.count));
                all.add(sum);
            }
        }
        let [p50_ms, p95_ms, p99_ms] = [50, 95, 99].map(|percent| quantile(&buckets, percent));
        Some(DurationView {
            orders: all.count,
            mean_ms: average(all.amount, all.count)?,
            p50_ms: p50_ms?,
            p95_ms: p95_ms?,
            p99_ms: p99_ms?,
        })
    }

    pub fn period(&self, from: Timestamp, to: Timestamp) -> PeriodView {
        let average_of = |(label, sum): (&str, Sum)| {
            Some(Money::new(average(sum.amount, sum.count)?, label.parse::<Currency>().ok()?))
        };
        let (views, payments) = (self.count(Measure::View), self.count(Measure::Paid));
        PeriodView {
            from,
            to,
            orders: self.count(Measure::Order),
            revenue: self.money(Measure::Order),
            average_order_value: self.rows(Measure::Order).filter_map(average_of).collect(),
            units: self.count(Measure::Sold),
            placed: self.count(Measure::Placed),
            rejected: self.reasons(Measure::Rejected),
            cancellations: self.count(Measure::Cancelled),
            cancelled: self.reasons(Measure::Cancelled),
            payments,
            paid: self.money(Measure::Paid),
            refunded: self.money(Measure::Refunded),
            declined: self.reasons(Measure::Declined),
            views,
            cart_additions: self.count(Measure::Cart),
            conversion_bp: average(payments.saturating_mul(10_000), views),
            duration: self.duration(),
            external_transactions: 0,
            external_duplicates: 0,
            external_rejected: Vec::new(),
        }
    }
}
